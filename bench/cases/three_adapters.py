"""One enterprise computes on this machine, at Slurm and at Kubernetes: one statement has it all, as each backend itself has it."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Final

from bench.both_trials import on_both
from bench.case import Trial, Verdict, case
from bench.demo import centre, enterprise, everywhere, finance
from bench.demo.stages import Kubernetes, Local, Slurm
from bench.demo.telling import Teller
from bench.demo.world import World
from bench.first_hand import Held, at_kubernetes, at_slurm, billed_otherwise, here
from bench.platform import Platform
from caravan.client import each
from caravan.contracts.statements import Line, Statement
from caravan.kernel.money import ZERO

JOBS: Final = 15
"""On each backend, in the long form; else one."""
AT_ONCE: Final = 5
"""For how many on each the budget has money to hold."""
SOON: Final = {"CARAVAN_CLOSING_GRACE_HOURS": "0"}
"""The short form's period doesn't wait for Slurm's and Kubernetes' word that no more usage can come, which takes two minutes."""


@case(
    "three-adapters",
    claim="The story with jobs on this machine, on Slurm and on Kubernetes: one statement has them all, by the seconds that slurmdbd, the "
    "pods and the jobs themselves have; the centre's is its equal",
    goal="1 statement for 3 adapters, 0 differences, held 0.00",
)
def three_adapters(trial: Trial) -> Verdict:
    return on_both(trial, _played, {} if trial.long else SOON)


async def _played(trial: Trial, platform: Platform, one: Slurm, other: Kubernetes) -> Verdict:
    local = Local(trial.folder / "site")
    async with AsyncExitStack() as stack:
        world = World(Teller(quiet=True), platform, local, trial.folder, stack, (one, other))
        await world.begin()
        await centre.joins(world)
        await enterprise.opens_a_project(world)
        await everywhere.opens(world)
        jobs = JOBS if trial.long else 1
        for first in range(0, jobs, AT_ONCE):
            await everywhere.computes(world, range(first, min(first + AT_ONCE, jobs)))
            trial.say(f"{len(world.jobs)} jobs have ended and are charged")
        closed, statements = await finance.closes_the_period(world)
        trial.say("the period is closed")
        await finance.lets_it_be_checked(world, closed, statements)
        faults = await _differences(world, one, other, statements)
        held = (await world.enterprise.accounting.get_funds(world.organization.id)).held
    gross = sum((one.gross for one in statements if one.party_id == world.organization.id), ZERO)
    return Verdict(
        not faults and held == ZERO,
        f"{len(world.jobs)} jobs on {len(world.halls)} adapters in {len(statements) // 2} statement of {gross}, "
        f"{len(faults)} differences, held {held}",
        {"faults": faults, "statements": [statement.model_dump(mode="json") for statement in statements]},
    )


async def _differences(world: World, one: Slurm, other: Kubernetes, statements: Sequence[Statement]) -> list[str]:
    """What the enterprise's statement says otherwise than those who ran the jobs."""
    mine = [statement for statement in statements if statement.party_id == world.organization.id]
    if len(mine) != 1:
        return [f"{len(mine)} statements of the enterprise"]
    billed: dict[str | None, list[Line]] = {}
    async for line in each(world.enterprise.accounting.list_statement_lines, mine[0].id, limit=200):
        billed.setdefault(line.line.job, []).append(line.line)
    books = await asyncio.to_thread(at_slurm, one.cluster)
    books |= await asyncio.to_thread(at_kubernetes, other.cluster, other.tenant["namespace"])
    faults = [f"{job} isn't the enterprise's" for job in billed.keys() - {*world.jobs.values()}]
    for name, job in world.jobs.items():
        adapter, _, _ = name.partition("-")
        held = await _held(world, job, books)
        price = centre.PRICE if adapter == "local" else everywhere.CORE_HOUR[adapter]
        faults += billed_otherwise(name, held, billed.get(job, []), price)
    total = sum((line.amount for lines in billed.values() for line in lines), ZERO)
    return [*faults, *([f"gross is {mine[0].gross}, the lines sum to {total}"] if mine[0].gross != total else [])]


async def _held(world: World, job: str, books: Mapping[str, Sequence[Held]]) -> Sequence[Held]:
    """By the books of whoever ran it, else by its own words."""
    broker = world.enterprise.broker
    (attempt,) = (await broker.list_job_attempts(job)).items
    if attempt.site != world.halls[0].site.id:
        return books.get(attempt.id, ())
    (task,) = (await broker.list_job_tasks(job)).items
    log = await broker.read_job_log(job, stream="stdout")
    return (here(log.text, task, (await broker.get_job(job)).spec.resources),)
