"""Output of which the kubelet keeps only the newest part: a node of its own, whose logs are begun anew when they are 10 KiB long."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from services.broker.adapters.kubernetes import copies
from services.broker.adapters.port import Unavailable
from tests.backends.kubernetes import Cluster, running
from tests.backends.kubernetes.fixtures import or_left_out
from tests.contract.backends import HARNESSES, Site, eventually

pytestmark = pytest.mark.slow

LINES = 1500
WRITES = f"""#!/bin/sh
line=0
while test $line -lt {LINES}; do
    echo "this is line $line"
    line=$((line + 1))
    test $((line % 25)) -gt 0 || sleep 0.2
done
"""
TEXT = "".join(f"this is line {line}\n" for line in range(LINES))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with or_left_out(), running() as cluster:
        cluster.stop("node")
        file = Path(cluster.folder, "node/kubelet.json")
        # the least that the kubelet takes
        short = {"containerLogMaxSize": "10Ki", "containerLogMaxFiles": 2, "containerLogMonitorInterval": "3s"}
        file.write_text(json.dumps(json.loads(file.read_text()) | short))
        cluster.start("node")
        yield cluster


@pytest.fixture
async def site(cluster: Cluster) -> AsyncIterator[Site]:
    harness = HARNESSES["kubernetes"][0](Path("/"), lambda _: cluster)
    async with harness.open() as backend:
        yield Site(harness, backend)


def begun_anew(cluster: Cluster) -> list[Path]:
    """What the kubelet has put aside, and gives to nobody."""
    return [*Path(cluster.folder, "node/logs").rglob("*.log.*")]


async def ended(site: Site, reference: str) -> None:
    """The cluster may not answer at first."""

    async def look() -> bool:
        with suppress(Unavailable):
            return (await site.seen(reference)).ended
        return False

    await eventually(look, f"{reference} ends", 90)


async def test_who_follows_a_log_gets_all_of_it_however_often_the_node_begins_it_anew(
    site: Site, cluster: Cluster
) -> None:
    reference = await site.start(WRITES)
    await site.running(reference)

    async def read() -> bool:
        with suppress(FileNotFoundError):
            await site.text(reference)
        return (await site.seen(reference)).ended

    await eventually(read, "it ends while somebody reads", 60)
    assert await site.text(reference) == TEXT
    assert begun_anew(cluster)


async def test_what_came_between_a_cut_and_the_next_look_is_said_to_be_missing(
    site: Site, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "AGAIN_SECONDS", 600)
    reference = await site.start(WRITES)
    await site.has_said(reference, "this is line 20\n")
    cluster.stop("kube-apiserver")
    await asyncio.sleep(8)
    cluster.start("kube-apiserver")
    await ended(site, reference)
    before, _, after = (await site.text(reference)).partition("\n[caravan: ")
    words, _, rest = after.partition("]\n")
    assert "the node began the log anew: here output may be missing or twice" in words
    assert TEXT.startswith(before) and TEXT.endswith(rest)
    assert "this is line 20\n" in before and rest.startswith("this is line ")


async def test_of_what_is_read_at_last_the_missing_beginning_is_said(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "ANEW_BYTES", 1000)
    monkeypatch.setattr(copies, "LONG_BYTES", 10)
    reference = await site.start(WRITES)
    await ended(site, reference)
    words, _, rest = (await site.text(reference)).partition("\n")
    assert "the node's log begins " in words and "output before may be missing" in words
    assert rest and TEXT.endswith(rest) and rest != TEXT
