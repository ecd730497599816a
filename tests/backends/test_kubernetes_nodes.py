"""Tasks of several nodes, and containers of arrays with gaps, at a real cluster."""

from typing import Any

import pytest

from caravan.contracts.jobs import Outcome
from caravan.contracts.spec import Container
from services.broker.adapters.kubernetes.reference import Reference
from services.broker.adapters.port import Seen
from tests.backends.kubernetes import Cluster
from tests.backends.kubernetes.image import BUSYBOX
from tests.backends.test_kubernetes_ends import alone, asked, harness, job, pods, site, start, waits
from tests.contract.backends import Site, eventually

__all__ = ["harness", "site"]
pytestmark = pytest.mark.slow

TWO = {"resources": {"nodes": 2, "memory_mib_per_node": 64}}
TALKS = r"""#!/bin/sh
echo "$CARAVAN_NODE_RANK of $CARAVAN_NODES, $CARAVAN_ARRAY_INDEX, $CARAVAN_FIRST_NODE, $(hostname)"
if test "$CARAVAN_NODE_RANK" = 0; then
    hostname -i >address.part && mv address.part address
    until test -e said; do sleep 0.1; done | nc -l -p 2900
else
    until test -e address; do sleep 0.1; done
    until echo "hello from $(hostname)" | nc "$(cat address)" 2900; do sleep 0.1; done
    touch said
    exec sleep 3
fi
"""
FAILS = '#!/bin/sh\ntest "$CARAVAN_NODE_RANK" = 1 && { sleep 2; exit 5; }\nexec sleep 600\n'


def of(cluster: Cluster, kind: str, reference: str) -> list[dict[str, Any]]:
    """What there is of a kind, below its group's path, that belongs to the Job's Service."""
    ours = Reference.parse(reference)
    assert ours is not None
    group, plural = kind.rsplit("/", 1)
    found = cluster.ask("GET", f"/{group}/namespaces/{ours.namespace}/{plural}")["items"]
    return [item for item in found if item["metadata"]["name"].startswith(f"nodes-{ours.name}")]


async def test_the_nodes_of_a_task_know_and_reach_each_other_and_are_one_run(site: Site, kubernetes: Cluster) -> None:
    reference = await start(site, asked(site, TALKS, **TWO, indices=(7,)))
    ours = Reference.parse(reference)
    assert ours is not None
    domain = f"nodes-{ours.name}"

    async def named() -> bool:
        """As a name server of the cluster's would answer."""
        slices = of(kubernetes, "apis/discovery.k8s.io/v1/endpointslices", reference)
        ends = [end for one in slices for end in one.get("endpoints") or ()]
        return {end.get("hostname") for end in ends} == {f"{ours.name}-0", f"{ours.name}-1"}

    await eventually(named, "both nodes have names", site.harness.deadline_seconds)
    run = await alone(site, reference)
    assert (run.index, run.identity, run.outcome, run.exit_code) == (7, f"{ours.uid}.1", Outcome.SUCCEEDED, 0)
    assert await site.text(reference, 7) == (
        f"0 of 2, 7, {ours.name}-0.{domain}, {ours.name}-0\nhello from {ours.name}-1\n"
    )
    node_seconds = sum(int((span.end - span.start).total_seconds()) * span.nodes for span in run.spans)
    ours_of = {pod["metadata"]["uid"] for pod in pods(kubernetes, reference)}
    containers = [one for one in kubernetes.containers() if one.pod_uid in ours_of]
    ran = [int(one.ended.timestamp()) - int(one.started.timestamp()) for one in containers if one.ended is not None]
    assert len(ran) == 2 and abs(node_seconds - sum(ran)) <= 2
    assert {span.cpus for span in run.spans} <= {1, 2}
    await site.backend.forget(reference)
    kubernetes.ask("DELETE", f"{job(reference)}?propagationPolicy=Background")
    await eventually(lambda: not of(kubernetes, "api/v1/services", reference), "its Service is gone with it", 60)


async def test_a_node_that_fails_ends_the_others_and_the_run_as_it_did(site: Site, kubernetes: Cluster) -> None:
    reference = await start(site, asked(site, FAILS, **TWO))
    run = await alone(site, reference)
    assert (run.outcome, run.exit_code) == (Outcome.USER, 5)
    assert run.detail == "node 1: exit code 5"
    ours = {pod["metadata"]["uid"] for pod in pods(kubernetes, reference)}
    assert len(ours) == 2
    assert all(one.ended for one in kubernetes.containers() if one.pod_uid in ours)


async def test_cancelling_a_task_ends_all_of_its_nodes(site: Site) -> None:
    reference = await start(site, asked(site, "#!/bin/sh\nexec sleep 600\n", **TWO))
    await site.running(reference)
    await site.backend.cancel(reference)
    assert (await alone(site, reference)).outcome is Outcome.CANCELLED


async def test_each_container_of_an_array_with_gaps_knows_its_index(site: Site) -> None:
    says = Container(image=f"docker://{BUSYBOX}", command=("sh", "-c", 'echo "I am $CARAVAN_ARRAY_INDEX"'))
    reference = await start(site, asked(site, script=None, container=says, indices=(3, 11, 8), max_parallel=2))
    seen = await site.ended(reference)
    assert [(run.index, run.outcome) for run in seen.runs] == [(index, Outcome.SUCCEEDED) for index in (3, 8, 11)]
    assert [await site.text(reference, index) for index in (3, 8, 11)] == ["I am 3\n", "I am 8\n", "I am 11\n"]


async def test_who_suspends_a_task_and_resumes_it_has_all_of_its_nodes_run_again(
    site: Site, kubernetes: Cluster
) -> None:
    reference = await start(site, asked(site, "#!/bin/sh\nexec sleep 600\n", **TWO))

    async def both_of(number: int) -> Seen | None:
        """Once both nodes run, for the first or the second time."""
        seen = await site.seen(reference)
        return seen if len(seen.runs) == number and [span.nodes for span in seen.runs[-1].spans][-1:] == [2] else None

    def suspend(yes: bool) -> None:
        kubernetes.ask("PATCH", job(reference), {"spec": {"suspend": yes}}, "application/merge-patch+json")

    await eventually(lambda: both_of(1), "both nodes run", site.harness.deadline_seconds)
    suspend(True)
    await waits(site, reference, "suspended by the centre")
    suspend(False)
    await eventually(lambda: both_of(2), "both nodes run again", site.harness.deadline_seconds)
    await site.backend.cancel(reference)
    first, second = (await site.ended(reference)).runs
    assert (first.outcome, second.outcome) == (Outcome.CANCELLED, Outcome.CANCELLED)
    assert first.identity.endswith(".1") and second.identity.endswith(".2")
    assert first.ended_at is not None and first.ended_at <= second.started_at
    assert len(pods(kubernetes, reference)) == 4
