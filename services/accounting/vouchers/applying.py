"""Applying for vouchers. The organization and the office see an application; the organization's admins make and withdraw it."""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, insert, select, true, update
from sqlalchemy.orm import Session

from caravan.contracts.problems import AboveCap, AlreadyExists, NotEligible, ProgrammeClosed, WrongState
from caravan.contracts.programmes import Programme, ProgrammeState
from caravan.contracts.vouchers import (
    ApplicationState,
    Cap,
    EligibilityAnswers,
    EligibilityQuestion,
    Evidence,
    Review,
    ReviewDraft,
    VoucherApplication,
    VoucherApplicationDraft,
)
from caravan.kernel import audit, idempotency, ids
from caravan.kernel.money import Money
from caravan.kernel.pages import Listing, Page
from caravan.kernel.problems import FieldError, Invalid, NotFound, Stale
from caravan.kernel.runtime import Runtime
from caravan.kernel.tokens import Caller
from caravan.kernel.web import answer_of
from services.accounting.funds.service import check_amount, unknown
from services.accounting.programmes.eligibility import unmet
from services.accounting.programmes.names import check_names
from services.accounting.programmes.service import PROGRAMMES, find
from services.accounting.usage import copies
from services.accounting.vouchers import eligible, evidence, reviewing
from services.accounting.vouchers.affiliation import resolved
from services.accounting.vouchers.contract_keys import contract_key
from services.accounting.vouchers.eligible import VOUCHERS
from services.accounting.vouchers.evidence import APPLICATIONS, EVIDENCE
from services.accounting.vouchers.reviewing import LIVING, REVIEWS, STAGES

NOTHING_LEFT: Final = {
    Cap.ISSUED_IN_YEAR: "withdraw what else is applied for; what is issued counts until the year is over",
    Cap.POOL: "apply once it is raised, or in another year",
}
"""What to do instead."""


class ApplicationService:
    """What enterprises ask for."""

    def __init__(self, runtime: Runtime) -> None:
        self._db = runtime.db
        self._now = runtime.now
        self._owner = runtime.owner

    async def ask(self, question: EligibilityQuestion, caller: Caller) -> EligibilityAnswers:
        """Raises Invalid; UnknownReference, also for an organization that isn't the caller's."""
        if not caller.is_org_member(question.organization):
            raise unknown("/organization")
        found = await self._db.read(eligible.answer, question, self._now())
        return EligibilityAnswers(items=tuple(found))

    async def apply(self, draft: VoucherApplicationDraft, caller: Caller, key: idempotency.Key) -> idempotency.Answer:
        """One transaction: the key and the application. Raises UnknownReference, Invalid, NotEligible, ProgrammeClosed, AboveCap,
        AlreadyExists."""
        check_amount(draft.amount, "/amount", 1)
        if draft.contract is not None:
            check_amount(draft.contract.amount, "/contract/amount", 1)
        if not caller.is_org_admin(draft.organization) or not await copies.arrived(self._db, draft.organization):
            raise unknown("/organization")
        return await self._db.write(self._apply, draft, caller.subject, key, self._now())

    def _apply(
        self, tx: Session, draft: VoucherApplicationDraft, subject: str, key: idempotency.Key, at: datetime
    ) -> idempotency.Answer:
        claimed = idempotency.claim(tx, key, self._owner.id)
        if isinstance(claimed, idempotency.Answer):
            return claimed
        answer = answer_of(apply(tx, draft, subject, at))
        idempotency.answer(tx, key, answer)
        return answer

    async def withdraw(self, id: str, caller: Caller) -> VoucherApplication:
        """A repeat changes nothing. Raises NotFound, WrongState."""
        return await self._db.write(withdraw, id, caller)

    async def review(self, id: str, draft: ReviewDraft, version: int, caller: Caller) -> VoucherApplication:
        """Raises NotFound, WrongState, Stale, SameReviewer."""
        return await self._db.write(review, id, draft, version, caller, self._now())

    async def store(self, id: str, name: str, content: bytes, caller: Caller) -> Evidence:
        """Raises NotFound, WrongState, Invalid."""
        return await self._db.write(evidence.store, id, name, content, caller, self._now())

    async def content(self, id: str, name: str, caller: Caller) -> tuple[Evidence, bytes]:
        """Raises NotFound."""

        def read(tx: Session) -> tuple[Evidence, bytes]:
            row_of(tx, id, caller)
            return EVIDENCE.content(tx, id, name)

        return await self._db.read(read)

    async def get(self, id: str, caller: Caller) -> VoucherApplication:
        """Raises NotFound, also for one of others."""
        return await self._db.read(lambda tx: show(tx, [row_of(tx, id, caller)])[0])

    async def list(
        self, listing: Listing, caller: Caller, state: ApplicationState | None, programme: str | None
    ) -> Page[VoucherApplication]:
        """The oldest first: all to the office, to others their organizations'."""
        found = await self._db.read(_page, listing, caller, state, programme)
        return listing.page(found, key=lambda one: (one.id,))


def apply(tx: Session, draft: VoucherApplicationDraft, subject: str, at: datetime) -> VoucherApplication:
    """As `ApplicationService.apply`, for an organization that may."""
    programme = _programme(tx, draft, at)
    day = eligible.today(tx, at)
    eligible.check_enterprise(tx, draft.enterprise, day)
    if lacks := unmet(programme, resolved(tx, draft.organization, draft.enterprise), draft.use, day):
        raise NotEligible(unmet=lacks)
    kinds = draft.enterprise.kinds
    check_names(programme, kinds, draft.use, kinds_at="/enterprise/kinds", use_at="/use")
    if programme.caps.contract is not None and draft.contract is None:
        detail = "Give the contract: the programme pays a part of it"
        raise Invalid(errors=[FieldError(pointer="/contract", code="missing", detail=detail)])
    _check_contract(tx, draft)
    limit = eligible.most(tx, programme, draft.organization, draft.contract, day.year)
    if limit is not None and draft.amount > limit.most:
        instead = "apply for that at most" if limit.most.fen else NOTHING_LEFT.get(limit.cap, "it pays nothing")
        raise AboveCap(f"{limit.words.en}: {instead}", cap=limit.cap, most=limit.most, words=limit.words)
    id, contract = ids.new("vap"), draft.contract
    values = draft.model_dump(exclude={"contract", "enterprise"}) | {
        "id": id,
        "enterprise": draft.enterprise.model_dump(mode="json"),
        "amount": draft.amount.fen,
        "contract_number": contract and contract.number,
        "contract_key": contract and contract_key(contract.number),
        "contract_amount": contract and contract.amount.fen,
        "state": ApplicationState.APPLIED.value,
        "version": 1,
        "applied_at": at,
        "applied_by": subject,
    }
    tx.execute(insert(APPLICATIONS).values(values))
    audit.record(tx, subject, "apply_for_voucher", id, draft)
    return show(tx, [row(tx, id)])[0]


def withdraw(tx: Session, id: str, caller: Caller) -> VoucherApplication:
    found = row_of(tx, id, caller)
    if not caller.is_org_admin(found.organization):
        raise NotFound
    if found.state != ApplicationState.WITHDRAWN:
        move(tx, found, ApplicationState.WITHDRAWN, LIVING)
        audit.record(tx, caller.subject, "withdraw_voucher_application", id)
    return show(tx, [row(tx, id)])[0]


def review(tx: Session, id: str, draft: ReviewDraft, version: int, caller: Caller, at: datetime) -> VoucherApplication:
    """One that is approved may still be refused, until a voucher is issued. Raises NotFound, WrongState, Stale, SameReviewer."""
    found = row(tx, id)
    allowed = tuple(STAGES) if draft.passed else LIVING
    check_state(found, allowed)
    if found.version != version:
        raise Stale
    move(tx, found, reviewing.record(tx, found, draft, caller, at), allowed)
    return show(tx, [row(tx, id)])[0]


def row(tx: Session, id: str, which: ColumnElement[bool] | None = None) -> Row[Any]:
    """The application, if it is among `which`. Raises NotFound."""
    query = select(APPLICATIONS).where(APPLICATIONS.c.id == id, true() if which is None else which)
    found = tx.execute(query).one_or_none()
    if found is None:
        raise NotFound
    return found


def row_of(tx: Session, id: str, caller: Caller) -> Row[Any]:
    """The application, if the caller may see it. Raises NotFound."""
    return row(tx, id, _seen_by(caller))


def move(tx: Session, found: Row[Any], state: ApplicationState, allowed: tuple[ApplicationState, ...]) -> None:
    """Into the next state. Raises WrongState."""
    check_state(found, allowed)
    moved = {"state": state.value, "version": found.version + 1}
    tx.execute(update(APPLICATIONS).where(APPLICATIONS.c.id == found.id).values(moved))


def check_state(found: Row[Any], allowed: tuple[ApplicationState, ...]) -> None:
    """Raises WrongState unless it is in one of these."""
    if found.state not in allowed:
        raise WrongState(state=found.state, allowed=tuple(one.value for one in allowed))


def show(tx: Session, rows: list[Row[Any]]) -> list[VoucherApplication]:
    these = [row.id for row in rows]
    files, reviews = EVIDENCE.of(tx, these), REVIEWS.of(tx, these)
    issued = select(VOUCHERS.c.application, VOUCHERS.c.id).where(VOUCHERS.c.application.in_(these))
    vouchers = {one.application: one.id for one in tx.execute(issued)}
    return [_shown(row, files[row.id], reviews[row.id], vouchers.get(row.id)) for row in rows]


def _shown(row: Row[Any], files: list[Evidence], reviews: list[Review], voucher: str | None) -> VoucherApplication:
    values = row._asdict()
    number, amount = values.pop("contract_number"), values.pop("contract_amount")
    del values["contract_key"], values["contract_repeats"]
    contract = None if number is None else {"number": number, "amount": Money(amount)}
    of_it = {"evidence": tuple(files), "reviews": tuple(reviews), "voucher": voucher}
    return VoucherApplication.model_validate(values | {"amount": Money(row.amount), "contract": contract} | of_it)


def _programme(tx: Session, draft: VoucherApplicationDraft, at: datetime) -> Programme:
    try:
        programme = find(tx, draft.programme, PROGRAMMES.c.state == ProgrammeState.PUBLISHED.value)
    except NotFound:
        raise unknown("/programme") from None
    if not programme.starts_at <= at < programme.ends_at:
        raise ProgrammeClosed(starts_at=programme.starts_at, ends_at=programme.ends_at)
    return programme


def _check_contract(tx: Session, draft: VoucherApplicationDraft) -> None:
    if draft.contract is None:
        return
    living = APPLICATIONS.c.state.not_in((ApplicationState.REFUSED.value, ApplicationState.WITHDRAWN.value))
    same = select(APPLICATIONS.c.id).where(
        APPLICATIONS.c.programme == draft.programme,
        APPLICATIONS.c.organization == draft.organization,
        APPLICATIONS.c.contract_key == contract_key(draft.contract.number),
        living,
    )
    if existing := tx.scalars(same.order_by(APPLICATIONS.c.id).limit(1)).first():
        detail = "This contract has an application: withdraw that first, if no voucher is issued by it"
        raise AlreadyExists(detail, existing=existing)


def _seen_by(caller: Caller) -> ColumnElement[bool]:
    return true() if caller.is_office else APPLICATIONS.c.organization.in_(caller.organizations())


def _page(
    tx: Session, listing: Listing, caller: Caller, state: ApplicationState | None, programme: str | None
) -> list[VoucherApplication]:
    query = select(APPLICATIONS).where(_seen_by(caller)).order_by(APPLICATIONS.c.id).limit(listing.fetch)
    if state is not None:
        query = query.where(APPLICATIONS.c.state == state.value)
    if programme is not None:
        query = query.where(APPLICATIONS.c.programme == programme)
    if listing.after:
        query = query.where(APPLICATIONS.c.id > listing.after[0])
    return show(tx, list(tx.execute(query)))
