"""What the office does with vouchers, and the parties read."""

from datetime import datetime

from sqlalchemy.orm import Session

from caravan.contracts.vouchers import ClawbackDraft, RevocationDraft, Voucher
from caravan.kernel import idempotency
from caravan.kernel.pages import Listing, Page
from caravan.kernel.runtime import Runtime
from caravan.kernel.tokens import Caller
from caravan.kernel.web import answer_of
from services.accounting.funds.service import check_amount
from services.accounting.redemptions import clawing
from services.accounting.vouchers import ending, issuing, reading


class VoucherService:
    """Issues, revokes, claws back and reads vouchers."""

    def __init__(self, runtime: Runtime) -> None:
        self._db = runtime.db
        self._now = runtime.now
        self._owner = runtime.owner

    async def issue(self, application: str, caller: Caller) -> Voucher:
        """A repeat changes nothing. Raises NotFound, WrongState, AlreadyExists, VoucherCap, PoolExhausted."""
        return await self._db.write(issuing.issue, application, caller, self._now())

    async def revoke(self, id: str, draft: RevocationDraft, caller: Caller) -> Voucher:
        """Raises NotFound, WrongState."""
        return await self._db.write(ending.revoke, id, draft, caller, self._now())

    async def claw_back(
        self, id: str, draft: ClawbackDraft, caller: Caller, key: idempotency.Key
    ) -> idempotency.Answer:
        """One transaction: the key, the clawback, its ledger entry, the totals. Raises NotFound, Invalid."""
        check_amount(draft.amount, "/amount", 1)
        return await self._db.write(self._claw_back, id, draft, caller.subject, key, self._now())

    def _claw_back(
        self, tx: Session, id: str, draft: ClawbackDraft, subject: str, key: idempotency.Key, at: datetime
    ) -> idempotency.Answer:
        claimed = idempotency.claim(tx, key, self._owner.id)
        if isinstance(claimed, idempotency.Answer):
            return claimed
        clawing.claw_back(tx, id, draft, subject, at)
        answer = answer_of(reading.shown(reading.row(tx, id)), status=200)
        idempotency.answer(tx, key, answer)
        return answer

    async def get(self, id: str, caller: Caller) -> Voucher:
        """Raises NotFound, also for one of others."""
        return reading.shown(await self._db.read(reading.row, id, reading.seen_by(caller)))

    async def list(
        self, listing: Listing, caller: Caller, organization: str | None, programme: str | None
    ) -> Page[Voucher]:
        """The newest first: all to the office and finance, to others their organizations'."""
        found = await self._db.read(reading.page, listing, caller, organization, programme)
        return listing.page(found, key=lambda one: (one.id,))
