"""How jobs end on a real Slurm: the API and the bill against sacct, by a checker that knows nothing of the adapter."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.case import Trial, Verdict, case
from bench.slurm_ends.asked import ASKED, Asked
from bench.slurm_ends.compare import Compared
from bench.slurm_ends.playing import against_sacct, played
from tests.backends.slurm import RELEASES, LeftOut, Release, must_run

AT_ONCE: Final = 2
"""Clusters side by side."""


@dataclass(frozen=True)
class Way:
    """A way in which centres run Slurm: whether jobs are requeued by default, and whether the agent is away while jobs end."""

    requeue: bool
    away: bool

    @property
    def name(self) -> str:
        return f"requeue-{int(self.requeue)}-{'away' if self.away else 'there'}"

    @property
    def changes(self) -> Mapping[str, str]:
        """Of slurm.conf: where the agent is away, slurmctld forgets jobs soon, and slurmdbd keeps no comments."""
        forgets = {"MinJobAge": "5", "AccountingStoreFlags": ""} if self.away else {}
        return {"JobRequeue": str(int(self.requeue)), **forgets}


WAYS: Final = tuple(Way(requeue, away) for away in (False, True) for requeue in (False, True))
SHORT: Final = (Way(requeue=True, away=False),)


@case(
    "slurm-ends",
    claim="Of each way for a job to end on Slurm, state, exit code, signal, log, times, and what is billed to whom, in seconds and fen, "
    "are what sacct says, also where Slurm forgets jobs while the agent is away",
    goal="0 differences on each release that starts here",
)
def slurm_ends(trial: Trial) -> Verdict:
    jobs = [job for job in ASKED if trial.long or not job.slow]
    compared: dict[str, Compared] = {}
    left_out = []
    for release in RELEASES if trial.long else RELEASES[1:2]:
        try:
            compared |= asyncio.run(_release(trial, release, WAYS if trial.long else SHORT, jobs))
        except LeftOut as fault:
            trial.say(f"left out: {fault}")
            left_out.append(release)
    differences = {name: list(map(str, one.differences)) for name, one in compared.items()}
    for name, found in differences.items():
        for difference in found:
            trial.say(f"{name}: {difference}")
    count = sum(map(len, differences.values()))
    fields, amounts = sum(one.fields for one in compared.values()), sum(one.amounts for one in compared.values())
    return Verdict(
        # the short form is part of the suite, which people without root run too
        passed=not count and (bool(compared) or not trial.long) and not any(map(must_run, left_out)),
        figure=f"{len(compared)} clusters x {len(jobs)} jobs, {fields:,} fields compared, {amounts:,} of them quantities and fen billed: "
        f"{count} differences",
        details={"differences": differences, "left_out": [release.name for release in left_out]},
    )


async def _release(trial: Trial, release: Release, ways: Sequence[Way], jobs: Sequence[Asked]) -> dict[str, Compared]:
    """Each way on a cluster of its own. Raises LeftOut."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def play(way: Way) -> tuple[str, Compared]:
        name = f"{release.name}-{way.name}"
        async with slots:
            return name, await played(trial, release, way.changes, name, jobs, against_sacct, away=way.away)

    return dict(await asyncio.gather(*map(play, ways)))
