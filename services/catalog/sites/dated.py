"""The modes of sites within a transaction."""

from collections.abc import Collection, Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.contracts.modes import SiteMode, SiteModeFrom
from caravan.kernel.database import database_now
from services.catalog.sites.models import SiteModeRow


def modes_of(tx: Session, site: str) -> tuple[SiteModeFrom, ...]:
    """All that the site ever had and is to have, in order; none where all its time is billed."""
    query = select(SiteModeRow).where(SiteModeRow.site == site).order_by(SiteModeRow.starts_at)
    modes = tuple(row.shown() for row in tx.scalars(query))
    return modes if any(one.mode is not SiteMode.BILLED for one in modes) else ()


def in_force(tx: Session, sites: Collection[str]) -> Mapping[str, SiteMode]:
    """The mode of each of these sites now."""
    query = select(SiteModeRow.site, SiteModeRow.mode).where(
        SiteModeRow.site.in_(sites), SiteModeRow.starts_at <= database_now(tx)
    )
    started = {row.site: SiteMode(row.mode) for row in tx.execute(query.order_by(SiteModeRow.starts_at))}
    return dict.fromkeys(sites, SiteMode.BILLED) | started
