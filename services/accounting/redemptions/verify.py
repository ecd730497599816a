"""Holding what vouchers pay against what it sums up."""

from collections.abc import Iterator

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.accounting.ledger.models import Balance
from services.accounting.ledger.postings import programme_receivable
from services.accounting.redemptions.models import RedemptionRow
from services.accounting.vouchers.models import VoucherRow


def granted(tx: Session) -> dict[str, tuple[int, int]]:
    """What is pledged of each organization's vouchers, and what of that is redeemed, in fen."""
    sums = select(VoucherRow.organization, func.sum(VoucherRow.pledged), func.sum(VoucherRow.redeemed))
    return {
        organization: (int(pledged), int(redeemed))
        for organization, pledged, redeemed in tx.execute(sums.group_by(VoucherRow.organization))
    }


def verify(tx: Session) -> Iterator[tuple[str, str]]:
    """(voucher or programme, what is wrong) where its totals aren't what jobs redeem of it, or where something else was posted."""
    sums = (
        select(
            RedemptionRow.voucher,
            func.sum(RedemptionRow.pledged).label("pledged"),
            func.sum(RedemptionRow.redeemed).label("redeemed"),
        )
        .group_by(RedemptionRow.voucher)
        .subquery()
    )
    vouchers = select(VoucherRow.id, VoucherRow.pledged, VoucherRow.redeemed, sums.c.pledged, sums.c.redeemed)
    for voucher, pledged, redeemed, of_jobs, redeemed_of_jobs in tx.execute(
        vouchers.outerjoin(sums, sums.c.voucher == VoucherRow.id).order_by(VoucherRow.id)
    ):
        right = int(of_jobs or 0), int(redeemed_of_jobs or 0)
        if (pledged, redeemed) != right:
            yield voucher, f"pledged and redeemed are {(pledged, redeemed)} fen, and should be {right}"
    receivable = {row.account: row.debit - row.credit for row in tx.execute(select(*Balance.__table__.c))}
    programmes = select(VoucherRow.programme, func.sum(VoucherRow.redeemed)).group_by(VoucherRow.programme)
    for programme, redeemed in tx.execute(programmes.order_by(VoucherRow.programme)):
        if (posted := receivable.get(programme_receivable(programme), 0)) != redeemed:
            yield programme, f"{posted} fen were posted of what it pays, and {int(redeemed)} were redeemed"
