"""What a submission costs, beside a bare insert of one row in the same run."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import httpx

from bench.case import Trial, Verdict, case
from bench.platform import Market, Platform, free_ports, open_market, until
from bench.wrk import POST, Load, a_few, at_hand, load
from caravan.contracts.spec import JobSpec, Resources
from caravan.kernel import clock

GOAL = 5.0


@case(
    "submission-cost",
    claim="A submission to an offering without free capacity costs at most 5 bare inserts through the same engine and durability",
    goal="ratio at most 5 for 1 and for 16 clients",
)
def submission_cost(trial: Trial) -> Verdict:
    return asyncio.run(_submission_cost(trial))


async def _submission_cost(trial: Trial) -> Verdict:
    trial.folder.chmod(0o755)
    seconds, rounds = (8, 5) if trial.long else (1, 1)
    found: dict[str, list[Load]] = {}
    async with Platform(trial.folder).start() as platform:
        market = await open_market(platform, cpus=1, deposit="100000000.00")
        await occupy(platform, market)
        platform.stop()
        platform.start(CARAVAN_EMBEDDED_AGENTS="false", CARAVAN_LOG_LEVEL="warning")
        token = platform.token(f"org/{market.organization}:member")
        body = spec(market).model_dump_json()
        with bare(trial.folder) as root:
            for number in range(rounds):
                for clients in (1, 16):
                    for what, url in (
                        ("bare", f"{root}/engine"),
                        ("plain", f"{root}/plain"),
                        ("submit", f"{platform.url('broker')}/v1/jobs"),
                    ):
                        run = f"{number}-{clients}-{what}"
                        if trial.long or at_hand():
                            script = POST.format(token=token, body=body, run=run)
                            one = await asyncio.to_thread(
                                load, trial.folder, url, script, clients=clients, seconds=seconds
                            )
                        else:
                            one = await asyncio.to_thread(a_few, url, token, body, run=run)
                        found.setdefault(f"{what} x{clients}", []).append(one)
                        trial.say(f"{what} x{clients}: {one}")
    errors = sum(one.errors for runs in found.values() for one in runs)
    ratios = {
        clients: median(
            bare_one.per_second / one.per_second
            for bare_one, one in zip(found[f"bare x{clients}"], found[f"submit x{clients}"], strict=True)
        )
        for clients in (1, 16)
    }
    held = not trial.long or all(ratio <= GOAL for ratio in ratios.values())
    return Verdict(
        held and errors == 0,
        f"1 client {ratios[1]:.1f}, 16 clients {ratios[16]:.1f} bare inserts; "
        f"submit x1 {best(found['submit x1'])}; x16 {best(found['submit x16'])}; {errors} errors",
        {name: [str(one) for one in runs] for name, runs in found.items()},
    )


def best(runs: list[Load]) -> Load:
    return max(runs, key=lambda one: one.per_second)


def spec(market: Market) -> JobSpec:
    return JobSpec(name="load", project=market.project, script="sleep 600", resources=Resources(walltime_seconds=900))


async def occupy(platform: Platform, market: Market) -> None:
    """Fill the offering, so that whatever comes next waits."""
    broker = await platform.broker(f"org/{market.organization}:member")
    first = await broker.submit_job(spec(market))

    async def running() -> bool:
        return (await broker.get_job(first.id)).started_at is not None

    await until(running, "the first job to run")


@contextmanager
def bare(folder: Path) -> Iterator[str]:
    """The bare endpoints in a process of their own."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "uvicorn", "bench.bare:app", "--port", str(port), "--log-level", "warning"]
    environment = os.environ | {"CARAVAN_BARE": str(folder), "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
    try:
        deadline = clock.monotonic() + 30
        while True:
            try:
                httpx.post(f"{url}/engine", json={"name": "first"}).raise_for_status()
                break
            except httpx.TransportError:
                if clock.monotonic() > deadline or process.poll() is not None:
                    raise
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)
