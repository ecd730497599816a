"""A year of a made city, each line and total of which an independent script computes anew from what was told, and sees what is planted."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from bench.case import Trial, Verdict, case
from bench.city.faults import FAULTS
from bench.postgres import empty_postgresql

RECORDS, SHORT_RECORDS, FAULT_RECORDS = 1_000_000, 20_000, 1200
MIXED: Final = ("late", "doubled", "reordered", "revised")
MIXED_SHARE, MEMORY_MIB = 0.045, 1000
LINES_SHARE, STATEMENTS_SHARE, STATEMENTS_EACH = 0.5, 0.01, 10
"""How many there are at least, for each usage record. Nobody has more than one statement a month: ten a year for each organization are
enough of them."""


@case(
    "made-city",
    claim=f"A year of a made city, {RECORDS:,} usage records of which one in twenty is late, doubled, reordered or revised, with a "
    "correction for each closed month, on PostgreSQL: an independent script equals each line and each total to the fen, and goes red on "
    f"each of {len(FAULTS)} planted faults",
    goal=f"0 differences; {MIXED_SHARE:.1%} of the records told so at least; 13 months closed, 12 corrections; played within "
    f"{MEMORY_MIB:,} MiB; {len(FAULTS)} of {len(FAULTS)} faults seen",
)
def made_city(trial: Trial) -> Verdict:
    folder = trial.folder / "city"
    if trial.long:
        with empty_postgresql() as url:
            city = _played(trial, folder, RECORDS, "--url", url)
    else:
        city = _played(trial, folder, SHORT_RECORDS)
    report, *planted = ThreadPoolExecutor(2).map(_checked, [folder, *(folder / name for name in FAULTS)])
    for name, found in zip(FAULTS, planted, strict=True):
        trial.say(f"{name}: {len(found['differences'])} differences, such as {found['differences'][:1]}")
    return _verdict(city, report, dict(zip(FAULTS, planted, strict=True)))


def _verdict(city: Any, report: Any, planted: dict[str, Any]) -> Verdict:
    told, claimed, differences = city["told"], city["claimed"], report["differences"]
    seen = [name for name, found in planted.items() if found["differences"]]
    mixed = sum(told[what] for what in MIXED) / told["records"]
    compared = report["compared"]
    return Verdict(
        passed=not differences
        and mixed >= MIXED_SHARE
        and claimed["periods"] > 13
        and claimed["corrections"] == 12
        and claimed["lines"] >= LINES_SHARE * told["records"]
        and claimed["statements"] >= min(STATEMENTS_SHARE * told["records"], STATEMENTS_EACH * claimed["funds"])
        and city["peak_mib"] <= MEMORY_MIB
        and len(seen) == len(planted),
        figure=f"{told['records']:,} records, {mixed:.1%} of them late, doubled, reordered or revised; {compared['line']:,} lines "
        f"and {sum(compared.values()) - compared['line']:,} totals and terms: {len(differences)} differences; {len(seen)} of "
        f"{len(planted)} faults seen; played in {city['seconds']:,.0f} s with {city['peak_mib']} MiB at most",
        details={
            "city": city,
            "differences": differences[:20],
            "faults": {
                name: {"differences": len(f["differences"]), "first": f["differences"][:1]}
                for name, f in planted.items()
            },
        },
    )


def _played(trial: Trial, folder: Path, records: int, *options: str) -> Any:
    command = [sys.executable, "-m", "bench.city", str(folder), "--records", str(records), "--seed", str(trial.seed)]
    command += ["--faults", str(FAULT_RECORDS), *options]
    said = subprocess.DEVNULL if trial.quiet else None
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, text=True, check=True)
    return json.loads(done.stdout)


def _checked(folder: Path) -> Any:
    """The script's report of a folder."""
    command = [sys.executable, "-m", "bench.city.independent", str(folder), "--json"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"the script could not read {folder}: {done.stderr}")
    report = json.loads(done.stdout)
    if bool(report["differences"]) != (done.returncode == 1):
        raise RuntimeError("the script's exit code and its report disagree")
    return report
