"""How quickly usage is ingested and charged, and how long the close of a month takes, on both engines."""

import json
import subprocess
import sys
from typing import Any, Final

from bench.case import Trial, Verdict, case
from bench.postgres import empty_postgresql
from bench.volume.making import RECORDS_PER_JOB

RECORDS, LINES = 1_000_000, 100_000
LINES_PER_JOB: Final = 7
"""About so many has a job of `bench.volume`, and at least six."""
INGESTED, CHARGE_SECONDS, MEMORY_MIB, CLOSE_SECONDS = 10_000, 360, 600, 60


@case(
    "charging-rate",
    claim=f"{RECORDS:,} usage records in batches of 1,000 are ingested and charged, and a month of {LINES:,} lines is closed, "
    "on PostgreSQL, with SQLite beside; more are ingested and charged at the same time",
    goal=f"on PostgreSQL at least {INGESTED:,} records/s ingested, all charged within {CHARGE_SECONDS} s and {MEMORY_MIB} MiB, "
    f"closed within {CLOSE_SECONDS} s; nothing parked",
)
def charging_rate(trial: Trial) -> Verdict:
    jobs = RECORDS // RECORDS_PER_JOB + 1000 if trial.long else 8
    at_once = jobs // 20 if trial.long else 4
    in_first = LINES // LINES_PER_JOB + 2000 if trial.long else 4
    figures = {}
    with empty_postgresql() as url:
        for engine, database in (("PostgreSQL", url), ("SQLite", None)):
            trial.say(f"{engine}: {jobs:,} jobs")
            figures[engine] = found = _played(trial, engine, jobs, at_once, in_first, database)
            trial.say(f"{engine}: {_words(found)}")
    held = figures["PostgreSQL"]
    steps = held["steps"]
    return Verdict(
        all(
            one["parked"] == 0 and one["lines"] > 0 and one["steps"]["ingest"]["records"] > 0
            for one in figures.values()
        )
        and (
            not trial.long
            or (
                steps["ingest"]["records"] >= RECORDS
                and _rate(steps["ingest"]) >= INGESTED
                and steps["charge"]["seconds"] <= steps["charge"]["records"] / RECORDS * CHARGE_SECONDS
                and held["peak_mib"] <= MEMORY_MIB
                and held["lines"] >= LINES
                and steps["close"]["seconds"] <= CLOSE_SECONDS
            )
        ),
        "; ".join(f"{engine}: {_words(found)}" for engine, found in figures.items()),
        figures,
    )


def _rate(step: Any) -> float:
    """Records a second."""
    return float(step["records"] / step["seconds"])


def _each(step: Any, at: str) -> float:
    """Microseconds for a record."""
    return float(step[at] / step["records"] * 1_000_000)


def _words(found: Any) -> str:
    steps = found["steps"]
    close = steps["close"]
    rates = ", ".join(
        f"{name} {step['records']:,} records in {step['seconds']:.1f} s ({_rate(step):,.0f}/s; at work for each "
        f"{_each(step, 'cpu'):.0f} us here, {_each(step, 'server'):.0f} us at the server; {step['again']} units run again)"
        for name, step in steps.items()
        if step["records"]
    )
    return (
        f"{rates}, {found['lines']:,} lines closed in {close['seconds']:.1f} s ({close['cpu']:.1f} s at work here, "
        f"{close['server']:.1f} s at the server), {found['peak_mib']} MiB"
    )


def _played(trial: Trial, engine: str, jobs: int, at_once: int, in_first: int, url: str | None) -> Any:
    folder = trial.folder / engine
    command = [sys.executable, "-m", "bench.volume", str(folder), "--seed", str(trial.seed)]
    command += ["--jobs", str(jobs), "--at-once", str(at_once), "--in-first", str(in_first)]
    command += ["--url", url] if url else []
    said = subprocess.DEVNULL if trial.quiet else None
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, text=True, check=True)
    return json.loads(done.stdout)
