"""What is metered at a real Slurm is what its books say: both lead to the same lines."""

import asyncio

from bench.case import Trial, Verdict, case
from bench.slurm_ends.asked import ASKED
from bench.slurm_ends.imported import Held, against_imported
from bench.slurm_ends.playing import played
from tests.backends.slurm import RELEASES, LeftOut, must_run


@case(
    "metered-equals-imported",
    claim="Jobs of many shapes and ends, metered at a real Slurm, have the lines, in seconds and fen, that its sacct dump comes to when "
    "it is imported into a fresh database and priced there, before it is said who bears them",
    goal="0 differences",
)
def metered_equals_imported(trial: Trial) -> Verdict:
    jobs = [job for job in ASKED if trial.long or not job.slow]
    release = RELEASES[1]
    try:
        held = asyncio.run(
            played(trial, release, {"JobRequeue": "1"}, release.name, jobs, against_imported, away=False)
        )
    except LeftOut as fault:
        trial.say(f"left out: {fault}")
        # the short form is part of the suite, which people without root run too
        return Verdict(not trial.long and not must_run(release), f"left out: {fault}")
    return _judged(trial, held, len(jobs))


def _judged(trial: Trial, held: Held, jobs: int) -> Verdict:
    for difference in held.differences:
        trial.say(difference)
    return Verdict(
        not held.differences and held.runs > 0 and held.lines > 0,
        f"{jobs} jobs, {held.runs} runs, {held.lines} lines: {len(held.differences)} differences",
        {"differences": list(held.differences)},
    )
