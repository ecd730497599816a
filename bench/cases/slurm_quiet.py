"""A quiet Slurm site costs an agent next to nothing, however many submissions wait or run there."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any, Final

from urllib3 import BaseHTTPResponse

from bench.case import Trial, Verdict, case
from caravan.contracts.dispatch import Desired, Lease
from caravan.kernel import ids
from caravan.kernel.metrics import Metrics
from services.broker.adapters.port import SiteContext
from services.broker.adapters.slurm.backend import SlurmBackend, open_site
from services.broker.agent import AgentMetrics, AgentSettings
from services.broker.agent.observer import Observer
from services.broker.agent.tenure import Tenure
from services.broker.agent.watched import Watched
from tests.backends.slurm import RELEASES
from tests.backends.slurm.cluster import running
from tests.broker.slurm_double import SlurmDouble
from tests.contract.backends import HARNESSES, Harness

PASS_SECONDS: Final = 0.05
ANSWER_BYTES: Final = 1_000_000
PASSES: Final = 24
BOOKS_LAG_SECONDS: Final = 120


@dataclass
class Cost:
    """Of one site, in seconds of this process's CPU, and bytes."""

    passes: list[float]
    whole: float
    """Of looking at all of it at once, as a new agent does."""
    largest: int

    @property
    def fair(self) -> bool:
        return mean(self.passes) <= PASS_SECONDS and self.largest <= ANSWER_BYTES

    def __str__(self) -> str:
        return (
            f"{mean(self.passes) * 1000:.0f} ms a pass (the worst {max(self.passes) * 1000:.0f}), "
            f"all at once {self.whole * 1000:.0f} ms, largest answer {self.largest / 1000:.0f} kB"
        )


@case(
    "slurm-quiet-pass",
    claim="5,000 submissions at Slurm of which nothing changes: a pass of the agent costs next to nothing, on 22.05 and 24.11, "
    "waiting and running, as jobs and as one array",
    goal="50 ms of CPU a pass, 1 MB an answer",
)
def slurm_quiet_pass(trial: Trial) -> Verdict:
    costs = asyncio.run(_short(trial)) if not trial.long else asyncio.run(_long(trial))
    figure = "; ".join(f"{name}: {cost}" for name, cost in costs.items())
    details = {name: {"passes": cost.passes, "whole": cost.whole} for name, cost in costs.items()}
    return Verdict(all(cost.fair for cost in costs.values()), figure, details)


async def _short(trial: Trial) -> dict[str, Cost]:
    return {
        "22.05": await _beside(trial, "v0.0.38", 40, 0, "PENDING", passes=3),
        "24.11": await _beside(trial, "v0.0.42", 200, 0, "PENDING", passes=3),
        "an array": await _beside(trial, "v0.0.42", 1, 100, "RUNNING", passes=3),
    }


async def _long(trial: Trial) -> dict[str, Cost]:
    """What waits at real clusters; what runs, of which those can't have 5,000, at a double of slurmrestd."""
    costs = {}
    for release in RELEASES[:2]:
        with running(release, {"MaxJobCount": "20000"}) as cluster:
            harness = HARNESSES[f"slurm-{release.name}"][0](Path("/"), lambda _, cluster=cluster: lambda _: cluster)  # type: ignore[misc]
            async with _opened(harness.context) as (backend, sizes):
                references = await _staged(harness, backend, 5000)
                trial.say(f"{release.name}: {len(references)} are staged")
                sizes.clear()
                costs[release.name] = await _quiet(backend, references, sizes, PASSES)
                trial.say(f"{release.name}: {costs[release.name]}")
    for name, jobs, tasks in (("5,000 running", 5000, 0), ("one array running", 1, 5000)):
        costs[name] = await _beside(trial, "v0.0.42", jobs, tasks, "RUNNING", passes=PASSES)
        trial.say(f"{name}: {costs[name]}")
    return costs


async def _staged(harness: Harness, backend: SlurmBackend, count: int) -> list[str]:
    asked = harness.submission("#!/bin/sh\ntrue\n")
    slots = asyncio.Semaphore(8)

    async def stage() -> str:
        async with slots:
            attempt = ids.new("att")
            return await backend.stage(asked.model_copy(update={"attempt": attempt, "tag": ids.bare(attempt)}))

    return await asyncio.gather(*(stage() for _ in range(count)))


async def _beside(trial: Trial, version: str, jobs: int, tasks: int, state: str, *, passes: int) -> Cost:
    """At a double in a process of its own: its CPU isn't ours."""
    (trial.folder / "key").write_bytes(b"k" * 32)
    (trial.folder / "alice").mkdir(exist_ok=True)
    with _double(version, jobs, tasks, state) as url:
        settings = {
            "url": url,
            "cluster": "caravan",
            "user": "slurm",
            "token": {"key_file": "key"},
            "folder": str(trial.folder),
        }
        context = SiteContext(site=ids.new("sit"), settings=settings, secrets=trial.folder)
        async with _opened(context) as (backend, sizes):
            return await _quiet(backend, SlurmDouble(version).fill(jobs, state, tasks), sizes, passes)


@contextmanager
def _double(version: str, jobs: int, tasks: int, state: str) -> Iterator[str]:
    """Its address."""
    command = [sys.executable, "-m", "tests.broker.slurm_double", version, str(jobs), str(tasks), state]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.terminate()


@asynccontextmanager
async def _opened(context: SiteContext) -> AsyncIterator[tuple[SlurmBackend, list[int]]]:
    """The site's backend, and the bytes of each answer that it gets."""
    sizes: list[int] = []

    settings = dict(context.settings) | {"timeout_seconds": 60}
    async with open_site(replace(context, settings=settings)) as backend:
        send = backend._rest._send

        async def noting(*args: Any) -> BaseHTTPResponse:
            response = await send(*args)
            sizes.append(len(response.data))
            return response

        backend._rest._send = noting  # type: ignore[assignment, method-assign]
        yield backend, sizes


async def _quiet(backend: SlurmBackend, references: list[str], sizes: list[int], passes: int) -> Cost:
    """What a pass costs once all was read and stays as it is."""
    lease = Lease(site=ids.new("sit"), epoch=1, ttl_seconds=60, adapter="slurm", settings={}, accelerators={})
    tenure = Tenure(lease, float("inf"), AgentSettings())
    for reference in references:
        watched = Watched(ids.new("att"), Desired.RUN, reference=reference)
        tenure.items[watched.attempt] = watched
    tenure.synced = True
    observer = Observer(tenure, backend, BOOKS_LAG_SECONDS, AgentMetrics(Metrics()))

    async def cost() -> float:
        began = time.process_time()
        pause = await observer.iteration()
        spent = time.process_time() - began
        await asyncio.sleep(pause)
        return spent

    while any(watched.seen_at is None for watched in tenure.items.values()):
        await cost()
    for _ in range(passes):
        await cost()
    sizes.clear()
    spent = [await cost() for _ in range(passes)]
    began = time.process_time()
    await backend.observe(references)
    return Cost(spent, time.process_time() - began, max(sizes))
