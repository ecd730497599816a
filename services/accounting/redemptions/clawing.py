"""Clawing back what a voucher has paid: the organization owes it again, and the voucher's pool has it again. Within a transaction.

Claims stay as they were settled: what was clawed back counts on in caps, and isn't paid a second time.
"""

from datetime import datetime

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from caravan.contracts.vouchers import ClawbackDraft
from caravan.kernel import audit, ids
from caravan.kernel.money import Money
from caravan.kernel.problems import FieldError, Invalid
from services.accounting.funds import holds
from services.accounting.ledger import service as ledger
from services.accounting.periods import service as periods
from services.accounting.programmes import pools
from services.accounting.redemptions.models import ClawbackRow, SettlementRow
from services.accounting.redemptions.service import VOUCHERS, Moved
from services.accounting.vouchers.reading import row


def claw_back(tx: Session, id: str, draft: ClawbackDraft, subject: str, at: datetime) -> None:
    """Take back what closed periods have paid. Raises NotFound; Invalid for more than is left of that."""
    voucher, amount = row(tx, id), draft.amount.fen
    sums = select(func.sum(SettlementRow.on_lines + SettlementRow.earlier)).where(SettlementRow.voucher == id)
    most = int(tx.execute(sums).scalar_one() or 0) - voucher.clawed_back
    if amount > most:
        detail = f"Give at most {Money(max(0, most))}, which closed periods have paid and nobody has taken back yet"
        raise Invalid(errors=[FieldError(pointer="/amount", code="too_large", detail=detail)])
    back = ids.new("clw")
    tx.execute(
        insert(ClawbackRow).values(
            id=back,
            voucher=id,
            period=periods.open_period(tx),
            organization=voucher.organization,
            amount=amount,
            reason=draft.reason,
            made_at=at,
            made_by=subject,
        )
    )
    own = {
        "pledged": VOUCHERS.c.pledged - amount,
        "redeemed": VOUCHERS.c.redeemed - amount,
        "released": VOUCHERS.c.released + amount,
        "clawed_back": VOUCHERS.c.clawed_back + amount,
    }
    tx.execute(update(VOUCHERS).where(VOUCHERS.c.id == id).values(own))
    pools.give_back(tx, voucher.programme, voucher.year, amount)
    holds.add_grants(tx, voucher.organization, Moved(-amount, -amount))
    ledger.redemption(
        tx,
        organization=voucher.organization,
        programme=voucher.programme,
        delta_fen=-amount,
        reference=back,
        at=at,
    )
    audit.record(tx, subject, "claw_back_voucher", id, draft)
