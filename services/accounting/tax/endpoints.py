"""HTTP for tax rules."""

from typing import Annotated

from caravan.contracts.problems import PeriodFrozen, UnknownReference
from caravan.contracts.tax import PLATFORM, Seller, TaxRule, TaxRuleDraft
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.web import Caller, Finance, Router, allow, problems, provided
from services.accounting.tax.service import TaxService

router = Router(prefix="/v1", tags=["tax"])
Taxes = Annotated[TaxService, provided(TaxService)]
SellerReader = Annotated[
    Caller,
    allow(
        "provider admin or finance",
        lambda caller: caller.is_finance or bool(caller.providers()),
        *("provider/<id>:admin", "platform:finance"),
    ),
]


@router.post("/tax-rules", status_code=201, responses=problems(UnknownReference, PeriodFrozen))
async def post_tax_rule(draft: TaxRuleDraft, caller: Finance, taxes: Taxes) -> TaxRule:
    """Say how what a seller sells is taxed from a second on.

    A provider without a rule is taxed at the one rate that the catalog has of it; an organization that resells needs one, or the period
    doesn't close. No rule may hold in the last second of a period that
    is closed already: what was supplied in it, and what corrects it later, stays taxed as it was.
    """
    return await taxes.post(draft, caller)


@router.get("/tax-rules")
async def list_tax_rules(
    page: PageParams, caller: SellerReader, taxes: Taxes, seller: Seller | None = None
) -> Page[TaxRule]:
    """List tax rules, the last posted first: all to finance, to a provider's admin its own and the platform's."""
    listing = page.listing("tax_rules", caller, (str,), seller=seller)
    return await taxes.list(listing, None if caller.is_finance else caller.providers() | {PLATFORM}, seller)
