"""HTTP for periods."""

from typing import Annotated

from caravan.contracts.ids import PeriodId
from caravan.contracts.problems import PeriodCutRefused, WrongState
from caravan.contracts.statements import Period, PeriodCut
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.web import (
    Anyone,
    Finance,
    OptionalIdempotencyKey,
    Response,
    Router,
    etag,
    problems,
    provided,
    stored,
)
from services.accounting.periods.closing import PeriodService

router = Router(prefix="/v1", tags=["periods"])
Periods = Annotated[PeriodService, provided(PeriodService)]


@router.get("/periods")
async def list_periods(page: PageParams, caller: Anyone, periods: Periods) -> Page[Period]:
    """List billing periods, the latest first."""
    return await periods.list(caller, page.listing("periods", caller, (int,)))


@router.get("/periods/{period}")
async def get_period(period: PeriodId, caller: Anyone, periods: Periods, response: Response) -> Period:
    """Read a period; while it is closing, with what it waits for."""
    found = await periods.get(period, caller)
    response.headers["ETag"] = etag(found.version)
    return found


@router.post("/periods/{period}/cut", response_model=Period, responses=problems(PeriodCutRefused, WrongState))
async def cut_period(
    period: PeriodId, cut: PeriodCut, caller: Finance, periods: Periods, key: OptionalIdempotencyKey
) -> Response:
    """End an open period at a second in the future, or at a past one at or after which no usage was applied.

    The rest of it becomes a period of its own. A repeat of the same cut changes nothing.
    """
    return stored(await periods.cut(period, cut, caller, key))


@router.post("/periods/{period}/close", response_model=Period)
async def close_period(period: PeriodId, caller: Finance, periods: Periods, key: OptionalIdempotencyKey) -> Response:
    """Close a period: it is `closing` until it is over and every site's usage is complete, and then `closed`, for good.

    For sites that are late it waits until the grace has ended (72 hours by default, from the later of this call and the period's end),
    and names them. Statements are issued as it closes. A repeat changes nothing.
    """
    return stored(await periods.close(period, caller, key))
