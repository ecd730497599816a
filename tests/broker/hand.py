"""A site's agent that the test plays by hand, step by step, through the protocol."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from caravan.client import BrokerClient
from caravan.contracts.dispatch import (
    AttemptObserved,
    Commit,
    CommitBatch,
    Committed,
    FinalStated,
    Lease,
    LeaseRequest,
    Report,
    Reported,
    ReportItem,
    RunObserved,
    SiteReport,
    UsageStated,
    Verdict,
    Work,
    WorkItem,
)
from caravan.contracts.jobs import Job, Outcome, RunState
from caravan.contracts.offerings import AdapterDescriptor, SiteState
from caravan.contracts.usage import HourUsage, Span
from caravan.kernel import clock, ids
from caravan.kernel.clock import floor_hour
from services.broker.adapters.fake import adapter as fake

HOUR = timedelta(hours=1)


def key(hour: datetime) -> str:
    """An hour as it stands in `stated` and `final`."""
    return f"{hour:%Y-%m-%dT%H:%M:%SZ}"


@dataclass
class Run:
    """What one run of a task is to look like: [start, start + seconds), whole in `spans` by hour.

    It began when its attempt was placed, at the earliest: what was before is set aside.
    """

    attempt: str
    index: int = 0
    seconds: int = 10
    outcome: Outcome = Outcome.SUCCEEDED
    cpus: int = 1
    start: datetime = field(default_factory=lambda: clock.floor_second(clock.now()))
    identity: str = field(default_factory=lambda: ids.new("run"))

    @property
    def end(self) -> datetime:
        return self.start + timedelta(seconds=self.seconds)

    @property
    def _of(self) -> dict[str, Any]:
        return {"attempt": self.attempt, "index": self.index, "backend_identity": self.identity}

    def running(self, number: int) -> RunObserved:
        return RunObserved(**self._of, observation=number, state=RunState.RUNNING, started_at=self.start)

    def ended(self, number: int) -> RunObserved:
        code = {Outcome.SUCCEEDED: 0, Outcome.USER: 3}.get(self.outcome)
        return RunObserved(
            **self._of, observation=number, state=RunState.ENDED, started_at=self.start, ended_at=self.end,
            outcome=self.outcome, exit_code=code,
        )  # fmt: skip

    def hours(self) -> list[datetime]:
        hours, hour = [], floor_hour(self.start)
        while hour < self.end:
            hours.append(hour)
            hour += HOUR
        return hours

    def usage(self, revision: int = 1, through: datetime | None = None) -> list[UsageStated]:
        """All hours, up to `through`."""
        until = min(through or self.end, self.end)
        found = []
        for hour in self.hours():
            start, end = max(self.start, hour), min(until, hour + HOUR)
            spans = (Span(start=start, end=end, nodes=1, cpus=self.cpus, memory_mib=1024),) if start < end else ()
            found.append(UsageStated(**self._of, usage=HourUsage(hour=hour, revision=revision, spans=spans)))
        return found

    def final(self, revision: int = 1) -> FinalStated:
        return FinalStated(**self._of, hours={key(hour): revision for hour in self.hours()})


class Hand:
    """The agent of `site`. It numbers what it observes as it goes."""

    def __init__(self, broker: BrokerClient, site: str, holder: str | None = None) -> None:
        self.broker = broker
        self.site = site
        self.holder = holder or ids.new("own")
        self.epoch = 0
        self.after = 0
        self._numbers = itertools.count(1)

    @property
    def number(self) -> int:
        """The next observation's."""
        return next(self._numbers)

    async def take(self, descriptor: AdapterDescriptor = fake.descriptor, epoch: int | None = None) -> Lease:
        lease = await self.broker.take_lease(
            self.site, LeaseRequest(holder=self.holder, epoch=epoch, descriptor=descriptor)
        )
        self.epoch = lease.epoch
        return lease

    async def work(self, *, wait: float = 0) -> Work:
        """What is new."""
        work = await self.broker.get_work(self.site, self.epoch, self.after, wait)
        self.after = work.next
        return work

    async def everything(self) -> dict[str, WorkItem]:
        """All that is open, as a new agent hears of it."""
        after, items = 0, dict[str, WorkItem]()
        while True:
            work = await self.broker.get_work(self.site, self.epoch, after, 0)
            items |= {item.attempt: item for item in work.items}
            after = work.next
            if not work.more:
                return items

    async def commit(self, attempt: str, reference: str = "ref-1") -> Committed:
        batch = CommitBatch(epoch=self.epoch, commits=(Commit(attempt=attempt, reference=reference),))
        (answer,) = (await self.broker.commit_submissions(self.site, batch)).items
        return answer

    async def report(self, *items: ReportItem, **more: Any) -> Reported:
        return await self.broker.report(self.site, Report(epoch=self.epoch, items=items, **more))

    async def tell(self, *items: ReportItem) -> None:
        """Report what must be believed."""
        reported = await self.report(*items)
        assert not reported.rejected, reported.rejected

    async def health(self, state: SiteState = SiteState.HEALTHY, detail: str = "") -> None:
        await self.report(site=SiteReport(state=state, detail=detail))

    def saw(self, attempt: str, state: str, *, runs: int = 0, detail: str = "") -> AttemptObserved:
        return AttemptObserved(attempt=attempt, observation=self.number, state=state, runs=runs, detail=detail)

    async def attempt_of(self, job: Job | str) -> str:
        """The job's last attempt here."""
        job_id = job if isinstance(job, str) else job.id
        mine = [
            item for item in (await self.everything()).values() if item.submission and item.submission.job == job_id
        ]
        return mine[-1].attempt

    async def start(self, job: Job | str, reference: str = "ref-1") -> str:
        """Stage, commit and release the job's attempt."""
        attempt = await self.attempt_of(job)
        assert (await self.commit(attempt, reference)).verdict is Verdict.RELEASE
        await self.tell(self.saw(attempt, "released"))
        return attempt

    async def end(self, attempt: str, runs: Sequence[Run], *, books: bool = True) -> None:
        """Everything about these runs and the attempt's end, in the order in which an agent tells it."""
        for run in runs:
            await self.tell(run.running(self.number), run.ended(self.number))
            if books:
                await self.tell(*run.usage(), run.final())
        await self.tell(self.saw(attempt, "ended", runs=len(runs)))

    async def play(self, job: Job | str, outcomes: Mapping[int, Outcome] | None = None, seconds: int = 10) -> str:
        """The whole life of the job's attempt; `outcomes` by index, one that succeeds by default."""
        attempt = await self.start(job)
        told = outcomes or {0: Outcome.SUCCEEDED}
        await self.end(attempt, [Run(attempt, index, seconds, outcome) for index, outcome in told.items()])
        return attempt
