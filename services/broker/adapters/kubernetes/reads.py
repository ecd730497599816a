"""What is asked of the API server now and then: what is free at the site, and what its queue and its tenants may have."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from caravan.kernel import clock
from services.broker.adapters.kubernetes import allowances, inventory, quotas, records
from services.broker.adapters.kubernetes.devices import Devices
from services.broker.adapters.kubernetes.failures import FORBIDDEN, GONE
from services.broker.adapters.kubernetes.inventory import Node, Placed, Used
from services.broker.adapters.kubernetes.lines import LocalQueue
from services.broker.adapters.kubernetes.quotas import Quota
from services.broker.adapters.kubernetes.records import Pod
from services.broker.adapters.kubernetes.reference import SITE, TAG
from services.broker.adapters.kubernetes.rest import Rest, readable
from services.broker.adapters.kubernetes.watch import PAGE

BELIEVED_SECONDS: Final = 60.0
"""How long what a job is checked against is believed."""
NOT_ENDED: Final = {"fieldSelector": "status.phase!=Succeeded,status.phase!=Failed"}

NODES_PAGE: Final = "100"
"""A node of 50 images is 8 KiB: so many are read in 20 ms, in which nothing else goes on."""

Items = Sequence[Mapping[str, Any]]


class Reads:
    """Of one site. All raise Unavailable."""

    def __init__(self, rest: Rest, devices: Devices) -> None:
        self._rest = rest
        self._devices = devices
        self._nodes: tuple[float, tuple[Node, ...]] = (float("-inf"), ())
        self._allowances: dict[str, tuple[float, Items, Items]] = {}
        """Of a namespace its LimitRanges and ResourceQuotas, and when they were read."""
        self._behind: tuple[float, Mapping[LocalQueue, str]] = (float("-inf"), {})

    async def nodes(self) -> tuple[Node, ...]:
        found: list[Node] = []
        async for some in self._pages("api/v1/nodes", limit=NODES_PAGE):
            with readable():
                found += [inventory.node(one, self._devices) for one in some]
        self._nodes = (clock.monotonic(), tuple(found))
        return tuple(found)

    async def believed_nodes(self) -> tuple[Node, ...]:
        at, nodes = self._nodes
        return nodes if clock.monotonic() - at < BELIEVED_SECONDS else await self.nodes()

    async def used(self) -> Used:
        """By all pods of the cluster, page by page: of each one little is kept."""
        found: list[Placed] = []
        async for pods in self._pages("api/v1/pods", **NOT_ENDED):
            with readable():
                found += [inventory.placed(pod) for pod in pods]
        return inventory.used(found)

    async def pods_of(self, site: str) -> list[Pod]:
        """All that the cluster still has of the site's, also forgotten ones."""
        found: list[Pod] = []
        async for pods in self._pages("api/v1/pods", labelSelector=TAG):
            with readable():
                ours = (pod for pod in pods if (pod["metadata"].get("annotations") or {}).get(SITE) == site)
                found += map(records.pod, ours)
        return found

    async def quotas(self, queue: str | None) -> tuple[Quota, ...]:
        """Of the queue of this name; nothing without one."""
        if queue is None:
            return ()
        kinds = ("localqueues", "clusterqueues", "resourceflavors")
        local_queues, cluster_queues, flavors = [await self._allowed(f"{quotas.KUEUE}/{kind}") for kind in kinds]
        with readable():
            return quotas.quotas(queue, local_queues, cluster_queues, flavors)

    async def behind(self) -> Mapping[LocalQueue, str]:
        """The ClusterQueue that each LocalQueue of the cluster leads to."""
        at, behind = self._behind
        if clock.monotonic() - at >= BELIEVED_SECONDS:
            local_queues = await self._allowed(f"{quotas.KUEUE}/localqueues")
            with readable():
                behind = quotas.leads(local_queues)
            self._behind = (clock.monotonic(), behind)
        return behind

    async def why_not(self, namespace: str, asked: Mapping[str, str]) -> str | None:
        """Why the namespace can never have a pod that asks for this."""
        at, limits, hard = self._allowances.get(namespace, (float("-inf"), (), ()))
        if clock.monotonic() - at >= BELIEVED_SECONDS:
            limits = await self._allowed(f"api/v1/namespaces/{namespace}/limitranges")
            hard = await self._allowed(f"api/v1/namespaces/{namespace}/resourcequotas")
            self._allowances[namespace] = (clock.monotonic(), limits, hard)
        with readable():
            return allowances.why_not(asked, limits, hard)

    async def _allowed(self, path: str) -> Items:
        """All that is there; nothing where we may not look, or there is no such kind of things."""
        answer = await self._rest.read(path)
        if answer.is_a(GONE, FORBIDDEN):
            return ()
        content = answer.read()
        with readable():
            return tuple(content["items"])

    async def _pages(self, path: str, limit: str = PAGE, **params: str) -> AsyncIterator[Items]:
        page: dict[str, str] = {}
        while True:
            content = (await self._rest.read(path, **params, limit=limit, **page)).read()
            with readable():
                items, more = content["items"], content["metadata"].get("continue")
            yield items
            if not more:
                return
            page = {"continue": more}
