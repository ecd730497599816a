"""Numbered jobs at Kubernetes, and what the node's own record of its containers says otherwise than the platform.

That record is containerd's (`tests.backends.kubernetes.containers`): it owes nothing to the API server, which the adapter reads. The
kubelet has a container's times a moment later than containerd, so seconds may differ by one at each end.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from bench.books import PRICES, paid_by_job
from bench.independent.slurm_runs import total_fen
from bench.platform import Market, Platform, until
from bench.reconciling import kubernetes_reconciled
from caravan.client import AccountingClient, each
from caravan.contracts.jobs import Attempt, Job, JobState, Outcome
from caravan.contracts.runs import SiteRun
from caravan.contracts.spec import Array, JobSpec, Resources
from caravan.contracts.statements import Line
from caravan.kernel import clock
from services.broker.adapters.kubernetes.reference import KEPT, SITE
from tests.backends.kubernetes import Cluster
from tests.backends.kubernetes.containers import Container

LEFT_SECONDS: Final = 60
MEMORY_MIB: Final = 64
EDGE_SECONDS: Final = 1
THE_SITES: Final = (Outcome.SITE, Outcome.PREEMPTED, Outcome.LOST)


def job_spec(project: str, number: int, seconds: float | None = None) -> JobSpec:
    """One core and 64 MiB, for a second or less without another word. Its time limit is longer than any daemon is ever away."""
    return JobSpec(
        name=str(number),
        project=project,
        script=f"sleep {seconds or 0.3 + number % 7 / 10:.1f}\nexit {exit_code(number)}\n",
        resources=Resources(walltime_seconds=600, memory_mib_per_node=MEMORY_MIB),
        array=Array(indices=indices(number), max_parallel=2) if len(indices(number)) > 1 else None,
    )


def indices(number: int) -> tuple[int, ...]:
    return (1, 2, 7) if number % 8 == 0 else (0,)


def exit_code(number: int) -> int:
    return 3 if number % 5 == 0 else 0


@dataclass(frozen=True)
class Told:
    """What the platform says of one job."""

    job: Job
    attempts: Sequence[Attempt]
    runs: Sequence[SiteRun]
    lines: Sequence[Line]
    paid: int


async def differences(
    platform: Platform, market: Market, cluster: Cluster, found: Sequence[Job], jobs: int
) -> dict[str, list[str]]:
    """What the node and the cluster say otherwise than the platform, by kind."""
    money = await platform.accounting(
        f"org/{market.organization}:member", f"provider/{market.provider}:admin", "platform:finance"
    )
    faults = {"left": await left(money, market, cluster)}
    told = [one async for one in _told(platform, money, market, found)]
    containers = defaultdict[str, list[Container]](list)
    for container in await asyncio.to_thread(cluster.containers):
        containers[container.environment.get("CARAVAN_JOB", "")].append(container)
    names = sorted(int(one.job.name) for one in told)
    books = (await money.get_trial_balance()).sum.fen
    runs = sum(len(one.runs) for one in told)
    return faults | {
        "jobs": [] if names == [*range(jobs)] else [f"{names}"],
        "unknown to the platform": [str(job) for job in containers.keys() - {one.job.id for one in told}],
        "not run once": [text for one in told for text in not_once(one, containers[one.job.id])],
        "metered otherwise": [text for one in told for text in metered_otherwise(one, containers[one.job.id])],
        "billed otherwise": [text for one in told for text in billed_otherwise(one)],
        "reconciled": await kubernetes_reconciled(platform, market.provider, market.site, cluster, runs),
        "books": [f"the balances sum to {books} fen"] if books else [],
    }


async def _told(
    platform: Platform, money: AccountingClient, market: Market, found: Sequence[Job]
) -> AsyncIterator[Told]:
    broker = await platform.broker(f"org/{market.organization}:member")
    lines = [line async for line in each(money.list_lines, organization=market.organization)]
    paid = await paid_by_job(money, market.organization)
    now = clock.floor_second(clock.now())
    span = now - timedelta(hours=2), now + timedelta(hours=2)
    runs = [run async for run in each(money.list_site_runs, market.site, *span)]
    for job in found:
        yield Told(
            job=job,
            attempts=[attempt async for attempt in each(broker.list_job_attempts, job.id)],
            runs=[run for run in runs if run.job == job.id],
            lines=[line for line in lines if line.job == job.id],
            paid=paid[job.id],
        )


def not_once(told: Told, containers: Sequence[Container]) -> list[str]:
    """Of each index one container came to its own end, and that is the job's. Others may have ended with their node before."""
    number = int(told.job.name)
    places = {attempt.id: sorted(attempt.indices) for attempt in told.attempts}
    ends = sorted(
        (places[one.environment["CARAVAN_ATTEMPT"]][int(one.environment["JOB_COMPLETION_INDEX"])], one.exit_code)
        for one in containers
        if one.exit_code is not None
    )
    state = JobState.FAILED if exit_code(number) else JobState.SUCCEEDED
    if ends == [(index, exit_code(number)) for index in indices(number)] and told.job.state is state:
        return []
    return [f"job {number}: {told.job.state}, {ends}, attempts {[one.detail for one in told.attempts]}"]


def metered_otherwise(told: Told, containers: Sequence[Container]) -> list[str]:
    """Each container is a run of its pod's uid, with the outcome that it had and the seconds that it ran. What ended with its node is the
    site's, up to when that was noticed."""
    runs = {run.identity: run for run in told.runs}
    faults = [f"job {told.job.name}: {run}" for run in told.runs if run.identity not in {c.pod_uid for c in containers}]
    if len(runs) != len(told.runs):
        faults.append(f"job {told.job.name}: a run is metered twice")
    for one in containers:
        run = runs.get(one.pod_uid)
        ran = seconds(run) if run is not None else 0
        lasted = (one.ended - one.started).total_seconds() if one.ended else -1.0
        if one.exit_code is None:
            right = (run is None or run.outcome in THE_SITES) and lasted >= 0
        else:
            right = abs(ran - lasted) <= 2 * EDGE_SECONDS and (run is None or run.outcome not in THE_SITES)
        if not right:
            faults.append(f"job {told.job.name}: {one.pod} ran {lasted} s, exit code {one.exit_code}, but {run}")
    return faults


def billed_otherwise(told: Told) -> list[str]:
    """For the quantities metered, once, by whoever bears them; and what is the organization's, once in the ledger."""
    owed = {
        bearer: quantities([run for run in told.runs if (run.outcome in THE_SITES) == (bearer == "provider")], once)
        for bearer, once in (("organization", 1), ("provider", 0))
    }
    expected = sorted((one, bearer, owed[bearer][one]) for bearer in owed for one in PRICES if owed[bearer][one])
    billed = sorted((str(line.component), str(line.bearer), line.quantity) for line in told.lines if line.quantity)
    total = total_fen(owed["organization"], PRICES)
    amount = sum(line.amount.fen for line in told.lines if str(line.bearer) == "organization")
    if billed == expected and amount == total == told.paid:
        return []
    return [f"job {told.job.name}: {billed}, {told.paid} fen in the ledger, but {expected} and {total} fen"]


def seconds(run: SiteRun) -> int:
    return sum(int((span.end - span.start).total_seconds()) for span in run.spans)


def quantities(runs: Sequence[SiteRun], once: int) -> Mapping[str, int]:
    """Core-, MiB- and node-seconds of one job's runs of a core and 64 MiB, and its price per job `once`, if there is a second."""
    ran = sum(map(seconds, runs))
    return {
        "cpu_core_hour": ran,
        "memory_gib_hour": MEMORY_MIB * ran,
        "node_hour": ran,
        "job": once * int(ran > 0),
    }


async def left(money: AccountingClient, market: Market, cluster: Cluster) -> list[str]:
    """What is still held, and what of ours still waits or is kept at the cluster, once there was time to let it go."""

    async def still() -> list[str]:
        held = (await money.get_funds(market.organization)).held
        return ([f"held {held}"] if held.fen else []) + await asyncio.to_thread(litter, cluster)

    async def nothing() -> bool:
        return not await still()

    try:
        await until(nothing, "no money to be held, and nothing to be kept at the cluster", LEFT_SECONDS)
    except TimeoutError:
        return await still()
    return []


def litter(cluster: Cluster) -> list[str]:
    """Jobs and pods that somebody still asks for or keeps, and what has no Job that it would go with."""
    jobs, pods, files = (
        cluster.ask("GET", path)["items"] for path in ("/apis/batch/v1/jobs", "/api/v1/pods", "/api/v1/configmaps")
    )
    there = {job["metadata"]["uid"] for job in jobs}
    kept = [
        one
        for one in (*jobs, *pods)
        if SITE in (one["metadata"].get("labels") or {}) or KEPT in (one["metadata"].get("finalizers") or ())
    ]
    owned = [one for one in (*pods, *files) if one["metadata"].get("ownerReferences")]
    alone = [one for one in owned if one["metadata"]["ownerReferences"][0]["uid"] not in there]
    return [f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in (*kept, *alone)]
