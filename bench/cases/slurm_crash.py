"""Everything dies around jobs at Slurm, again and again: each job still runs once, ends as it should and is charged once."""

import asyncio
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Final

from bench.agents import SWEEP
from bench.case import Trial, Verdict, case
from bench.deaths import DYING
from bench.demo.stages import Slurm
from bench.outages import Deaths, Whole, die
from bench.platform import Platform
from bench.severing import KINDS, Relay, relay
from bench.slurm_jobs import differences, job_spec
from bench.slurm_trials import on_releases, open_slurm_market
from bench.submitter import Submitter, all_settled
from tests.backends.slurm import Cluster

SETTLE_SECONDS: Final = 300
QUICK: Final = SWEEP | {"CARAVAN_AGENT_LONGEST_PAUSE_SECONDS": "5"}


@dataclass(frozen=True)
class Size:
    """Of a form."""

    deaths: Deaths
    severed: int
    """So often slurmrestd is killed in the middle of a submit, and of a release; where the jobs don't suffice, as many again come."""
    unsevered_seconds: float
    """At most, until it is killed again."""


LONG: Final = Size(Deaths(300, ((None, 7), ("slurmctld", 3), (None, 4), ("slurmdbd", 3), (None, 3)), 60), 5, 10)
SHORT: Final = Size(Deaths(10, (("slurmctld", 1), ("slurmdbd", 1)), 6), 1, 1)


@case(
    "slurm-crash",
    claim="300 jobs at Slurm; platform and agent killed with -9 20 times, at least once in each step, slurmctld and slurmdbd away "
    "for 60 s each, slurmrestd killed in the middle of submits and releases: each task runs once and is billed once, as sacct has it",
    goal="on each release: 0 differences to files and sacct, held 0.00, nothing left at Slurm",
)
def slurm_crash(trial: Trial) -> Verdict:
    return on_releases(trial, partial(_crash, size=LONG if trial.long else SHORT))


async def _crash(trial: Trial, cluster: Cluster, stage: Slurm, *, size: Size) -> Verdict:
    folder = trial.folder / cluster.release
    async with (
        relay(cluster, trial.random) as relayed,
        Platform(folder).start() as platform,
    ):
        with stage.agents(platform, QUICK) as agents:
            market = await open_slurm_market(platform, stage, agents.start, {"url": relayed.url})
            whole = Whole(platform, agents, market.site)
            submitter = Submitter(platform, market, lambda number: job_spec(market.project, number))
            async with asyncio.TaskGroup() as group:
                group.create_task(_sever(trial, relayed, size))
                died = await die(trial, cluster, whole, submitter.submit, size.deaths)
                await asyncio.to_thread(whole.start)
                await submitter.all_answered()
                found = await all_settled(platform, market, SETTLE_SECONDS)
                while _too_seldom(relayed, size) and len(found) < 2 * size.deaths.jobs:
                    submitter.submit(range(len(found), len(found) + 1))
                    await submitter.all_answered()
                    found = await all_settled(platform, market, SETTLE_SECONDS)
                relayed.leave_alone()
            if not trial.long:  # one that starts looks for litter at once, one that runs does so once a minute
                agents.kill_all()
                agents.start(market.site)
            trial.say(f"{len(found)} jobs settled, slurmrestd killed in {dict(relayed.cut)}")
            faults = await differences(platform, market, cluster, found, max(size.deaths.jobs, len(found)))
    faults["severed too seldom"] = _too_seldom(relayed, size)
    if size is LONG:
        faults["steps not died in"] = [step for step in DYING if not died[step]]
    return Verdict(
        not any(faults.values()),
        f"{len(found)} jobs, {died.total()} deaths, slurmrestd killed in {relayed.cut['submit']} submits and "
        f"{relayed.cut['release']} releases, "
        f"{sum(map(len, faults.values()))} differences",
        {"faults": faults, "deaths": dict(died), "cut": dict(relayed.cut)},
    )


def _too_seldom(relayed: Relay, size: Size) -> list[str]:
    return [kind for kind in KINDS if relayed.cut[kind] < size.severed]


async def _sever(trial: Trial, relayed: Relay, size: Size) -> None:
    """Kill slurmrestd again and again, in each of the kinds by turns, until it is left alone."""
    for kind in cycle(trial.random.sample(tuple(KINDS), len(KINDS))):
        if not await relayed.sever(kind, away_seconds=trial.random.uniform(0, 2)):
            return
        await asyncio.sleep(trial.random.uniform(0, size.unsevered_seconds))
