"""schemathesis over the three schemas, as each audience: no 5xx, nothing undocumented, no answer that breaks its schema."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import httpx

from bench.case import Trial, Verdict, case
from bench.platform import SERVICES, Market, Platform, open_market, until
from caravan.contracts.spec import JobSpec, Resources

CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
LONG: Final = ("--phases", "examples,coverage,fuzzing", "--max-examples", "40")
SHORT: Final = ("--phases", "examples,fuzzing", "--max-examples", "3")


def audiences(market: Market) -> dict[str, list[str]]:
    """Who calls, with which permissions."""
    return {
        "enterprise": [f"org/{market.organization}:admin"],
        "centre": [f"provider/{market.provider}:admin", f"site/{market.site}:agent"],
        "finance": ["platform:finance"],
        "office": ["platform:programmes"],
        "operator": ["platform:admin"],
        "service": ["service:broker"],
        "nobody": [],
    }


@case(
    "schemas",
    claim="schemathesis over the three schemas with a token for each audience: "
    "no 5xx, no undocumented status, no answer that breaks its schema",
    goal="0 failures; in each run at least a case for each operation",
)
def schemas(trial: Trial) -> Verdict:
    return asyncio.run(_schemas(trial))


async def _schemas(trial: Trial) -> Verdict:
    trial.folder.chmod(0o755)
    failures: dict[str, str] = {}
    cases: dict[str, int] = {}
    async with Platform(trial.folder).start() as platform:
        market = await open_market(platform)
        broker = await platform.broker(f"org/{market.organization}:admin")
        spec = JobSpec(name="seen", project=market.project, script="sleep 1", resources=Resources(walltime_seconds=9))
        job, quote = await broker.submit_job(spec), await broker.create_quote(spec)

        async def settled() -> bool:
            return (await broker.get_job(job.id)).settled_at is not None

        await until(settled, "a job to look at")
        known = {
            "organization": market.organization,
            "project": market.project,
            "provider": market.provider,
            "site": market.site,
            "offering": market.offering,
            "price_list": market.price_list,
            "job": job.id,
            "quote": quote.id,
        }
        everyone = audiences(market)
        wanted = list(everyone) if trial.long else ["enterprise"]
        for service in SERVICES:
            least = await asyncio.to_thread(operations, platform.url(service))
            for who in wanted:
                name = f"{service} as {who}"
                token = platform.token(*everyone[who], subject=who)
                code, output = await asyncio.to_thread(
                    run, platform.url(service), token, known, trial.folder, LONG if trial.long else SHORT, trial.seed
                )
                cases[name] = tested(output)
                if code or cases[name] < least:
                    failures[name] = output[-6000:]
                trial.say(
                    f"{name}: {cases[name]} cases, at least {least} {'FAILURES' if name in failures else 'and ok'}"
                )
    return Verdict(
        not failures,
        f"{len(failures)} failures in {sum(cases.values())} cases over {len(cases)} runs",
        {"failures": failures, "cases": cases},
    )


def run(url: str, token: str, known: dict[str, str], folder: Path, extent: Sequence[str], seed: int) -> tuple[int, str]:
    """One run of schemathesis. Returns its exit code and what it printed."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json", "--url", url]
    command += ["--checks", ",".join(CHECKS), *extent, "--seed", str(seed)]
    command += ["--continue-on-failure", "--no-color", "--warnings", "off"]
    command += [
        "--header",
        f"Authorization: Bearer {token}",
        "--request-timeout",
        "60",
        "--suppress-health-check",
        "all",
    ]
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": "bench.schemathesis_hooks",
        "CARAVAN_KNOWN_IDS": json.dumps(known),
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def operations(url: str) -> int:
    """How many the service's schema has: none is left out of a run."""
    paths = httpx.get(f"{url}/openapi.json", timeout=60).json()["paths"]
    return sum(map(len, paths.values()))


def tested(output: str) -> int:
    """How many cases a run generated, as it says."""
    found = re.search(r"(\d+)\s+generated", output)
    return int(found[1]) if found else 0
