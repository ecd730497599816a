"""HTTP for what vouchers have of lines."""

from typing import Annotated

from caravan.contracts.ids import VoucherId
from caravan.contracts.redemptions import VoucherShare
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.web import Router, provided
from services.accounting.voucher_shares.service import VoucherShareService
from services.accounting.vouchers.endpoints import VoucherReader

router = Router(prefix="/v1", tags=["vouchers"])
Shares = Annotated[VoucherShareService, provided(VoucherShareService)]


@router.get("/vouchers/{voucher}/shares")
async def list_voucher_shares(
    voucher: VoucherId, page: PageParams, caller: VoucherReader, shares: Shares
) -> Page[VoucherShare]:
    """List a voucher's shares of lines of closed periods, by line: its rate, its share, and what of that is paid or due."""
    return await shares.list(voucher, page.listing("voucher_shares", caller, (str,), voucher=voucher), caller)
