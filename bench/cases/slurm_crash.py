"""Everything dies around jobs at Slurm, again and again: each job still runs once, ends as it should and is charged once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from typing import Final

from bench.agents import SWEEP, Agents
from bench.case import Trial, Verdict, case
from bench.deaths import ANY_MOMENT, DYING, one_death, plan
from bench.demo.stages import Slurm
from bench.platform import Platform
from bench.severing import KINDS, Relay, relay
from bench.slurm_jobs import differences, job_spec
from bench.slurm_trials import on_releases, open_slurm_market
from bench.submitter import Submitter, all_settled
from caravan.kernel import clock
from tests.backends.slurm import Cluster

SETTLE_SECONDS: Final = 300
SOONEST_SECONDS: Final = 0.5
LATEST_SECONDS: Final = 6.0
"""Until a death at any moment, once the platform is ready."""
QUICK: Final = SWEEP | {"CARAVAN_AGENT_LONGEST_PAUSE_SECONDS": "5"}


@dataclass(frozen=True)
class Size:
    """Of a form. `parts`: how many deaths there are while which daemon is away; between the outages None is."""

    jobs: int
    parts: tuple[tuple[str | None, int], ...]
    outage_seconds: float
    severed: int
    """So often slurmrestd is killed in the middle of a submit, and of a release; where the jobs don't suffice, as many again come."""
    unsevered_seconds: float
    """At most, until it is killed again."""

    @property
    def kills(self) -> int:
        return sum(deaths for _, deaths in self.parts)


LONG: Final = Size(300, ((None, 7), ("slurmctld", 3), (None, 4), ("slurmdbd", 3), (None, 3)), 60, 5, 10)
SHORT: Final = Size(10, (("slurmctld", 1), ("slurmdbd", 1)), 6, 1, 1)


@case(
    "slurm-crash",
    claim="300 jobs at Slurm; platform and agent killed with -9 20 times, at least once in each step, slurmctld and slurmdbd away "
    "for 60 s each, slurmrestd killed in the middle of submits and releases: each task runs once and is billed once, as sacct has it",
    goal="on each release: 0 differences to files and sacct, held 0.00, nothing left at Slurm",
)
def slurm_crash(trial: Trial) -> Verdict:
    return on_releases(trial, partial(_crash, size=LONG if trial.long else SHORT))


class Whole:
    """The platform and the site's agent, which run, and start and die together. Steps that one of them never comes to are the other's."""

    def __init__(self, platform: Platform, agents: Agents, site: str) -> None:
        self._platform, self._agents, self._site = platform, agents, site
        self._there = True

    def launch(self, **environment: str) -> None:
        """Start what isn't running, and don't wait."""
        self._platform.launch(**environment)
        if not self._there:
            self._agents.start(self._site, **environment)
            self._there = True

    def start(self, **environment: str) -> None:
        self.launch(**environment)
        self._platform.start()

    def kill(self) -> None:
        self._platform.kill()
        self._agents.kill_all()
        self._there = False


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
                died = await _deaths(trial, cluster, whole, submitter, size)
                await asyncio.to_thread(whole.start)
                await submitter.all_answered()
                found = await all_settled(platform, market, SETTLE_SECONDS)
                while _too_seldom(relayed, size) and len(found) < 2 * size.jobs:
                    submitter.submit(range(len(found), len(found) + 1))
                    await submitter.all_answered()
                    found = await all_settled(platform, market, SETTLE_SECONDS)
                relayed.leave_alone()
            if not trial.long:  # one that starts looks for litter at once, one that runs does so once a minute
                agents.kill_all()
                agents.start(market.site)
            trial.say(f"{len(found)} jobs settled, slurmrestd killed in {dict(relayed.cut)}")
            faults = await differences(platform, market, cluster, found, max(size.jobs, len(found)))
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


async def _deaths(trial: Trial, cluster: Cluster, whole: Whole, submitter: Submitter, size: Size) -> Counter[str]:
    """How often it died at which step. While a daemon is away not all steps are come to: then it is any moment."""
    in_outages = sum(deaths for daemon, deaths in size.parts if daemon)
    steps = iter(plan(trial, size.kills - in_outages))
    died = Counter[str]()
    number = 0
    for daemon, deaths in size.parts:
        if daemon:  # it is at work when that goes
            await asyncio.to_thread(whole.start)
        else:  # it comes to a step as one that starts
            await asyncio.to_thread(whole.kill)
        async with _away(trial, cluster, daemon, size.outage_seconds) as back_at:
            for left in reversed(range(deaths)):
                step = ANY_MOMENT if daemon else next(steps)
                jobs = range(number * size.jobs // size.kills, (number + 1) * size.jobs // size.kills)
                while_away = daemon is not None and left > 0  # the last one sees the daemon come back
                moments = (SOONEST_SECONDS, size.outage_seconds / deaths if while_away else LATEST_SECONDS)
                await one_death(trial, whole, submitter.submit, jobs, step, moments, 0 if while_away else back_at)
                died[step] += 1
                number += 1
                trial.say(f"death {number} of {size.kills}: {step}{f', {daemon} away' if while_away else ''}")
    return died


@asynccontextmanager
async def _away(trial: Trial, cluster: Cluster, daemon: str | None, seconds: float) -> AsyncIterator[float]:
    """The daemon is stopped for so long, and started again: the block learns when, on a clock that never jumps."""
    if daemon is None:
        yield clock.monotonic()
        return

    async def come_back() -> None:
        await asyncio.sleep(seconds)
        await asyncio.to_thread(cluster.start, daemon)
        trial.say(f"{daemon} is there again")

    await asyncio.to_thread(cluster.stop, daemon)
    async with asyncio.TaskGroup() as group:
        group.create_task(come_back())
        yield clock.monotonic() + seconds


async def _sever(trial: Trial, relayed: Relay, size: Size) -> None:
    """Kill slurmrestd again and again, in each of the kinds by turns, until it is left alone."""
    for kind in cycle(trial.random.sample(tuple(KINDS), len(KINDS))):
        if not await relayed.sever(kind, away_seconds=trial.random.uniform(0, 2)):
            return
        await asyncio.sleep(trial.random.uniform(0, size.unsevered_seconds))
