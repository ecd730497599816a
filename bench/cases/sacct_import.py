"""A centre's dump of sacct comes in whole, once, in little memory, and its sums are exact."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

from bench.case import Trial, Verdict, case
from bench.independent.dump_sums import hours
from bench.platform import Market, Platform, open_market
from caravan.kernel import clock

HEADER = "JobID|JobIDRaw|Cluster|Account|User|Submit|Start|End|Elapsed|State|AllocTRES|JobName"
WRITTEN = "%Y-%m-%dT%H:%M:%S"
MEMORY_MIB = 200
"""Of the importing process, whatever the dump's length."""
# VmHWM begins anew with the program; getrusage's maximum is that of the process that it was forked from, too
MEASURED = (
    "import re, runpy, sys; sys.argv = sys.argv[1:]\n"
    "try: runpy.run_module('caravan.cli', run_name='__main__')\n"
    "finally: print(int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) // 1024, file=sys.stderr)"
)


@case(
    "sacct-import",
    claim="A dump of 100,000 rows imported twice: all rows read both times, each run once, all sums as an independent script has them",
    goal=f"all rows read and 0 imported the second time, 0 sums that differ, at most {MEMORY_MIB} MiB",
)
def sacct_import(trial: Trial) -> Verdict:
    return asyncio.run(_import(trial))


async def _import(trial: Trial) -> Verdict:
    dump = trial.folder / "dump"
    rows = 100_000 if trial.long else 1_500
    with dump.open("w") as out:
        out.writelines(f"{line}\n" for line in _lines(trial.random, rows))
    async with Platform(trial.folder).start() as platform:
        market = await open_market(platform)
        began = clock.monotonic()
        first, memory = await asyncio.to_thread(_sacct, platform, market, dump)
        seconds = clock.monotonic() - began
        trial.say(f"{first['runs']} runs in {seconds:.1f} s, {memory} MiB")
        again, _ = await asyncio.to_thread(_sacct, platform, market, dump)
        report, _ = await asyncio.to_thread(
            _usage, platform, "report", "--from", "2026-01-01", "--to", "2026-06-01", "--site", market.site
        )
    reported = {
        (one["span"], one["account"], one["component"]): Fraction(one["quantity"], 3600) for one in report["items"]
    }
    with dump.open() as lines:
        expected = hours(lines)
    differ = sum(reported.get(key) != expected.get(key) for key in reported.keys() | expected.keys())
    # of doubled rows the first is imported, and the other changes nothing
    whole = first["rows"] == rows and first["imported"] + first["unchanged"] == first["runs"]
    nothing_new = again == {**first, "imported": 0, "unchanged": first["runs"]}
    return Verdict(
        passed=whole
        and nothing_new
        and first["imported"] > 0
        and not differ
        and bool(expected)
        and memory <= MEMORY_MIB,
        figure=f"{first['imported']:,} runs of {rows:,} rows in {seconds:.1f} s, then {again['imported']} of {again['rows']:,}; "
        f"{differ} of {len(expected):,} sums differ; {memory} MiB",
        details={"first": first, "again": again},
    )


def _lines(random: Random, rows: int) -> Iterator[str]:
    """Runs with steps, requeues, rows that are there twice, some that still run and some that never did."""
    yield HEADER
    began, line = datetime(2026, 1, 1, tzinfo=UTC), ""
    for job in range(rows):
        kind = random.random()
        if kind < 0.05 and line:
            yield line
            continue
        submit = began + timedelta(seconds=random.randrange(90 * 86400))
        start = submit + timedelta(seconds=random.randrange(3600))
        length = random.randrange(3 * 86400)
        end = (start + timedelta(seconds=length)).strftime(WRITTEN) if kind > 0.1 else "Unknown"
        began_at = start.strftime(WRITTEN) if kind < 0.95 else "Unknown"
        again = job > 0 and 0.9 < kind < 0.95
        id = f"{job}.batch" if 0.1 < kind < 0.3 else f"{job - again}"
        cpus, cards = random.randrange(1, 129), random.randrange(9)
        tres = f"cpu={cpus},mem=4G,node=1" + (f",gres/gpu={cards},gres/gpu:h100={cards}" if cards else "")
        account = random.choice(("alloys", "glass", "climate"))
        elapsed = f"{length // 86400}-{length // 3600 % 24:02}:{length // 60 % 60:02}:{length % 60:02}"
        times = f"{submit:{WRITTEN}}|{began_at}|{end}"
        line = f"{id}|{id}|qin|{account}|li|{times}|{elapsed}|CANCELLED by 7|{tres}|a|b"
        yield line


def _sacct(platform: Platform, market: Market, dump: Path) -> tuple[Any, int]:
    return _usage(platform, "import", "sacct", str(dump), "--site", market.site, "--zone", "Asia/Shanghai")


def _usage(platform: Platform, *arguments: str) -> tuple[Any, int]:
    """What it answers, and how much memory it took in MiB."""
    environment = os.environ | {
        "CARAVAN_URL": platform.url("accounting").removesuffix("/accounting"),
        "CARAVAN_TOKEN": platform.token("platform:finance"),
    }
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, "caravan", "usage", *arguments, "--json"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout), int(done.stderr.split()[-1])
