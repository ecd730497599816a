"""What runs beside a service's requests: its database, its loops, its name as an owner of keys. One per service and process."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from caravan.kernel import clock, feed, follow, idempotency, ids
from caravan.kernel.database import Database
from caravan.kernel.loops import Loops
from caravan.kernel.metrics import Metrics
from caravan.kernel.settings import ServiceName, Settings

PRUNE_SECONDS: Final = 30.0
POSITIONS_TTL: Final = timedelta(seconds=5)
POSITIONS_POLL_SECONDS: Final = 0.05
FOLLOWERS: Final[Mapping[ServiceName, Collection[str]]] = {
    "catalog": ("service:broker", "service:accounting"),
    "broker": ("service:catalog", "service:accounting"),
    "accounting": (),
}
"""Who has to have what a service publishes: nothing is dropped before they have come."""
WATCH_SECONDS: Final = 10.0


class Runtime:
    """A service's database and loops. `running()` starts and stops them around the app's life."""

    def __init__(
        self, service: ServiceName, settings: Settings, metrics: Metrics, now: clock.Clock = clock.now
    ) -> None:
        self.service = service
        self.settings = settings
        self.now = now
        self.db = Database(settings.database_url(service))
        self.loops = Loops(metrics.registry)
        self.owner = idempotency.Owner(self.db, ids.new("own"))
        again = metrics.gauge("units_run_again", "Units of work that could not be serialized, and so ran again.")
        again.set_function(lambda: self.db.run_again)
        self._parked = metrics.gauge(
            "parked_events", "Events that could not be applied yet; anything but 0 wants a person."
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Runtime"]:
        """Open the database (migrated already), announce this process, run the kernel's loops; stop all cleanly at the end."""
        await self.db.start()
        try:
            await self.db.write(feed.prepare)
            await self.owner.start()
            self.loops.start("owner", self.owner.iteration)
            self.loops.start("prune", self._prune)
            self.loops.start("watch", self._watch)
            if not self.db.sqlite:
                self.loops.start("positions", self._positions)
            try:
                yield self
            finally:
                self.db.close_waits()
                await self.loops.stop()
        finally:
            await self.db.stop()

    async def ready(self) -> None:
        """A check for /readyz: the database answers and no loop is failing."""
        await self.db.read(feed.generation)
        if failing := self.loops.failing():
            raise RuntimeError(f"loops failing: {', '.join(failing)}")

    async def _prune(self) -> float:
        gone = await self.db.write(feed.prune, FOLLOWERS[self.service]) + await self.db.write(idempotency.prune)
        return 0 if gone else PRUNE_SECONDS

    async def _watch(self) -> float:
        self._parked.set(await self.db.read(follow.parked_count))
        return WATCH_SECONDS

    async def _positions(self) -> float:
        version = self.db.version(feed.TOPIC)
        if not await self.db.read(feed.any_unpositioned):
            await self.db.wait(feed.TOPIC, version, POSITIONS_POLL_SECONDS)
            return 0
        given = await self.db.write(feed.give_positions, self.owner.id, POSITIONS_TTL)
        return 0 if given else POSITIONS_POLL_SECONDS
