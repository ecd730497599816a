"""slurmrestd behind a proxy that answers what it shouldn't: no answer crashes the agent, loses a job, runs one twice or bills it twice."""

import asyncio
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.books import PRICES
from bench.case import Trial, Verdict, case
from bench.demo.stages import Slurm
from bench.platform import Market, Platform, open_market, until
from bench.sick_proxy import KINDS, SICKNESSES, SickProxy
from bench.slurm_jobs import Books, all_billed_otherwise, left, read_books
from caravan.client import BrokerClient
from caravan.contracts.jobs import Job, JobState
from caravan.contracts.spec import JobSpec, Resources
from caravan.kernel import clock
from tests.backends.slurm import RELEASES, Cluster, LeftOut, must_run
from tests.backends.slurm.cluster import running

TIMEOUT_SECONDS: Final = 2
SILENCE_SECONDS: Final = {True: 30.0, False: 3.0}
"""In the long form, and in the short one."""
SICKNESSES_OF_A_KIND: Final = 3
"""In the short form."""
WAVE: Final = 6
PATIENCE_SECONDS: Final = 600
AGENT: Final = {
    "CARAVAN_AGENT_INVENTORY_SECONDS": "1",
    "CARAVAN_AGENT_SWEEP_SECONDS": "1",
    "CARAVAN_AGENT_ORPHAN_SECONDS": "3",
    "CARAVAN_AGENT_LONGEST_PAUSE_SECONDS": "1",
}
UNASKED: Final = {"22.05": {"states"}, "24.11": {"listing"}, "newest": {"listing"}}
"""What an agent doesn't ask of a release: 22.05 has no states alone, and with them it needs no list of whole jobs."""


@dataclass
class Outcome:
    """Of one release."""

    faults: dict[str, int]
    jobs: int
    given: dict[str, int]
    """Kind of request -> sick answers."""
    asked: dict[str, int]
    health: list[str]
    """Each state that the site's health went through, with its words."""


@case(
    "slurm-sick",
    claim="Sick answers of slurmrestd (cut, headers alone, a proxy's page, nothing, another's JSON, other types, no gzip, reset, silence) "
    "to each kind of request, with jobs running: each runs once, ends truly, is billed once, as sacct has it; "
    "the agent lives on and the site gets well",
    goal="each kind x sickness given; 0 crashes, 0 faults, held 0.00, nothing left at Slurm",
)
def slurm_sick(trial: Trial) -> Verdict:
    found: dict[str, Outcome] = {}
    for release in RELEASES if trial.long else RELEASES[1:2]:
        try:
            with running(release) as cluster:
                found[release.name] = asyncio.run(_slurm_sick(trial, cluster))
        except LeftOut as left_out:
            if must_run(release):
                raise
            trial.say(str(left_out))
    figures = [
        f"{name}: {sum(one.given.values())} sick answers to {len(one.given)} kinds of request, "
        f"{one.jobs - one.faults['not run once']} of {one.jobs} jobs ran once, {one.faults['crashes']} crashes"
        for name, one in found.items()
    ]
    return Verdict(
        (bool(found) or not trial.long) and not any(count for one in found.values() for count in one.faults.values()),
        "; ".join(figures) or "no release",
        {name: vars(one) for name, one in found.items()},
    )


async def _slurm_sick(trial: Trial, cluster: Cluster) -> Outcome:
    folder = trial.folder / cluster.release
    lines = cluster.work / "lines"
    lines.touch()
    lines.chmod(0o666)
    with ExitStack() as ends:
        stage = Slurm(cluster, ends)
        async with (
            SickProxy(cluster.url, trial.random, SILENCE_SECONDS[trial.long]) as proxy,
            Platform(folder) as platform,
        ):
            platform.start()
            orders = list(_orders(trial, cluster))
            proxy.sicken(order for order in orders if order[0] == "ping")
            agents = ends.enter_context(stage.agents(platform, AGENT))
            log = folder / "agent.log"
            started: list[subprocess.Popen[bytes]] = []
            settings = {**stage.settings, "url": proxy.url, "timeout_seconds": TIMEOUT_SECONDS}
            market = await open_market(
                platform, cpus=32, prices=PRICES, adapter=stage.adapter, site_settings=settings, tenant=stage.tenant,
                target={"partition": "short"}, queue_ahead=1000,
                start_agent=lambda site: started.append(agents.start(site, log)),
            )  # fmt: skip
            trial.say(f"{cluster.release}: open, sickness begins")
            proxy.sicken(order for order in orders if order[0] != "ping")
            async with _health(platform, market) as health:
                jobs = await _jobs(trial, platform, market, proxy, lines)
                trial.say(f"{cluster.release}: {sum(proxy.given.values())} sick answers given, {len(jobs)} jobs sent")
                found = await _judged(platform, market, cluster, jobs, lines)
                await until(lambda: _well(health), "the site to be well again")
            ends_of_agents = sum(one.poll() is not None for one in started)
            found["crashes"] = ends_of_agents + log.read_text().count("Traceback")
            found["sicknesses not given"] = sum(proxy.left().values())
            found["kinds that nobody expects"] = len(set(proxy.asked) - (set(KINDS) - UNASKED[cluster.release]))
            found["never unavailable"] = int(not any(state.startswith("unavailable: ") for state in health))
            for fault, count in found.items():
                if count:
                    trial.say(f"{cluster.release}: {fault}: {count}")
            trial.say(f"{cluster.release}: asked {dict(proxy.asked)}")
            for state in health[:6]:
                trial.say(f"{cluster.release}: health: {state}")
            if left := proxy.left():
                trial.say(f"{cluster.release}: not asked often enough: {left}")
            given: Counter[str] = Counter()
            for (kind, _), count in proxy.given.items():
                given[kind] += count
            return Outcome(found, len(jobs), dict(given), dict(proxy.asked), health)


def _orders(trial: Trial, cluster: Cluster) -> Iterator[tuple[str, str]]:
    for kind in KINDS:
        if kind not in UNASKED[cluster.release]:
            count = len(SICKNESSES) if trial.long else SICKNESSES_OF_A_KIND
            for sickness in trial.random.sample(SICKNESSES, count):
                yield kind, sickness


@asynccontextmanager
async def _health(platform: Platform, market: Market) -> AsyncIterator[list[str]]:
    """The states of the site's health as they come."""
    catalog = await platform.catalog(f"provider/{market.provider}:admin")
    seen: list[str] = []

    async def watch() -> None:
        while True:
            health = (await catalog.get_site(market.site)).health
            state = f"{health.state}: {health.detail}" if health else "unknown"
            if not seen or seen[-1] != state:
                seen.append(state)
            await asyncio.sleep(0.1)

    watching = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        watching.cancel()


async def _well(health: Sequence[str]) -> bool:
    return health[-1].startswith("healthy")


async def _jobs(trial: Trial, platform: Platform, market: Market, proxy: SickProxy, lines: Path) -> list[Job]:
    """Waves of jobs, of which every second job is cancelled while it runs, until all sicknesses were given."""
    broker = await platform.broker(f"org/{market.organization}:member")
    jobs: list[Job] = []
    deadline = clock.monotonic() + PATIENCE_SECONDS
    while proxy.left() and clock.monotonic() < deadline:
        wave = []
        for number in range(len(jobs), len(jobs) + WAVE):
            seconds = 120 if _to_cancel(number) else trial.random.choice((0, 1))
            script = f"#!/bin/sh\necho {number} >>{lines}\nsleep {seconds}\n"
            resources = Resources(walltime_seconds=180, memory_mib_per_node=64)
            spec = JobSpec(name=str(number), project=market.project, script=script, resources=resources)
            wave.append(await broker.submit_job(spec))
        jobs += wave
        await asyncio.gather(*(_cancel_when_running(broker, job) for job in wave if _to_cancel(int(job.name))))
        trial.say(f"{len(jobs)} jobs sent; not given yet: {proxy.left()}")
    return jobs


def _to_cancel(number: int) -> bool:
    return number % 2 == 0


async def _cancel_when_running(broker: BrokerClient, job: Job) -> None:
    async def running() -> bool:
        return (await broker.get_job(job.id)).state is JobState.RUNNING

    await until(running, "a job to run", PATIENCE_SECONDS)
    await broker.cancel_job(job.id)


async def _judged(
    platform: Platform, market: Market, cluster: Cluster, jobs: Sequence[Job], lines: Path
) -> dict[str, int]:
    """What is wrong -> how often: by the jobs' own lines, by what is left at Slurm, and by its books."""
    broker = await platform.broker(f"org/{market.organization}:member")

    async def settled() -> list[Job]:
        found: list[Job] = [await broker.get_job(job.id) for job in jobs]
        return found if all(job.settled_at for job in found) else []

    ended = await until(settled, "all jobs to settle", PATIENCE_SECONDS)
    ran = Counter((await asyncio.to_thread(lines.read_text)).split())
    expected = [JobState.CANCELLED if _to_cancel(int(job.name)) else JobState.SUCCEEDED for job in ended]
    faults = {
        "held, or left at Slurm": len(await left(platform, market, cluster)),
        "not run once": sum(ran[job.name] != 1 for job in ended),
        "another end": sum(job.state is not state for job, state in zip(ended, expected, strict=True)),
    }
    said = await read_books(platform, market, cluster, ended)
    return faults | {
        "unknown to the platform": len(said.unknown),
        "otherwise in sacct": sum(not _as_in_sacct(said, job) for job in ended),
        "billed otherwise": len(all_billed_otherwise(said)),
    }


def _as_in_sacct(said: Books, job: Job) -> bool:
    """Whether it ran there once, as the run that the platform tells of, to the same end."""
    ran = [(f"caravan:{run.job}:{run.submitted}", run.state) for run in said.runs[job.name]]
    ended = "CANCELLED" if job.state is JobState.CANCELLED else "COMPLETED"
    return ran == [(task.backend_identity, ended) for task in said.tasks[job.name]] and len(ran) == 1
