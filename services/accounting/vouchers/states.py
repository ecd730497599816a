"""What a voucher is: redeemed, once closed periods have paid all that it is issued for, or finance has paid it back. Where some of that is
given back, it is again what it was before."""

from typing import Final

from sqlalchemy import func, select

from caravan.contracts.vouchers import VoucherState
from services.accounting.redemptions.models import SettlementRow
from services.accounting.reimbursements.models import TRANSFERRED, DueRow, ReimbursementRow
from services.accounting.vouchers.eligible import VOUCHERS

_PAID: Final = (
    select(func.coalesce(func.sum(SettlementRow.on_lines + SettlementRow.earlier), 0))
    .where(SettlementRow.voucher == VOUCHERS.c.id)
    .scalar_subquery()
)
_DUE: Final = select(func.coalesce(func.sum(DueRow.on_lines + DueRow.earlier), 0)).where(
    DueRow.voucher == VOUCHERS.c.id
)
_PAID_BACK: Final = _DUE.join(ReimbursementRow, ReimbursementRow.id == DueRow.reimbursement).where(
    ReimbursementRow.state.in_(TRANSFERRED)
)
ALL_PAID: Final = (
    (VOUCHERS.c.amount <= _PAID)
    | (VOUCHERS.c.amount <= _DUE.scalar_subquery()) & (VOUCHERS.c.amount <= _PAID_BACK.scalar_subquery())
).label("all_paid")
"""Whether all of it was paid, and nothing of that given back, for a query of VOUCHERS. What was clawed back since was paid too."""


def state_of(stored: str, *, all_paid: bool) -> VoucherState:
    """`stored`: whether it has ended, and how. One that is revoked stays so. Pure."""
    state = VoucherState(stored)
    return VoucherState.REDEEMED if all_paid and state is not VoucherState.REVOKED else state
