"""How jobs end where nodes fail, jobs are preempted, operators act and slurmctld goes away: as the books of real clusters have it."""

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from caravan.contracts.jobs import Outcome
from caravan.kernel import clock
from services.broker.adapters.port import RunSeen, Seen, Unavailable
from tests.backends.slurm import RELEASES, Cluster, LeftOut
from tests.backends.slurm.cluster import running
from tests.backends.slurm.fixtures import leave_out
from tests.contract.backends import HARNESSES, Harness, Site, eventually

pytestmark = pytest.mark.slow

CHANGES = {
    "AccountingStoreFlags": "",
    "AuthInfo": "cred_expire=5",  # a requeued job waits for as long
    "JobAcctGatherFrequency": "1",
    "JobAcctGatherParams": "OverMemoryKill",
    "JobRequeue": "0",
    "MinJobAge": "5",
    "PreemptMode": "REQUEUE",
    "PreemptType": "preempt/partition_prio",
    "SchedulerParameters": "batch_sched_delay=0,sched_min_interval=0,bf_interval=5,sched_interval=1",
}
PARTITIONS = (
    "failing Nodes=n1",
    "steady Nodes=n2",
    "later Nodes=n2 State=DOWN",
    "yielding Nodes=n3",
    "ending Nodes=n4 PreemptMode=CANCEL",
    "urgent Nodes=n[3-4] PriorityTier=9",
)
ONCE_LONG = '#!/bin/sh\ntest "${SLURM_RESTART_COUNT:-0}" = 0 && exec sleep 300\nexit 0\n'
"""Ends by itself only when it was requeued."""
GREEDY = "#!/bin/sh\nwords=$(head -c 400000000 /dev/zero | tr '\\0' x)\nsleep 300\n"

Ends = list[tuple[int, Outcome | None, str]]
REQUEUED, PREEMPTED = "the job was requeued", "preempted by another job"
FAILED_NODE, MEMORY, CANCELLED = "a node failed", "memory: more was used than was asked for", "cancelled"
AGAIN = (0, Outcome.SUCCEEDED, "")
ENDS: Mapping[str, Ends] = {
    "a node failed": [(0, Outcome.SITE, FAILED_NODE)],
    "a node failed, requeued": [(0, Outcome.SITE, FAILED_NODE), AGAIN],
    "a node failed, then cancelled": [(0, Outcome.SITE, FAILED_NODE)],
    "preempted": [(0, Outcome.PREEMPTED, PREEMPTED)],
    "preempted, requeued": [(0, Outcome.PREEMPTED, PREEMPTED), AGAIN],
    "preempted, cancelled": [(0, Outcome.PREEMPTED, PREEMPTED)],
    "requeued by an operator": [(0, Outcome.SITE, REQUEUED), AGAIN],
    "requeued, then cancelled": [(0, Outcome.SITE, REQUEUED)],
    "one task requeued": [
        (1, Outcome.SUCCEEDED, ""), (2, Outcome.SITE, REQUEUED), (2, Outcome.SUCCEEDED, ""), (3, Outcome.SUCCEEDED, ""),
    ],
    "over its memory": [(0, Outcome.LIMIT, MEMORY)],
    "cancelled by an operator": [(0, Outcome.CANCELLED, CANCELLED)],
    "held by an operator": [(0, Outcome.SUCCEEDED, "")],
}  # fmt: skip


@pytest.fixture(scope="module", params=RELEASES, ids=lambda release: str(release.name))
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with ExitStack() as ends:
        try:
            cluster = ends.enter_context(running(request.param, CHANGES))
        except LeftOut as fault:
            leave_out(request.param, fault)
        configure(cluster, lambda text: text + "".join(f"PartitionName={one}\n" for one in PARTITIONS))
        yield cluster


def configure(cluster: Cluster, change: Callable[[str], str]) -> None:
    conf = cluster.etc / "slurm.conf"
    conf.write_text(change(conf.read_text()))
    cluster.run("scontrol", "reconfigure")


@pytest.fixture
def harness(cluster: Cluster) -> Harness:
    return HARNESSES[f"slurm-{cluster.release}"][0](Path("/"), lambda _: lambda _: cluster)


@pytest.fixture
async def site(harness: Harness) -> AsyncIterator[Site]:
    async with harness.open() as backend:
        site = Site(harness, backend)
        yield site
        await site.clear()


async def start(
    site: Site, script: str, partition: str, *, requeue: bool = False, cpus: int = 1, indices: tuple[int, ...] = (0,)
) -> str:
    asked = site.harness.submission(script, indices=indices)
    wanted = asked.resources.model_copy(update={"cpus_per_task": cpus})
    target = {"partition": partition, "requeue": requeue}
    grant = site.harness.adapter.grant(wanted, target, site.harness.context.settings)
    reference = await site.backend.stage(
        asked.model_copy(update={"resources": wanted, "target": target, "grant": grant})
    )
    site.staged.append(reference)
    await site.backend.release(reference)
    return reference


def job(reference: str) -> str:
    return reference.partition("-")[0]


def ends(runs: tuple[RunSeen, ...]) -> Ends:
    return [(run.index, run.outcome, run.detail) for run in runs]


def sacct(cluster: Cluster, reference: str) -> list[tuple[str, int, int]]:
    """Identity, start and end of all runs in the books. What never started is there too: cancelled while it waited, or left waiting in a
    record of the time when slurmctld was away."""
    fields = "--format=JobIDRaw,Submit,Start,End,State"
    said = cluster.run("env", "SLURM_TIME_FORMAT=%s", "sacct", "--duplicates", "-nPXj", job(reference), fields)
    rows = [line.split("|") for line in said.splitlines()]
    return sorted(
        (f"caravan:{raw}:{submit}", int(start), int(end))
        for raw, submit, start, end, state in rows
        if start != "None" and not (state.startswith("CANCELLED") and start == end)
    )


def times(runs: tuple[RunSeen, ...]) -> list[tuple[str, int, int]]:
    """The same of runs that have ended."""
    seconds = clock.to_seconds
    return sorted((run.identity, seconds(run.started_at), seconds(run.ended_at)) for run in runs if run.ended_at)


async def test_each_run_ends_as_the_books_have_it_and_a_job_by_its_last_one(cluster: Cluster, site: Site) -> None:
    def operator(*command: str) -> None:
        cluster.run("scontrol", *command)

    started = {
        "a node failed": await start(site, ONCE_LONG, "failing"),
        "a node failed, requeued": await start(site, ONCE_LONG, "failing", requeue=True),
        "a node failed, then cancelled": await start(site, ONCE_LONG, "failing", requeue=True),
        "preempted": await start(site, ONCE_LONG, "yielding", cpus=10),
        "preempted, requeued": await start(site, ONCE_LONG, "yielding", cpus=10, requeue=True),
        "preempted, cancelled": await start(site, ONCE_LONG, "ending", cpus=20, requeue=True),
        "requeued by an operator": await start(site, ONCE_LONG.replace("exit 0", "sleep 6"), "steady", requeue=True),
        "requeued, then cancelled": await start(site, ONCE_LONG, "steady", requeue=True),
        "one task requeued": await start(
            site,
            ONCE_LONG.replace("test", 'test "$CARAVAN_ARRAY_INDEX" = 2 && test'),
            "steady",
            requeue=True,
            indices=(1, 2, 3),
        ),
        "over its memory": await start(site, GREEDY, "steady"),
        "cancelled by an operator": await start(site, ONCE_LONG, "steady"),
    }
    for name, reference in started.items():
        if name != "over its memory":
            await site.running(reference)
    cancelled = started["cancelled by an operator"]

    async def has_run_for_a_second() -> bool:
        seen = await site.seen(cancelled)
        return seen.seen_at > seen.runs[0].started_at

    await eventually(has_run_for_a_second, "the last one has run")
    started["held by an operator"] = held = await start(site, "#!/bin/sh\nexit 0\n", "later")
    with pytest.raises(subprocess.CalledProcessError):
        operator("requeue", job(started["preempted"]))

    operator("update", "nodename=n1", "state=down", "reason=test")
    await start(site, "#!/bin/sh\nsleep 1\n", "urgent", cpus=32, indices=(0, 1))
    operator("requeue", job(started["requeued by an operator"]))
    operator("requeue", f"{job(started['one task requeued'])}_2")
    operator("requeue", job(started["requeued, then cancelled"]))
    operator("hold", job(held))
    cluster.run("scancel", job(cancelled))

    async def waits_again() -> bool:
        seen = await site.seen(started["requeued, then cancelled"])
        assert not seen.ended
        return seen.queued and [run.outcome for run in seen.runs] == [Outcome.SITE]

    await eventually(waits_again, "it waits again", 30)
    for name in ("requeued, then cancelled", "a node failed, then cancelled"):
        cluster.run("scancel", job(started[name]))

    async def says_why_it_waits() -> bool:
        waits = await site.seen(held)
        assert waits.queued
        return waits.detail == "被算力中心管理员挂起 held by the centre's administrator (JobHeldAdmin)"

    await eventually(says_why_it_waits, "it says who holds it")

    async def is_back() -> bool:
        if "down" not in cluster.run("sinfo", "-hn", "n1", "-p", "failing", "-o", "%T"):
            return True
        with suppress(subprocess.CalledProcessError):  # it may come back by itself at any time
            operator("update", "nodename=n1", "state=resume")
        return False

    await eventually(is_back, "its node is back")
    operator("update", "partitionname=later", "state=up")
    operator("release", job(held))

    async with site.harness.open() as backend:
        away = Site(site.harness, backend)

        async def runs_again() -> bool:
            seen = await away.seen(started["requeued by an operator"])
            assert not seen.ended
            return [(run.outcome, run.final) for run in seen.runs] == [(Outcome.SITE, True), (None, False)]

        await eventually(runs_again, "an agent that was away sees both runs", 60)

    found = {name: (await site.ended(reference)).runs for name, reference in started.items()}
    assert {name: ends(runs) for name, runs in found.items()} == ENDS
    assert {name: times(runs) for name, runs in found.items()} == {
        name: sacct(cluster, one) for name, one in started.items()
    }

    def forgotten() -> bool:
        return not {job(reference) for reference in started.values()} & set(
            cluster.run("squeue", "-ht", "all", "-o", "%F").split()
        )

    await eventually(forgotten, "slurmctld forgets", 60)
    async with site.harness.open() as backend:
        away = Site(site.harness, backend)
        assert {name: (await away.ended(reference)).runs for name, reference in started.items()} == found


async def test_while_slurmctld_is_away_nothing_can_be_had_and_then_everything_is_found_again(
    cluster: Cluster, site: Site
) -> None:
    ended = await start(site, "#!/bin/sh\nsleep 2\n", "steady")
    runs = await start(site, "#!/bin/sh\nsleep 20\n", "steady")
    waits = await site.stage("#!/bin/sh\nexit 0\n")
    before = [await site.running(reference) for reference in (ended, runs)]
    cluster.run("sh", "-c", "kill -TERM $(pidof slurmctld)")
    quick = {**site.harness.context.settings, "timeout_seconds": 2}
    impatient = replace(site.harness, context=replace(site.harness.context, settings=quick))
    async with impatient.open() as backend:
        for _ in range(2):
            with pytest.raises(Unavailable):
                await backend.observe([ended])
    cluster.run("slurmctld", user="slurm")

    async def released() -> bool:
        try:
            await site.backend.release(waits)
        except Unavailable:  # also for some seconds when it is back: it asks slurmdbd for what it needs
            return False
        return True

    await eventually(released, "slurmctld is back", 60)
    await site.backend.cancel(runs)
    found = {reference: (await site.ended(reference)).runs for reference in (ended, runs, waits)}
    assert [run.identity for (run,) in list(found.values())[:2]] == [seen.runs[0].identity for seen in before]
    assert [run.outcome for (run,) in found.values()] == [Outcome.SUCCEEDED, Outcome.CANCELLED, Outcome.SUCCEEDED]
    assert {one: times(found[one]) for one in found} == {one: sacct(cluster, one) for one in found}


async def test_a_frozen_slurmdbd_holds_up_no_look_and_its_books_come_later(cluster: Cluster, site: Site) -> None:
    started = [await start(site, "#!/bin/sh\nsleep 3\n", "steady") for _ in range(16)]
    slow = {**site.harness.context.settings, "timeout_seconds": 20}
    patient = replace(site.harness, context=replace(site.harness.context, settings=slow))
    async with patient.open() as backend:
        watched = Site(patient, backend)
        for reference in started:
            await watched.running(reference)
        frozen = cluster.processes("slurmdbd")
        for process in frozen:
            os.kill(process, signal.SIGSTOP)
        try:

            async def have_ended() -> bool:
                async with asyncio.timeout(60):  # of 16 questions two at a time would take 160 s
                    found = await backend.observe(started)
                runs = [run for seen in found.values() if isinstance(seen, Seen) for run in seen.runs]
                assert not any(run.final for run in runs)
                return len(runs) == len(started) and all(run.ended_at for run in runs)

            await eventually(have_ended, "slurmctld says how they ended", 60)
        finally:
            for process in frozen:
                os.kill(process, signal.SIGCONT)
        found = {reference: (await watched.ended(reference)).runs for reference in started}
    assert {one: times(found[one]) for one in found} == {one: sacct(cluster, one) for one in found}


async def test_whether_a_job_may_be_requeued_is_the_offerings_word_whatever_slurm_conf_says(
    cluster: Cluster, site: Site
) -> None:
    def may(reference: str) -> bool:
        return " Requeue=1 " in cluster.run("scontrol", "show", "job", job(reference))

    for default in ("0", "1"):
        configure(cluster, partial(re.sub, "JobRequeue=.", f"JobRequeue={default}"))
        assert f"JobRequeue              = {default}" in cluster.run("scontrol", "show", "config")
        assert [may(await start(site, ONCE_LONG, "steady", requeue=allowed)) for allowed in (False, True)] == [
            False,
            True,
        ]
