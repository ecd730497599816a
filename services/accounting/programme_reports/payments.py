"""What a programme pays by the close of a period: to which sellers, and which of its funders pays what of that."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from caravan.contracts.problems import WrongState
from caravan.contracts.programme_reports import EarlierPayment, FunderPart, ProgrammePayments, SellerPayment
from caravan.contracts.programmes import WHOLE, Funder, ProgrammeTerms
from caravan.contracts.statements import PeriodState
from caravan.kernel.money import Money
from caravan.kernel.tokens import Caller
from services.accounting.charging.models import LineRow
from services.accounting.charging.reading import seller_of
from services.accounting.periods import service as periods
from services.accounting.periods.models import PeriodRow
from services.accounting.programmes.claims import funded
from services.accounting.programmes.service import find, seen_by
from services.accounting.redemptions.models import LineShareRow, SettlementRow
from services.accounting.usage import copies
from services.accounting.vouchers.models import VoucherRow

EARLIER: Final = ""


class Part(NamedTuple):
    """What a voucher pays, in fen, of what `seller` sold in the period; EARLIER: for earlier periods."""

    voucher: str
    seller: str
    fen: int


def divided(parts: Iterable[Part], before: Mapping[str, int], funders: Sequence[Funder]) -> list[list[int]]:
    """What each funder pays of each part, where vouchers had paid `before` in all. Pure.

    A part is what `funded` makes of all up to it, less what it made of all before: so over a voucher's parts it sums to the rule.
    """
    reached, found = dict(before), []
    for part in parts:
        start = reached.get(part.voucher, 0)
        reached[part.voucher] = end = start + part.fen
        found.append([more - less for more, less in zip(funded(end, funders), funded(start, funders), strict=True)])
    return found


def payments(tx: Session, id: str, period: str, caller: Caller) -> ProgrammePayments:
    """Raises NotFound; WrongState for a period that isn't closed."""
    programme, row = find(tx, id, seen_by(caller)), periods.find(tx, period)
    if row.state != PeriodState.CLOSED:
        raise WrongState(state=row.state, allowed=(PeriodState.CLOSED.value,))
    funders = funders_of(programme)
    parts = _parts(tx, id, period)
    rows = divided(parts, _before(tx, {part.voucher for part in parts}, row), funders)
    by_seller: defaultdict[str, list[list[int]]] = defaultdict(list)
    earlier = []
    for part, fen in zip(parts, rows, strict=True):
        if part.seller == EARLIER:
            earlier.append((part.voucher, fen))
        else:
            by_seller[part.seller].append(fen)
    organizations = _organizations(tx, [voucher for voucher, _ in earlier])
    names = copies.names_of(tx, {*by_seller, *organizations.values()})
    return ProgrammePayments(
        programme=id,
        period=period,
        **_sum(rows, funders, "total"),
        sellers=tuple(
            SellerPayment(seller=seller, seller_name=names[seller], **_sum(own, funders))
            for seller, own in sorted(by_seller.items())
        ),
        earlier=tuple(
            EarlierPayment(
                voucher=voucher,
                organization=organizations[voucher],
                organization_name=names[organizations[voucher]],
                **_sum([own], funders),
            )
            for voucher, own in earlier
        ),
    )


def funders_of(programme: ProgrammeTerms) -> Sequence[Funder]:
    """The issuer pays all where there are no others."""
    return programme.funders or (Funder(name=programme.issuer.name, share=WHOLE),)


def _sum(rows: Sequence[Sequence[int]], funders: Sequence[Funder], name: str = "amount") -> dict[str, Any]:
    fens = [sum(row[place] for row in rows) for place in range(len(funders))]
    parts = tuple(FunderPart(funder=one.name, amount=Money(fen)) for one, fen in zip(funders, fens, strict=True))
    return {name: Money(sum(fens)), "funders": parts}


def _parts(tx: Session, programme: str, period: str) -> list[Part]:
    """Of each voucher, by seller, and at last for earlier periods."""
    sold = (
        select(LineShareRow.voucher, LineRow.provider, LineRow.reseller, func.sum(LineShareRow.paid).label("paid"))
        .join(LineRow, LineRow.id == LineShareRow.line)
        .join(VoucherRow, VoucherRow.id == LineShareRow.voucher)
        .where(LineRow.period == period, VoucherRow.programme == programme)
        .group_by(LineShareRow.voucher, LineRow.provider, LineRow.reseller)
    )
    sums: defaultdict[tuple[str, bool, str], int] = defaultdict(int)
    for row in tx.execute(sold):
        sums[row.voucher, False, seller_of(row)] += int(row.paid)
    settled = (
        select(SettlementRow.voucher, func.sum(SettlementRow.earlier).label("earlier"))
        .where(SettlementRow.period == period, SettlementRow.programme == programme)
        .group_by(SettlementRow.voucher)
    )
    for of in tx.execute(settled):
        sums[of.voucher, True, EARLIER] += int(of.earlier)
    return [Part(voucher, seller, fen) for (voucher, _, seller), fen in sorted(sums.items()) if fen]


def _before(tx: Session, vouchers: Iterable[str], period: Row[Any]) -> dict[str, int]:
    """What each has paid in all by the periods that were closed before, in fen."""
    at_once = (PeriodRow.closed_at == period.closed_at) & (PeriodRow.ends_at < period.ends_at)
    sums = (
        select(SettlementRow.voucher, func.sum(SettlementRow.on_lines + SettlementRow.earlier).label("paid"))
        .join(PeriodRow, PeriodRow.id == SettlementRow.period)
        .where(SettlementRow.voucher.in_(vouchers), (PeriodRow.closed_at < period.closed_at) | at_once)
        .group_by(SettlementRow.voucher)
    )
    return {row.voucher: int(row.paid) for row in tx.execute(sums)}


def _organizations(tx: Session, vouchers: Iterable[str]) -> dict[str, str]:
    """Whose each voucher is."""
    rows = tx.execute(select(VoucherRow.id, VoucherRow.organization).where(VoucherRow.id.in_(vouchers)))
    return {row.id: row.organization for row in rows}
