"""Decisions about sites: what their settings may be, and who sees them."""

from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.contracts.events import SITE
from caravan.contracts.offerings import AdapterDescriptor, OfferingState, Site, SiteDraft
from caravan.contracts.parties import ProviderState
from caravan.contracts.problems import ConsentNeeded, ProviderNotApproved, UnknownReference
from caravan.kernel import feed, ids
from caravan.kernel.bodies import escape_pointer
from caravan.kernel.database import Database, database_now
from caravan.kernel.pages import Listing, Page
from caravan.kernel.problems import FieldError, Invalid
from caravan.kernel.tokens import Caller
from services.catalog.offerings.models import OfferingRow
from services.catalog.parties.models import ProviderRow
from services.catalog.reading import by_id, found, fresh, referred, sees_all, unchanged
from services.catalog.sites import adapters
from services.catalog.sites.dated import in_force
from services.catalog.sites.models import AcceleratorRow, AdapterRow, SiteRow
from services.catalog.words import normalized


class SiteService:
    """Clusters of providers."""

    def __init__(self, db: Database, mode: Literal["production", "development"]) -> None:
        self._db = db
        self._mode = mode

    async def create(self, draft: SiteDraft, caller: Caller) -> Site:
        """Raises UnknownReference, ProviderNotApproved, AdapterUnknown, SettingsRefused, ConsentNeeded."""
        return await self._db.write(self._create, draft, caller)

    def _create(self, tx: Session, draft: SiteDraft, caller: Caller) -> Site:
        mine = caller.is_provider_admin(draft.provider)
        provider = referred(tx, ProviderRow, draft.provider, "/provider", lambda _: mine)
        if not provider.approved:
            raise ProviderNotApproved
        self._check(tx, draft)
        row = SiteRow(
            id=ids.new("sit"),
            version=1,
            created_at=database_now(tx),
            search_text=normalized(draft.name, draft.region),
            **draft.model_dump(mode="json"),
        )
        tx.add(row)
        return self._changed(tx, row)

    async def update(self, id: str, draft: SiteDraft, caller: Caller, version: int) -> Site:
        """Replace what may change: all but provider and adapter. Raises as `create`, and NotFound, Stale, Invalid."""
        return await self._db.write(self._update, id, draft, caller, version)

    def _update(self, tx: Session, id: str, draft: SiteDraft, caller: Caller, version: int) -> Site:
        row = found(tx, SiteRow, id, lambda row: caller.is_provider_admin(row.provider))
        fresh(row, version)
        why = "A site stays with its provider and its adapter; register another site."
        unchanged(row.shown().model_dump(), draft.model_dump(), ("provider", "adapter"), why)
        self._check(tx, draft)
        self._keeps_what_is_sold(tx, id, draft)
        for field, value in draft.model_dump(mode="json").items():
            setattr(row, field, value)
        row.search_text = normalized(draft.name, draft.region)
        row.version += 1
        return self._changed(tx, row)

    async def get(self, id: str, caller: Caller) -> Site:
        return await self._db.read(self._get, id, caller)

    def _get(self, tx: Session, id: str, caller: Caller) -> Site:
        row = found(tx, SiteRow, id, lambda row: sees_site(tx, caller, row))
        return _with_mode(tx, row.shown(whole=has_part_in(caller, row)))

    async def list(self, provider: str | None, caller: Caller, listing: Listing) -> Page[Site]:
        return await self._db.read(self._list, provider, caller, listing)

    def _list(self, tx: Session, provider: str | None, caller: Caller, listing: Listing) -> Page[Site]:
        query = select(SiteRow).join(ProviderRow, ProviderRow.id == SiteRow.provider)
        if provider is not None:
            query = query.where(SiteRow.provider == provider)
        if not sees_all(caller):
            query = query.where(
                (ProviderRow.state == ProviderState.APPROVED)
                | SiteRow.provider.in_(sorted(caller.providers()))
                | SiteRow.id.in_(sorted(caller.sites()))
            )
        page = by_id(tx, query, SiteRow.id, listing, lambda row: row.shown(whole=has_part_in(caller, row)))
        modes = in_force(tx, [site.id for site in page.items])
        items = [site.model_copy(update={"mode": modes[site.id]}) for site in page.items]
        return Page[Site](items=items, next=page.next)

    async def list_adapters(self, listing: Listing) -> Page[AdapterDescriptor]:
        """By name."""
        return await self._db.read(self._list_adapters, listing)

    def _list_adapters(self, tx: Session, listing: Listing) -> Page[AdapterDescriptor]:
        query = select(AdapterRow).order_by(AdapterRow.name).limit(listing.fetch)
        if listing.after is not None:
            query = query.where(AdapterRow.name > listing.after[0])
        return listing.page([row.shown() for row in tx.scalars(query)], key=lambda adapter: (adapter.name,))

    def _check(self, tx: Session, draft: SiteDraft) -> None:
        descriptor = adapters.announced(tx, draft.adapter)
        adapters.hold(descriptor, "site_settings", draft.settings, "/settings")
        if (
            self._mode == "production"
            and adapters.NEEDS_CONSENT in descriptor.capabilities
            and draft.settings.get(adapters.CONSENT) is not True
        ):
            raise ConsentNeeded
        known = set(tx.scalars(select(AcceleratorRow.id).where(AcceleratorRow.id.in_(sorted(draft.accelerators)))))
        errors = [
            FieldError(
                pointer=f"/accelerators/{escape_pointer(id)}",
                code="unknown",
                detail="There is no such accelerator; add it first.",
            )
            for id in sorted(draft.accelerators.keys() - known)
        ]
        if errors:
            raise UnknownReference(errors=errors)

    def _keeps_what_is_sold(self, tx: Session, id: str, draft: SiteDraft) -> None:
        sold = select(OfferingRow.accelerator).where(
            OfferingRow.site == id,
            OfferingRow.state != OfferingState.ARCHIVED,
            OfferingRow.accelerator.is_not(None),
            OfferingRow.accelerator.not_in(sorted(draft.accelerators)),
        )
        dropped = tx.scalars(sold.distinct()).all()
        if dropped:
            detail = f"Offerings of this site sell {', '.join(sorted(map(str, dropped)))}; archive them first."
            raise Invalid(errors=[FieldError(pointer="/accelerators", code="sold", detail=detail)])

    def _changed(self, tx: Session, row: SiteRow) -> Site:
        site = row.shown()
        feed.state(tx, SITE, row.id, site)
        return _with_mode(tx, site)


def has_part_in(caller: Caller, site: SiteRow) -> bool:
    """Who may see how a site is reached: its provider's admin, its agent, the platform and its services."""
    return caller.is_provider_admin(site.provider) or caller.is_agent(site.id) or sees_all(caller)


def sees_site(tx: Session, caller: Caller, site: SiteRow) -> bool:
    """Who may see that there is such a site: all, once its provider is approved."""
    return has_part_in(caller, site) or _is_public(tx, site)


def _with_mode(tx: Session, site: Site) -> Site:
    return site.model_copy(update={"mode": in_force(tx, [site.id])[site.id]})


def _is_public(tx: Session, site: SiteRow) -> bool:
    provider = tx.get(ProviderRow, site.provider)
    return provider is not None and provider.approved
