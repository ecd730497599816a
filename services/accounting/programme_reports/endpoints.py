"""HTTP for programme reports."""

from typing import Annotated

from caravan.contracts.ids import PeriodId, ProgrammeId
from caravan.contracts.problems import WrongState
from caravan.contracts.programme_reports import ProgrammePayments, ProgrammeStanding
from caravan.kernel.pages import PageParams
from caravan.kernel.web import Caller, Router, allow, problems, provided
from services.accounting.programme_reports.service import ProgrammeReports

router = Router(prefix="/v1/programmes/{programme}", tags=["programmes"])
Reports = Annotated[ProgrammeReports, provided(ProgrammeReports)]
ReportReader = Annotated[
    Caller,
    allow(
        "programmes office or finance",
        lambda caller: caller.is_office or caller.is_finance,
        *("platform:programmes", "platform:finance"),
    ),
]


@router.get("/standing")
async def get_programme_standing(
    programme: ProgrammeId, page: PageParams, caller: ReportReader, reports: Reports
) -> ProgrammeStanding:
    """Read how a programme stands: its pools, how many applications and vouchers there are, and what each organization has of it."""
    listing = page.listing("programme_standing", caller, (str, int), programme=programme)
    return await reports.standing(programme, listing, caller)


@router.get("/payments", responses=problems(WrongState))
async def get_programme_payments(
    programme: ProgrammeId, period: PeriodId, caller: ReportReader, reports: Reports
) -> ProgrammePayments:
    """Read what a programme pays by the close of a period: by seller, for earlier periods, and which funder pays what of that."""
    return await reports.payments(programme, period, caller)
