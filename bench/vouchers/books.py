"""What the API says of what vouchers pay, and what should be so: computed from its lines by the independent script, and compared."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bench.independent import vouchers as independent
from bench.vouchers.jobs import Buyer, Job
from bench.vouchers.town import Month, Town, month_of
from caravan.contracts.programmes import Programme
from caravan.contracts.statements import BearerKind, Line, LineKind
from caravan.contracts.vouchers import Voucher
from caravan.kernel.clock import to_seconds
from caravan.kernel.money import Money


@dataclass
class Compared:
    """How many figures were compared, by kind, and which differ."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def equal(self, kind: str, what: str, expected: object, found: object) -> None:
        self.counts[kind] += 1
        if expected != found:
            self.wrong.append(f"{kind} {what}: {found} instead of {expected}")


@dataclass
class Facts:
    """What is known of what happened, beside what the API says. `ends`: when each job's usage had ended, as it was known at each close.
    `revoked`: by voucher, after how many closes; `terms`: of programmes, by id, with that.
    """

    buyers: Sequence[Buyer]
    programmes: Mapping[str, Programme]
    vouchers: Sequence[Voucher]
    jobs: Mapping[str, Job]
    ends: Sequence[Mapping[str, datetime]]
    revoked: Mapping[str, int] = field(default_factory=dict)


async def expected(town: Town, facts: Facts, lines: Sequence[Line]) -> independent.Paid:
    """What the independent script makes of the closed periods' lines."""
    terms = {one.id: one.model_dump(mode="json") for one in facts.programmes.values()}
    vouchers = [
        independent.Voucher(
            id=one.id,
            programme=terms[one.programme],
            organization=one.organization,
            amount=one.amount.fen,
            issued=to_seconds(one.issued_at),
            expires=to_seconds(one.expires_at),
            kinds=frozenset(one.kinds),
            use=one.use,
            revoked=facts.revoked.get(one.id),
        )
        for one in facts.vouchers
    ]
    closes = {period.id: number for number, period in enumerate(town.closed)}
    return independent.paid(vouchers, [_line(town, facts, closes, one) for one in lines if one.period in closes])


def _line(town: Town, facts: Facts, closes: Mapping[str, int], line: Line) -> independent.Line:
    sold, about = town.sold_by(line.price_list), town.closed[closes[line.corrects or line.period]]
    submitted, ended = 0, to_seconds(about.starts_at)
    if line.job is not None:
        submitted = to_seconds(facts.jobs[line.job].submitted_at)
        ended = to_seconds(min(facts.ends[closes[line.period]][line.job], about.ends_at))
    return independent.Line(
        id=line.id,
        organization=line.organization,
        close=closes[line.period],
        about=closes[about.id],
        month=month_of(about.starts_at),
        component=line.component,
        tier=sold.tier,
        origin=sold.origin,
        seller=line.seller,
        job=line.job,
        submitted=submitted,
        ended=ended,
        amount=line.amount.fen,
        group=f"{line.organization} {sold.offering} {line.component}",
        off=line.basis.fen if line.kind is LineKind.VOLUME_DISCOUNT and line.basis is not None else None,
    )


async def lines_of(town: Town, facts: Facts) -> list[Line]:
    """Those that organizations bear and that cost something."""
    found = [line for one in facts.buyers for line in await town.lines(one.organization)]
    return [line for line in found if line.bearer is BearerKind.ORGANIZATION and line.amount.fen]


async def compare(town: Town, facts: Facts, compared: Compared) -> independent.Paid:
    """Lines, claims, statements and funds, each to the fen; what the proof of the books finds is wrong too."""
    lines = await lines_of(town, facts)
    right = await expected(town, facts, lines)
    for line in lines:
        compared.equal("line", line.id, right.of_line(line.id), (line.subsidy or Money(0)).fen)
    for programme in facts.programmes.values():
        own = {one.id for one in facts.vouchers if one.programme == programme.id}
        claims = {at: (full, right.claims[at]) for at, full in right.full.items() if at.voucher in own}
        compared.equal("claim", programme.name, _some(claims), _some(await town.claims(programme.id)))
    await _statements(town, facts, lines, right, compared)
    compared.wrong += await town.wrong()
    return right


def _some(claims: Mapping[Any, tuple[int, int]]) -> dict[Any, tuple[int, int]]:
    return {tuple(at): fen for at, fen in claims.items() if any(fen)}


async def _statements(
    town: Town, facts: Facts, lines: Iterable[Line], right: independent.Paid, compared: Compared
) -> None:
    closes = {period.id: number for number, period in enumerate(town.closed)}
    of_voucher = {one.id: one.organization for one in facts.vouchers}
    on_lines = Counter[tuple[str, str]]()
    gross = Counter[tuple[str, str]]()
    for line in lines:
        gross[line.period, line.organization] += line.amount.fen
        for voucher in of_voucher:
            on_lines[line.period, voucher] += right.lines[line.id, voucher]
    for one in facts.buyers:
        for statement in await town.statements(one.organization):
            at = closes[statement.period]
            expected = {}
            for voucher in (voucher for voucher, whose in of_voucher.items() if whose == one.organization):
                earlier = sum(
                    fen for (close, claim), fen in right.earlier.items() if (close, claim.voucher) == (at, voucher)
                )
                expected[voucher] = on_lines[statement.period, voucher], earlier
            found = {two.voucher: (two.on_lines.fen, two.earlier.fen) for two in statement.redemptions}
            compared.equal("redemptions", statement.number, _paying(expected), _paying(found))
            due = gross[statement.period, one.organization] - sum(sum(fen) for fen in expected.values())
            compared.equal("due", statement.number, Money(due), statement.due)


def _paying(redemptions: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    return {voucher: fen for voucher, fen in redemptions.items() if any(fen)}


@dataclass(frozen=True)
class Totals:
    """What no order and no number of closes may change, in fen; who and what is named by place."""

    used: Mapping[tuple[int, Month], int]
    """By organization and the month of the usage."""
    programmes: Mapping[str, int]
    claims: Mapping[tuple[int, Month], tuple[int, int]]
    """By voucher and span: claimed, and paid."""
    funders: Mapping[str, tuple[int, ...]]
    granted: Sequence[int]
    """By organization."""


async def totals(town: Town, facts: Facts) -> Totals:
    places = {one.organization: place for place, one in enumerate(facts.buyers)}
    of_period = {period.id: month_of(period.starts_at) for period in town.closed}
    used = Counter[tuple[int, Month]]()
    for line in await lines_of(town, facts):
        used[places[line.organization], of_period[line.corrects or line.period]] += line.amount.fen
    of_voucher = {one.id: place for place, one in enumerate(facts.vouchers)}
    programmes, funders = Counter[str](), {}
    claims: dict[tuple[int, Month], tuple[int, int]] = {}
    for name, programme in facts.programmes.items():
        for (voucher, span), fen in (await town.claims(programme.id)).items():
            if any(fen):
                claims[of_voucher[voucher], span] = fen
            programmes[name] += fen[1]
        parts = Counter[int]()
        for period in town.closed:
            paid = await town.office.get_programme_payments(programme.id, period.id)
            parts.update({place: one.amount.fen for place, one in enumerate(paid.funders)})
        funders[name] = tuple(parts[place] for place in sorted(parts))
    granted = [(await town.finance.get_funds(one.organization)).granted.fen for one in facts.buyers]
    return Totals(used, programmes, claims, funders, granted)
