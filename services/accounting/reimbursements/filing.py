"""Filing what is due, and taking it back: the organization's admins do. What it owes instead, and has repaid, finance records. Within a
transaction.
"""

from collections import Counter
from collections.abc import Collection
from datetime import date, datetime
from typing import Any

from sqlalchemy import Row, func, insert, select, tuple_, update
from sqlalchemy.orm import Session

from caravan.contracts.problems import AlreadyExists, NothingDue, NothingOwed, WrongState
from caravan.contracts.programme_reports import FunderPart
from caravan.contracts.programmes import Mode, Programme, ProgrammeState
from caravan.contracts.reimbursements import Reimbursement, ReimbursementDraft, ReimbursementState, RepaymentDraft
from caravan.kernel import audit, ids
from caravan.kernel.money import Money
from caravan.kernel.problems import FieldError, Invalid, NotFound
from caravan.kernel.tokens import Caller
from services.accounting.funds.service import unknown
from services.accounting.programmes.funding import Part, divided, funders_of, shown
from services.accounting.programmes.service import PROGRAMMES, find
from services.accounting.reimbursements import dues, reading
from services.accounting.reimbursements.dues import CLAWBACKS, DUES, NO_PAPER
from services.accounting.reimbursements.models import UNDECIDED
from services.accounting.reimbursements.reading import REIMBURSEMENTS
from services.accounting.vouchers.eligible import today


def file(tx: Session, draft: ReimbursementDraft, subject: str, at: datetime) -> Reimbursement:
    """All that is due. Raises UnknownReference, Invalid for a programme that deducts, AlreadyExists while one is pending, NothingDue."""
    programme = _programme(tx, draft)
    _check_pending(tx, draft)
    found = dues.unfiled(tx, draft.organization, programme, programme.id, at)
    if found.amount <= 0:
        raise NothingDue(
            amount=Money(found.amount),
            waits=Money(sum(found.waits.values())),
            waits_until=min(found.waits, default=None),
        )
    id = _keep(tx, draft, programme, found, ReimbursementState.FILED, subject, at)
    audit.record(tx, subject, "file_reimbursement", id, draft)
    return reading.get(tx, id)


def repay(tx: Session, draft: RepaymentDraft, subject: str, at: datetime) -> Reimbursement:
    """All that is owed: what was paid above all that closed periods make due by now. Raises UnknownReference; Invalid for a programme that
    deducts, another amount, or a day on which nothing was paid yet; AlreadyExists while one is pending; NothingOwed.
    """
    programme = _programme(tx, draft)
    _check_pending(tx, draft)
    found = dues.unfiled(tx, draft.organization, programme, programme.id, at).all
    if found.amount >= 0:
        raise NothingOwed(amount=Money(found.amount))
    errors = []
    if draft.amount.fen != -found.amount:
        detail = f"{Money(-found.amount)} is owed: record it once all of that is paid back"
        errors.append(FieldError(pointer="/amount", code="owed", detail=detail))
    if not _first_paid(tx, draft) <= draft.paid_on <= today(tx, at):
        detail = "Give the day on which it was paid back, from that of the first payment until today"
        errors.append(FieldError(pointer="/paid_on", code="paid_on", detail=detail))
    if errors:
        raise Invalid(errors=errors)
    paid = {"reference": draft.reference, "paid_on": draft.paid_on, "paid_at": at, "paid_by": subject}
    id = _keep(tx, draft, programme, found, ReimbursementState.REPAID, subject, at, **paid)
    for voucher in {row.voucher for row in (*found.rows, *found.clawbacks)}:
        dues.restate(tx, voucher)
    audit.record(tx, subject, "repay_reimbursement", id, draft)
    return reading.get(tx, id)


def _first_paid(tx: Session, draft: RepaymentDraft) -> date:
    """When the organization was first paid something by the programme."""
    own = (REIMBURSEMENTS.c.organization == draft.organization) & (REIMBURSEMENTS.c.programme == draft.programme)
    first: date = tx.execute(select(func.min(REIMBURSEMENTS.c.paid_on)).where(own)).scalar_one()
    return first


def _check_pending(tx: Session, draft: ReimbursementDraft) -> None:
    """Raises AlreadyExists."""
    if existing := reading.pending(tx, draft.organization, draft.programme):
        detail = "Another one waits: have it reviewed and paid, or withdraw it"
        raise AlreadyExists(detail, existing=existing)


def _keep(
    tx: Session,
    draft: ReimbursementDraft,
    programme: Programme,
    found: dues.Found,
    state: ReimbursementState,
    subject: str,
    at: datetime,
    **paid: Any,
) -> str:
    """With all that was found, which is filed then. Returns its id."""
    id = ids.new("rei")
    values = {
        "id": id,
        "organization": draft.organization,
        "programme": draft.programme,
        "state": state.value,
        "amount": found.amount,
        "clawed_back": found.clawed_back,
        "spans": [span.model_dump(mode="json") for span in found.spans],
        "funders": [part.model_dump(mode="json") for part in _funders(tx, programme, found)],
        "version": 1,
        "filed_at": at,
        "filed_by": subject,
        **paid,
    }
    tx.execute(insert(REIMBURSEMENTS).values(values))
    key = tuple_(DUES.c.period, DUES.c.voucher, DUES.c.starts_at)
    filed = key.in_([(row.period, row.voucher, row.starts_at) for row in found.rows])
    tx.execute(update(DUES).where(filed).values(reimbursement=id))
    set_off = CLAWBACKS.c.id.in_([row.id for row in found.clawbacks])
    tx.execute(update(CLAWBACKS).where(set_off).values(period=id))
    return id


def _funders(tx: Session, programme: Programme, found: dues.Found) -> tuple[FunderPart, ...]:
    """Of each voucher, what they pay of all that is paid of it then, less what they have paid."""
    of_voucher: Counter[str] = Counter()
    for row in found.rows:
        of_voucher[row.voucher] += row.due
    for back in found.clawbacks:
        of_voucher[back.voucher] -= back.amount
    before = {voucher: dues.paid(tx, voucher) for voucher in of_voucher}
    funders = funders_of(programme)
    parts = [Part(voucher, programme.id, fen) for voucher, fen in sorted(of_voucher.items())]
    return shown(divided(parts, before, funders), funders)


def withdraw(tx: Session, id: str, caller: Caller) -> Reimbursement:
    """A repeat changes nothing. Raises NotFound, WrongState."""
    found = reading.row(tx, id, reading.seen_by(caller))
    if not caller.is_org_admin(found.organization):
        raise NotFound
    if found.state != ReimbursementState.WITHDRAWN:
        move(tx, found, ReimbursementState.WITHDRAWN, UNDECIDED)
        let_go(tx, id)
        audit.record(tx, caller.subject, "withdraw_reimbursement", id)
    return reading.get(tx, id)


def let_go(tx: Session, id: str) -> None:
    """What was filed may be filed anew."""
    tx.execute(update(DUES).where(DUES.c.reimbursement == id).values(reimbursement=None))
    tx.execute(update(CLAWBACKS).where(CLAWBACKS.c.period == id).values(period=NO_PAPER))


def move(
    tx: Session,
    found: Row[Any],
    state: ReimbursementState,
    allowed: Collection[ReimbursementState],
    **values: Any,
) -> None:
    """Into the next state. Raises WrongState."""
    check_state(found, allowed)
    moved = {"state": state.value, "version": found.version + 1} | values
    tx.execute(update(REIMBURSEMENTS).where(REIMBURSEMENTS.c.id == found.id).values(moved))


def check_state(found: Row[Any], allowed: Collection[ReimbursementState]) -> None:
    """Raises WrongState unless it is in one of these."""
    if found.state not in allowed:
        raise WrongState(state=found.state, allowed=tuple(one.value for one in allowed))


def _programme(tx: Session, draft: ReimbursementDraft) -> Programme:
    try:
        programme = find(tx, draft.programme, PROGRAMMES.c.state == ProgrammeState.PUBLISHED.value)
    except NotFound:
        raise unknown("/programme") from None
    if programme.mode is not Mode.REIMBURSED:
        detail = "Name a programme that reimburses: what this one pays is deducted on statements already"
        raise Invalid(errors=[FieldError(pointer="/programme", code="deducted", detail=detail)])
    return programme
