"""What is due of vouchers whose programme reimburses: kept as periods close, and what that makes of vouchers. Within a transaction.

What is due of a voucher counts in `pledged`, filed or not, and what of that was paid in `redeemed`. What closed periods or the office take
back of what was paid already is owed by the organization: it is set off against what is due next.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from caravan.kernel.bulk import InsertMany
from caravan.kernel.database import table_of
from services.accounting.redemptions.models import ClawbackRow
from services.accounting.reimbursements.models import DueRow, DueShareRow
from services.accounting.vouchers.models import VoucherRow

DUES, DUE_SHARES, CLAWBACKS = table_of(DueRow), table_of(DueShareRow), table_of(ClawbackRow)
DUE: Final = DUES.c.on_lines + DUES.c.earlier
_SHARE: Final = InsertMany(DUE_SHARES)


def keep(tx: Session, dues: Sequence[Mapping[str, Any]], shares: Sequence[Mapping[str, Any]]) -> None:
    """Rows of both tables. Their vouchers are to be restated then."""
    if dues:
        tx.execute(insert(DUES), dues)
    _SHARE.run(tx, shares)


def restate(tx: Session, voucher: str) -> None:
    """Let a voucher's totals be what is due of it, and what of that was paid."""
    due, paid = totals(tx, voucher)
    values = {"pledged": due, "redeemed": min(due, paid)}
    tx.execute(update(VoucherRow).where(VoucherRow.id == voucher).values(values))


def totals(tx: Session, voucher: str) -> tuple[int, int]:
    """What is due of a voucher in all, less what was clawed back; and what was paid of it, less what was set off. In fen."""
    due = select(func.coalesce(func.sum(DUE), 0)).where(DUES.c.voucher == voucher)
    back = select(func.coalesce(func.sum(CLAWBACKS.c.amount), 0)).where(CLAWBACKS.c.voucher == voucher)
    return int(tx.execute(due).scalar_one()) - int(tx.execute(back).scalar_one()), 0
