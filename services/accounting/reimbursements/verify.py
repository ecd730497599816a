"""Holding what is due of vouchers that reimburse against what it sums up."""

from collections.abc import Iterator

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from caravan.contracts.reimbursements import ReimbursementState
from caravan.kernel.money import Money
from services.accounting.charging.models import LineRow
from services.accounting.programmes.service import reimbursing
from services.accounting.reimbursements import dues
from services.accounting.reimbursements.dues import CLAWBACKS, DUE_SHARES, DUES
from services.accounting.reimbursements.reading import REIMBURSEMENTS
from services.accounting.vouchers.models import VoucherRow


def verify(tx: Session) -> Iterator[tuple[str, str]]:
    """(voucher, reimbursement or line, what is wrong) where totals aren't what is due and was paid, where what was filed isn't what it is
    for, and where more of a line is due than its share, or vouchers have more of it than the organization bears.
    """
    vouchers = select(VoucherRow.id, VoucherRow.pledged, VoucherRow.redeemed)
    own = vouchers.where(VoucherRow.programme.in_(reimbursing(tx))).order_by(VoucherRow.id)
    for voucher, pledged, redeemed in tx.execute(own):
        if (pledged, redeemed) != (right := dues.totals(tx, voucher)):
            yield voucher, f"pledged and redeemed are {(pledged, redeemed)} fen, and should be {right}"
    yield from _filed(tx)
    shares = (
        select(
            DUE_SHARES.c.line, func.sum(DUE_SHARES.c.share).label("share"), func.sum(DUE_SHARES.c.paid).label("paid")
        )
        .group_by(DUE_SHARES.c.line)
        .subquery()
    )
    lines = select(LineRow.id, LineRow.amount, func.coalesce(LineRow.subsidy, 0), shares.c.share, shares.c.paid)
    for line, amount, subsidy, share, due in tx.execute(lines.join(shares, shares.c.line == LineRow.id)):
        if abs(due) > abs(share) or abs(share) + abs(subsidy) > abs(amount):
            yield line, f"{due} fen of {share} are due of it, beside {subsidy} fen of subsidy, and it is for {amount}"


def _filed(tx: Session) -> Iterator[tuple[str, str]]:
    due = select(func.sum(dues.DUE)).where(DUES.c.reimbursement == REIMBURSEMENTS.c.id).scalar_subquery()
    back = select(func.sum(CLAWBACKS.c.amount)).where(CLAWBACKS.c.period == REIMBURSEMENTS.c.id).scalar_subquery()
    gone = [ReimbursementState.REFUSED.value, ReimbursementState.WITHDRAWN.value]
    query = select(REIMBURSEMENTS, due.label("due"), back.label("back")).order_by(REIMBURSEMENTS.c.id)
    for row in tx.execute(query):
        filed = int(row.due or 0) - int(row.back or 0)
        right = 0 if row.state in gone else row.amount
        spans = sum(Money.parse(span["amount"]).fen for span in row.spans) - row.clawed_back
        parts = sum(Money.parse(part["amount"]).fen for part in row.funders)
        if filed != right or spans != row.amount or parts != row.amount:
            yield (
                row.id,
                f"it is {row.state} for {row.amount} fen, its spans come to {spans}, its funders to {parts}, its dues to {filed}",
            )
