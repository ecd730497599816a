"""HTTP for fee agreements."""

from typing import Annotated

from caravan.contracts.fees import FeeAgreement, FeeAgreementDraft
from caravan.contracts.ids import ProviderId
from caravan.contracts.problems import PeriodFrozen, TaxRuleMissing, UnknownReference
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.web import Finance, Router, problems, provided
from services.accounting.fees.service import FeeService
from services.accounting.tax.endpoints import SellerReader

router = Router(prefix="/v1", tags=["fees"])
Fees = Annotated[FeeService, provided(FeeService)]


@router.post("/fee-agreements", status_code=201, responses=problems(UnknownReference, PeriodFrozen, TaxRuleMissing))
async def make_fee_agreement(draft: FeeAgreementDraft, caller: Finance, fees: Fees) -> FeeAgreement:
    """Agree on the fee that the platform keeps of what a provider is owed. It is taken as each period closes.

    None may hold in the last second of a period that is closed already. The platform's own service must be taxed by a rule.
    """
    return await fees.make(draft, caller)


@router.get("/fee-agreements")
async def list_fee_agreements(
    page: PageParams, caller: SellerReader, fees: Fees, provider: ProviderId | None = None
) -> Page[FeeAgreement]:
    """List fee agreements, the last made first: all to finance, its own to a provider's admin."""
    listing = page.listing("fee_agreements", caller, (str,), provider=provider)
    return await fees.list(listing, None if caller.is_finance else caller.providers(), provider)
