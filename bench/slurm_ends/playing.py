"""Runs the jobs on one cluster: submits all at once, does to them what people do, and collects what is told of them afterwards."""

import asyncio
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Final, TypeVar

from bench.accelerated import MODEL
from bench.case import Trial
from bench.demo.stages import Slurm
from bench.independent import slurm_runs
from bench.platform import Platform, until
from bench.slurm_ends import market
from bench.slurm_ends.asked import (
    CANCEL_PENDING,
    CANCEL_RUNNING,
    CANCEL_STAGED,
    HELD,
    KEPT,
    LIMITED,
    REQUEUED,
    SUSPENDED,
    SUSPENSION_SECONDS,
    Asked,
)
from bench.slurm_ends.compare import Compared, compare
from bench.slurm_ends.telling import Telling
from bench.steps import Hold
from caravan.client import BrokerClient
from caravan.contracts.jobs import AttemptState
from caravan.contracts.spec import JobBatch
from tests.backends.slurm import Cluster, Release
from tests.backends.slurm.cluster import running

T = TypeVar("T")
ENDS_SECONDS: Final = 300
PAUSE_SECONDS, AWAY_PAUSE_SECONDS = 3, 20
"""The longer one lets the agent be away before jobs end."""
SOME_SECONDS: Final = 2
"""So long a job runs before it's cancelled or requeued, to have something to bill."""
SETTINGS: Final = {"JobAcctGatherParams": "OverMemoryKill", "AuthInfo": "cred_expire=5"}
"""A requeued job waits until its credential has expired."""


async def played(
    trial: Trial,
    release: Release,
    changes: Mapping[str, str],
    name: str,
    jobs: Sequence[Asked],
    look: "Callable[[Play], Awaitable[T]]",
    *,
    away: bool,
) -> T:
    """One cluster of the release with `changes` to its slurm.conf, and what `look` sees when all is charged. `away`: the agent is, while
    jobs end. Raises LeftOut."""
    folder = trial.folder / name
    with ExitStack() as ends:
        cluster = await asyncio.to_thread(ends.enter_context, running(release, {**SETTINGS, **changes}))
        trial.say(f"{name}: Slurm {cluster.version} is up")
        async with Platform(folder) as platform:
            await asyncio.to_thread(platform.start)
            return await Play(trial, cluster, platform, name, jobs).run(look, away=away)


async def against_sacct(play: "Play") -> Compared:
    """What the API tells and bills against sacct."""
    rows = slurm_runs.rows(await asyncio.to_thread(play.cluster.run, *slurm_runs.COMMAND))
    return compare(play.jobs, await play.telling.told(), rows, MODEL)


class Play:
    """One cluster, one platform, and the jobs by name."""

    def __init__(self, trial: Trial, cluster: Cluster, platform: Platform, name: str, jobs: Sequence[Asked]) -> None:
        self.trial, self.cluster, self.platform, self._name = trial, cluster, platform, name
        self.jobs = jobs
        self.ids: dict[str, str] = {}
        self._broker: BrokerClient
        self.telling: Telling
        self.market: market.Market

    async def run(self, look: "Callable[[Play], Awaitable[T]]", *, away: bool) -> T:
        with Hold(self.platform.folder, "after_stage") as stands, ExitStack() as ends:
            stage = Slurm(self.cluster, ends)
            agents = ends.enter_context(stage.agents(self.platform, stands.environment))
            self.market = await market.opened(
                self.platform,
                stage.settings,
                agents.start,
                AWAY_PAUSE_SECONDS if away else PAUSE_SECONDS,
                self.jobs,
            )
            self._broker = await self.platform.broker(f"org/{self.market.organization}:admin", subject="enterprise")
            accounting = await self.platform.accounting("platform:finance", subject="finance")
            self.telling = Telling(self._broker, accounting, self.market.organization, self.ids)
            self._close("PartitionName=npu State=DOWN", max_jobs="0")
            await self._cancel_staged(stands)
            await self._submit_all()
            await self._interfere()
            if away:
                await until(self._all_released, "all have been released or cancelled")
                agents.kill_all()
                self._say("the agent is away")
                await until(self._forgotten, "Slurm's controller forgets all jobs", ENDS_SECONDS)
                stage.run_agent(self.market.site, self.platform)
            await until(self.telling.all_charged, "all jobs have ended and are charged", ENDS_SECONDS)
            self._say("all are charged")
            return await look(self)

    def _say(self, what: str) -> None:
        self.trial.say(f"{self._name}: {what}")

    def _close(self, partition: str, *, max_jobs: str) -> None:
        self.cluster.run("scontrol", "update", *partition.split())
        limit = ("set", f"MaxJobs={max_jobs}")
        self.cluster.run("sacctmgr", "-i", "modify", "user", "where", "name=alice", "account=proj2", *limit)

    async def _cancel_staged(self, stands: Hold) -> None:
        """The agent has staged it and not yet asked whether it may run."""
        (job,) = (job for job in self.jobs if job.name == CANCEL_STAGED)
        self.ids[job.name] = (await self._broker.submit_job(self.market.spec(job))).id
        await stands.reached()
        await self._broker.cancel_job(self.ids[job.name])
        stands.let_go()

    async def _submit_all(self) -> None:
        rest = [job for job in self.jobs if job.name not in self.ids]
        answers = await self._broker.submit_jobs(JobBatch(jobs=tuple(map(self.market.spec, rest))))
        for job, answer in zip(rest, answers.items, strict=True):
            if answer.job is None:
                raise RuntimeError(f"{job.name} was refused: {answer.problem}")
            self.ids[job.name] = answer.job.id
        self._say(f"{len(self.ids)} jobs submitted")

    async def _interfere(self) -> None:
        """What people do to jobs, each as soon as its job stands where it is done."""
        await asyncio.gather(self._cancel_running(), self._suspend(), self._requeue(), self._make_wait())

    async def _cancel_running(self) -> None:
        await self.telling.runs(CANCEL_RUNNING)
        await asyncio.sleep(SOME_SECONDS)
        await self._broker.cancel_job(self.ids[CANCEL_RUNNING])

    async def _requeue(self) -> None:
        """An operator tries it with one that may be started again, and with one that may not."""
        may, may_not = [(await self.telling.runs(name)).split(":")[1] for name in (REQUEUED, KEPT)]
        await asyncio.sleep(SOME_SECONDS)
        await self._scontrol("requeue", may)
        with suppress(subprocess.CalledProcessError):
            await self._scontrol("requeue", may_not)

    async def _suspend(self) -> None:
        identity = await self.telling.runs(SUSPENDED)
        job = identity.split(":")[1]
        await self._scontrol("suspend", job)
        await asyncio.sleep(SUSPENSION_SECONDS)
        await self._scontrol("resume", job)

    async def _make_wait(self) -> None:
        """The partition is down and the account full: see what they say, cancel one, then let the others go."""
        pending = {}
        for name in (CANCEL_PENDING, HELD, LIMITED):
            pending[name] = await until(partial(self._queued, name), f"{name} waits at Slurm")
        await self._scontrol("hold", pending[HELD])
        await self._broker.cancel_job(self.ids[CANCEL_PENDING])
        await asyncio.gather(*(self.telling.listen(job.name, job.waits) for job in self.jobs if job.waits))
        self._say(f"{self.telling.waited}")
        await self._scontrol("release", pending[HELD])
        await asyncio.to_thread(self._close, "PartitionName=npu State=UP", max_jobs="-1")

    async def _queued(self, name: str) -> str | None:
        """The job's id at Slurm, once it has been released there and is pending."""
        (attempt,) = (await self._broker.list_job_attempts(self.ids[name])).items
        return (
            attempt.reference.partition("-")[0] if attempt.reference and attempt.state is AttemptState.QUEUED else None
        )

    async def _scontrol(self, what: str, job: str) -> None:
        await asyncio.to_thread(self.cluster.run, "scontrol", what, job)

    async def _all_released(self) -> bool:
        for name, job in self.ids.items():
            found = await self._broker.get_job(job)
            if name.startswith("cancel") and not found.state.final:
                return False
            attempts = (await self._broker.list_job_attempts(job)).items
            if any(
                one.state not in (AttemptState.QUEUED, AttemptState.RUNNING, AttemptState.ENDED) for one in attempts
            ):
                return False
        return True

    async def _forgotten(self) -> bool:
        return not await asyncio.to_thread(self.cluster.run, "squeue", "--noheader", "--states=all")
