"""Attempts that nobody can find any more: a person says so, or their site has been silent for longer than it may be."""

from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.contracts.dispatch import Desired
from caravan.contracts.jobs import Attempt, AttemptState
from caravan.contracts.problems import WrongState
from caravan.kernel import audit, leases
from caravan.kernel.database import Database, database_now
from caravan.kernel.problems import NotFound
from caravan.kernel.tokens import Caller
from services.broker.dispatch import reports
from services.broker.dispatch.leasing import lease_name
from services.broker.jobs.models import AttemptRow
from services.broker.jobs.reading import to_attempt
from services.broker.placement.copies import Catalog

GIVE_UP_SECONDS: Final = 10.0
DEAF: Final = timedelta(seconds=3 * GIVE_UP_SECONDS)
"""Without a look for so long, this broker was frozen or without its database: no site could make itself heard."""
log = structlog.get_logger(__name__)


class LostAttempts:
    """Declares attempts lost. `listening_since`: since when, by the database's clock, this broker has heard sites without a gap."""

    def __init__(self, db: Database, catalog: Catalog) -> None:
        self._db = db
        self._catalog = catalog
        self.listening_since: datetime | None = None
        self.looked_at: datetime | None = None

    async def declare(self, attempt: str, caller: Caller) -> Attempt:
        """End an attempt that nobody can find any more. Raises NotFound, WrongState (it has ended)."""
        return await self._db.write(self._declare, attempt, caller)

    def _declare(self, tx: Session, attempt: str, caller: Caller) -> Attempt:
        row = tx.get(AttemptRow, attempt)
        if row is None or not (caller.is_admin or caller.is_provider_admin(row.provider)):
            raise NotFound
        if row.state == AttemptState.ENDED or row.work is None:
            allowed = tuple(state for state in AttemptState if state is not AttemptState.ENDED)
            detail = "Its site has not heard of it yet: it waits for its money." if row.work is None else None
            raise WrongState(detail, state=row.state, allowed=allowed)
        reports.lose(tx, row, caller.subject)
        lost = to_attempt(row)
        audit.record(tx, caller.subject, "declare_attempt_lost", attempt, lost)
        return lost

    async def give_up(self) -> float:
        """Declare lost what silent sites were given, after their own `lost_after_seconds`. A loop's iteration.

        A site that could not be heard was not silent: the time in which this broker was away doesn't count.
        """
        now = await self._db.read(database_now)
        if self.looked_at is None or self.listening_since is None or now - self.looked_at > DEAF:
            self.listening_since = now
        for attempt in await self._db.read(self._silent, self.listening_since):
            if await self._db.write(self._lose_silent, attempt, self.listening_since):
                log.warning("attempt_lost", attempt=attempt, why="its site has been silent for too long")
        self.looked_at = await self._db.read(database_now)
        return GIVE_UP_SECONDS

    def _silent(self, tx: Session, listening_since: datetime) -> list[str]:
        """Open attempts of sites whose lease ended so long ago that they count as gone."""
        now = database_now(tx)
        gone = []
        for site in self._catalog.view(tx).sites.values():
            lease = leases.peek(tx, lease_name(site.id)) if site.lost_after_seconds else None
            if lease is not None:
                silence = now - max(lease.expires_at, listening_since)
                if silence > timedelta(seconds=site.lost_after_seconds or 0):
                    gone.append(site.id)
        open_there = AttemptRow.site.in_(gone) & (AttemptRow.desired != Desired.NOTHING)
        return list(tx.scalars(select(AttemptRow.id).where(open_there, AttemptRow.state != AttemptState.ENDED)))

    def _lose_silent(self, tx: Session, attempt: str, listening_since: datetime) -> bool:
        row = tx.get_one(AttemptRow, attempt)
        if row.work is None or attempt not in self._silent(tx, listening_since):
            return False
        reports.lose(tx, row, "the platform")
        return True
