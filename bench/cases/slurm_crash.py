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
    """So often slurmrestd is killed in the middle of each of `kinds`; where the jobs don't suffice, more come."""
    kinds: tuple[str, ...]
    unsevered_seconds: float
    """At most, until it is killed again."""

    @property
    def kills(self) -> int:
        return sum(deaths for _, deaths in self.parts)


LONG: Final = Size(300, ((None, 7), ("slurmctld", 3), (None, 4), ("slurmdbd", 3), (None, 3)), 60, 5, tuple(KINDS), 10)
# a lost submit may leave litter, and a site is searched for that once a minute
SHORT: Final = Size(10, (("slurmctld", 1), ("slurmdbd", 1)), 6, 1, ("release",), 1)


@case(
    "slurm-crash",
    claim="300 jobs at Slurm; platform and agent killed with -9 20 times, at least once in each step, slurmctld and slurmdbd away "
    "for 60 s each, slurmrestd killed in the middle of submits and releases: each task runs once and is billed once, as sacct has it",
    goal="on each release: 0 differences to files and sacct, held 0.00, nothing left at Slurm",
)
def slurm_crash(trial: Trial) -> Verdict:
    return on_releases(trial, partial(_crash, size=LONG if trial.long else SHORT))


class Whole:
    """The platform and the site's agent, which start and die together. Steps that one of them never comes to are the other's."""

    def __init__(self, platform: Platform, agents: Agents, site: str) -> None:
        self._platform, self._agents, self._site = platform, agents, site

    def launch(self, **environment: str) -> None:
        self._platform.launch(**environment)
        self._agents.start(self._site, **environment)

    def start(self, **environment: str) -> None:
        self.launch(**environment)
        self._platform.start()

    def kill(self) -> None:
        self._platform.kill()
        self._agents.kill_all()


async def _crash(trial: Trial, cluster: Cluster, stage: Slurm, *, size: Size) -> Verdict:
    folder = trial.folder / cluster.release
    async with (
        relay(cluster, trial.random) as relayed,
        Platform(folder).start() as platform,
    ):
        with stage.agents(platform, QUICK) as agents:
            market = await open_slurm_market(platform, stage, agents.start, {"url": relayed.url})
            whole = Whole(platform, agents, market.site)
            whole.kill()
            submitter = Submitter(platform, market, lambda number: job_spec(market.project, number))
            async with asyncio.TaskGroup() as group:
                group.create_task(_sever(trial, relayed, size))
                died = await _deaths(trial, cluster, whole, submitter, size)
                await asyncio.to_thread(whole.start)
                await submitter.all_answered()
                found = await all_settled(platform, market, SETTLE_SECONDS)
                while any(relayed.cut[kind] < size.severed for kind in size.kinds):
                    submitter.submit(range(len(found), len(found) + 1))
                    await submitter.all_answered()
                    found = await all_settled(platform, market, SETTLE_SECONDS)
                relayed.leave_alone()
            trial.say(f"{len(found)} jobs settled, slurmrestd killed in {dict(relayed.cut)}")
            faults = await differences(platform, market, cluster, found, max(size.jobs, len(found)))
    faults["never cut"] = [kind for kind in size.kinds if not relayed.cut[kind]]
    if size is LONG:
        faults["steps not died in"] = [step for step in DYING if not died[step]]
    return Verdict(
        not any(faults.values()),
        f"{len(found)} jobs, {died.total()} deaths, slurmrestd killed in {relayed.cut['submit']} submits and "
        f"{relayed.cut['release']} releases, "
        f"{sum(map(len, faults.values()))} differences",
        {"faults": faults, "deaths": dict(died), "cut": dict(relayed.cut)},
    )


async def _deaths(trial: Trial, cluster: Cluster, whole: Whole, submitter: Submitter, size: Size) -> Counter[str]:
    """How often it died at which step. While a daemon is away not all steps are come to: then it is any moment."""
    in_outages = sum(deaths for daemon, deaths in size.parts if daemon)
    steps = iter(plan(trial, size.kills - in_outages))
    died = Counter[str]()
    number = 0
    for daemon, deaths in size.parts:
        async with _away(trial, cluster, daemon, size.outage_seconds) as back_at:
            for left in reversed(range(deaths)):
                step = ANY_MOMENT if daemon else next(steps)
                jobs = range(number * size.jobs // size.kills, (number + 1) * size.jobs // size.kills)
                moments = (SOONEST_SECONDS, size.outage_seconds / deaths if daemon else LATEST_SECONDS)
                if daemon and not left:  # it sees the daemon come back
                    away = max(0, back_at - clock.monotonic())
                    moments = (away + SOONEST_SECONDS, away + LATEST_SECONDS)
                await one_death(trial, whole, submitter.submit, jobs, step, moments)
                died[step] += 1
                number += 1
                trial.say(f"death {number} of {size.kills}: {step}{f', {daemon} away' if daemon and left else ''}")
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
    for kind in cycle(trial.random.sample(size.kinds, len(size.kinds))):
        if not await relayed.sever(kind, away_seconds=trial.random.uniform(0, 2)):
            return
        await asyncio.sleep(trial.random.uniform(0, size.unsevered_seconds))
