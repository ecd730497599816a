"""The loop that charges what is due, at once where nothing waits, and in batches where much does."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from caravan.kernel import clock, leases
from caravan.kernel.database import Database, is_sqlite, of_the_database, savepoint
from caravan.kernel.metrics import Metrics
from services.accounting.charging import due
from services.accounting.charging.due import Due
from services.accounting.charging.service import charge

LEASE: Final = "charging"
LEASE_TTL: Final = timedelta(seconds=10)
BATCH: Final = 1000
"""How many marks share a transaction."""
SQLITE_BATCH: Final = 500
"""There requests that write wait as long as these take."""
POLL_SECONDS: Final = 0.1
"""How often is looked, where another process may have marked something (PostgreSQL)."""
WATCH_SECONDS: Final = 10.0
RETRY_SECONDS: Final = due.RETRY.total_seconds()
log = structlog.get_logger(__name__)


class Charger:
    """One charges at a time, by a lease, so that replicas don't get into each other's way. Were two to charge, each mark would still be
    charged by one of them.

    The lease is taken in transactions of its own: a batch that took it would, on PostgreSQL, collide with every other loop's.
    """

    def __init__(
        self, db: Database, holder: str, now: clock.Clock, monotonic: Callable[[], float] = clock.monotonic
    ) -> None:
        self._db = db
        self._holder = holder
        self._now = now
        self._monotonic = monotonic
        self._leads_until = 0.0

    async def iteration(self) -> float:
        """Wait until something is due, and charge up to a batch of it. Returns the seconds until the next look."""
        version = self._db.version(due.TOPIC)
        if await self.charge():
            return 0
        await self._db.wait(due.TOPIC, version, RETRY_SECONDS if self._db.sqlite else POLL_SECONDS)
        return 0

    async def charge(self) -> bool:
        """Charge up to a batch of what is due. Whether there may be more."""
        if not await self._db.read(due.any_ready, self._now()) or not await self._leads():
            return False
        return bool(await self._db.write(charge_due, self._now()))

    async def _leads(self) -> bool:
        """Whether this one is to charge; the lease is renewed when half of it is over."""
        asked = self._monotonic()
        if asked >= self._leads_until:
            lease = await self._db.write(leases.acquire, LEASE, self._holder, LEASE_TTL)
            if lease.holder != self._holder:
                return False
            self._leads_until = asked + LEASE_TTL.total_seconds() / 2
        return True


class FailedCharges:
    """Shows how many jobs could not be charged."""

    def __init__(self, db: Database, metrics: Metrics) -> None:
        self._db = db
        self._failed = metrics.gauge(
            "charges_failed", "Jobs that could not be charged and are tried again; anything but 0 wants a person."
        )

    async def iteration(self) -> float:
        self._failed.set(await self._db.read(due.failed_count))
        return WATCH_SECONDS


def charge_due(tx: Session, at: datetime) -> int:
    """Charge up to a batch. Returns how much was taken."""
    marks = due.take(tx, SQLITE_BATCH if is_sqlite(tx) else BATCH, at)
    _charge(tx, [list(job) for _, job in groupby(marks, key=lambda one: one.job)], at)
    due.forget_failures(tx)
    return len(marks)


def _charge(tx: Session, jobs: Sequence[list[Due]], at: datetime) -> None:
    """Of each job what is due of it. A job that can't be charged waits alone."""
    error = _attempt(tx, [one for job in jobs for one in job], at)
    if error is None:
        return
    if len(jobs) > 1:
        half = len(jobs) // 2
        _charge(tx, jobs[:half], at)
        _charge(tx, jobs[half:], at)
        return
    job = jobs[0][0].job
    log.error("charge_failed", job=job, error=repr(error), exc_info=error)
    due.failed(tx, job, repr(error), at)


def _attempt(tx: Session, marks: Sequence[Due], at: datetime) -> Exception | None:
    if not marks:
        return None
    try:
        with savepoint(tx):
            charge(tx, marks, at)
    except Exception as error:  # Whatever it is, the others are charged: the job is kept, told and tried again.
        if isinstance(error, DBAPIError) and of_the_database(error):
            raise
        return error
    return None
