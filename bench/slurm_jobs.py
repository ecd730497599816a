"""Numbered jobs at Slurm, and what their files, Slurm and its books say otherwise than the platform."""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from bench.independent import slurm_runs
from bench.independent.slurm_runs import Row
from bench.platform import Market, Platform, until
from caravan.client import each
from caravan.contracts.jobs import ArrayTask, Job, JobState
from caravan.contracts.spec import Array, JobSpec, Resources
from caravan.contracts.statements import EntryKind, Line
from caravan.kernel import clock
from tests.backends.slurm import Cluster

PRICES: Final = {"cpu_core_hour": "36.00", "memory_gib_hour": "0.72", "node_hour": "1.08", "job": "0.01"}
LEFT_SECONDS: Final = 150
"""A site is searched for litter once a minute."""


def job_spec(project: str, number: int) -> JobSpec:
    """Each task adds a line to a file of its own, in the tenant's folder."""
    script = f"echo ran >> ran-{number}.$CARAVAN_ARRAY_INDEX\nsleep {1 + number % 3}\nexit {exit_code(number)}\n"
    return JobSpec(
        name=str(number),
        project=project,
        script=script,
        resources=Resources(walltime_seconds=60, cpus_per_task=1 + number % 2, memory_mib_per_node=64),
        array=Array(indices=indices(number), max_parallel=2) if len(indices(number)) > 1 else None,
    )


def indices(number: int) -> tuple[int, ...]:
    return (1, 2, 7) if number % 6 == 0 else (0,)


def exit_code(number: int) -> int:
    return 3 if number % 5 == 0 else 0


async def differences(
    platform: Platform, market: Market, cluster: Cluster, found: Sequence[Job], jobs: int
) -> dict[str, list[str]]:
    """What files, Slurm and its books say otherwise than the platform, by kind."""
    broker = await platform.broker(f"org/{market.organization}:member")
    money = await platform.accounting(f"org/{market.organization}:member", "platform:finance")

    async def let_go() -> bool:
        nothing_held = (await money.get_funds(market.organization)).held.fen == 0
        return nothing_held and not await asyncio.to_thread(cluster.run, "squeue", "--noheader")

    faults: dict[str, list[str]] = {}
    try:
        await until(let_go, "no money to be held, and nothing to be at Slurm", LEFT_SECONDS)
    except TimeoutError:
        left = await asyncio.to_thread(cluster.run, "squeue", "--noheader", "--format=%A %j %T %r")
        faults["left"] = [f"held {(await money.get_funds(market.organization)).held}", *left.splitlines()]
    tasks = {job.name: [task async for task in each(broker.list_job_tasks, job.id)] for job in found}
    names = {
        attempt.id.removeprefix("att_"): job.name
        for job in found
        async for attempt in each(broker.list_job_attempts, job.id)
    }
    rows = slurm_runs.rows(await asyncio.to_thread(cluster.run, *slurm_runs.COMMAND))
    ran = {file.name: file.read_text() for file in (cluster.work / "caravan/alice").glob("ran-*")}
    lines = [line async for line in each(money.list_lines, organization=market.organization)]
    paid = Counter[str]()
    for kind in (EntryKind.CHARGE, EntryKind.REVERSAL):
        async for entry in each(money.list_ledger_entries, organization=market.organization, kind=kind):
            paid[entry.reference] += sum(
                posting.amount.fen
                for posting in entry.postings
                if posting.account.startswith(("prepaid:", "receivable:"))
            )
    by_job: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.started and row.name in names:
            by_job[names[row.name]].append(row)
    books = (await money.get_trial_balance()).sum.fen
    return faults | {
        "jobs": []
        if {job.name for job in found} == set(map(str, range(jobs))) == tasks.keys()
        else [f"{len(found)} jobs"],
        "not run once": not_once(ran, jobs),
        "unknown to the platform": [f"{row}" for row in rows if row.name not in names],
        "otherwise in sacct": [
            text for job in found for text in otherwise(int(job.name), by_job[job.name], tasks[job.name])
        ],
        "billed otherwise": [
            text
            for job in found
            for text in billed_otherwise(
                job, by_job[job.name], [one for one in lines if one.job == job.id], paid[job.id]
            )
        ],
        "reconciled": await asyncio.to_thread(
            _reconciled, platform, market, cluster, sum(len(ran) for ran in by_job.values())
        ),
        "books": [f"the balances sum to {books} fen"] if books else [],
    }


def _reconciled(platform: Platform, market: Market, cluster: Cluster, runs: int) -> list[str]:
    """What `caravan reconcile` finds, as the centre's finance runs it where `sacct` is. It must have compared so many runs."""
    programs = platform.folder / "programs"
    programs.mkdir()
    cluster.offer("sacct", programs)
    now = clock.floor_second(clock.now())
    span = ("--from", (now - timedelta(hours=2)).isoformat(), "--to", (now + timedelta(hours=2)).isoformat())
    told = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "CARAVAN_URL": platform.url("accounting").removesuffix("/accounting"),
        "CARAVAN_TOKEN": platform.token(f"provider/{market.provider}:admin"),
    }
    command = [sys.executable, "-m", "caravan.cli", "reconcile", "site", market.site, *span, "--json"]
    done = subprocess.run(command, env=os.environ | told, capture_output=True, text=True)
    if done.returncode == 0 and json.loads(done.stdout)["compared"] == runs:
        return []
    return [f"exit code {done.returncode}, of {runs} runs: {done.stdout}{done.stderr}"]


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
    ended = ("FAILED", f"{code}:0") if code else ("COMPLETED", "0:0")
    state = JobState.FAILED if code else JobState.SUCCEEDED
    by_slurm = sorted((row.index, f"caravan:{row.job}:{row.submitted}", (row.state, row.exit) == ended) for row in rows)
    by_platform = sorted(
        (task.index, task.backend_identity or "", (task.state, task.exit_code) == (state, code)) for task in tasks
    )
    expected = sorted((index, True) for index in indices(number))
    if by_slurm == by_platform and [(index, right) for index, _, right in by_slurm] == expected:
        return []
    return [f"job {number}: {rows} but {by_platform}"]


def billed_otherwise(job: Job, rows: Sequence[Row], lines: Sequence[Line], paid: int) -> list[str]:
    """By the organization, for the quantities in sacct; and that once, in the ledger."""
    quantities = slurm_runs.quantities(rows)
    expected = sorted((component, quantities[component], "organization") for component in PRICES)
    billed = sorted((str(line.component), line.quantity, str(line.bearer)) for line in lines)
    total = slurm_runs.total_fen(quantities, PRICES)
    if billed == expected and sum(line.amount.fen for line in lines) == total == paid:
        return []
    return [f"job {job.name}: {billed}, {paid} fen in the ledger, but {expected} and {total} fen by sacct"]
