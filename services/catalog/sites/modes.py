"""Decisions about modes: from which hour on a site's time is billed, only priced, or only counted."""

from datetime import timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.contracts.modes import SiteModeDraft, SiteModeFrom
from caravan.kernel import audit
from caravan.kernel.clock import floor_hour, from_microseconds, to_microseconds
from caravan.kernel.database import Database, database_now
from caravan.kernel.pages import Listing, Page
from caravan.kernel.problems import FieldError, Invalid
from caravan.kernel.tokens import Caller
from services.catalog.prices.lists import remode
from services.catalog.reading import found
from services.catalog.sites.dated import modes_of
from services.catalog.sites.models import SiteModeRow, SiteRow
from services.catalog.sites.service import sees_site

HOUR: Final = timedelta(hours=1)


class SiteModeService:
    """Dated modes of sites."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def publish(self, site: str, draft: SiteModeDraft, caller: Caller) -> SiteModeFrom:
        """The mode from that hour on, with new revisions of the price lists of the site. The same again changes nothing.

        What was to start in that hour it replaces. Raises NotFound; Invalid for an hour that has begun.
        """
        return await self._db.write(self._publish, site, draft, caller)

    def _publish(self, tx: Session, site: str, draft: SiteModeDraft, caller: Caller) -> SiteModeFrom:
        found(tx, SiteRow, site, lambda _: True)
        now = database_now(tx)
        starts_at = draft.starts_at or floor_hour(now) + HOUR
        if starts_at <= now:
            detail = "A mode starts in an hour that is still to come: give a later one, or none for the next."
            raise Invalid(errors=[FieldError(pointer="/starts_at", code="past", detail=detail)])
        row = tx.get(SiteModeRow, (site, starts_at))
        if row is None or row.mode != draft.mode:
            row = row or SiteModeRow(site=site, starts_at=starts_at)
            row.mode = draft.mode.value
            tx.add(row)
            tx.flush()
            remode(tx, site, modes_of(tx, site))
            audit.record(tx, caller.subject, "publish_site_mode", site, row.shown())
        return row.shown()

    async def list(self, site: str, caller: Caller, listing: Listing) -> Page[SiteModeFrom]:
        """A site's modes, the last one first. Raises NotFound."""
        return await self._db.read(self._list, site, caller, listing)

    def _list(self, tx: Session, site: str, caller: Caller, listing: Listing) -> Page[SiteModeFrom]:
        found(tx, SiteRow, site, lambda row: sees_site(tx, caller, row))
        query = select(SiteModeRow).where(SiteModeRow.site == site).order_by(SiteModeRow.starts_at.desc())
        if listing.after is not None:
            query = query.where(SiteModeRow.starts_at < from_microseconds(int(listing.after[0])))
        modes = [row.shown() for row in tx.scalars(query.limit(listing.fetch))]
        return listing.page(modes, key=lambda mode: (to_microseconds(mode.starts_at),))
