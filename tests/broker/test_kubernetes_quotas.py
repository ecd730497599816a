"""What is free at a Kubernetes site, and what Kueue's quotas let its queue have: from nodes, pods and queues as the API server has them."""

from decimal import Decimal
from typing import Any

import httpx
import pytest

from caravan.contracts.offerings import Capacity, InventoryItem
from services.broker.adapters.kubernetes import allowances, inventory, quotas
from services.broker.adapters.kubernetes.devices import Devices
from services.broker.adapters.kubernetes.quotas import Quota
from services.broker.adapters.kubernetes.reads import Reads
from services.broker.adapters.kubernetes.rest import Rest
from services.broker.adapters.kubernetes.settings import MODEL_LABELS
from services.broker.adapters.port import Rejected
from tests.broker.kubernetes_answers import node, submission
from tests.broker.kubernetes_double import ApiServer, opened, status

DEVICES = Devices({}, MODEL_LABELS, {})
GPU = "nvidia.com/gpu"
H100 = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
FAST = {"kind": "ResourceFlavor", "metadata": {"name": "fast"}, "spec": {"nodeLabels": H100}}
PLAIN = {"kind": "ResourceFlavor", "metadata": {"name": "plain"}, "spec": {}}


def pod(*requests: dict[str, str], node: str = "n0", **spec: Any) -> dict[str, Any]:
    containers = [{"name": str(place), "resources": {"requests": one}} for place, one in enumerate(requests)]
    return {"spec": {"nodeName": node, "containers": containers, **spec}}


def flavor(name: str, **nominal: Any) -> dict[str, Any]:
    return {"name": name, "resources": [{"name": one, "nominalQuota": most} for one, most in nominal.items()]}


def cluster_queue(
    *flavors: dict[str, Any], name: str = "all", reserved: dict[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    """`reserved`: of its first flavor."""
    total = [{"name": resource, "total": amount, "borrowed": "0"} for resource, amount in (reserved or {}).items()]
    return {
        "metadata": {"name": name},
        "spec": {"resourceGroups": [{"coveredResources": ["cpu"], "flavors": [*flavors]}], **spec},
        "status": {"flavorsReservation": [{"name": flavors[0]["name"], "resources": total}]},
    }


def local_queue(to: str = "all", name: str = "here") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "acme"}, "spec": {"clusterQueue": to}}


def read(*cluster_queues: dict[str, Any], local: tuple[dict[str, Any], ...] = (local_queue(),)) -> tuple[Quota, ...]:
    return quotas.quotas("here", local, cluster_queues, (PLAIN, FAST))


def part(
    *nodes: dict[str, Any], pods: tuple[dict[str, Any], ...] = (), limits: tuple[Quota, ...] = ()
) -> InventoryItem:
    (found,) = inventory.items(
        [inventory.node(one, DEVICES) for one in nodes], inventory.used(map(inventory.placed, pods)), limits
    )
    return found


def test_what_pods_asked_for_is_not_free() -> None:
    two = (node("n0", labels=H100, extra={GPU: "8"}), node("n1", labels=H100, extra={GPU: "8"}))
    assert part(*two).free == Capacity(cpus=14, memory_mib=2 * 15899, accelerators=16)
    pods = (
        pod({"cpu": "1500m", "memory": "1Gi", GPU: "3"}), pod({"cpu": "100m"}, {"cpu": "200m", "memory": "76Mi"}),
        pod({"cpu": "2"}, node="n1"), pod({"cpu": "1"}, node=""), pod({}, node="elsewhere"),
    )  # fmt: skip
    assert part(*two, pods=pods).free == Capacity(cpus=10, memory_mib=2 * 15899 - 1100, accelerators=13)


def test_a_node_that_takes_no_jobs_has_nothing_free_and_none_has_less_than_nothing() -> None:
    both = (node("n0", cordoned=True), node("n1"))
    assert part(*both, pods=(pod({"cpu": "9", "memory": "1Mi"}, node="n1"),)).free == Capacity(cpus=0, memory_mib=15898)


@pytest.mark.parametrize(
    ("spec", "cpus"),
    [
        ({}, "3"), ({"overhead": {"cpu": "250m"}}, "3.25"),
        ({"initContainers": [{"resources": {"requests": {"cpu": "2"}}}]}, "3"),
        ({"initContainers": [{"resources": {"requests": {"cpu": "5"}}}, {"resources": {}}]}, "5"),
        ({"initContainers": [{"restartPolicy": "Always", "resources": {"requests": {"cpu": "2"}}}]}, "5"),
    ],
)  # fmt: skip
def test_a_pod_asks_for_what_the_scheduler_counts(spec: dict[str, Any], cpus: str) -> None:
    asked = inventory.requested(pod({"cpu": "1"}, {"cpu": "2"}, **spec)["spec"])
    assert asked["cpu"] == Decimal(cpus)


def test_a_job_is_limited_by_the_largest_quota_behind_the_sites_queue() -> None:
    limits = read(
        cluster_queue(flavor("plain", cpu=3, memory="2Gi")), cluster_queue(flavor("plain", cpu="4"), name="other"),
        cluster_queue(flavor("plain", cpu=6), name="not-ours"),
        local=(local_queue(), local_queue("other"), local_queue("not-ours", "there")),
    )  # fmt: skip
    found = part(node(), limits=limits)
    assert (found.limits.nodes, found.limits.cpus_per_node, found.limits.memory_mib_per_node) == (1, 4, 2048)
    assert found.free == Capacity(cpus=7, memory_mib=2048)
    wide = part(node(), limits=read(cluster_queue(flavor("plain", cpu=7, memory="1Ti"))))
    assert (wide.limits.cpus_per_node, wide.limits.memory_mib_per_node) == (None, None)
    assert part(node(), limits=read(cluster_queue(flavor("plain", cpu="500m")))).limits.cpus_per_node is None


def test_what_a_cohort_lends_is_no_limit_and_what_it_may_lend_at_most_is() -> None:
    lends, has = cluster_queue(flavor("plain", cpu=1), cohortName="c"), cluster_queue(flavor("plain", cpu=2), name="b")
    assert part(node(), limits=read(lends, has, local=(local_queue(), local_queue("b")))).limits.cpus_per_node is None
    most = {"name": "plain", "resources": [{"name": "cpu", "nominalQuota": "1", "borrowingLimit": "2"}]}
    assert part(node(), limits=read(cluster_queue(most, cohortName="c"))).limits.cpus_per_node == 3
    assert part(node(), limits=read(cluster_queue(most))).limits.cpus_per_node == 1


def test_free_is_what_both_the_nodes_and_the_quotas_have_left() -> None:
    limits = read(cluster_queue(flavor("plain", cpu=5, memory="1Gi"), reserved={"cpu": "1500m", "memory": "2Gi"}))
    assert part(node(), limits=limits).free == Capacity(cpus=3, memory_mib=0)
    assert part(node(), pods=(pod({"cpu": "6"}),), limits=limits).free == Capacity(cpus=1, memory_mib=0)


def test_a_quota_of_a_flavor_is_for_its_nodes_alone() -> None:
    limits = read(cluster_queue(flavor("fast", **{"cpu": 2, GPU: 4}), reserved={GPU: "1"}))
    gpu = part(node(labels=H100, extra={GPU: "8"}), limits=limits)
    assert (gpu.limits.cpus_per_node, gpu.free) == (2, Capacity(cpus=2, memory_mib=15899, accelerators=3))
    assert part(node(), limits=limits).limits.cpus_per_node is None
    assert read(cluster_queue(flavor("unknown", cpu=1))) == ()


def ranges(kind: str = "Container", **limits: dict[str, str]) -> dict[str, Any]:
    return {"spec": {"limits": [{"type": kind, **limits}]}}


@pytest.mark.parametrize(
    ("limits", "hard", "words"),
    [
        ({}, {}, None), ({"max": {"cpu": "2", "memory": "1Gi"}}, {}, None), ({"min": {"cpu": "2"}}, {}, None),
        ({"max": {"cpu": "1500m"}}, {}, "a pod may have at most 1500m of cpu in the tenant's namespace: 2 can't be had"),
        ({"kind": "Pod", "max": {"memory": "1Gi"}, "min": {"memory": "512Mi"}}, {}, "a pod has at least 512Mi of memory"),
        ({"kind": "PersistentVolumeClaim", "max": {"cpu": "1"}}, {}, None),
        ({}, {"cpu": "2", "limits.memory": "1Gi", "pods": "0", "requests.nvidia.com/gpu": "1"}, None),
        ({}, {"requests.nvidia.com/gpu": "0"}, "all of the tenant's namespace may have 0 of nvidia.com/gpu: 1 can't be had"),
        ({}, {"limits.memory": "100Mi"}, "may have 100Mi of memory: 256Mi"),
    ],
)  # fmt: skip
def test_a_namespace_that_can_never_have_a_pod_says_why(
    limits: dict[str, Any], hard: dict[str, str], words: str | None
) -> None:
    asked = {"cpu": "2", "memory": "256Mi", GPU: "1"}
    reason = allowances.why_not(asked, [ranges(**limits)], [{"spec": {"hard": hard}}])
    assert reason == words if words is None else words in (reason or "")


@pytest.mark.parametrize("scope", [{"scopes": ["BestEffort"]}, {"scopeSelector": {"matchExpressions": []}}])
def test_a_quota_that_counts_only_some_pods_refuses_none(scope: dict[str, Any]) -> None:
    assert allowances.why_not({"cpu": "2"}, [], [{"spec": {"hard": {"cpu": "1"}, **scope}}]) is None


async def test_pods_are_counted_on_all_pages_of_their_list() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        last = request.url.params.get("continue") == "more"
        content = {"metadata": {} if last else {"continue": "more"}, "items": [pod({"cpu": "1"})]}
        return httpx.Response(200, json=content)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="https://cluster") as http:
        assert await Reads(Rest(http), DEVICES).used() == {"n0": {"cpu": 2}}


async def test_what_the_centre_does_not_let_be_read_limits_nothing() -> None:
    server = ApiServer()
    for kind in ("limitranges", "resourcequotas", "localqueues", "clusterqueues", "resourceflavors"):
        server.answers[f"GET {kind}"] = status(403, "cannot list resource")
    async with opened(server, queue="here") as backend:
        await backend.stage(submission())
        (found,) = await backend.inventory()
        assert found.limits.cpus_per_node is None


async def test_a_job_that_the_tenants_namespace_can_never_have_is_rejected() -> None:
    server = ApiServer()
    server.put("limitranges", {"metadata": {"name": "small"}, **ranges(max={"cpu": "500m"})})
    async with opened(server) as backend:
        with pytest.raises(Rejected, match="at most 500m of cpu"):
            await backend.stage(submission())
        with pytest.raises(Rejected, match="at most 500m of cpu"):
            await backend.stage(submission())
    assert server.asked.count("GET limitranges") == 1
    assert server.objects["jobs"] == {}
