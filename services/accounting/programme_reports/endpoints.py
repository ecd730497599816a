"""HTTP for programme reports."""

from typing import Annotated, Any

from fastapi import Query
from fastapi.responses import StreamingResponse

from caravan.contracts.ids import PeriodId, ProgrammeId
from caravan.contracts.problems import WrongState
from caravan.contracts.programme_reports import ProgrammeCuts, ProgrammePayments, ProgrammeRefusals, ProgrammeStanding
from caravan.kernel.pages import PageParams
from caravan.kernel.web import Caller, Office, Response, Router, allow, problems, provided
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

CSV: dict[int | str, dict[str, Any]] = {
    200: {"description": "The vouchers.", "content": {"text/csv": {"schema": {"type": "string"}}}}
}


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


@router.get("/cuts")
async def get_programme_cuts(
    programme: ProgrammeId,
    caller: ReportReader,
    reports: Reports,
    year: Annotated[int | None, Query(ge=2000, le=2200, description="Of claims in this calendar year alone.")] = None,
) -> ProgrammeCuts:
    """Read by how much the floor and each cap have cut the claims of closed periods, and how many of them."""
    return await reports.cuts(programme, year, caller)


@router.get("/refusals")
async def get_programme_refusals(programme: ProgrammeId, caller: Office, reports: Reports) -> ProgrammeRefusals:
    """Read what reviewers have refused: how many applications and reimbursements by which rule, and the last of each."""
    return await reports.refusals(programme)


@router.get("/export.csv", response_class=StreamingResponse, responses=CSV)
async def export_programme(programme: ProgrammeId, caller: ReportReader, reports: Reports) -> Response:
    """Download a programme's vouchers as CSV: UTF-8 with a byte order mark, a Chinese and English header, a row for each voucher and span.

    It says who applied, reviewed and issued, what was claimed, paid, clawed back and released to the pool: amounts of the voucher on its
    first row alone, so that columns sum. What persons wrote has an apostrophe before it where it
    would start a spreadsheet's formula.
    """
    return StreamingResponse(
        await reports.export(programme, caller),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{programme}.csv"'},
    )
