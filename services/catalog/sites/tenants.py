"""Decisions about tenants: what an organization, or one of its projects, is at a site."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.contracts.events import TENANT
from caravan.contracts.parties import Tenant, TenantDraft
from caravan.contracts.problems import AlreadyExists
from caravan.kernel import feed, ids
from caravan.kernel.database import Database, database_now
from caravan.kernel.pages import Listing, Page
from caravan.kernel.tokens import Caller
from services.catalog.parties.models import OrganizationRow, ProjectRow
from services.catalog.reading import by_id, found, referred, sees_all
from services.catalog.sites import adapters
from services.catalog.sites.models import SiteRow, TenantRow


class TenantService:
    """Who may run at which site, and as what."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def create(self, draft: TenantDraft, caller: Caller) -> Tenant:
        """Raises UnknownReference, AdapterUnknown, SettingsRefused; AlreadyExists for one that has a tenant there."""
        return await self._db.write(self._create, draft, caller)

    def _create(self, tx: Session, draft: TenantDraft, caller: Caller) -> Tenant:
        site = referred(tx, SiteRow, draft.site, "/site", lambda row: caller.is_provider_admin(row.provider))
        referred(tx, OrganizationRow, draft.organization, "/organization", lambda _: True)
        if draft.project is not None:
            referred(tx, ProjectRow, draft.project, "/project", lambda row: row.organization == draft.organization)
        adapters.hold(adapters.announced(tx, site.adapter), "tenant_settings", draft.settings, "/settings")
        same = select(TenantRow.id).where(
            TenantRow.site == draft.site,
            TenantRow.organization == draft.organization,
            TenantRow.project.is_not_distinct_from(draft.project),
        )
        existing = tx.execute(same).scalar_one_or_none()
        if existing is not None:
            raise AlreadyExists("It has a tenant at this site already.", existing=existing)
        row = TenantRow(id=ids.new("ten"), version=1, created_at=database_now(tx), **draft.model_dump())
        tx.add(row)
        tenant = row.shown()
        feed.state(tx, TENANT, row.id, tenant)
        return tenant

    async def get(self, id: str, caller: Caller) -> Tenant:
        return await self._db.read(self._get, id, caller)

    def _get(self, tx: Session, id: str, caller: Caller) -> Tenant:
        def visible(row: TenantRow) -> bool:
            site = tx.get(SiteRow, row.site)
            hosts = site is not None and caller.is_provider_admin(site.provider)
            return hosts or caller.is_org_member(row.organization) or sees_all(caller)

        return found(tx, TenantRow, id, visible).shown()

    async def list(self, site: str | None, organization: str | None, caller: Caller, listing: Listing) -> Page[Tenant]:
        return await self._db.read(self._list, site, organization, caller, listing)

    def _list(
        self, tx: Session, site: str | None, organization: str | None, caller: Caller, listing: Listing
    ) -> Page[Tenant]:
        query = select(TenantRow).join(SiteRow, SiteRow.id == TenantRow.site)
        if site is not None:
            query = query.where(TenantRow.site == site)
        if organization is not None:
            query = query.where(TenantRow.organization == organization)
        if not sees_all(caller):
            query = query.where(
                SiteRow.provider.in_(sorted(caller.providers()))
                | TenantRow.organization.in_(sorted(caller.organizations()))
            )
        return by_id(tx, query, TenantRow.id, listing, TenantRow.shown)
