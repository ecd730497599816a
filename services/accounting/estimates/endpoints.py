"""HTTP for estimates."""

from typing import Annotated

from caravan.contracts.estimates import Forecast, Preview, PreviewQuestion
from caravan.contracts.ids import ProgrammeId
from caravan.contracts.problems import UnknownReference
from caravan.kernel.web import Office, Router, problems, provided
from services.accounting.estimates.service import EstimateService

router = Router(prefix="/v1", tags=["programmes"])
Estimates = Annotated[EstimateService, provided(EstimateService)]


@router.post("/programmes/{programme}/preview", responses=problems(UnknownReference))
async def preview_programme(
    programme: ProgrammeId, question: PreviewQuestion, caller: Office, estimates: Estimates
) -> Preview:
    """Ask what a programme, also a draft, would have paid of closed periods, by enterprise and centre. Changes nothing."""
    return await estimates.preview(programme, question)


@router.get("/programmes/{programme}/forecast")
async def forecast_programme(programme: ProgrammeId, caller: Office, estimates: Estimates) -> Forecast:
    """Ask when the current year's pool is used up, and what of it is redeemed by the year's end, if it goes on as in the last months."""
    return await estimates.forecast(programme)
