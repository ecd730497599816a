"""What the office does with vouchers, and the parties read."""

from caravan.contracts.vouchers import RevocationDraft, Voucher
from caravan.kernel.pages import Listing, Page
from caravan.kernel.runtime import Runtime
from caravan.kernel.tokens import Caller
from services.accounting.vouchers import ending, issuing, reading


class VoucherService:
    """Issues, revokes and reads vouchers."""

    def __init__(self, runtime: Runtime) -> None:
        self._db = runtime.db
        self._now = runtime.now

    async def issue(self, application: str, caller: Caller) -> Voucher:
        """A repeat changes nothing. Raises NotFound, WrongState, VoucherCap, PoolExhausted."""
        return await self._db.write(issuing.issue, application, caller, self._now())

    async def revoke(self, id: str, draft: RevocationDraft, caller: Caller) -> Voucher:
        """Raises NotFound, WrongState."""
        return await self._db.write(ending.revoke, id, draft, caller, self._now())

    async def get(self, id: str, caller: Caller) -> Voucher:
        """Raises NotFound, also for one of others."""
        return reading.shown(await self._db.read(reading.row, id, reading.seen_by(caller)))

    async def list(
        self, listing: Listing, caller: Caller, organization: str | None, programme: str | None
    ) -> Page[Voucher]:
        """The newest first: all to the office and finance, to others their organizations'."""
        found = await self._db.read(reading.page, listing, caller, organization, programme)
        return listing.page(found, key=lambda one: (one.id,))
