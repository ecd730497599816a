"""What the Kubernetes adapter sees of jobs while parts of the cluster itself fail: each test has some of them ended, on a cluster apart."""

import signal
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from caravan.contracts.jobs import Outcome
from services.broker.adapters.port import RunSeen, Seen, Unavailable
from tests.backends.kubernetes import Cluster, running
from tests.backends.kubernetes.configuration import NODE
from tests.backends.kubernetes.fixtures import or_left_out
from tests.contract.backends import HARNESSES, Site, eventually

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with or_left_out(), running() as cluster:
        yield cluster


@pytest.fixture
async def site(cluster: Cluster) -> AsyncIterator[Site]:
    harness = HARNESSES["kubernetes"][0](Path("/"), lambda _: cluster)
    async with harness.open() as backend:
        yield Site(harness, backend)


async def ended(site: Site, reference: str, seconds: float) -> Seen:
    """As `Site.ended`, of a cluster that can't be asked at times."""

    async def look() -> Seen | None:
        try:
            seen = await site.seen(reference)
        except Unavailable:
            return None
        return seen if seen.ended and all(run.final for run in seen.runs) else None

    found = await eventually(look, f"{reference} ends", seconds)
    assert isinstance(found, Seen)
    return found


async def away(site: Site) -> bool:
    try:
        await site.backend.now()
    except Unavailable:
        return True
    return False


async def test_what_ends_while_the_api_server_is_away_and_etcd_forgets_is_seen_once_with_its_times(
    site: Site, cluster: Cluster
) -> None:
    reference = await site.start("#!/bin/sh\nsleep 4\nexit 3\n")
    (before,) = (await site.running(reference)).runs
    cluster.stop("kube-apiserver", signal.SIGKILL)
    await eventually(lambda: away(site), "the cluster can't be asked")
    (container,) = [one for one in cluster.containers() if one.pod_uid == before.identity]
    await eventually(lambda: cluster.containers()[-1].ended, "it ends all the same")
    cluster.compact()
    cluster.start("kube-apiserver")
    (run,) = (await ended(site, reference, 120)).runs
    assert (run.identity, run.outcome, run.exit_code, run.started_at) == (
        before.identity, Outcome.USER, 3, before.started_at,
    )  # fmt: skip
    (container,) = [one for one in cluster.containers() if one.pod_uid == run.identity]
    assert run.ended_at is not None and container.ended is not None
    assert abs((run.ended_at - container.ended).total_seconds()) <= 1
    assert (await site.ended(await site.start("#!/bin/sh\nexit 0\n"))).runs[0].outcome is Outcome.SUCCEEDED


async def seen_after(site: Site, reference: str, run: RunSeen) -> Seen | None:
    """How it stands two seconds after what is known of the run."""
    seen = await site.seen(reference)
    return seen if seen.seen_at - run.spans[-1].end > timedelta(seconds=2) else None


async def test_of_a_node_that_is_gone_its_runs_end_as_the_sites_doing(site: Site, cluster: Cluster) -> None:
    reference = await site.start("#!/bin/sh\nexec sleep 600\n")
    (before,) = (await site.running(reference)).runs
    cluster.stop("node", signal.SIGKILL)

    async def silent() -> bool:
        return any(NODE in fault for fault in await site.backend.probe())

    await eventually(silent, "its silence is told", 60)
    (still,) = (await site.seen(reference)).runs
    later = await eventually(lambda: seen_after(site, reference, still), "time passes")
    assert isinstance(later, Seen) and later.runs == (still,) and not later.ended
    cluster.ask("DELETE", f"/api/v1/nodes/{NODE}")
    (run,) = (await ended(site, reference, 240)).runs
    assert (run.identity, run.outcome, run.started_at) == (before.identity, Outcome.SITE, before.started_at)
    assert "node is gone" in run.detail
    assert run.spans == still.spans
    await site.backend.forget(reference)
