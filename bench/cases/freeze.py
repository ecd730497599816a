"""An agent that freezes, loses its lease and thaws: one run each time, and no litter."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

from bench.case import Trial, Verdict, case
from bench.platform import QUICK_AGENTS, Platform, open_market, until
from bench.steps import Hold
from caravan.contracts.jobs import JobSpec, JobState, Resources

FROZEN_AT = ("before_stage", "after_stage", "after_commit")
SWEEP = {"CARAVAN_AGENT_SWEEP_SECONDS": "1", "CARAVAN_AGENT_ORPHAN_SECONDS": "1"}


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
    runs, litter, thawed = [], [], 0
    async with Platform(trial.folder, environment={"CARAVAN_LEASE_SECONDS": "2"}).start() as platform:
        with Agents(platform) as agents:
            market = await open_market(platform, start_agent=agents.start)
            broker = await platform.broker(f"org/{market.organization}:member")
            for number, step in enumerate(rounds):
                agents.end_all()
                with Hold(trial.folder, step) as hold:
                    frozen = agents.start(market.site, **hold.environment)
                    lines = trial.folder / f"lines-{number}"
                    lines.touch()
                    lines.chmod(0o666)
                    job = await broker.submit_job(
                        JobSpec(
                            name=f"{step}-{number}",
                            project=market.project,
                            script=f"echo ran >> {lines}; sleep 1",
                            resources=Resources(walltime_seconds=30),
                        )
                    )
                    await hold.reached()
                    frozen.send_signal(signal.SIGSTOP)
                    hold.let_go()
                    second = agents.start(market.site)
                    if trial.random.random() < 0.5:
                        await asyncio.sleep(trial.random.uniform(2, 4))  # the other one is at work, or done
                        frozen.send_signal(signal.SIGCONT)
                        thawed += 1

                    async def ended(of: str = job.id) -> bool:
                        return (await broker.get_job(of)).settled_at is not None

                    await until(ended, "the job to end")
                    frozen.send_signal(signal.SIGCONT)
                    await asyncio.sleep(1.5)  # whatever the thawed one still does, it does now
                state = (await broker.get_job(job.id)).state
                runs.append(
                    (await asyncio.to_thread(lines.read_text)).count("ran") if state is JobState.SUCCEEDED else 0
                )
                await until(lambda: _swept(trial.folder / "site"), "the litter to be swept", 30)
                litter.append(len(staged(trial.folder / "site")))
                trial.say(f"{step}: {runs[-1]} run, {litter[-1]} litter, second agent {second.pid}")
    return Verdict(
        set(runs) == {1} and not any(litter),
        f"{len(runs)} freezes: {runs.count(1)} with 1 run, {sum(litter)} litter, {thawed} thawed while the other was at work",
    )


def staged(site: Path) -> list[Path]:
    """Submissions that nobody claimed."""
    folder = site / "submissions"
    if not folder.is_dir():
        return []
    return [entry for entry in folder.iterdir() if entry.is_dir() and not (entry / "claim").exists()]


async def _swept(site: Path) -> bool:
    return not await asyncio.to_thread(staged, site)


class Agents:
    """`caravan agent` processes; all are ended at the end, frozen or not."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, site: str, **environment: str) -> "subprocess.Popen[bytes]":
        plain = {k: v for k, v in os.environ.items() if not k.startswith("CARAVAN_")}
        env = (
            plain
            | QUICK_AGENTS
            | SWEEP
            | {
                "CARAVAN_MODE": "development",
                "CARAVAN_BROKER_URL": self._platform.url("broker"),
                "CARAVAN_TOKEN": self._platform.token(f"site/{site}:agent"),
                **environment,
            }
        )
        command = [sys.executable, "-m", "caravan.cli", "agent", site]
        with self._platform.log.open("ab") as log:
            process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._running.append(process)
        return process

    def end_all(self) -> None:
        for process in self._running:
            process.kill()
            process.wait()
        self._running.clear()

    def __enter__(self) -> "Agents":
        return self

    def __exit__(self, *exc: object) -> None:
        self.end_all()
