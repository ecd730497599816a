"""HTTP for offerings and the search."""

from typing import Annotated

from fastapi import Query

from caravan.contracts.ids import AcceleratorId, OfferingId, OrganizationId, ProviderId, SiteId
from caravan.contracts.offerings import Offering, OfferingDraft, OfferingPrice, OfferingState, Tier
from caravan.contracts.problems import AdapterUnknown, NotPublishable, SettingsRefused, UnknownReference, WrongState
from caravan.kernel.money import Money
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.web import Anyone, IfMatch, ProviderAdmin, Response, Router, etag, problems, provided
from services.catalog.offerings.search import Reference, Search, SearchService
from services.catalog.offerings.service import OfferingService

Offerings = Annotated[OfferingService, provided(OfferingService)]
Searches = Annotated[SearchService, provided(SearchService)]

offerings = Router(prefix="/v1", tags=["offerings"])


@offerings.post("/offerings", status_code=201, responses=problems(UnknownReference, AdapterUnknown, SettingsRefused))
async def create_offering(
    draft: OfferingDraft, caller: ProviderAdmin, service: Offerings, response: Response
) -> Offering:
    """Draft an offering on a site of yours. It is sold once it has a price list and is activated."""
    offering = await service.create(draft, caller)
    response.headers["ETag"] = etag(offering.version)
    return offering


@offerings.post("/sites/{site}/draft-offerings", status_code=201)
async def draft_offerings(site: SiteId, caller: ProviderAdmin, service: Offerings) -> Page[Offering]:
    """Draft an offering for each part of the site's inventory that isn't offered yet.

    A part is offered when an offering that isn't archived has its target. A draft sells the whole part, and lets a job take
    all of its nodes for 24 hours; go over it before you activate it.
    """
    return await service.draft(site, caller)


@offerings.get("/offerings", responses=problems(UnknownReference))
async def search_offerings(
    page: PageParams,
    caller: Anyone,
    service: Searches,
    tier: Annotated[list[Tier] | None, Query(description="One of these tiers.")] = None,
    accelerator: AcceleratorId | None = None,
    text: Annotated[
        str | None,
        Query(
            max_length=200,
            description="Words that all stand in the names, the description, the region or the accelerator's names.",
            examples=["昇腾 910B"],
        ),
    ] = None,
    region: Annotated[str | None, Query(max_length=200)] = None,
    provider: ProviderId | None = None,
    site: SiteId | None = None,
    state: OfferingState | None = None,
    organization: Annotated[
        OrganizationId | None,
        Query(
            description="Whose prices: one of yours. If you are in one only, it is that; if all of yours buy from resellers, name one."
        ),
    ] = None,
    cpus: Annotated[int | None, Query(ge=1, le=100_000, description="Of the reference shape; 1 if not given.")] = None,
    memory_mib: Annotated[
        int | None, Query(ge=0, le=2**40, description="Of the reference shape; 0 if not given.")
    ] = None,
    accelerators: Annotated[
        int | None, Query(ge=0, le=100_000, description="Of the reference shape; 0 if not given.")
    ] = None,
    hours: Annotated[
        int | None, Query(ge=1, le=8784, description="How long the reference shape runs; 1 if not given.")
    ] = None,
    max_price: Annotated[
        str | None,
        Query(pattern=r"^(?:0|[1-9][0-9]{0,12})\.[0-9]{2}$", description="In CNY.", examples=["120.00"]),
    ] = None,
) -> Page[OfferingPrice]:
    """Search what is on sale; providers find their own offerings in any state too.

    With a reference shape (any of `cpus`, `memory_mib`, `accelerators`, `hours`, `max_price`) only offerings whose limits hold it
    on one node are found, each with its price at the prices of now for your organization, the cheapest first; those without a price
    come last.
    Without one they come in the order they were made. At most 5,000 offerings can be priced: narrow a search that finds more.
    """
    asked = (cpus, memory_mib, accelerators, hours, max_price)
    reference = None
    if any(value is not None for value in asked):
        reference = Reference(
            cpus=cpus or 1, memory_mib=memory_mib or 0, accelerators=accelerators or 0, hours=hours or 1
        )
    search = Search(
        tiers=tuple(sorted(set(tier or ()))),
        accelerator=accelerator,
        text=text,
        region=region,
        provider=provider,
        site=site,
        state=state,
        organization=organization,
        reference=reference,
        max_price=Money.parse(max_price) if max_price is not None else None,
    )
    kinds: list[type[str] | type[int]] = [int, int, str] if reference else [str]
    return await service.search(search, caller, page.listing("offerings", caller, kinds, search=search))


@offerings.get("/offerings/{offering}")
async def get_offering(offering: OfferingId, caller: Anyone, service: Offerings, response: Response) -> Offering:
    """Read an offering. Drafts are seen by their provider only; what was once on sale stays readable."""
    found = await service.get(offering, caller)
    response.headers["ETag"] = etag(found.version)
    return found


@offerings.put(
    "/offerings/{offering}", responses=problems(UnknownReference, AdapterUnknown, SettingsRefused, WrongState)
)
async def update_offering(
    offering: OfferingId,
    draft: OfferingDraft,
    caller: ProviderAdmin,
    version: IfMatch,
    service: Offerings,
    response: Response,
) -> Offering:
    """Replace an offering. Its site is fixed; once it has been on sale its tier, accelerator and target are fixed too."""
    changed = await service.update(offering, draft, caller, version)
    response.headers["ETag"] = etag(changed.version)
    return changed


@offerings.post("/offerings/{offering}/activate", responses=problems(NotPublishable, WrongState))
async def activate_offering(
    offering: OfferingId, caller: ProviderAdmin, service: Offerings, response: Response
) -> Offering:
    """Put a draft on sale, or a paused offering back. It needs an approved provider and a price list that covers now."""
    changed = await service.move(offering, "activate_offering", caller)
    response.headers["ETag"] = etag(changed.version)
    return changed


@offerings.post("/offerings/{offering}/pause", responses=problems(WrongState))
async def pause_offering(
    offering: OfferingId, caller: ProviderAdmin, service: Offerings, response: Response
) -> Offering:
    """Stop selling for now. What runs goes on; nothing new is placed."""
    changed = await service.move(offering, "pause_offering", caller)
    response.headers["ETag"] = etag(changed.version)
    return changed


@offerings.post("/offerings/{offering}/archive", responses=problems(WrongState))
async def archive_offering(
    offering: OfferingId, caller: ProviderAdmin, service: Offerings, response: Response
) -> Offering:
    """Stop selling for good: a draft or a paused offering. It stays readable."""
    changed = await service.move(offering, "archive_offering", caller)
    response.headers["ETag"] = etag(changed.version)
    return changed
