"""Jobs at a real cluster where Kueue says what may start: they wait for quota, are preempted, and run again."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from caravan.contracts.dispatch import Submission
from caravan.contracts.jobs import Outcome
from caravan.kernel import ids
from services.broker.adapters.kubernetes.reference import Reference
from services.broker.adapters.port import Rejected, Seen
from tests.backends.kubernetes import Cluster
from tests.backends.kubernetes.fixtures import or_left_out
from tests.backends.kubernetes_site import namespace
from tests.contract.backends import HARNESSES, Site, eventually

pytestmark = pytest.mark.slow

KUEUE = "/apis/kueue.x-k8s.io/v1beta2"
LONG = "#!/bin/sh\necho begun\nexec sleep 600\n"
SHORT = "#!/bin/sh\nexit 0\n"


@dataclass(frozen=True)
class Queued:
    """A site with a queue for one tenant, with a quota of one CPU. A higher priority preempts a lower one there."""

    cluster: Cluster
    site: Site
    name: str
    """Of the queue, its namespace, and all else of it."""

    def submission(self, script: str, priority: str) -> Submission:
        made = self.site.harness.submission(script)
        settings, target = {"namespace": self.name}, {"priority_class": f"{self.name}-{priority}"}
        return made.model_copy(update={"tenant_settings": settings, "target": target})

    async def stage(self, script: str = LONG, priority: str = "low") -> str:
        reference = await self.site.backend.stage(self.submission(script, priority))
        self.site.staged.append(reference)
        return reference

    async def start(self, script: str = LONG, priority: str = "low") -> str:
        reference = await self.stage(script, priority)
        await self.site.backend.release(reference)
        return reference

    async def says(self, reference: str, *words: str) -> Seen:
        async def look() -> Seen | None:
            seen = await self.site.seen(reference)
            return seen if all(word in seen.detail for word in words) else None

        found = await eventually(look, f"{reference} says {words}", self.site.harness.deadline_seconds)
        assert isinstance(found, Seen)
        return found

    def workloads(self) -> dict[str, Any]:
        """By the names of their Jobs."""
        items = self.cluster.ask("GET", f"{KUEUE}/namespaces/{self.name}/workloads")["items"]
        return {item["metadata"]["ownerReferences"][0]["name"]: item for item in items}


def queue(cluster: Cluster, name: str) -> None:
    """One CPU for the namespace of this name."""
    quota = [{"name": "cpu", "nominalQuota": "1"}, {"name": "memory", "nominalQuota": "1Gi"}]
    group = {"coveredResources": ["cpu", "memory"], "flavors": [{"name": name, "resources": quota}]}
    preempts = {"withinClusterQueue": "LowerPriority"}
    spec = {"namespaceSelector": {}, "preemption": preempts, "resourceGroups": [group]}
    make(cluster, "resourceflavors", "ResourceFlavor", name, {})
    make(cluster, "clusterqueues", "ClusterQueue", name, spec)
    make(cluster, f"namespaces/{name}/localqueues", "LocalQueue", name, {"clusterQueue": name})


def make(cluster: Cluster, path: str, kind: str, name: str, spec: dict[str, Any]) -> None:
    body = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": kind, "metadata": {"name": name}, "spec": spec}
    cluster.ask("POST", f"{KUEUE}/{path}", body)


@pytest.fixture
async def queued(kubernetes: Cluster) -> AsyncIterator[Queued]:
    with or_left_out():
        await asyncio.to_thread(kubernetes.kueue)
    name = f"queued-{ids.new('own')[-8:]}"
    namespace(kubernetes, name)
    queue(kubernetes, name)
    for word, value in (("low", 1), ("high", 1000)):
        priority = {"metadata": {"name": f"{name}-{word}"}, "value": value}
        kubernetes.ask("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", priority)
    made = HARNESSES["kubernetes"][0](Path("/"), lambda _: kubernetes)
    harness = replace(made, context=replace(made.context, settings={**made.context.settings, "queue": name}))
    async with harness.open() as backend:
        site = Site(harness, backend)
        yield Queued(kubernetes, site, name)
        await site.clear()


async def test_what_is_staged_is_kueues_only_once_it_is_released(queued: Queued) -> None:
    reference, other = await queued.stage(SHORT), await queued.stage(SHORT)
    backend, ours = queued.site.backend, Reference.parse(reference)
    assert ours is not None
    assert {reference, other} <= {one.reference for one in await backend.staged()}
    await backend.discard(other)
    with pytest.raises(Rejected):
        await backend.release(other)
    await backend.release(reference)
    (run,) = (await queued.site.ended(reference)).runs
    assert run.outcome is Outcome.SUCCEEDED
    # of what was only staged Kueue never knew
    assert [*queued.workloads()] == [ours.name]
    await backend.release(reference)
    await backend.forget(reference)


async def test_what_waits_for_quota_says_so_in_kueues_words_and_can_be_cancelled(queued: Queued) -> None:
    first = await queued.start()
    await queued.site.running(first)
    second = await queued.start()
    seen = await queued.says(second, "在站点队列中等待配额", "waiting in the site's queue for quota", "1 more needed")
    assert seen.released and seen.queued and not seen.runs
    assert f"insufficient unused quota for cpu in flavor {queued.name}" in seen.detail
    await queued.site.backend.cancel(second)
    assert (await queued.site.ended(second)).runs == ()
    await queued.site.backend.cancel(first)
    (run,) = (await queued.site.ended(first)).runs
    assert run.outcome is Outcome.CANCELLED


async def test_what_waits_is_told_its_place_by_kueues_order_among_all_that_wait(queued: Queued) -> None:
    first = await queued.start()
    await queued.site.running(first)
    neighbour = f"{queued.name}-b"
    namespace(queued.cluster, neighbour)
    make(
        queued.cluster, f"namespaces/{neighbour}/localqueues", "LocalQueue", queued.name, {"clusterQueue": queued.name}
    )
    theirs = queued.submission(LONG, "low").model_copy(update={"tenant_settings": {"namespace": neighbour}})
    before = await queued.site.backend.stage(theirs)
    queued.site.staged.append(before)
    await queued.site.backend.release(before)
    await queued.says(before, "排在第 1 位 ", "position 1 (")
    second = await queued.start()
    await queued.says(second, "在站点队列中等待配额，排在第 2 位 waiting in the site's queue for quota, position 2 (")
    high = await queued.stage(LONG, "high")
    await queued.site.backend.cancel(first)
    await queued.site.running(before)
    await queued.says(second, "排在第 1 位 ", "position 1 (")
    await queued.site.backend.release(high)
    await queued.site.running(high)
    await queued.says(before, "被其他作业抢占，已重新排队，排在第 1 位 ", "and in the site's queue again, position 1 (")
    await queued.says(second, "position 2 (")


async def test_who_is_preempted_ends_as_that_and_runs_again(queued: Queued) -> None:
    low = await queued.start()
    (before,) = (await queued.site.running(low)).runs
    high = await queued.start("#!/bin/sh\nsleep 5\n", "high")
    seen = await queued.says(low, "preempted by another job, and in the site's queue again")
    assert seen.queued and not seen.ended
    (first,) = seen.runs
    assert (first.identity, first.outcome, first.exit_code) == (before.identity, Outcome.PREEMPTED, None)
    assert (first.detail, first.final) == ("preempted by another job", True)
    (run,) = (await queued.site.ended(high)).runs
    assert run.outcome is Outcome.SUCCEEDED

    async def again() -> Seen | None:
        seen = await queued.site.seen(low)
        return seen if len(seen.runs) == 2 else None

    seen = await eventually(again, f"{low} runs again", 60)
    assert [run.outcome for run in seen.runs] == [Outcome.PREEMPTED, None]
    assert seen.runs[0] == first
    async with queued.site.harness.open() as later:
        anew = (await later.observe([low]))[low]
        assert isinstance(anew, Seen)
        assert [(run.identity, run.outcome) for run in anew.runs] == [(run.identity, run.outcome) for run in seen.runs]
    await queued.site.backend.cancel(low)
    ends = (await queued.site.ended(low)).runs
    assert [run.outcome for run in ends] == [Outcome.PREEMPTED, Outcome.CANCELLED]
    assert ends[0].detail == "preempted by another job"


async def test_what_the_queue_may_have_is_in_the_inventory_and_what_it_holds_is_not_free(queued: Queued) -> None:
    (part,) = [part for part in await queued.site.backend.inventory() if not part.target]
    assert (part.limits.cpus_per_node, part.limits.memory_mib_per_node) == (1, 1024)
    assert part.free is not None and (part.free.cpus, part.free.memory_mib) == (1, 1024)
    reference = await queued.start()
    await queued.site.running(reference)

    async def held() -> bool:
        (part,) = [part for part in await queued.site.backend.inventory() if not part.target]
        return part.free is not None and part.free.cpus == 0

    await eventually(held, "the quota is used")


async def test_a_queue_that_would_take_what_is_only_staged_is_refused(queued: Queued) -> None:
    make(
        queued.cluster,
        f"namespaces/{queued.name}/localqueues",
        "LocalQueue",
        "default",
        {"clusterQueue": queued.name},
    )
    with pytest.raises(Rejected, match="named `default`"):
        await queued.stage()
    assert queued.workloads() == {}


async def test_a_queue_that_is_not_there_lets_a_job_wait(queued: Queued) -> None:
    made = queued.submission(LONG, "low")
    reference = await queued.site.backend.stage(made.model_copy(update={"target": {"queue": "nowhere"}}))
    queued.site.staged.append(reference)
    await queued.site.backend.release(reference)
    await queued.says(reference, "waiting in the site's queue")
