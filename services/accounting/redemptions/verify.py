"""Holding what vouchers pay against what it sums up."""

from collections import Counter
from collections.abc import Iterator

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from services.accounting.charging.models import LineRow
from services.accounting.ledger.models import Balance
from services.accounting.ledger.postings import programme_receivable
from services.accounting.programmes.service import reimbursing
from services.accounting.redemptions import placing
from services.accounting.redemptions.models import ClawbackRow, LineShareRow, RedemptionRow, SettlementRow
from services.accounting.vouchers.models import VoucherRow


def granted(tx: Session) -> dict[str, tuple[int, int]]:
    """What is pledged of each organization's vouchers that deduct, and what of that is redeemed, in fen."""
    sums = select(VoucherRow.organization, func.sum(VoucherRow.pledged), func.sum(VoucherRow.redeemed))
    return {
        organization: (int(pledged), int(redeemed))
        for organization, pledged, redeemed in tx.execute(sums.where(_deducts(tx)).group_by(VoucherRow.organization))
    }


def verify(tx: Session) -> Iterator[tuple[str, str]]:
    """(voucher, programme or line, what is wrong) where totals aren't what jobs and claims redeem, where something else was posted, and
    where a line shows another subsidy than its vouchers pay, or lines of earlier periods other sums than were settled for them.
    """
    sums = (
        select(
            RedemptionRow.voucher,
            func.sum(RedemptionRow.pledged).label("pledged"),
            func.sum(RedemptionRow.redeemed).label("redeemed"),
        )
        .group_by(RedemptionRow.voucher)
        .subquery()
    )
    closed = select(SettlementRow.voucher, func.sum(SettlementRow.on_lines + SettlementRow.earlier))
    back = select(ClawbackRow.voucher, -func.sum(ClawbackRow.amount)).group_by(ClawbackRow.voucher)
    settled: Counter[str] = Counter()
    for query in (closed.group_by(SettlementRow.voucher), back):
        for voucher, fen in tx.execute(query):
            settled[voucher] += int(fen)
    vouchers = select(VoucherRow.id, VoucherRow.pledged, VoucherRow.redeemed, sums.c.pledged, sums.c.redeemed)
    for voucher, pledged, redeemed, of_jobs, redeemed_of_jobs in tx.execute(
        vouchers.where(_deducts(tx)).outerjoin(sums, sums.c.voucher == VoucherRow.id).order_by(VoucherRow.id)
    ):
        of_claims = settled[voucher]
        right = int(of_jobs or 0) + of_claims, int(redeemed_of_jobs or 0) + of_claims
        if (pledged, redeemed) != right:
            yield voucher, f"pledged and redeemed are {(pledged, redeemed)} fen, and should be {right}"
    receivable = {row.account: row.debit - row.credit for row in tx.execute(select(*Balance.__table__.c))}
    programmes = (
        select(VoucherRow.programme, func.sum(VoucherRow.redeemed)).where(_deducts(tx)).group_by(VoucherRow.programme)
    )
    for programme, redeemed in tx.execute(programmes.order_by(VoucherRow.programme)):
        if (posted := receivable.get(programme_receivable(programme), 0)) != redeemed:
            yield programme, f"{posted} fen were posted of what it pays, and {int(redeemed)} were redeemed"
    shares = select(LineShareRow.line, func.sum(LineShareRow.paid).label("paid")).group_by(LineShareRow.line).subquery()
    lines = select(LineRow.id, LineRow.subsidy, shares.c.paid).outerjoin(shares, shares.c.line == LineRow.id)
    for line, shown, paid in tx.execute(lines.where(LineRow.subsidy.is_not(None) | shares.c.paid.is_not(None))):
        if shown != paid:
            yield line, f"it shows {shown} fen of subsidy, and its vouchers pay {paid}"
    yield from placing.wrong(tx)


def _deducts(tx: Session) -> ColumnElement[bool]:
    return VoucherRow.programme.not_in(reimbursing(tx))
