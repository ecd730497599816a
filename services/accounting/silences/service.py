"""The loop that finds sites that have gone silent, and what is read of them."""

from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session

from caravan.contracts.silences import Silence
from caravan.kernel import ids
from caravan.kernel.database import table_of
from caravan.kernel.feed import upsert
from caravan.kernel.metrics import Metrics
from caravan.kernel.pages import Listing, Page
from caravan.kernel.runtime import Runtime
from caravan.kernel.tokens import Caller
from services.accounting.funds.settling import SETTLEMENTS
from services.accounting.periods.models import SiteProgressRow
from services.accounting.silences.models import SilenceRow
from services.accounting.usage.records import ATTEMPTS

LOOK_SECONDS: Final = 30.0
SILENCES, PROGRESS = table_of(SilenceRow), table_of(SiteProgressRow)
log = structlog.get_logger(__name__)


class SilenceService:
    """`after`: how long a site with something to state may be silent."""

    def __init__(self, runtime: Runtime, metrics: Metrics, after: timedelta) -> None:
        self._db = runtime.db
        self._now = runtime.now
        self._after = after
        self._silent = metrics.gauge("sites_silent", "Sites that state no more usage, though runs may be there.")

    async def list(self, listing: Listing, caller: Caller, site: str | None, lasting: bool | None) -> Page[Silence]:
        """All to finance; to a provider's admins those of its sites. The last found first."""
        providers = None if caller.is_finance else caller.providers()
        found = await self._db.read(_silences, listing, providers, site, lasting)
        return listing.page(found, key=lambda silence: (silence.id,))

    async def iteration(self) -> float:
        """Look once. Returns the seconds until the next look."""
        self._silent.set(await self._db.write(look, self._now(), self._after))
        return LOOK_SECONDS


def look(tx: Session, at: datetime, after: timedelta) -> int:
    """Write down which sites are silent, and which no longer. Returns how many are.

    A site is silent while an attempt on it is neither over nor settled and its progress hasn't moved for longer than `after`. That ends
    when it moves, or when nothing is left there to be stated.
    """
    settled = exists().where(SETTLEMENTS.c.job == ATTEMPTS.c.job)
    awaited = exists().where(ATTEMPTS.c.site == PROGRESS.c.site, ~ATTEMPTS.c.ended, ~settled)
    quiet = select(PROGRESS.c.site, PROGRESS.c.provider, PROGRESS.c.moved_at).where(PROGRESS.c.moved_at < at - after)
    silent = {row.site: row for row in tx.execute(quiet.where(awaited))}
    lasting = select(SILENCES.c.id, SILENCES.c.site, SILENCES.c.since, PROGRESS.c.moved_at)
    lasting = lasting.join(PROGRESS, PROGRESS.c.site == SILENCES.c.site).where(SILENCES.c.until.is_(None))
    for one in tx.execute(lasting).all():
        moved = one.moved_at > one.since
        if moved or one.site not in silent:
            tx.execute(update(SILENCES).where(SILENCES.c.id == one.id).values(until=one.moved_at if moved else at))
            log.info("site_not_silent", site=one.site, since=one.since)
    for row in silent.values():
        new = upsert(tx, SILENCES).values(
            id=ids.new("sil"), site=row.site, provider=row.provider, since=row.moved_at, found_at=at
        )
        if tx.execute(new.on_conflict_do_nothing().returning(SILENCES.c.id)).first() is not None:
            log.warning("site_silent", site=row.site, since=row.moved_at)
    return len(silent)


def _silences(
    tx: Session, listing: Listing, providers: frozenset[str] | None, site: str | None, lasting: bool | None
) -> list[Silence]:
    query = select(SILENCES).order_by(SILENCES.c.id.desc()).limit(listing.fetch)
    if providers is not None:
        query = query.where(SILENCES.c.provider.in_(providers))
    if site is not None:
        query = query.where(SILENCES.c.site == site)
    if lasting is not None:
        query = query.where(SILENCES.c.until.is_(None) if lasting else SILENCES.c.until.is_not(None))
    if listing.after:
        query = query.where(SILENCES.c.id < listing.after[0])
    return [Silence(**row._mapping) for row in tx.execute(query)]
