"""An agent that freezes, loses its lease and thaws: one run each time, and no litter."""

import asyncio
from pathlib import Path

from bench.agents import SWEEP, Agents
from bench.case import Trial, Verdict, case
from bench.freezing import Freezer
from bench.platform import Platform, open_market, until
from caravan.contracts.jobs import JobState
from caravan.contracts.spec import JobSpec, Resources

FROZEN_AT = ("before_stage", "after_stage", "after_commit")


@case(
    "frozen-agent",
    claim="caravan agent frozen by SIGSTOP before stage, after stage and after commit, its lease taken away, then let go: "
    "one run each time, no litter",
    goal="each freeze: 1 run, 0 litter",
)
def frozen_agent(trial: Trial) -> Verdict:
    return asyncio.run(_frozen_agent(trial))


async def _frozen_agent(trial: Trial) -> Verdict:
    trial.folder.chmod(0o755)
    rounds = FROZEN_AT * (5 if trial.long else 1)
    runs, litter = [], []
    async with Platform(trial.folder, environment={"CARAVAN_LEASE_SECONDS": "2"}).start() as platform:
        with Agents(platform, environment=SWEEP) as agents:
            market = await open_market(platform, start_agent=agents.start)
            freezer = Freezer(trial, platform, market, agents)
            for number, step in enumerate(rounds):
                lines = trial.folder / f"lines-{number}"
                lines.touch()
                lines.chmod(0o666)
                spec = JobSpec(
                    name=f"{step}-{number}",
                    project=market.project,
                    script=f"echo ran >> {lines}; sleep 1",
                    resources=Resources(walltime_seconds=30),
                )
                job = await freezer.freeze(step, spec)
                ran = (await asyncio.to_thread(lines.read_text)).count("ran")
                runs.append(ran if job.state is JobState.SUCCEEDED else 0)
                await until(lambda: _swept(trial.folder / "site"), "the litter to be swept", 30)
                litter.append(len(staged(trial.folder / "site")))
                trial.say(f"{step}: {runs[-1]} run, {litter[-1]} litter")
    return Verdict(
        set(runs) == {1} and not any(litter) and (freezer.thawed > 0 or not trial.long),
        f"{len(runs)} freezes: {runs.count(1)} with 1 run, {sum(litter)} litter, "
        f"{freezer.thawed} thawed while the other was at work",
    )


def staged(site: Path) -> list[Path]:
    """Submissions that nobody claimed. Raises FileNotFoundError where nothing ever was."""
    return [entry for entry in (site / "submissions").iterdir() if entry.is_dir() and not (entry / "claim").exists()]


async def _swept(site: Path) -> bool:
    return not await asyncio.to_thread(staged, site)
