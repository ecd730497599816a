"""The followers of catalog and broker and what charges, as supervised loops."""

from caravan.client import Peers
from caravan.contracts import events
from caravan.kernel import clock
from caravan.kernel.follow import Follower, Together, parked_count
from caravan.kernel.runtime import Runtime
from services.accounting.charging.charger import Charger
from services.accounting.reconciliations import booked
from services.accounting.usage import copies
from services.accounting.usage.facts import Facts


def handlers(now: clock.Clock) -> dict[str, Together]:
    """Of the broker's events."""
    return Facts(now).handlers() | {events.BOOKS_READ: Together(booked.keep)}


class Following:
    """Follows both feeds and charges. What of the broker's waits for something of the catalog's is tried again when that has come."""

    def __init__(self, runtime: Runtime, peers: Peers) -> None:
        self._runtime = runtime
        self._catalog = Follower(runtime.db, "catalog", peers.catalog, copies.HANDLERS)
        self._broker = Follower(runtime.db, "broker", peers.broker, handlers(runtime.now))
        self._charger = Charger(runtime.db, runtime.owner.id, runtime.now)

    def start(self) -> None:
        """Follow from now on, until the runtime stops its loops."""
        self._runtime.loops.start("follow-catalog", self._follow_catalog)
        self._runtime.loops.start("follow-broker", self._broker.iteration)
        self._runtime.loops.start("charging", self._charger.iteration)

    async def _follow_catalog(self) -> float:
        wait = await self._catalog.iteration()
        if await self._runtime.db.read(parked_count):
            await self._broker.retry()
        return wait
