"""An agent stopped at a step (SIGSTOP) until another has taken its lease, and then let go."""

import asyncio
import signal

from bench.agents import Agents
from bench.case import Trial
from bench.platform import Market, Platform, until
from bench.steps import Hold
from caravan.contracts.jobs import Job
from caravan.contracts.spec import JobSpec

AFTER_SECONDS = 1.5
"""Whatever the thawed one still does, it does in this time."""


class Freezer:
    """Freezes one agent after another; `thawed` counts those that were let go while the other was at work."""

    def __init__(self, trial: Trial, platform: Platform, market: Market, agents: Agents) -> None:
        self._trial, self._platform, self._market, self._agents = trial, platform, market, agents
        self.thawed = 0

    async def freeze(self, step: str, spec: JobSpec, seconds: float = 60) -> Job:
        """The job as it has ended, at most `seconds` later: its first agent was frozen at the step."""
        broker = await self._platform.broker(f"org/{self._market.organization}:member")
        site, random = self._market.site, self._trial.random
        self._agents.kill_all()
        with Hold(self._trial.folder, step) as hold:
            frozen = self._agents.start(site, **hold.environment)
            job = await broker.submit_job(spec)
            await hold.reached()
            frozen.send_signal(signal.SIGSTOP)
            hold.let_go()
            self._agents.start(site)
            if random.random() < 0.5:
                await asyncio.sleep(random.uniform(2, 4))  # the other one is at work, or done
                frozen.send_signal(signal.SIGCONT)
                self.thawed += 1

            async def ended() -> Job | None:
                now = await broker.get_job(job.id)
                return now if now.settled_at is not None else None

            found = await until(ended, f"the job of {step} to end", seconds)
            frozen.send_signal(signal.SIGCONT)
            await asyncio.sleep(AFTER_SECONDS)
        return found
