"""The catalog's API: parties, sites, offerings, prices."""

from collections.abc import Sequence

from caravan.client.base import Client
from caravan.contracts.explanations import PriceExplanation, PriceQuestion
from caravan.contracts.modes import SiteModeDraft, SiteModeFrom
from caravan.contracts.offerings import (
    Accelerator,
    AdapterDescriptor,
    Offering,
    OfferingDraft,
    OfferingPrice,
    OfferingState,
    Site,
    SiteDraft,
    Tier,
)
from caravan.contracts.parties import (
    Organization,
    OrganizationDraft,
    Project,
    ProjectDraft,
    Provider,
    ProviderDraft,
    ProviderState,
    Tenant,
    TenantDraft,
)
from caravan.contracts.prices import PriceList, PriceListDraft
from caravan.contracts.resale import ResaleAgreement, ResaleAgreementDraft, ResaleEnd
from caravan.kernel.money import Money
from caravan.kernel.pages import Page


class CatalogClient(Client):
    """See Client for what all methods have in common."""

    async def create_organization(self, draft: OrganizationDraft) -> Organization:
        return await self._call("POST", "/organizations", Organization, body=draft)

    async def list_organizations(self, *, limit: int | None = None, cursor: str | None = None) -> Page[Organization]:
        query = {"limit": limit, "cursor": cursor}
        return await self._call("GET", "/organizations", Page[Organization], query=query)

    async def get_organization(self, organization: str) -> Organization:
        return await self._call("GET", f"/organizations/{organization}", Organization)

    async def update_organization(self, organization: str, draft: OrganizationDraft, version: int) -> Organization:
        return await self._call("PUT", f"/organizations/{organization}", Organization, body=draft, version=version)

    async def create_project(self, draft: ProjectDraft) -> Project:
        return await self._call("POST", "/projects", Project, body=draft)

    async def list_projects(
        self, *, organization: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Page[Project]:
        query = {"organization": organization, "limit": limit, "cursor": cursor}
        return await self._call("GET", "/projects", Page[Project], query=query)

    async def get_project(self, project: str) -> Project:
        return await self._call("GET", f"/projects/{project}", Project)

    async def update_project(self, project: str, draft: ProjectDraft, version: int) -> Project:
        return await self._call("PUT", f"/projects/{project}", Project, body=draft, version=version)

    async def apply_provider(self, draft: ProviderDraft) -> Provider:
        return await self._call("POST", "/providers", Provider, body=draft)

    async def list_providers(
        self, *, state: ProviderState | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Page[Provider]:
        query = {"state": state, "limit": limit, "cursor": cursor}
        return await self._call("GET", "/providers", Page[Provider], query=query)

    async def get_provider(self, provider: str) -> Provider:
        return await self._call("GET", f"/providers/{provider}", Provider)

    async def approve_provider(self, provider: str) -> Provider:
        return await self._call("POST", f"/providers/{provider}/approve", Provider)

    async def suspend_provider(self, provider: str) -> Provider:
        return await self._call("POST", f"/providers/{provider}/suspend", Provider)

    async def list_accelerators(self, *, limit: int | None = None, cursor: str | None = None) -> Page[Accelerator]:
        return await self._call("GET", "/accelerators", Page[Accelerator], query={"limit": limit, "cursor": cursor})

    async def add_accelerator(self, accelerator: Accelerator) -> Accelerator:
        return await self._call("POST", "/accelerators", Accelerator, body=accelerator)

    async def list_adapters(self, *, limit: int | None = None, cursor: str | None = None) -> Page[AdapterDescriptor]:
        return await self._call("GET", "/adapters", Page[AdapterDescriptor], query={"limit": limit, "cursor": cursor})

    async def create_site(self, draft: SiteDraft) -> Site:
        return await self._call("POST", "/sites", Site, body=draft)

    async def list_sites(
        self, *, provider: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Page[Site]:
        query = {"provider": provider, "limit": limit, "cursor": cursor}
        return await self._call("GET", "/sites", Page[Site], query=query)

    async def get_site(self, site: str) -> Site:
        return await self._call("GET", f"/sites/{site}", Site)

    async def update_site(self, site: str, draft: SiteDraft, version: int) -> Site:
        return await self._call("PUT", f"/sites/{site}", Site, body=draft, version=version)

    async def publish_site_mode(self, site: str, draft: SiteModeDraft) -> SiteModeFrom:
        return await self._call("POST", f"/sites/{site}/modes", SiteModeFrom, body=draft)

    async def list_site_modes(
        self, site: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[SiteModeFrom]:
        """The last one first."""
        query = {"limit": limit, "cursor": cursor}
        return await self._call("GET", f"/sites/{site}/modes", Page[SiteModeFrom], query=query)

    async def draft_offerings(self, site: str) -> list[Offering]:
        """One draft for each part of the site's inventory that is not offered yet."""
        return (await self._call("POST", f"/sites/{site}/draft-offerings", Page[Offering])).items

    async def create_tenant(self, draft: TenantDraft) -> Tenant:
        return await self._call("POST", "/tenants", Tenant, body=draft)

    async def list_tenants(
        self,
        *,
        site: str | None = None,
        organization: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[Tenant]:
        query = {"site": site, "organization": organization, "limit": limit, "cursor": cursor}
        return await self._call("GET", "/tenants", Page[Tenant], query=query)

    async def get_tenant(self, tenant: str) -> Tenant:
        return await self._call("GET", f"/tenants/{tenant}", Tenant)

    async def create_offering(self, draft: OfferingDraft) -> Offering:
        return await self._call("POST", "/offerings", Offering, body=draft)

    async def get_offering(self, offering: str) -> Offering:
        return await self._call("GET", f"/offerings/{offering}", Offering)

    async def update_offering(self, offering: str, draft: OfferingDraft, version: int) -> Offering:
        return await self._call("PUT", f"/offerings/{offering}", Offering, body=draft, version=version)

    async def activate_offering(self, offering: str) -> Offering:
        return await self._call("POST", f"/offerings/{offering}/activate", Offering)

    async def pause_offering(self, offering: str) -> Offering:
        return await self._call("POST", f"/offerings/{offering}/pause", Offering)

    async def archive_offering(self, offering: str) -> Offering:
        return await self._call("POST", f"/offerings/{offering}/archive", Offering)

    async def search_offerings(
        self,
        *,
        tier: Tier | Sequence[Tier] | None = None,
        accelerator: str | None = None,
        text: str | None = None,
        region: str | None = None,
        provider: str | None = None,
        site: str | None = None,
        state: OfferingState | None = None,
        organization: str | None = None,
        cpus: int | None = None,
        memory_mib: int | None = None,
        accelerators: int | None = None,
        hours: int | None = None,
        max_price: Money | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[OfferingPrice]:
        """With a reference shape (`cpus`, `memory_mib`, `accelerators`, `hours`) each has its price, the cheapest first."""
        query = {
            "tier": tier,
            "accelerator": accelerator,
            "text": text,
            "region": region,
            "provider": provider,
            "site": site,
            "state": state,
            "organization": organization,
            "cpus": cpus,
            "memory_mib": memory_mib,
            "accelerators": accelerators,
            "hours": hours,
            "max_price": max_price,
            "limit": limit,
            "cursor": cursor,
        }
        return await self._call("GET", "/offerings", Page[OfferingPrice], query=query)

    async def publish_price_list(self, offering: str, draft: PriceListDraft) -> PriceList:
        return await self._call("POST", f"/offerings/{offering}/price-lists", PriceList, body=draft)

    async def list_price_lists(
        self, offering: str, *, reseller: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Page[PriceList]:
        query = {"reseller": reseller, "limit": limit, "cursor": cursor}
        return await self._call("GET", f"/offerings/{offering}/price-lists", Page[PriceList], query=query)

    async def get_price_list(self, price_list: str) -> PriceList:
        return await self._call("GET", f"/price-lists/{price_list}", PriceList)

    async def create_resale_agreement(self, draft: ResaleAgreementDraft) -> ResaleAgreement:
        return await self._call("POST", "/resale-agreements", ResaleAgreement, body=draft)

    async def list_resale_agreements(
        self, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[ResaleAgreement]:
        query = {"limit": limit, "cursor": cursor}
        return await self._call("GET", "/resale-agreements", Page[ResaleAgreement], query=query)

    async def get_resale_agreement(self, agreement: str) -> ResaleAgreement:
        return await self._call("GET", f"/resale-agreements/{agreement}", ResaleAgreement)

    async def end_resale_agreement(self, agreement: str, end: ResaleEnd) -> ResaleAgreement:
        return await self._call("POST", f"/resale-agreements/{agreement}/end", ResaleAgreement, body=end)

    async def explain_price(self, question: PriceQuestion) -> PriceExplanation:
        """Raises NotPriced where no tariff covers."""
        return await self._call("POST", "/price-explanations", PriceExplanation, body=question)
