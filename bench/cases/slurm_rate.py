"""How fast jobs come into Slurm's queue through the platform, beside a plain script that talks to slurmrestd itself."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from statistics import median
from typing import Any, Final

import httpx

from bench.case import Trial, Verdict, case
from bench.clients import CLIENTS, beside_direct, cancelled, in_batches, one_by_one
from bench.demo.stages import Slurm
from bench.platform import Market, Platform, open_market, until
from caravan.client import BrokerClient
from caravan.contracts.spec import JobSpec, Resources
from caravan.kernel import clock
from tests.backends.slurm import Cluster
from tests.backends.slurm.cluster import running
from tests.backends.slurm.installed import RELEASES

BATCHED: Final = 0.8
SINGLE: Final = 0.35
LIGHT_MILLISECONDS: Final = 200.0
PARTITION: Final = "short"
VERSION: Final = "v0.0.41"
SCRIPT: Final = "#!/bin/sh\nsleep 60\n"
RELEASE: Final = RELEASES[1]


@case(
    "slurm-rate",
    claim="Into the queue of a Slurm whose partition is down, 16 clients: jobs:batch of 100 reaches at least 0.8 of the rate of a plain "
    "script's held submit and release, single POSTs at least 0.35; at light load a job is released soon after it was accepted",
    goal=f"ratios at least {BATCHED} and {SINGLE}; accepted to released p50 under {LIGHT_MILLISECONDS:.0f} ms",
)
def slurm_rate(trial: Trial) -> Verdict:
    return asyncio.run(_slurm_rate(trial))


async def _slurm_rate(trial: Trial) -> Verdict:
    many, rounds, light = (1600, 3, 50) if trial.long else (32, 1, 3)
    rates: dict[str, list[float]] = {"direct": [], "batch": [], "single": []}
    with ExitStack() as ends:
        cluster = ends.enter_context(running(RELEASE))
        stage = Slurm(cluster, ends)
        async with Platform(trial.folder).start(CARAVAN_LOG_LEVEL="warning") as platform:
            market = await open_market(
                platform, cpus=4, deposit="100000000.00", adapter=stage.adapter, site_settings=stage.settings, tenant=stage.tenant,
                target={"partition": PARTITION}, queue_ahead=1_000_000, start_agent=lambda site: stage.run_agent(site, platform),
            )  # fmt: skip
            broker = await platform.broker(f"org/{market.organization}:member")
            waits = [await _light(broker, market) for _ in range(light)]
            trial.say(f"accepted to released: p50 {median(waits) * 1000:.0f} ms")
            cluster.run("scontrol", "update", f"PartitionName={PARTITION}", "State=DOWN")
            ways: dict[str, Callable[[], Awaitable[list[str]]]] = {
                "direct": lambda: _direct(cluster, stage.settings["folder"], many),
                "batch": lambda: in_batches(broker, _spec(market), many),
                "single": lambda: one_by_one(broker, _spec(market), many),
            }
            for number in range(rounds):
                for name, send in ways.items():
                    rate, jobs = await _rate(cluster, send, many)
                    rates[name].append(rate)
                    trial.say(f"round {number}: {name} {rate:.0f} jobs/s")
                    await _clear(cluster, broker, jobs)
    ratios = beside_direct(rates)
    soon = median(waits) * 1000
    held = ratios["batch"] >= BATCHED and ratios["single"] >= SINGLE and soon < LIGHT_MILLISECONDS
    return Verdict(
        held or not trial.long,
        f"direct {max(rates['direct']):.0f}/s; batch {ratios['batch']:.2f}, single {ratios['single']:.2f} of it; "
        f"accepted to released p50 {soon:.0f} ms",
        {"jobs a second": rates, "accepted to released, seconds": waits},
    )


def _spec(market: Market) -> JobSpec:
    resources = Resources(walltime_seconds=60, memory_mib_per_node=64)
    return JobSpec(name="rate", project=market.project, script=SCRIPT, resources=resources)


async def _light(broker: BrokerClient, market: Market) -> float:
    """Seconds from a job's acceptance to its release, by its own events. It is ended again."""
    job = await broker.submit_job(_spec(market))

    async def released() -> float | None:
        events = (await broker.list_job_events(job.id, limit=200)).items
        times = {event.type: event.at for event in events}
        if "attempt.released" not in times:
            return None
        return (times["attempt.released"] - times["job.created"]).total_seconds()

    seconds = await until(released, "the job to be released")
    await broker.cancel_job(job.id)
    return seconds


async def _rate(cluster: Cluster, send: Callable[[], Awaitable[list[str]]], count: int) -> tuple[float, list[str]]:
    """Jobs a second from the first request until all of them wait in the queue, released; and the broker's jobs among them."""
    began = clock.monotonic()
    jobs = await send()

    async def there() -> bool:
        waiting = await asyncio.to_thread(_waiting, cluster)
        return sum(reason != "JobHeldUser" for reason in waiting) >= count

    await until(there, f"{count} jobs in the queue", 600)
    return count / (clock.monotonic() - began), jobs


def _waiting(cluster: Cluster) -> list[str]:
    """Why each job waits that does."""
    of_ours = ("--noheader", "--states=PENDING", f"--partition={PARTITION}", "--format=%r")
    return cluster.run("squeue", *of_ours).split()


async def _clear(cluster: Cluster, broker: BrokerClient, jobs: Sequence[str]) -> None:
    """Empty the queue, and wait until the platform has done with it: the next way finds nothing of this one."""
    await cancelled(broker, jobs)
    await asyncio.to_thread(cluster.run, "scancel", f"--partition={PARTITION}")

    async def empty() -> bool:
        return not await asyncio.to_thread(_waiting, cluster)

    await until(empty, "an empty queue")


async def _direct(cluster: Cluster, folder: str, count: int) -> list[str]:
    """What a centre's own script would do: a held submit, then its release, with 16 clients."""
    headers = cluster.headers("alice")
    left = iter(range(count))
    number: dict[str, Any] = {"set": True, "infinite": False}
    body = {
        "script": SCRIPT,
        "job": {
            "name": "direct", "hold": True, "partition": PARTITION, "current_working_directory": f"{folder}/alice",
            "environment": ["PATH=/usr/bin:/bin"], "tasks": 1, "time_limit": number | {"number": 1},
            "memory_per_node": number | {"number": 64}, "standard_output": "/dev/null", "standard_error": "/dev/null",
        },
    }  # fmt: skip
    content = json.dumps(body).encode()
    headers |= {"Content-Type": "application/json"}

    async def client() -> None:
        async with httpx.AsyncClient(base_url=f"{cluster.url}/slurm/{VERSION}", headers=headers, timeout=60) as http:
            for _ in left:
                job = (await http.post("/job/submit", content=content)).json()["job_id"]
                (await http.post(f"/job/{job}", json={"hold": False})).raise_for_status()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return []
