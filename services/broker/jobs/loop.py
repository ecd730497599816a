"""The loop that moves jobs on: those whose time has come, a few at once."""

import asyncio
from typing import Final

import structlog

from caravan.kernel.database import Database
from services.broker.jobs import store
from services.broker.jobs.service import JobService

BATCH: Final = 100
AT_ONCE: Final = 8
LONGEST_WAIT_SECONDS: Final = 1.0
log = structlog.get_logger(__name__)


class Advancer:
    """Calls `advance` for every job that is due."""

    def __init__(self, db: Database, jobs: JobService) -> None:
        self._db = db
        self._jobs = jobs

    async def iteration(self) -> float:
        """One pass; waits for the next due job itself, so that a wake-up is not missed. Returns 0."""
        version = self._db.version(store.TOPIC)
        ripe, wait_seconds = await self._db.read(store.due, BATCH)
        if not ripe:
            await self._db.wait(store.TOPIC, version, min(wait_seconds, LONGEST_WAIT_SECONDS))
            return 0
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(job: str) -> None:
            async with gate:
                await self._jobs.advance(job)

        results = await asyncio.gather(*(one(job) for job in ripe), return_exceptions=True)
        failures = [
            (job, result) for job, result in zip(ripe, results, strict=True) if isinstance(result, BaseException)
        ]
        for job, failure in failures:
            log.error("advance_failed", job=job, exc_info=failure)
        if failures:
            await self._db.write(store.postpone, [job for job, _ in failures])
        return 0
