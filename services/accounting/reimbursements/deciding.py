"""What becomes of what was filed: evidence, two reviews by two persons, and the payment. Within a transaction."""

from datetime import datetime
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from caravan.contracts.problems import EvidenceNeeded
from caravan.contracts.reimbursements import Reimbursement, ReimbursementPaymentDraft, ReimbursementState
from caravan.contracts.vouchers import Evidence, ReviewDraft
from caravan.kernel import audit
from caravan.kernel.problems import FieldError, Invalid, NotFound, Stale
from caravan.kernel.tokens import Caller
from services.accounting.reimbursements import dues, reading
from services.accounting.reimbursements.dues import CLAWBACKS, DUES
from services.accounting.reimbursements.filing import check_state, let_go, move
from services.accounting.reimbursements.models import PENDING
from services.accounting.reimbursements.reading import EVIDENCE, REIMBURSEMENTS, REVIEWS
from services.accounting.vouchers.eligible import today

STAGES: Final = {
    ReimbursementState.FILED: ReimbursementState.UNDER_REVIEW,
    ReimbursementState.UNDER_REVIEW: ReimbursementState.APPROVED,
}
"""What becomes of one that passes."""


def store(tx: Session, id: str, name: str, content: bytes, caller: Caller, at: datetime) -> Evidence:
    """Keep a file, in place of one of that name. Raises NotFound, WrongState, Invalid."""
    found = reading.row(tx, id)
    if not caller.is_org_admin(found.organization):
        raise NotFound
    check_state(found, (ReimbursementState.FILED,))
    stored = EVIDENCE.keep(tx, id, name, content, caller.subject, at)
    moved = {"version": found.version + 1}
    tx.execute(update(REIMBURSEMENTS).where(REIMBURSEMENTS.c.id == id).values(moved))
    audit.record(tx, caller.subject, "store_reimbursement_evidence", id, stored)
    return stored


def review(tx: Session, id: str, draft: ReviewDraft, version: int, caller: Caller, at: datetime) -> Reimbursement:
    """One that is approved may still be refused, until it is paid. Raises NotFound, WrongState, Stale, SameReviewer, EvidenceNeeded."""
    found = reading.row(tx, id)
    allowed = STAGES if draft.passed else PENDING
    check_state(found, allowed)
    if found.version != version:
        raise Stale
    files = EVIDENCE.of(tx, [id])[id]
    if draft.passed and not files:
        raise EvidenceNeeded
    REVIEWS.keep(tx, id, found.filed_by, files, draft, caller.subject, at)
    state = STAGES[ReimbursementState(found.state)] if draft.passed else ReimbursementState.REFUSED
    move(tx, found, state, allowed)
    if state is ReimbursementState.REFUSED:
        let_go(tx, id)
    audit.record(tx, caller.subject, "review_reimbursement", id, draft)
    return reading.get(tx, id)


def pay(tx: Session, id: str, draft: ReimbursementPaymentDraft, subject: str, at: datetime) -> Reimbursement:
    """Its vouchers have redeemed it then. Raises NotFound, WrongState, Invalid."""
    found = reading.row(tx, id)
    if not today(tx, found.filed_at) <= draft.paid_on <= today(tx, at):
        detail = "Give the day on which it was paid, from the one on which it was filed until today"
        raise Invalid(errors=[FieldError(pointer="/paid_on", code="paid_on", detail=detail)])
    paid = dict(draft) | {"paid_at": at, "paid_by": subject}
    move(tx, found, ReimbursementState.PAID, (ReimbursementState.APPROVED,), **paid)
    filed = select(DUES.c.voucher).where(DUES.c.reimbursement == id)
    set_off = select(CLAWBACKS.c.voucher).where(CLAWBACKS.c.period == id)
    for voucher in tx.scalars(filed.union(set_off)).all():
        dues.restate(tx, voucher)
    audit.record(tx, subject, "pay_reimbursement", id, draft)
    return reading.get(tx, id)
