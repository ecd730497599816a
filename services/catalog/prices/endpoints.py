"""HTTP for price lists."""

from typing import Annotated

from caravan.contracts.explanations import PriceExplanation, PriceQuestion
from caravan.contracts.ids import OfferingId, PriceListId
from caravan.contracts.prices import PriceList, PriceListDraft
from caravan.contracts.problems import NotPriced, UnknownReference, WrongState
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.web import Anyone, ProviderAdmin, Router, problems, provided
from services.catalog.prices.explaining import PriceExplanationService
from services.catalog.prices.service import PriceListService

PriceLists = Annotated[PriceListService, provided(PriceListService)]
Explanations = Annotated[PriceExplanationService, provided(PriceExplanationService)]

price_lists = Router(prefix="/v1", tags=["price lists"])


@price_lists.post(
    "/offerings/{offering}/price-lists", status_code=201, responses=problems(WrongState, UnknownReference)
)
async def publish_price_list(
    offering: OfferingId, draft: PriceListDraft, caller: ProviderAdmin, service: PriceLists
) -> PriceList:
    """Publish the next revision of an offering's prices: all dated tariffs at once, without overlap for the same buyers and options.

    Jobs that are placed from now on are priced by it; those placed before keep the revision they were placed by.
    """
    return await service.publish(offering, draft, caller)


@price_lists.get("/offerings/{offering}/price-lists")
async def list_price_lists(
    offering: OfferingId, page: PageParams, caller: Anyone, service: PriceLists
) -> Page[PriceList]:
    """List an offering's price lists, the newest revision first. What is for other organizations by name is not shown."""
    return await service.list(offering, caller, page.listing("price-lists", caller, (int,), offering=offering))


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
