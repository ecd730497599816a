"""HTTP for exports."""

from typing import Annotated

from caravan.contracts.ids import PeriodId
from caravan.contracts.usage import UsageExport
from caravan.kernel.web import Finance, Router, provided
from services.accounting.exports.service import ExportService

router = Router(prefix="/v1", tags=["exports"])
Exports = Annotated[ExportService, provided(ExportService)]


@router.get("/exports/usage")
async def export_usage(caller: Finance, exports: Exports, period: PeriodId | None = None) -> UsageExport:
    """Export usage and the price lists it is charged by, to compute every line again.

    Of a period: all usage of each job that has a line in it. An adjustment there corrects earlier periods, so their usage is needed too.
    Of an offering that has volume discounts, or had: all revisions, to tell which one holds for a period.
    """
    return await exports.usage(period)
