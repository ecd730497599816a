"""What a played quarter says was paid: by lines and their shares, settlements, statements and payments, which all have to say the same."""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from bench.city.playing import Player
from bench.city.telling import Asking
from bench.city.year import month_seconds
from caravan.contracts.statements import BearerKind, LineKind
from caravan.kernel.money import Money, divide_half_away
from services.accounting.charging.models import LineRow
from services.accounting.funds.models import HoldRow
from services.accounting.ledger.models import Entry
from services.accounting.redemptions.models import LineShareRow, RedemptionRow, SettlementRow
from services.accounting.usage.models import PriceListCopy
from services.accounting.vouchers.models import VoucherRow

SPANS: Final = {"month": 1, "quarter": 3, "year": 12}


@dataclass
class Own:
    """Of an organization, in fen. `spans`: by their start (seconds since the epoch), what lines claim; `pays`: what settlements pay.

    By provider: what it `sold`, what vouchers have a share of that, and what they have paid. What they pay for `earlier` lines is of none.
    """

    spans: Counter[int] = field(default_factory=Counter)
    pays: Counter[int] = field(default_factory=Counter)
    sold: Counter[str] = field(default_factory=Counter)
    shares: Counter[str] = field(default_factory=Counter)
    paid: Counter[str] = field(default_factory=Counter)
    earlier: int = 0
    pledged: int = 0
    """As the last period closed: jobs that go on have it, and claims could not be paid from it."""


@dataclass
class Paid:
    """`findings`: where the platform contradicts itself. `counts`: how often what matters was met."""

    organizations: dict[str, Own] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def of(self, organization: str) -> Own:
        return self.organizations.setdefault(organization, Own())

    def told(self) -> dict[str, Any]:
        """For JSON."""
        return vars(self) | {"organizations": {id: vars(own) for id, own in self.organizations.items()}}


class _Group(NamedTuple):
    """All that a volume discount is taken off."""

    organization: str
    provider: str
    period: str
    offering: str
    component: str
    reseller: str


@dataclass
class _Sums:
    """By (period, organization) what stands on lines, and what settlements say; by (period, seller) what stands on lines."""

    on_lines: Counter[tuple[str, str]] = field(default_factory=Counter)
    settled: Counter[tuple[str, str]] = field(default_factory=Counter)
    earlier: Counter[tuple[str, str]] = field(default_factory=Counter)
    of_sellers: Counter[tuple[str, str]] = field(default_factory=Counter)


def still_pledged(tx: Session) -> dict[str, int]:
    """What of vouchers is pledged by jobs, as a period has just closed."""
    sums = select(RedemptionRow.organization, func.sum(RedemptionRow.pledged)).group_by(RedemptionRow.organization)
    return {organization: int(fen) for organization, fen in tx.execute(sums)}


def claims_so_far(tx: Session) -> dict[str, dict[int, tuple[int, int]]]:
    """By organization and start of the span: what closes have claimed and paid, in fen."""
    found: defaultdict[str, dict[int, tuple[int, int]]] = defaultdict(dict)
    paid = func.sum(SettlementRow.on_lines + SettlementRow.earlier)
    query = select(SettlementRow.organization, SettlementRow.starts_at, func.sum(SettlementRow.claimed), paid)
    for organization, start, claimed, fen in tx.execute(
        query.group_by(SettlementRow.organization, SettlementRow.starts_at)
    ):
        found[organization][start] = int(claimed), int(fen)
    return found


async def read_paid(
    player: Player, programme: str, settles: str, periods: Mapping[str, int], pledged: Mapping[str, int]
) -> Paid:
    """`periods`: those that are closed, with their months; `pledged`: by organization, as Own has it."""
    paid, sums = Paid(), _Sums()
    for organization, fen in pledged.items():
        paid.of(organization).pledged = fen
    starts = {id: month_seconds(number - number % SPANS[settles])[0] for id, number in periods.items()}
    await player.db.read(_lines, paid, sums, starts)
    await player.db.read(_settlements, paid, sums)
    await player.db.read(_vouchers, paid)
    paid.findings += [text async for text in _statements(player.asking, sums, periods)]
    paid.findings += [text async for text in _payments(player.asking, programme, sums, periods)]
    return paid


def _lines(tx: Session, paid: Paid, sums: _Sums, starts: Mapping[str, int]) -> None:
    share = select(LineShareRow.line, LineShareRow.share, LineShareRow.paid).subquery()
    own = (HoldRow.job == LineRow.job) & (HoldRow.organization == LineRow.organization)
    used: Counter[_Group] = Counter()
    off: Counter[_Group] = Counter()
    basis: Counter[_Group] = Counter()
    rows = tx.execute(
        select(LineRow.__table__, PriceListCopy.offering, share.c.share, share.c.paid)
        .join(PriceListCopy, PriceListCopy.id == LineRow.price_list)
        .outerjoin(share, share.c.line == LineRow.id)
        .outerjoin(HoldRow, own)
        .where(LineRow.period.in_(starts), LineRow.bearer == BearerKind.ORGANIZATION, HoldRow.resale.is_not(True))
    )
    for row in rows:
        one = paid.of(row.organization)
        paid.counts["lines"] += 1
        of = _Group(
            row.organization, row.provider, row.corrects or row.period, row.offering, row.component, row.reseller
        )
        if row.kind == LineKind.VOLUME_DISCOUNT:
            off[of] += row.amount
            basis[of] += row.basis
        else:
            used[of] += row.amount
        if row.share is None:
            if row.subsidy is not None:
                paid.findings.append(f"{row.id}: {row.subsidy} fen of subsidy, and no voucher has a share")
            continue
        if row.subsidy != row.paid or not 0 <= row.paid * _sign(row.share) <= abs(row.share) <= abs(row.amount):
            paid.findings.append(f"{row.id}: {row.amount} fen, of which {row.share}, {row.paid} and {row.subsidy}")
        one.spans[starts[row.corrects or row.period]] += row.share
        one.shares[row.provider] += row.share
        one.paid[row.provider] += row.paid
        sums.on_lines[row.period, row.organization] += row.paid
        sums.of_sellers[row.period, row.reseller or row.provider] += row.paid
        paid.counts["shares"] += 1
        paid.counts["discounts"] += row.kind == LineKind.VOLUME_DISCOUNT
        paid.counts["corrections"] += row.corrects != ""
        paid.counts["resold"] += row.reseller != ""
        paid.counts["paid in part"] += row.paid not in (0, row.share)
    for of in used.keys() | off.keys():
        # of what a reseller's discount is taken off, what it sells on isn't used by itself
        part = divide_half_away(off[of] * used[of], basis[of]) if basis[of] else 0
        paid.of(of.organization).sold[of.provider] += used[of] + part


def _settlements(tx: Session, paid: Paid, sums: _Sums) -> None:
    claimed: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for row in tx.execute(select(SettlementRow.__table__)):
        one = paid.of(row.organization)
        claimed[row.organization][row.starts_at] += row.claimed
        one.pays[row.starts_at] += row.on_lines + row.earlier
        one.earlier += row.earlier
        sums.settled[row.period, row.organization] += row.on_lines
        sums.earlier[row.period, row.organization] += row.earlier
        paid.counts["for earlier lines"] += row.earlier != 0
    for organization, one in paid.organizations.items():
        if +claimed[organization] != +one.spans:
            paid.findings.append(f"{organization}: {one.spans} on lines, and {claimed[organization]} was claimed")
    for key in sums.on_lines.keys() | sums.settled.keys():
        if sums.on_lines[key] != sums.settled[key]:
            paid.findings.append(f"{key}: {sums.on_lines[key]} fen on lines, and {sums.settled[key]} were settled")


def _vouchers(tx: Session, paid: Paid) -> None:
    for row in tx.execute(select(VoucherRow.organization, VoucherRow.pledged, VoucherRow.redeemed, VoucherRow.amount)):
        pays = paid.of(row.organization).pays.total()
        if not row.pledged == row.redeemed == pays <= row.amount:
            paid.findings.append(
                f"{row.organization}: {row.pledged} fen are pledged, {row.redeemed} redeemed of {row.amount}, {pays} paid"
            )
    paid.counts["pledged"] = tx.execute(select(func.count()).select_from(RedemptionRow)).scalar_one()
    by_jobs = select(func.count()).select_from(Entry).where(Entry.kind == "redemption", Entry.reference.like("job_%"))
    paid.counts["redeemed"] = tx.execute(by_jobs).scalar_one()


async def _statements(asking: Asking, sums: _Sums, periods: Mapping[str, int]) -> AsyncIterator[str]:
    """What is wrong with those of organizations."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    async for one in asking.each("/statements"):
        if one["party"] != "organization" or one["period"] not in periods:
            continue
        on_lines, earlier = (sum(_fen(own[name]) for own in one["redemptions"]) for name in ("on_lines", "earlier"))
        found[one["period"], one["party_id"]] = on_lines, earlier
        if _fen(one["due"]) != _fen(one["gross"]) - on_lines - earlier:
            yield f"{one['number']}: {one['due']} of {one['gross']} is due, and {on_lines} and {earlier} fen are paid"
    for key in {*found, *sums.settled}:
        if found.get(key, (0, 0)) != (sums.settled[key], sums.earlier[key]):
            yield f"{key}: {found.get(key)} fen on a statement, {sums.settled[key]} and {sums.earlier[key]} settled"


async def _payments(asking: Asking, programme: str, sums: _Sums, periods: Mapping[str, int]) -> AsyncIterator[str]:
    """What is wrong with what each close pays."""
    for period in periods:
        one = await asking.look(f"/programmes/{programme}/payments", period=period)
        sellers = {own["seller"]: _fen(own["amount"]) - _fen(own["earlier"]) for own in one["sellers"]}
        other = sum(_fen(own["amount"]) for own in one["other"])
        mine = {seller: fen for (at, seller), fen in sums.of_sellers.items() if at == period}
        earlier = sum(fen for (at, _), fen in sums.earlier.items() if at == period)
        parts = [sum(_fen(part["amount"]) for part in own["funders"]) for own in (*one["sellers"], *one["other"])]
        if {seller: fen for seller, fen in mine.items() if fen} != {
            seller: fen for seller, fen in sellers.items() if fen
        }:
            yield f"{period}: {mine} fen on lines of sellers, and {sellers} are paid"
        if sum(_fen(own["earlier"]) for own in one["sellers"]) + other != earlier:
            yield f"{period}: {earlier} fen are for earlier lines, and payments have {one['sellers']} and {one['other']}"
        if not _fen(one["total"]) == sum(sellers.values()) + earlier == sum(parts):
            yield f"{period}: {one['total']} in all, of {sellers} and {earlier} fen, and of funders {parts}"


def _fen(money: str) -> int:
    return Money.parse(money).fen


def _sign(fen: int) -> int:
    return (fen > 0) - (fen < 0)
