"""What a programme pays by the close of a period to which sellers, what it has paid back to whom, and which of its funders pays what."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, Subquery, func, literal, select, union_all
from sqlalchemy.orm import Session

from caravan.contracts.problems import WrongState
from caravan.contracts.programme_reports import OtherPayment, PaidReimbursement, ProgrammePayments, SellerPayment
from caravan.contracts.programmes import Funder, Mode
from caravan.contracts.statements import PeriodState
from caravan.kernel.money import Money
from caravan.kernel.tokens import Caller
from services.accounting.charging.models import LineRow
from services.accounting.charging.reading import seller_of
from services.accounting.credit_notes.models import CreditNoteRow
from services.accounting.periods import service as periods
from services.accounting.periods.models import PeriodRow
from services.accounting.programmes.funding import Part, divided, funders_of, shown
from services.accounting.programmes.service import find, seen_by
from services.accounting.redemptions.models import ClawbackRow, EarlierRow, LineShareRow, SettlementRow
from services.accounting.reimbursements.models import ReimbursementRow
from services.accounting.usage import copies
from services.accounting.vouchers.models import VoucherRow

NOBODY: Final = ""
"""To whom goes what stands on no line."""


def payments(tx: Session, id: str, period: str, caller: Caller) -> ProgrammePayments:
    """Raises NotFound; WrongState for a period that isn't closed."""
    programme, row = find(tx, id, seen_by(caller)), periods.find(tx, period)
    if row.state != PeriodState.CLOSED:
        raise WrongState(state=row.state, allowed=(PeriodState.CLOSED.value,))
    funders = funders_of(programme)
    earlier = _earlier(tx, id, row) if programme.mode is Mode.DEDUCTED else []
    parts = _parts(tx, id, period, earlier)
    rows = divided(parts, _before(tx, {part.voucher for part in parts}, row), funders)
    by_seller: defaultdict[str, list[list[int]]] = defaultdict(list)
    other = []
    for part, fen in zip(parts, rows, strict=True):
        if part.to == NOBODY:
            other.append((part.voucher, fen))
        else:
            by_seller[part.to].append(fen)
    organizations = _organizations(tx, [voucher for voucher, _ in other])
    of_earlier: Counter[str] = Counter()
    for part in earlier:
        of_earlier[part.to] += part.fen
    paid_back = _paid_back(tx, id, row)
    enterprises = {*organizations.values(), *(one.organization for one, _ in paid_back)}
    names = copies.names_of(tx, {*by_seller, *enterprises})
    return ProgrammePayments(
        programme=id,
        period=period,
        **_sum([*rows, *(own for _, own in paid_back)], funders, "total"),
        sellers=tuple(
            SellerPayment(
                seller=seller, seller_name=names[seller], **_sum(own, funders), earlier=Money(of_earlier[seller])
            )
            for seller, own in sorted(by_seller.items())
        ),
        other=tuple(
            OtherPayment(
                voucher=voucher,
                organization=organizations[voucher],
                organization_name=names[organizations[voucher]],
                **_sum([own], funders),
            )
            for voucher, own in other
        ),
        reimbursements=tuple(
            PaidReimbursement(
                reimbursement=one.id,
                organization=one.organization,
                organization_name=names[one.organization],
                **_sum([own], funders),
            )
            for one, own in paid_back
        ),
    )


def _sum(rows: Sequence[Sequence[int]], funders: Sequence[Funder], name: str = "amount") -> dict[str, Any]:
    return {name: Money(sum(map(sum, rows))), "funders": shown(rows, funders)}


def _earlier(tx: Session, programme: str, period: Row[Any]) -> list[Part]:
    """What of each voucher is for lines of earlier periods, by who sold them: by the close, and by credit notes of the period's time."""
    noted = (CreditNoteRow.issued_at >= period.starts_at) & (CreditNoteRow.issued_at < period.ends_at)
    query = (
        select(EarlierRow.voucher, LineRow.provider, LineRow.reseller, func.sum(EarlierRow.fen).label("fen"))
        .join(LineRow, LineRow.id == EarlierRow.line)
        .join(VoucherRow, VoucherRow.id == EarlierRow.voucher)
        .outerjoin(CreditNoteRow, CreditNoteRow.id == EarlierRow.period)
        .where(VoucherRow.programme == programme, (EarlierRow.period == period.id) | noted)
        .group_by(EarlierRow.voucher, LineRow.provider, LineRow.reseller)
    )
    return [Part(row.voucher, seller_of(row), int(row.fen)) for row in tx.execute(query)]


def _parts(tx: Session, programme: str, period: str, earlier: Iterable[Part]) -> list[Part]:
    """Of each voucher, by seller, and at last what stands on no line. Who has something for earlier periods is among them, if it comes to
    nothing in all too."""
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
    for part in earlier:
        sums[part.voucher, False, part.to] += part.fen
        sums[part.voucher, True, NOBODY] -= part.fen
    own = _moves(VoucherRow.programme == programme)
    of_period = select(own.c.voucher, func.sum(own.c.earlier).label("earlier")).where(own.c.period == period)
    for of in tx.execute(of_period.group_by(own.c.voucher)):
        sums[of.voucher, True, NOBODY] += int(of.earlier)
    has_earlier = {(part.voucher, part.to) for part in earlier if part.fen}
    return [
        Part(voucher, to, fen) for (voucher, _, to), fen in sorted(sums.items()) if fen or (voucher, to) in has_earlier
    ]


def _before(tx: Session, vouchers: Collection[str], period: Row[Any]) -> dict[str, int]:
    """What each has paid in all by the periods that were closed before, in fen."""
    at_once = (PeriodRow.closed_at == period.closed_at) & (PeriodRow.ends_at < period.ends_at)
    own = _moves(VoucherRow.id.in_(vouchers))
    sums = (
        select(own.c.voucher, func.sum(own.c.on_lines + own.c.earlier).label("paid"))
        .join(PeriodRow, PeriodRow.id == own.c.period)
        .where((PeriodRow.closed_at < period.closed_at) | at_once)
        .group_by(own.c.voucher)
    )
    return {row.voucher: int(row.paid) for row in tx.execute(sums)}


def _moves(which: ColumnElement[bool]) -> Subquery:
    """By voucher and period, what some of those that deduct have paid on its lines, and for earlier ones: by its close, less what credit
    notes of its time have given back, and what was clawed back on its statements. In fen.
    """
    noted = (CreditNoteRow.issued_at >= PeriodRow.starts_at) & (CreditNoteRow.issued_at < PeriodRow.ends_at)
    settled = select(SettlementRow.voucher, PeriodRow.id.label("period"), SettlementRow.on_lines, SettlementRow.earlier)
    mine = SettlementRow.voucher.in_(select(VoucherRow.id).where(which))
    back = select(ClawbackRow.voucher, ClawbackRow.period, literal(0), -ClawbackRow.amount)
    return union_all(
        settled.join(PeriodRow, PeriodRow.id == SettlementRow.period).where(mine),
        settled.join(CreditNoteRow, CreditNoteRow.id == SettlementRow.period).join(PeriodRow, noted).where(mine),
        back.join(PeriodRow, PeriodRow.id == ClawbackRow.period).where(
            ClawbackRow.voucher.in_(select(VoucherRow.id).where(which))
        ),
    ).subquery()


def _paid_back(tx: Session, programme: str, period: Row[Any]) -> list[tuple[Row[Any], list[int]]]:
    """What was recorded as paid in the period, with what each funder pays of it."""
    recorded = (ReimbursementRow.paid_at >= period.starts_at) & (ReimbursementRow.paid_at < period.ends_at)
    query = select(ReimbursementRow.id, ReimbursementRow.organization, ReimbursementRow.funders)
    rows = tx.execute(query.where(ReimbursementRow.programme == programme, recorded).order_by(ReimbursementRow.id))
    return [(row, [Money.parse(part["amount"]).fen for part in row.funders]) for row in rows]


def _organizations(tx: Session, vouchers: Iterable[str]) -> dict[str, str]:
    """Whose each voucher is."""
    rows = tx.execute(select(VoucherRow.id, VoucherRow.organization).where(VoucherRow.id.in_(vouchers)))
    return {row.id: row.organization for row in rows}
