"""Every line charged again by the independent script, which shares no code with the platform, and sees what is planted."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.case import Trial, Verdict, case
from bench.charges.faults import FAULTS

JOBS, JOBS_LONG = 26, 1300
NONZERO_SHARE, ON_HALVES, IN_WINDOWS = 0.95, 100, 100


@case(
    "independent-charges",
    claim="An independent script equals every line, statement and payable to the fen, and goes red on each of ten planted faults",
    goal=f"0 differences, {NONZERO_SHARE:.0%} of lines non-zero, {ON_HALVES} on half a fen, some prices per job after their runs' starts, "
    f"also in a later hour, {IN_WINDOWS} lines in windows of a week, some of time that isn't billed, of minimum charges and of overrun, "
    f"{len(FAULTS)} of {len(FAULTS)} faults seen",
)
def independent_charges(trial: Trial) -> Verdict:
    played = trial.folder / "played"
    _play(trial, played, JOBS, "--faults")
    reports = [_checked(played)]
    seen = {name: _checked(played / name)["differences"] for name in FAULTS}
    for name, differences in seen.items():
        trial.say(f"{name}: {len(differences)} differences, such as {differences[:1]}")
    if trial.long:
        trial.say("small history checked; now a large one")
        _play(trial, trial.folder / "large", JOBS_LONG)
        reports.append(_checked(trial.folder / "large"))
    report = reports[-1]
    red = [name for name, found in seen.items() if any(one["kind"] == FAULTS[name].shows_as for one in found)]
    differences = sum(len(one["differences"]) for one in reports)
    counts, share = report["counts"], report["nonzero_share"]
    return Verdict(
        passed=not differences
        and share >= NONZERO_SHARE
        and counts["lines_on_half_a_fen"] >= ON_HALVES
        and counts["jobs_priced_after_the_start"] > 0
        and counts["jobs_priced_in_a_later_hour"] > 0
        and counts["lines_in_windows"] >= IN_WINDOWS
        and counts["lines_of_nobody"] > 0
        and counts["lines_of_minimum_charges"] > 0
        and counts["lines_of_overrun"] > 0
        and len(red) == len(FAULTS),
        figure=f"{counts['lines_compared']:,} lines: {differences} differences, {share:.1%} non-zero, "
        f"{counts['lines_on_half_a_fen']:,} on half a fen; {counts['jobs_priced_after_the_start']:,} prices per job after the start, "
        f"{counts['jobs_priced_in_a_later_hour']:,} in a later hour; {counts['lines_in_windows']:,} lines in windows, "
        f"{counts['lines_in_flat_time']:,} in flat time beside them; {counts['lines_of_nobody']:,} not billed; "
        f"{counts['lines_of_minimum_charges']:,} of minimum charges; {counts['lines_of_overrun']:,} of overrun; "
        f"{len(red)} of {len(FAULTS)} faults seen",
        details={
            "counts": counts,
            "totals": report["totals"],
            "differences": [one for report in reports for one in report["differences"][:20]],
            "faults": {name: {"differences": len(found), "first": found[:1]} for name, found in seen.items()},
        },
    )


def _play(trial: Trial, folder: Path, jobs: int, *options: str) -> None:
    command = [sys.executable, "-m", "bench.charges", str(folder), "--jobs", str(jobs), "--seed", str(trial.seed)]
    subprocess.run([*command, *options], check=True, stdin=subprocess.DEVNULL)


def _checked(folder: Path) -> Any:
    """The checker's report of the files in `folder`."""
    command = [sys.executable, "-m", "bench.independent.check", str(folder), "--json"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"the checker could not read {folder}: {done.stderr}")
    report = json.loads(done.stdout)
    if report["equal"] != (done.returncode == 0):
        raise RuntimeError("the checker's exit code and its report disagree")
    return report
