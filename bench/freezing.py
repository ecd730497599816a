"""An agent stopped at a step (SIGSTOP) until another has taken its lease, and then let go."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from bench.agents import Agents
from bench.case import Trial, Verdict
from bench.platform import Market, Platform, until
from bench.steps import Hold
from caravan.contracts.jobs import Job, JobState
from caravan.contracts.spec import JobSpec

TAKEN_OVER, AT_WORK, DONE = "while the other takes over", "while the other is at work", "once the other is done"
MOMENTS: Final = (TAKEN_OVER, AT_WORK, DONE)
"""When the frozen one is let go: of three freezes each once, in an order of chance."""
AT_A_CLUSTER: Final = ("before_stage", "stage", "after_stage", "after_commit", "release")
BRIEFLY: Final = ("stage", "after_commit")
"""Steps of a cluster's agent at which it is frozen, in the long form four times each, and in the short one."""
AT_A_CLUSTER_SECONDS: Final = 120
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


async def freeze_at_a_cluster(
    trial: Trial,
    freezer: Freezer,
    spec: Callable[[int], JobSpec],
    differences: Callable[[Sequence[Job], int], Awaitable[Mapping[str, Sequence[str]]]],
) -> Verdict:
    """Around stage and release, one numbered job (`spec`) each time. `differences`: what the cluster says otherwise of these jobs, that
    are to be so many, by kind."""
    rounds = AT_A_CLUSTER * 4 if trial.long else BRIEFLY
    jobs = []
    for number, step in enumerate(rounds):
        jobs.append(await freezer.freeze(step, spec(number), AT_A_CLUSTER_SECONDS))
        trial.say(f"{step}: job {number} {jobs[-1].state}")
    faults = await differences(jobs, len(rounds))
    return Verdict(
        not any(faults.values()) and (freezer.thawed > 0 or not trial.long),
        f"{len(rounds)} freezes, {freezer.thawed} thawed while the other was at work, {sum(map(len, faults.values()))} differences",
        {"faults": faults},
    )
