"""HTTP for accelerators, sites with their modes, and tenants."""

from typing import Annotated

from caravan.contracts.ids import OrganizationId, ProviderId, SiteId, TenantId
from caravan.contracts.modes import SiteModeDraft, SiteModeFrom
from caravan.contracts.offerings import Accelerator, AdapterDescriptor, Site, SiteDraft
from caravan.contracts.parties import Tenant, TenantDraft
from caravan.contracts.problems import (
    AdapterUnknown,
    AlreadyExists,
    ConsentNeeded,
    ProviderNotApproved,
    SettingsRefused,
    UnknownReference,
)
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.web import (
    Anyone,
    Caller,
    IfMatch,
    PlatformAdmin,
    ProviderAdmin,
    Response,
    Router,
    allow,
    etag,
    problems,
    provided,
)
from services.catalog.sites.accelerators import AcceleratorService
from services.catalog.sites.modes import SiteModeService
from services.catalog.sites.service import SiteService
from services.catalog.sites.tenants import TenantService

Accelerators = Annotated[AcceleratorService, provided(AcceleratorService)]
Sites = Annotated[SiteService, provided(SiteService)]
Modes = Annotated[SiteModeService, provided(SiteModeService)]
Tenants = Annotated[TenantService, provided(TenantService)]
AcceleratorEditor = Annotated[
    Caller,
    allow(
        "provider admin or platform admin",
        lambda caller: caller.is_admin or bool(caller.providers()),
        *("provider/<id>:admin", "platform:admin"),
    ),
]

accelerators = Router(prefix="/v1", tags=["accelerators"])
sites = Router(prefix="/v1", tags=["sites"])
tenants = Router(prefix="/v1", tags=["tenants"])


@accelerators.get("/accelerators")
async def list_accelerators(page: PageParams, caller: Anyone, service: Accelerators) -> Page[Accelerator]:
    """List the kinds of accelerators that offerings and jobs can name."""
    return await service.list(page.listing("accelerators", caller, (str,)))


@accelerators.post("/accelerators", status_code=201, responses=problems(AlreadyExists))
async def add_accelerator(accelerator: Accelerator, caller: AcceleratorEditor, service: Accelerators) -> Accelerator:
    """Add a kind of accelerator. It never changes afterwards."""
    return await service.add(accelerator, caller)


@sites.get("/adapters")
async def list_adapters(page: PageParams, caller: Anyone, service: Sites) -> Page[AdapterDescriptor]:
    """List the adapters that sites can be reached through, with the JSON Schemas of all that they are set up with."""
    return await service.list_adapters(page.listing("adapters", caller, (str,)))


@sites.post(
    "/sites",
    status_code=201,
    responses=problems(UnknownReference, ProviderNotApproved, AdapterUnknown, SettingsRefused, ConsentNeeded),
)
async def create_site(draft: SiteDraft, caller: ProviderAdmin, service: Sites, response: Response) -> Site:
    """Register a cluster. Its settings are held against the schema that its adapter announced."""
    site = await service.create(draft, caller)
    response.headers["ETag"] = etag(site.version)
    return site


@sites.get("/sites")
async def list_sites(
    page: PageParams, caller: Anyone, service: Sites, provider: ProviderId | None = None
) -> Page[Site]:
    """List sites. `settings` is empty and `inventory` null for those who have no part in a site."""
    return await service.list(provider, caller, page.listing("sites", caller, (str,), provider=provider))


@sites.get("/sites/{site}")
async def get_site(site: SiteId, caller: Anyone, service: Sites, response: Response) -> Site:
    """Read a site. `settings` is empty and `inventory` null for those who have no part in it."""
    found = await service.get(site, caller)
    response.headers["ETag"] = etag(found.version)
    return found


@sites.put("/sites/{site}", responses=problems(UnknownReference, AdapterUnknown, SettingsRefused, ConsentNeeded))
async def update_site(
    site: SiteId, draft: SiteDraft, caller: ProviderAdmin, version: IfMatch, service: Sites, response: Response
) -> Site:
    """Replace a site's name, region, settings and accelerators. Provider and adapter stay.

    A report of other health or inventory makes a new version too: read the site again after a 412.
    """
    changed = await service.update(site, draft, caller, version)
    response.headers["ETag"] = etag(changed.version)
    return changed


@sites.post("/sites/{site}/modes", status_code=201)
async def publish_site_mode(site: SiteId, draft: SiteModeDraft, caller: PlatformAdmin, service: Modes) -> SiteModeFrom:
    """Set how a site's time is billed from an hour on: `billed`, `notional` (priced and shown, no money moves) or `tracked` (counted).

    Price lists of its offerings get a new revision with it. Jobs that were placed before keep theirs, with the modes of then. What was
    to start in that hour is replaced.
    """
    return await service.publish(site, draft, caller)


@sites.get("/sites/{site}/modes")
async def list_site_modes(site: SiteId, page: PageParams, caller: Anyone, service: Modes) -> Page[SiteModeFrom]:
    """List a site's modes, the last one first. Before the first its time is billed."""
    return await service.list(site, caller, page.listing("site-modes", caller, (int,), site=site))


@tenants.post(
    "/tenants",
    status_code=201,
    responses=problems(UnknownReference, AdapterUnknown, SettingsRefused, AlreadyExists),
)
async def create_tenant(draft: TenantDraft, caller: ProviderAdmin, service: Tenants, response: Response) -> Tenant:
    """Let an organization, or one of its projects, run at your site, and say as what."""
    tenant = await service.create(draft, caller)
    response.headers["ETag"] = etag(tenant.version)
    return tenant


@tenants.get("/tenants")
async def list_tenants(
    page: PageParams,
    caller: Anyone,
    service: Tenants,
    site: SiteId | None = None,
    organization: OrganizationId | None = None,
) -> Page[Tenant]:
    """List tenants: those of your organizations, and those at sites of your providers."""
    listing = page.listing("tenants", caller, (str,), site=site, organization=organization)
    return await service.list(site, organization, caller, listing)


@tenants.get("/tenants/{tenant}")
async def get_tenant(tenant: TenantId, caller: Anyone, service: Tenants, response: Response) -> Tenant:
    """Read a tenant."""
    found = await service.get(tenant, caller)
    response.headers["ETag"] = etag(found.version)
    return found
