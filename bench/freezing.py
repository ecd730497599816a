"""An agent stopped at a step (SIGSTOP) until another has taken its lease, and then let go."""

import asyncio
import signal
from typing import Final

from bench.agents import Agents
from bench.case import Trial
from bench.platform import Market, Platform, until
from bench.steps import Hold
from caravan.contracts.jobs import Job, JobState
from caravan.contracts.spec import JobSpec

TAKEN_OVER, AT_WORK, DONE = "while the other takes over", "while the other is at work", "once the other is done"
MOMENTS: Final = (TAKEN_OVER, AT_WORK, DONE)
"""When the frozen one is let go: of three freezes each once, in an order of chance."""
ACTS, LOST = "agent_acts", "agent_lease_lost"
"""Stand in an agent's log once it has the lease, and once it has seen that it may do nothing more under it."""


class Freezer:
    """Freezes one agent after another; `thawed` counts those that were let go while the other was at work."""

    def __init__(self, trial: Trial, platform: Platform, market: Market, agents: Agents) -> None:
        self._trial, self._platform, self._market, self._agents = trial, platform, market, agents
        self._moments: list[str] = []
        self._frozen = 0
        self.thawed = 0

    async def freeze(self, step: str, spec: JobSpec, seconds: float = 60) -> Job:
        """The job as it has ended, at most `seconds` later, and its first agent, frozen at the step, has found that it lost its lease.

        Raises TimeoutError.
        """
        broker = await self._platform.broker(f"org/{self._market.organization}:member")
        site, random = self._market.site, self._trial.random
        self._moments = self._moments or random.sample(MOMENTS, len(MOMENTS))
        moment = self._moments.pop()
        self._frozen += 1
        log, other = (self._platform.folder / f"{name}-{self._frozen}.log" for name in ("frozen", "other"))
        self._agents.kill_all()
        with Hold(self._trial.folder, step) as hold:
            frozen = self._agents.start(site, log, **hold.environment)
            job = await broker.submit_job(spec)
            await hold.reached()
            frozen.send_signal(signal.SIGSTOP)
            hold.let_go()
            self._agents.start(site, other)

            async def acts() -> bool:
                return ACTS in await asyncio.to_thread(other.read_text)

            async def runs() -> bool:
                return (await broker.get_job(job.id)).state not in (JobState.PENDING, JobState.QUEUED)

            async def ended() -> Job | None:
                now = await broker.get_job(job.id)
                return now if now.settled_at is not None else None

            async def lost() -> bool:
                return LOST in await asyncio.to_thread(log.read_text)

            await until(acts, f"another one to take over from the one frozen at {step}", seconds)
            if moment is TAKEN_OVER:
                await asyncio.sleep(random.uniform(0, 1))
            elif moment is AT_WORK:
                await until(runs, f"the job of {step} to run", seconds)
            else:
                await until(ended, f"the job of {step} to end", seconds)
            if await lost():
                raise RuntimeError("it was not frozen")
            self.thawed += await ended() is None
            frozen.send_signal(signal.SIGCONT)
            found = await until(ended, f"the job of {step} to end", seconds)
            await until(lost, f"the one frozen at {step} to see that its lease is another's", seconds)
        return found
