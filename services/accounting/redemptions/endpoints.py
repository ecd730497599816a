"""HTTP for what vouchers pay."""

from typing import Annotated

from caravan.contracts.ids import JobId
from caravan.contracts.redemptions import JobRedemption
from caravan.kernel.web import Router, provided
from services.accounting.redemptions.reports import RedemptionService
from services.accounting.vouchers.endpoints import VoucherReader

router = Router(prefix="/v1", tags=["vouchers"])
Redemptions = Annotated[RedemptionService, provided(RedemptionService)]


@router.get("/jobs/{job}/redemption")
async def get_job_redemption(job: JobId, caller: VoucherReader, redemptions: Redemptions) -> JobRedemption:
    """Read what vouchers pay of a job: what of them is pledged and redeemed, and what closed periods have paid of its lines."""
    return await redemptions.of_job(job, caller)
