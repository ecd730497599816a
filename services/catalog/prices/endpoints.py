"""HTTP for price lists."""

from typing import Annotated

from fastapi import Query

from caravan.contracts.explanations import PriceExplanation, PriceQuestion
from caravan.contracts.ids import OfferingId, OrganizationId, PriceListId
from caravan.contracts.prices import PriceList, PriceListDraft
from caravan.contracts.problems import NotPriced, UnknownReference, WrongState
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.web import Anyone, Caller, Router, allow, problems, provided
from services.catalog.prices.explaining import PriceExplanationService
from services.catalog.prices.service import PriceListService

PriceLists = Annotated[PriceListService, provided(PriceListService)]
Explanations = Annotated[PriceExplanationService, provided(PriceExplanationService)]

Seller = Annotated[
    Caller,
    allow(
        "provider admin, or a reseller's",
        lambda caller: bool(caller.providers()) or any(caller.is_org_admin(one) for one in caller.organizations()),
        *("provider/<id>:admin", "org/<id>:admin"),
    ),
]

price_lists = Router(prefix="/v1", tags=["price lists"])


@price_lists.post(
    "/offerings/{offering}/price-lists", status_code=201, responses=problems(WrongState, UnknownReference)
)
async def publish_price_list(
    offering: OfferingId, draft: PriceListDraft, caller: Seller, service: PriceLists
) -> PriceList:
    """Publish the next revision of an offering's prices: all dated tariffs at once, without overlap for the same buyers and options.
    With `reseller`, of an organization's own prices, by which it sells the offering to its members.

    Jobs that are placed from now on are priced by it; those placed before keep the revision they were placed by.
    """
    return await service.publish(offering, draft, caller)


@price_lists.get("/offerings/{offering}/price-lists")
async def list_price_lists(
    offering: OfferingId,
    page: PageParams,
    caller: Anyone,
    service: PriceLists,
    reseller: Annotated[OrganizationId | None, Query(description="By whose prices; null: all that you see.")] = None,
) -> Page[PriceList]:
    """List an offering's price lists, the newest first. What is for other organizations by name is not shown.

    A reseller's members see its lists, and not those that the provider published since it sells to them.
    """
    listing = page.listing("price-lists", caller, (str,), offering=offering, reseller=reseller)
    return await service.list(offering, reseller, caller, listing)


@price_lists.get("/price-lists/{price_list}")
async def get_price_list(price_list: PriceListId, caller: Anyone, service: PriceLists) -> PriceList:
    """Read a price list. What of it is for other organizations by name is not shown."""
    return await service.get(price_list, caller)


@price_lists.post("/price-explanations", responses=problems(UnknownReference, NotPriced))
async def explain_price(question: PriceQuestion, caller: Anyone, service: Explanations) -> PriceExplanation:
    """Explain what a run of your organization would cost by an offering's newest price list, day by day, in Chinese and English.

    Nothing is stored. Whether the offering's limits allow such a run is for a quote to say.
    """
    return await service.explain(question, caller)
