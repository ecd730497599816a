"""Numbered jobs at Slurm, and what their files, Slurm and its books say otherwise than the platform."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.books import PRICES, paid_by_job
from bench.independent import slurm_runs
from bench.independent.slurm_runs import Row
from bench.platform import Market, Platform, until
from bench.reconciling import reconcile
from caravan.client import each
from caravan.contracts.jobs import ArrayTask, Job, JobState
from caravan.contracts.spec import Array, JobSpec, Resources
from caravan.contracts.statements import Line
from tests.backends.slurm import Cluster

LEFT_SECONDS: Final = 150
"""A site is searched for litter once a minute."""


def job_spec(project: str, number: int) -> JobSpec:
    """Each task adds a line to a file of its own, in the tenant's folder. Its time limit is longer than slurmctld is ever away: what
    has passed its limit by then is ended for that, before slurmctld hears that it was done.
    """
    script = f"echo ran >> ran-{number}.$CARAVAN_ARRAY_INDEX\nsleep {1 + number % 3}\nexit {exit_code(number)}\n"
    return JobSpec(
        name=str(number),
        project=project,
        script=script,
        resources=Resources(walltime_seconds=300, cpus_per_task=1 + number % 2, memory_mib_per_node=64),
        array=Array(indices=indices(number), max_parallel=2) if len(indices(number)) > 1 else None,
    )


def indices(number: int) -> tuple[int, ...]:
    return (1, 2, 7) if number % 6 == 0 else (0,)


def exit_code(number: int) -> int:
    return 3 if number % 5 == 0 else 0


@dataclass(frozen=True)
class Books:
    """Of jobs, by their names: what the platform tells and bills, and the runs that the cluster's own books have."""

    tasks: Mapping[str, Sequence[ArrayTask]]
    runs: Mapping[str, Sequence[Row]]
    lines: Mapping[str, Sequence[Line]]
    paid: Mapping[str, int]
    """Fen that the organization has paid or owes for them, in the ledger."""
    unknown: Sequence[Row]
    """What was at Slurm and is no attempt of theirs."""


async def read_books(platform: Platform, market: Market, cluster: Cluster, found: Sequence[Job]) -> Books:
    broker = await platform.broker(f"org/{market.organization}:member")
    money = await platform.accounting(f"org/{market.organization}:member", "platform:finance")
    names = {
        attempt.id.removeprefix("att_"): job.name
        for job in found
        async for attempt in each(broker.list_job_attempts, job.id)
    }
    rows = slurm_runs.rows(await asyncio.to_thread(cluster.run, *slurm_runs.COMMAND))
    lines = [line async for line in each(money.list_lines, organization=market.organization)]
    paid = await paid_by_job(money, market.organization)
    return Books(
        tasks={job.name: [task async for task in each(broker.list_job_tasks, job.id)] for job in found},
        runs={job.name: [row for row in rows if row.started and names.get(row.name) == job.name] for job in found},
        lines={job.name: [line for line in lines if line.job == job.id] for job in found},
        paid={job.name: paid[job.id] for job in found},
        unknown=[row for row in rows if row.name not in names],
    )


async def left(platform: Platform, market: Market, cluster: Cluster) -> list[str]:
    """What is still held, and still at Slurm, once there was time to let it go."""
    money = await platform.accounting(f"org/{market.organization}:member")

    async def let_go() -> bool:
        nothing_held = (await money.get_funds(market.organization)).held.fen == 0
        return nothing_held and not await asyncio.to_thread(cluster.run, "squeue", "--all", "--noheader")

    try:
        await until(let_go, "no money to be held, and nothing to be at Slurm", LEFT_SECONDS)
    except TimeoutError:
        there = await asyncio.to_thread(cluster.run, "squeue", "--all", "--noheader", "--format=%A %j %T %r")
        return [f"held {(await money.get_funds(market.organization)).held}", *there.splitlines()]
    return []


async def differences(
    platform: Platform, market: Market, cluster: Cluster, found: Sequence[Job], jobs: int
) -> dict[str, list[str]]:
    """What files, Slurm and its books say otherwise than the platform, by kind."""
    money = await platform.accounting("platform:finance")
    faults = {"left": await left(platform, market, cluster)}
    said = await read_books(platform, market, cluster, found)
    ran = {file.name: file.read_text() for file in (cluster.work / "caravan/alice").glob("ran-*")}
    books = (await money.get_trial_balance()).sum.fen
    return faults | {
        "jobs": []
        if {job.name for job in found} == set(map(str, range(jobs))) == said.tasks.keys()
        else [f"{len(found)} jobs"],
        "not run once": not_once(ran, jobs),
        "unknown to the platform": list(map(str, said.unknown)),
        "otherwise in sacct": [
            text for name, tasks in said.tasks.items() for text in otherwise(int(name), said.runs[name], tasks)
        ],
        "billed otherwise": all_billed_otherwise(said),
        "reconciled": await asyncio.to_thread(
            _reconciled, platform, market, cluster, sum(map(len, said.runs.values()))
        ),
        "books": [f"the balances sum to {books} fen"] if books else [],
    }


def all_billed_otherwise(said: Books) -> list[str]:
    return [
        text
        for name, runs in said.runs.items()
        for text in billed_otherwise(name, runs, said.lines[name], said.paid[name])
    ]


def _reconciled(platform: Platform, market: Market, cluster: Cluster, runs: int) -> list[str]:
    """What `caravan reconcile` finds, as the centre's finance runs it where `sacct` is. It must have compared so many runs."""
    programs = platform.folder / "programs"
    programs.mkdir()
    cluster.offer("sacct", programs)
    code, found, words = reconcile(platform, market.provider, market.site, path=str(programs))
    return [] if not code and found["compared"] == runs else [f"exit code {code}, of {runs} runs: {found}{words}"]


def not_once(ran: Mapping[str, str], jobs: int) -> list[str]:
    expected = {f"ran-{number}.{index}": "ran\n" for number in range(jobs) for index in indices(number)}
    return [
        f"{name}: {ran.get(name, 'never')!r}"
        for name in sorted(expected.keys() | ran.keys())
        if ran.get(name) != expected.get(name)
    ]


def otherwise(number: int, rows: Sequence[Row], tasks: Sequence[ArrayTask]) -> list[str]:
    """One started allocation for each task: the run that the platform tells of, with its end."""
    code = exit_code(number)
    ended = ("FAILED" if code else "COMPLETED", code, 0)
    state = JobState.FAILED if code else JobState.SUCCEEDED
    by_slurm = sorted(
        (row.index, f"caravan:{row.job}:{row.submitted}", (row.state, row.code, row.signal) == ended) for row in rows
    )
    by_platform = sorted(
        (task.index, task.backend_identity or "", (task.state, task.exit_code) == (state, code)) for task in tasks
    )
    expected = sorted((index, True) for index in indices(number))
    if by_slurm == by_platform and [(index, right) for index, _, right in by_slurm] == expected:
        return []
    return [f"job {number}: {rows} but {by_platform}"]


def billed_otherwise(name: str, rows: Sequence[Row], lines: Sequence[Line], paid: int) -> list[str]:
    """By the organization, for the quantities in sacct; and that once, in the ledger."""
    quantities = slurm_runs.quantities(rows)
    expected = sorted((one, quantities[one], "organization") for one in PRICES if quantities[one])
    billed = sorted((str(line.component), line.quantity, str(line.bearer)) for line in lines)
    total = slurm_runs.total_fen(quantities, PRICES)
    if billed == expected and sum(line.amount.fen for line in lines) == total == paid:
        return []
    return [f"job {name}: {billed}, {paid} fen in the ledger, but {expected} and {total} fen by sacct"]
