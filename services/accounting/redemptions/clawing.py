"""Clawing back what a voucher has paid: the organization owes it again, and the voucher's pool has it again. Within a transaction.

Of one whose programme reimburses, it is taken of what is due: nothing is posted, and it stands with the reimbursement in which it is set
off.
Claims stay as they were settled: what was clawed back counts on in caps, and isn't paid a second time. Nor is it taken a second time,
where what it was taken of is given back later.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, insert, select, update
from sqlalchemy.orm import Session

from caravan.contracts.programmes import Mode
from caravan.contracts.vouchers import ClawbackDraft
from caravan.kernel import audit, ids
from caravan.kernel.database import table_of
from caravan.kernel.money import Money
from caravan.kernel.problems import FieldError, Invalid
from services.accounting.charging.models import LineRow
from services.accounting.funds import holds
from services.accounting.ledger import service as ledger
from services.accounting.periods import service as periods
from services.accounting.programmes import pools
from services.accounting.programmes.service import find
from services.accounting.redemptions.models import ClawbackRow, SettlementRow
from services.accounting.redemptions.service import VOUCHERS, Moved, move
from services.accounting.reimbursements import dues
from services.accounting.vouchers.reading import row


def claw_back(tx: Session, id: str, draft: ClawbackDraft, subject: str, at: datetime) -> None:
    """Take back what closed periods have paid, or made due. Raises NotFound; Invalid for more than is left of that."""
    voucher, amount = row(tx, id), draft.amount.fen
    most = _paid(tx, id) - voucher.clawed_back
    if amount > most:
        detail = f"Give at most {Money(max(0, most))}, which closed periods have paid and nobody has taken back yet"
        raise Invalid(errors=[FieldError(pointer="/amount", code="too_large", detail=detail)])
    reimburses = find(tx, voucher.programme).mode is Mode.REIMBURSED
    paper = dues.NO_PAPER if reimburses else periods.open_period(tx)
    back = _record(tx, voucher, paper, amount, draft.reason, subject, at)
    if reimburses:
        dues.restate(tx, id)
    else:
        moved = Moved(-amount, -amount)
        move(tx, voucher, moved)
        holds.add_grants(tx, voucher.organization, moved)
        ledger.redemption(
            tx,
            organization=voucher.organization,
            programme=voucher.programme,
            delta_fen=-amount,
            reference=back,
            at=at,
        )
    released = {"released": VOUCHERS.c.released + amount}
    tx.execute(update(VOUCHERS).where(VOUCHERS.c.id == id).values(released))
    pools.give_back(tx, voucher.programme, voucher.year, amount)
    audit.record(tx, subject, "claw_back_voucher", id, draft)


def undo(tx: Session, voucher: Row[Any], period: str, at: datetime) -> int:
    """Where closed periods now have paid less by a voucher (its row) than was taken back, let that stand as given back alone, on the
    statement of `period`; NO_PAPER, where it reimburses. Returns how much of it isn't to be taken again, in fen: the money is the caller's.
    The pool keeps what it has.
    """
    twice = max(0, voucher.clawed_back - _paid(tx, voucher.id)) if voucher.clawed_back else 0
    if twice:
        _record(tx, voucher, period, -twice, "已因更正退回 Given back by a correction", "accounting", at)
    return twice


def carry_over(tx: Session, period: str) -> None:
    """Leave what was taken back of those who have no statement of `period`, which is closing, to their next one."""
    buyers = select(LineRow.organization).where(LineRow.period == period)
    settled = select(SettlementRow.organization).where(SettlementRow.period == period)
    none = (ClawbackRow.period == period) & ClawbackRow.organization.not_in(buyers.union(settled))
    if tx.execute(select(ClawbackRow.id).where(none).limit(1)).first() is not None:
        tx.execute(update(ClawbackRow).where(none).values(period=periods.open_period(tx)))


def _record(tx: Session, voucher: Row[Any], period: str, amount: int, reason: str, subject: str, at: datetime) -> str:
    """Keep that `amount` fen (negative: less) were taken back. Returns the clawback's id."""
    back = ids.new("clw")
    tx.execute(
        insert(ClawbackRow).values(
            id=back,
            voucher=voucher.id,
            period=period,
            organization=voucher.organization,
            amount=amount,
            reason=reason,
            made_at=at,
            made_by=subject,
        )
    )
    clawed_back = {"clawed_back": VOUCHERS.c.clawed_back + amount}
    tx.execute(update(VOUCHERS).where(VOUCHERS.c.id == voucher.id).values(clawed_back))
    return back


def _paid(tx: Session, voucher: str) -> int:
    """What closed periods have paid by it, or made due, in fen."""
    of = (table_of(SettlementRow), dues.DUES)
    sums = (select(func.sum(one.c.on_lines + one.c.earlier)).where(one.c.voucher == voucher) for one in of)
    return sum(int(tx.execute(fen).scalar_one() or 0) for fen in sums)
