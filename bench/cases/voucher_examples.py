"""The worked examples of docs/programmes.md, through applications, vouchers, jobs and closed periods."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final

from bench.case import Trial, Verdict, case
from bench.engines import BOTH, SQLITE, engines
from bench.independent import vouchers as independent
from bench.vouchers.jobs import Buyer, Job, sold_at
from bench.vouchers.page import Claim, Example, Row, examples
from bench.vouchers.town import Month, Town, buyer, month_of, opened, starts
from caravan.contracts.offerings import Tier
from caravan.contracts.prices import Component
from caravan.contracts.programmes import Mode
from caravan.contracts.reimbursements import ReimbursementState
from caravan.contracts.statements import Line, Statement
from caravan.contracts.vouchers import SupplyContract
from caravan.kernel.money import Money

MONEY: Final = Money(10**12)
ABOVE_THE_YEAR: Final = {("contracts", "2"): Money(160_000_000)}
"""What a voucher would be for, if the enterprise's year left as much."""
OTHERS: Final = {"accelerators": ("2",)}
"""By example, which vouchers are another enterprise's than the first."""
CONTRACTS: Final = {("contracts", "1"): Money(300_000_000), ("contracts", "2"): Money(800_000_000)}
CORRECTED_SECONDS: Final = 10
"""By so much a job has run less where a line takes something off."""
KINDS: Final = ("voucher", "line", "claim", "funders", "statement", "reimbursement")
Claims = Mapping[tuple[str, Month], tuple[int, int]]
"""By voucher and the first month of the span, what was claimed and paid, in fen."""
RULES: Final = "the rules"


@case(
    "voucher-examples",
    claim="Each worked example of docs/programmes.md comes out to the fen by the API: its programme published, its applications reviewed "
    "by two, its vouchers issued, its lines charged to jobs, its periods closed, and what is reimbursed claimed and paid, on both engines",
    goal="every line, claim, funder's part and statement as on the page; the books verified",
)
def voucher_examples(trial: Trial) -> Verdict:
    told = examples()
    found = {RULES: Found()}
    for example in told:
        _by_the_rules(example, found[RULES])
    names = BOTH if trial.long else (SQLITE,)
    with engines(trial.folder, names) as databases:
        for name, engine in databases.items():
            found[name] = Found()
            asyncio.run(_played(trial, engine.migrated("accounting"), told, found[name]))
            trial.say(f"{name}: {dict(found[name].compared)}, {len(found[name].wrong)} differ")
    wrong = [f"{name}: {one}" for name, some in found.items() for one in some.wrong]
    return Verdict(
        passed=not wrong and all(found[name].compared[kind] for name in names for kind in KINDS),
        figure=f"{len(told)} examples: "
        + ", ".join(f"{sum(some.compared.values())} figures by {name}" for name, some in found.items())
        + f", {len(wrong)} differ"
        + "".join(f"; {one}" for one in wrong[:3]),
        details={"wrong": wrong, "compared": {name: some.compared for name, some in found.items()}},
    )


@dataclass
class Found:
    """How many figures were compared, by kind, and which are not the page's."""

    compared: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def equal(self, kind: str, what: str, page: object, found: object) -> None:
        self.compared[kind] += 1
        if page != found:
            self.wrong.append(f"{what}: {found} instead of {page}")


def _by_the_rules(example: Example, found: Found) -> None:
    """As an independent script computes it, reimbursed or not."""
    terms = {**example.terms, "id": example.name, "mode": Mode.DEDUCTED}
    of = {one.name: (one.name, one.name in OTHERS.get(example.name, ())) for one in example.vouchers}
    vouchers = [
        independent.Voucher(one.name, terms, str(of[one.name][1]), one.amount, 0, 10, frozenset(one.kinds), one.use)
        for one in example.vouchers
    ]
    lines = [
        independent.Line(
            row.name,
            str(of[claim.voucher][1]),
            close,
            close,
            claim.span,
            row.component,
            row.tier,
            row.origin,
            "",
            claim.lines[place - (row.amount < 0)].name,
            1,
            place,
            row.amount,
        )
        for close, claim in enumerate(example.claims)
        for place, row in enumerate(claim.lines)
    ]
    paid = independent.paid(vouchers, lines)
    so_far = Counter[str]()
    for claim in example.claims:
        what, at = f"{example.name} {claim.span}", independent.Claim(claim.voucher, claim.span)
        for row in claim.lines:
            found.equal("line", f"{example.name} {row.name}", row.pays, paid.of_line(row.name))
        found.equal("claim", what, tuple(claim.sums[1:]), (paid.full[at], paid.claims[at]))
        before = independent.funded(so_far[claim.voucher], terms.get("funders", ()))
        so_far[claim.voucher] += paid.claims[at]
        after = independent.funded(so_far[claim.voucher], terms.get("funders", ()))
        found.equal("funders", what, claim.parts, [now - was for now, was in zip(after, before, strict=True)])


async def _played(trial: Trial, url: str, told: Sequence[Example], found: Found) -> None:
    """All of them in one year, each with enterprises of its own."""
    async with opened(url, trial.folder, trial.random) as town:
        plays = [_Play(town, example, trial.random) for example in told]
        await town.open([one for play in plays for one in play.buyers.values()], [], MONEY)
        for play in plays:
            await play.issue(found)
        for span in sorted({claim.span for example in told for claim in example.claims}):
            some = [(play, claim) for play in plays for claim in play.example.claims if claim.span == span]
            for later in range(1 + max(_corrections(claim) for _, claim in some)):
                month = (span[0], span[1] + later)
                for play, claim in some:
                    await play.use(claim, month, later)
                await town.close_upto(month)
        for play in plays:
            await play.compare(found)
        found.wrong += await town.wrong()


def _corrections(claim: Claim) -> int:
    """How many of its lines take something off the one before: each does that in a later month."""
    return sum(row.amount < 0 for row in claim.lines)


class _Play:
    """An example in the town."""

    def __init__(self, town: Town, example: Example, random: Random) -> None:
        self.example = example
        self.buyers = {False: buyer(random), True: buyer(random)}
        self._town, self._random = town, random
        self._vouchers: dict[str, str] = {}
        self._jobs: dict[str, Job] = {}

    def _buyer(self, voucher: str) -> Buyer:
        return self.buyers[voucher in OTHERS.get(self.example.name, ())]

    async def issue(self, found: Found) -> None:
        self._programme = await self._town.publish(self.example.terms)
        for held in self.example.vouchers:
            at, amount, own = (self.example.name, held.name), Money(held.amount), self._buyer(held.name)
            contract = SupplyContract(number=held.name, amount=CONTRACTS[at]) if at in CONTRACTS else None
            terms: dict[str, Any] = {"kinds": held.kinds, "use": held.use, "contract": contract}
            if at in ABOVE_THE_YEAR:
                left = await self._town.refused(self._programme, own, ABOVE_THE_YEAR[at], **terms)
                found.equal("voucher", f"{self.example.name} {held.name}", amount, left)
            voucher = await self._town.issue(self._programme, own, amount, **terms)
            self._vouchers[held.name] = voucher.id

    async def use(self, claim: Claim, month: Month, part: int) -> None:
        """The lines behind as many corrections: a job each, or less of the one before."""
        number = 0
        for place, row in enumerate(claim.lines):
            number += row.amount < 0
            if number != part:
                continue
            begins = starts(month) + timedelta(days=1 + place)
            self._town.at(begins + timedelta(days=1))
            if row.amount < 0:
                await self._correct(self._jobs[claim.lines[place - 1].name])
            else:
                after = claim.lines[place + 1 :]
                less = -after[0].amount if after and after[0].amount < 0 else 0
                await self._use(claim, row, begins, less)
        await self._town.charge()

    async def _use(self, claim: Claim, row: Row, begins: datetime, less: int) -> None:
        """An hour of it, or as long as what is taken off costs so many seconds."""
        seconds = row.amount * CORRECTED_SECONDS // less if less else 3600
        price = Decimal(row.amount * 36) / seconds
        sold = sold_at(self._random, Component(row.component), Tier(row.tier), row.origin, price)
        await self._town.sell([sold])
        job = Job.of(self._random, self._buyer(claim.voucher), sold, begins, Money(row.amount))
        self._jobs[row.name] = job
        await self._town.hold(job)
        used = job.use(begins, begins + timedelta(seconds=seconds))
        await self._town.say([*job.placed(), *used, *([] if less else [*job.end(), *job.settle()])])

    async def _correct(self, job: Job) -> None:
        """Before it is settled: nothing is taken back after that."""
        begins, ends = job.used or (job.submitted_at, job.submitted_at)
        used = job.use(begins, ends - timedelta(seconds=CORRECTED_SECONDS))
        await self._town.say([*used, *job.end(), *job.settle()])

    async def compare(self, found: Found) -> None:
        """With what the API says of all of it."""
        name, town = self.example.name, self._town
        lines = [line for one in self.buyers.values() for line in await town.lines(one.organization) if line.amount]
        by_job = {job.id: row for row, job in self._jobs.items()}
        read = self._reimbursed if self._programme.mode is Mode.REIMBURSED else self._deducted
        claims, pays = await read(found, lines)
        parts = await self._parts()
        for claim in self.example.claims:
            what, of = f"{name} {claim.span}", (self._vouchers[claim.voucher], claim.span)
            for place, row in enumerate(claim.lines):
                job = claim.lines[place - (row.amount < 0)].name
                (line,) = [
                    one for one in lines if by_job[str(one.job)] == job and (one.amount < Money(0)) == (row.amount < 0)
                ]
                page = Money(row.amount), Money(row.pays)
                found.equal("line", f"{name} {row.name}", page, (line.amount, pays.get(line.id, Money(0))))
            found.equal("claim", what, tuple(claim.sums[1:]), claims.get(of))
            if claim.parts:
                found.equal("funders", what, claim.parts, parts[claim.span])

    async def _deducted(self, found: Found, lines: Sequence[Line]) -> tuple[Claims, Mapping[str, Money]]:
        """What is on the lines, and what was claimed and paid; the statements are less by that."""
        pays = {line.id: line.subsidy for line in lines if line.subsidy}
        for due, statement in await self._due(lines):
            own = [
                line.id for line in lines if (line.period, line.organization) == (statement.period, statement.party_id)
            ]
            less = sum((pays.get(id, Money(0)) for id in own), Money(0))
            found.equal("statement", f"{self.example.name} {statement.period_name}", due - less, statement.due)
        return await self._town.claims(self._programme.id), pays

    async def _reimbursed(self, found: Found, lines: Sequence[Line]) -> tuple[Claims, Mapping[str, Money]]:
        """What was filed and paid; the statements are for all that was used."""
        for due, statement in await self._due(lines):
            found.equal("statement", f"{self.example.name} {statement.period_name}", due, statement.due)
        made, of_lines = await self._town.reimburse(self._programme, self.buyers[False])
        spans = {(one.voucher, month_of(one.starts_at)): (one.claimed.fen, one.amount.fen) for one in made.spans}
        page = sum(claim.sums[-1] for claim in self.example.claims)
        found.equal(
            "reimbursement", self.example.name, (Money(page), ReimbursementState.PAID), (made.amount, made.state)
        )
        return spans, {one.line.id: one.pays for one in of_lines}

    async def _due(self, lines: Sequence[Line]) -> list[tuple[Money, Statement]]:
        """Each statement, with the sum of its lines."""
        found = [one for each in self.buyers.values() for one in await self._town.statements(each.organization)]
        sums = Counter[tuple[str, str]]()
        for line in lines:
            sums[line.period, line.organization] += line.amount.fen
        return [(Money(sums[one.period, one.party_id]), one) for one in found]

    async def _parts(self) -> dict[Month, list[int]]:
        """What each funder pays in fen, by the first month of a span."""
        found: dict[Month, list[int]] = {}
        for period in self._town.closed:
            paid = await self._town.office.get_programme_payments(self._programme.id, period.id)
            span = independent.span_of(month_of(period.starts_at), self.example.terms)
            before = found.get(span, [0] * len(paid.funders))
            found[span] = [fen + one.amount.fen for fen, one in zip(before, paid.funders, strict=True)]
        return found
