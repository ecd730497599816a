"""What the office and finance read of programmes."""

from caravan.contracts.programme_reports import ProgrammePayments, ProgrammeStanding
from caravan.kernel.pages import Listing
from caravan.kernel.runtime import Runtime
from caravan.kernel.tokens import Caller
from services.accounting.programme_reports import payments, standing


class ProgrammeReports:
    """Each raises NotFound, also for a draft of which the caller may not know."""

    def __init__(self, runtime: Runtime) -> None:
        self._db = runtime.db

    async def standing(self, programme: str, listing: Listing, caller: Caller) -> ProgrammeStanding:
        return await self._db.read(standing.standing, programme, listing, caller)

    async def payments(self, programme: str, period: str, caller: Caller) -> ProgrammePayments:
        """Raises WrongState for a period that isn't closed."""
        return await self._db.read(payments.payments, programme, period, caller)
