"""The followers of catalog and broker and what charges, as supervised loops."""

from caravan.client import Peers
from caravan.kernel.follow import Follower, parked_count
from caravan.kernel.runtime import Runtime
from services.accounting.charging.charger import Charger
from services.accounting.usage import copies
from services.accounting.usage.facts import Facts


class Following:
    """Follows both feeds and charges. What of the broker's waits for something of the catalog's is tried again when that has come."""

    def __init__(self, runtime: Runtime, peers: Peers) -> None:
        self._runtime = runtime
        self._catalog = Follower(runtime.db, "catalog", peers.catalog, copies.HANDLERS)
        self._broker = Follower(runtime.db, "broker", peers.broker, Facts(runtime.now).handlers())
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
