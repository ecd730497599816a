"""What the office and finance read of programmes."""

from collections.abc import AsyncIterator

from caravan.contracts.programme_reports import ProgrammeCuts, ProgrammePayments, ProgrammeRefusals, ProgrammeStanding
from caravan.kernel.pages import Listing
from caravan.kernel.runtime import Runtime
from caravan.kernel.tokens import Caller
from services.accounting.programme_reports import cuts, exports, paper, payments, refusals, standing
from services.accounting.programmes.service import find, seen_by


class ProgrammeReports:
    """Each raises NotFound, also for a draft of which the caller may not know."""

    def __init__(self, runtime: Runtime) -> None:
        self._db = runtime.db

    async def standing(self, programme: str, listing: Listing, caller: Caller) -> ProgrammeStanding:
        return await self._db.read(standing.standing, programme, listing, caller)

    async def payments(self, programme: str, period: str, caller: Caller) -> ProgrammePayments:
        """Raises WrongState for a period that isn't closed."""
        return await self._db.read(payments.payments, programme, period, caller)

    async def cuts(self, programme: str, year: int | None, caller: Caller) -> ProgrammeCuts:
        return await self._db.read(cuts.cuts, programme, year, caller)

    async def refusals(self, programme: str) -> ProgrammeRefusals:
        return await self._db.read(refusals.refusals, programme)

    async def export(self, programme: str, caller: Caller) -> AsyncIterator[bytes]:
        """The bytes of its CSV. Raises NotFound before the first byte."""
        await self._db.read(find, programme, seen_by(caller))
        return self._export(programme)

    async def _export(self, programme: str) -> AsyncIterator[bytes]:
        yield paper.header()
        after = ""
        while found := await self._db.read(exports.batch, programme, after):
            after, rows = found
            yield rows
