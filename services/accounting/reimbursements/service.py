"""What enterprises claim, the office reviews and finance pays."""

from collections.abc import Callable

from sqlalchemy.orm import Session

from caravan.contracts.reimbursements import (
    Reimbursables,
    ReimbursedLine,
    Reimbursement,
    ReimbursementDraft,
    ReimbursementPaymentDraft,
    ReimbursementState,
    RepaymentDraft,
)
from caravan.contracts.vouchers import Evidence, ReviewDraft
from caravan.kernel import idempotency
from caravan.kernel.pages import Listing, Page
from caravan.kernel.problems import NotFound
from caravan.kernel.runtime import Runtime
from caravan.kernel.tokens import Caller
from caravan.kernel.web import answer_of
from services.accounting.funds.service import unknown
from services.accounting.reimbursements import deciding, filing, reading
from services.accounting.usage import copies


class ReimbursementService:
    """Each raises NotFound, also for one of others."""

    def __init__(self, runtime: Runtime) -> None:
        self._db = runtime.db
        self._now = runtime.now
        self._owner = runtime.owner

    async def reimbursable(self, organization: str, caller: Caller) -> Reimbursables:
        if not (caller.is_office or caller.is_finance or caller.is_org_member(organization)):
            raise NotFound
        now = self._now()
        found = await self._db.read(lambda tx: tuple(reading.reimbursable(tx, organization, now)))
        return Reimbursables(items=found)

    async def file(self, draft: ReimbursementDraft, caller: Caller, key: idempotency.Key) -> idempotency.Answer:
        """One transaction: the key and what is filed. Raises UnknownReference, Invalid, AlreadyExists, NothingDue."""
        if not caller.is_org_admin(draft.organization) or not await copies.arrived(self._db, draft.organization):
            raise unknown("/organization")
        now = self._now()
        return await self._db.write(self._answered, key, 201, lambda tx: filing.file(tx, draft, caller.subject, now))

    async def repay(self, draft: RepaymentDraft, caller: Caller, key: idempotency.Key) -> idempotency.Answer:
        """One transaction: the key, and what is repaid. Raises UnknownReference, Invalid, AlreadyExists, NothingOwed."""
        if not await copies.arrived(self._db, draft.organization):
            raise unknown("/organization")
        now = self._now()
        return await self._db.write(self._answered, key, 201, lambda tx: filing.repay(tx, draft, caller.subject, now))

    def _answered(
        self, tx: Session, key: idempotency.Key, status: int, change: Callable[[Session], Reimbursement]
    ) -> idempotency.Answer:
        """Make the change, unless the key's first request has made it."""
        claimed = idempotency.claim(tx, key, self._owner.id)
        if isinstance(claimed, idempotency.Answer):
            return claimed
        answer = answer_of(change(tx), status=status)
        idempotency.answer(tx, key, answer)
        return answer

    async def withdraw(self, id: str, caller: Caller) -> Reimbursement:
        """A repeat changes nothing. Raises WrongState."""
        return await self._db.write(filing.withdraw, id, caller)

    async def store(self, id: str, name: str, content: bytes, caller: Caller) -> Evidence:
        """Raises WrongState, Invalid."""
        return await self._db.write(deciding.store, id, name, content, caller, self._now())

    async def content(self, id: str, name: str, caller: Caller) -> tuple[Evidence, bytes]:
        def read(tx: Session) -> tuple[Evidence, bytes]:
            reading.row(tx, id, reading.seen_by(caller))
            return reading.EVIDENCE.content(tx, id, name)

        return await self._db.read(read)

    async def review(self, id: str, draft: ReviewDraft, version: int, caller: Caller) -> Reimbursement:
        """Raises WrongState, Stale, SameReviewer, EvidenceNeeded."""
        return await self._db.write(deciding.review, id, draft, version, caller, self._now())

    async def pay(
        self, id: str, draft: ReimbursementPaymentDraft, caller: Caller, key: idempotency.Key
    ) -> idempotency.Answer:
        """One transaction: the key, the payment, the vouchers' totals. Raises WrongState, Invalid."""
        now = self._now()
        return await self._db.write(
            self._answered, key, 200, lambda tx: deciding.pay(tx, id, draft, caller.subject, now)
        )

    async def get(self, id: str, caller: Caller) -> Reimbursement:
        return await self._db.read(reading.get, id, reading.seen_by(caller))

    async def list(
        self,
        listing: Listing,
        caller: Caller,
        state: ReimbursementState | None,
        organization: str | None,
        programme: str | None,
    ) -> Page[Reimbursement]:
        """The oldest first: all to the office and finance, to others their organizations'."""
        found = await self._db.read(reading.page, listing, caller, state, organization, programme)
        return listing.page(found, key=lambda one: (one.id,))

    async def lines(self, id: str, listing: Listing, caller: Caller) -> Page[ReimbursedLine]:
        found = await self._db.read(reading.lines, id, listing, caller)
        return listing.page(found, key=lambda one: (one.voucher, one.line.id))
