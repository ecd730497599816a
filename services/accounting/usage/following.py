"""The followers of catalog and broker, as supervised loops."""

from caravan.client import Peers
from caravan.kernel.follow import Follower, parked_count
from caravan.kernel.runtime import Runtime
from services.accounting.usage import copies
from services.accounting.usage.facts import Facts


class Following:
    """Follows both feeds. What of the broker's waits for something of the catalog's is tried again when that has come."""

    def __init__(self, runtime: Runtime, peers: Peers) -> None:
        self._runtime = runtime
        self._catalog = Follower(runtime.db, "catalog", peers.catalog, copies.HANDLERS)
        self._broker = Follower(runtime.db, "broker", peers.broker, Facts(runtime.now).handlers())

    def start(self) -> None:
        """Follow from now on, until the runtime stops its loops."""
        self._runtime.loops.start("follow-catalog", self._follow_catalog)
        self._runtime.loops.start("follow-broker", self._broker.iteration)

    async def _follow_catalog(self) -> float:
        wait = await self._catalog.iteration()
        if await self._runtime.db.read(parked_count):
            await self._broker.retry()
        return wait
