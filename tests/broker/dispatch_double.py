"""The broker's side of dispatch in memory: the same contract, small enough to read whole. For tests of agents.

`Dispatch` has the rules as plain functions; `DispatchApi` is what an agent talks to. What it is told is kept, and judged: an item
that can't be true, usage that goes back, a statement of completeness that isn't so, are `wrong`.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from caravan.contracts.books import BooksReport, BooksWanted, Day
from caravan.contracts.dispatch import (
    AttemptObserved,
    Commit,
    CommitAnswers,
    CommitBatch,
    Committed,
    Desired,
    FinalStated,
    Lease,
    LeaseRequest,
    LogAnswer,
    LogRead,
    Report,
    Reported,
    ReportItem,
    RunObserved,
    SiteReport,
    Submission,
    UsageStated,
    Verdict,
    Work,
    WorkItem,
)
from caravan.contracts.jobs import RunState
from caravan.contracts.problems import LeaseLost, LeaseTaken
from caravan.contracts.spec import Resources
from caravan.contracts.usage import HourUsage
from caravan.kernel import clock, ids
from caravan.kernel.clock import floor_second
from services.broker.adapters.fake import FakeSite
from services.broker.adapters.fake import adapter as fake

LEGAL = {
    "planned": {"staged", "rejected", "discarded"},
    "staged": {"released", "queued", "running", "unknown", "ended"},
    "released": {"queued", "running", "unknown", "ended"},
    "queued": {"running", "unknown", "ended"},
    "running": {"queued", "unknown", "ended"},
    "unknown": {"queued", "running", "ended"},
}


@dataclass
class Run:
    """What was told of one run."""

    index: int
    seen: RunObserved
    hours: dict[datetime, HourUsage] = field(default_factory=dict)
    final: bool = False

    def spans(self) -> list[tuple[datetime, datetime, int]]:
        """All that is stated, in order, as (start, end, cpus)."""
        return [(s.start, s.end, s.cpus) for hour in sorted(self.hours) for s in self.hours[hour].spans]


@dataclass
class Placed:
    """An attempt as the broker has it."""

    submission: Submission
    desired: Desired = Desired.RUN
    state: str = "planned"
    detail: str = ""
    reference: str | None = None
    observed: int = 0
    place: int = 0
    forgotten: bool = False
    runs: dict[str, Run] = field(default_factory=dict)
    history: list[str] = field(default_factory=list)

    @property
    def open(self) -> bool:
        return self.desired is not Desired.NOTHING


class Dispatch:
    """One site. `complete` may be set to a check that is asked whether usage before a second is really all stated."""

    def __init__(self, adapter: str = "fake", settings: dict[str, object] | None = None, ttl_seconds: int = 30) -> None:
        self.site = ids.new("sit")
        self.adapter = adapter
        self.settings = settings or {}
        self.ttl_seconds = ttl_seconds
        self.epoch = 0
        self.holder: str | None = None
        self.ends_at = 0.0
        self.attempts: dict[str, Placed] = {}
        self.reads: dict[str, LogRead] = {}
        self.answers: dict[str, LogAnswer] = {}
        self.reports: list[SiteReport] = []
        self.days: list[Day] = []
        """Of which the site's books are wanted."""
        self.books: list[BooksReport] = []
        self.complete_through: datetime | None = None
        self.complete: Callable[[datetime], bool] = lambda second: True
        self.wrong: list[str] = []
        self.page = 200
        self._place = 0

    def place(
        self, script: str, *, indices: Sequence[int] = (0,), max_parallel: int = 1, walltime: int = 100_000
    ) -> str:
        """A new attempt that is to run; returns its id."""
        attempt = f"att_{len(self.attempts):032x}"
        resources = Resources(walltime_seconds=walltime)
        self.attempts[attempt] = Placed(
            Submission(
                tag=ids.bare(attempt), attempt=attempt, job=ids.new("job"), tenant=ids.new("ten"), tenant_settings={},
                offering=ids.new("off"), target={}, name="test", script=f"#!/bin/sh\n{script}\n", environment={}, resources=resources,
                grant=fake.grant(resources, {}, {}), indices=tuple(indices), max_parallel=max_parallel,
            )
        )  # fmt: skip
        self._want(attempt, Desired.RUN)
        return attempt

    def cancel(self, attempt: str) -> None:
        if self.attempts[attempt].open:
            self._want(attempt, Desired.CANCEL)

    def lose(self, attempt: str) -> None:
        """A person gives the attempt up, whatever may still be of it."""
        placed = self.attempts[attempt]
        self._become(placed, "ended")
        for run in placed.runs.values():
            run.final = True
        self._want(attempt, Desired.NOTHING)

    def read(self, attempt: str, stream: str = "stdout", offset: int = 0, limit: int = 1000) -> str:
        """Ask for a task's output; returns the read's id."""
        reference = self.attempts[attempt].reference
        asked = {"id": ids.new("log"), "attempt": attempt, "reference": reference, "index": 0}
        read = LogRead.model_validate(asked | {"stream": stream, "offset": offset, "limit": limit})
        self.reads[read.id] = read
        return read.id

    def end_lease(self) -> None:
        """Its time is over: whoever asks next may have it."""
        self.ends_at = clock.monotonic()

    def take_lease(self, request: LeaseRequest) -> Lease:
        now = clock.monotonic()
        if request.holder != self.holder and self.holder is not None and now < self.ends_at:
            raise LeaseTaken(until=clock.now() + timedelta(seconds=self.ends_at - now))
        if request.epoch is not None and request.epoch != self.epoch:
            raise LeaseLost(epoch=self.epoch)
        if request.holder != self.holder or now >= self.ends_at:
            self.epoch += 1
        self.holder, self.ends_at = request.holder, now + self.ttl_seconds
        return Lease(
            site=self.site, epoch=self.epoch, ttl_seconds=self.ttl_seconds, adapter=self.adapter, settings=self.settings,
            accelerators={},
        )  # fmt: skip

    def release_lease(self, epoch: int) -> None:
        self._check(epoch)
        self.end_lease()

    def get_work(self, epoch: int, after: int) -> Work:
        self._check(epoch)
        items = [
            WorkItem(
                attempt=attempt, desired=placed.desired, reference=placed.reference,
                submission=placed.submission if placed.desired is Desired.RUN else None, observed=placed.observed,
                stated={
                    identity: {f"{hour:%Y-%m-%dT%H:%M:%SZ}": usage.revision for hour, usage in run.hours.items()}
                    for identity, run in placed.runs.items()
                },
                finals=tuple(identity for identity, run in placed.runs.items() if run.final),
            )
            for attempt, placed in sorted(self.attempts.items(), key=lambda one: one[1].place)
            if placed.place > after and not placed.forgotten
        ][: self.page]  # fmt: skip
        more = len(items) == self.page
        last = self.attempts[items[-1].attempt].place if more else self._place
        return Work(epoch=epoch, next=last, more=more, items=tuple(items), log_reads=tuple(self.reads.values()))

    def commit(self, batch: CommitBatch) -> CommitAnswers:
        self._check(batch.epoch)
        return CommitAnswers(items=tuple(map(self._commit, batch.commits)))

    def _commit(self, asked: Commit) -> Committed:
        placed = self.attempts[asked.attempt]
        if placed.reference is None and placed.desired is Desired.RUN and placed.state == "planned":
            placed.reference = asked.reference
            self._become(placed, "staged")
        release = placed.reference == asked.reference and placed.desired is Desired.RUN
        return Committed(verdict=Verdict.RELEASE if release else Verdict.DISCARD, reference=placed.reference)

    def report(self, report: Report) -> Reported:
        self._check(report.epoch)
        rejected: dict[int, str] = {}
        for position, item in enumerate(report.items):
            placed = self.attempts.get(item.attempt)
            why = "unknown attempt" if placed is None else self._apply(placed, item)
            if why:
                rejected[position] = why
                self.wrong.append(f"{why}: {item}")
        if report.site is not None:
            self.reports.append(report.site)
        through = report.usage_complete_through
        if through is not None:
            if not self.complete(through):
                self.wrong.append(f"usage before {through} is not complete")
            self.complete_through = max(through, self.complete_through or through)
        return Reported(applied=len(report.items) - len(rejected), rejected=rejected)

    def answer_log_read(self, log_read: str, answer: LogAnswer) -> None:
        self._check(answer.epoch)
        self.reads.pop(log_read, None)
        self.answers[log_read] = answer

    def get_wanted_books(self, epoch: int) -> BooksWanted:
        self._check(epoch)
        return BooksWanted(day=self.days[0] if self.days else None)

    def report_books(self, report: BooksReport) -> BooksWanted:
        self._check(report.epoch)
        if self.days and self.days[0] == Day(start=report.start, end=report.end):
            self.books.append(report)
            if report.last:
                self.days.pop(0)
        return self.get_wanted_books(report.epoch)

    def _check(self, epoch: int) -> None:
        if epoch != self.epoch:
            raise LeaseLost(epoch=self.epoch)

    def _want(self, attempt: str, desired: Desired) -> None:
        self._place += 1
        self.attempts[attempt].desired, self.attempts[attempt].place = desired, self._place

    def _become(self, placed: Placed, state: str) -> str | None:
        if state == placed.state:
            return None
        if state not in LEGAL.get(placed.state, set()):
            return f"{placed.state} -> {state}"
        placed.state = state
        placed.history.append(state)
        return None

    def _apply(self, placed: Placed, item: ReportItem) -> str | None:
        """Apply it; returns why it can't be true. A stale or doubled one is true and changes nothing."""
        why = None
        if isinstance(item, AttemptObserved) and item.state == "forgotten":
            placed.forgotten = placed.desired is Desired.NOTHING
            why = None if placed.forgotten else "forgotten too early"
        elif isinstance(item, AttemptObserved):
            if item.observation > placed.observed and placed.state not in ("ended", "rejected", "discarded"):
                why = self._observed(placed, item)
        elif isinstance(item, RunObserved):
            run = placed.runs.get(item.backend_identity)
            if run is None:
                placed.runs[item.backend_identity] = Run(item.index, item)
            elif item.observation > run.seen.observation and run.seen.state is not RunState.ENDED:
                run.seen = item
            elif item.observation > run.seen.observation and item.ended_at is not None and not run.final:
                run.seen = run.seen.model_copy(update={"observation": item.observation, "ended_at": item.ended_at})
        elif item.backend_identity not in placed.runs:
            why = "usage of a run that wasn't seen"
        else:
            why = self._books(placed.runs[item.backend_identity], item)
        if isinstance(item, AttemptObserved | RunObserved):
            placed.observed = max(placed.observed, item.observation)
        ended = placed.state in ("ended", "rejected", "discarded")
        if placed.open and ended and all(run.final for run in placed.runs.values()):
            self._want(item.attempt, Desired.NOTHING)
        return why

    def _observed(self, placed: Placed, item: AttemptObserved) -> str | None:
        placed.detail = item.detail or placed.detail
        if item.state == "gone":
            for run in placed.runs.values():
                run.final = True
            return self._become(placed, "ended")
        running = [run for run in placed.runs.values() if run.seen.state is RunState.RUNNING]
        if item.state == "ended" and (running or len(placed.runs) < item.runs):
            return "a run of it has not ended"
        return self._become(placed, item.state)

    def _books(self, run: Run, item: UsageStated | FinalStated) -> str | None:
        if isinstance(item, FinalStated):
            told = {f"{hour:%Y-%m-%dT%H:%M:%SZ}": usage.revision for hour, usage in run.hours.items()}
            if run.seen.state is RunState.RUNNING:
                return "books that end before their run"
            if item.hours != told:
                return f"final {item.hours}, stated {told}"
            run.final = True
            return None
        known = run.hours.get(item.usage.hour)
        if known is not None and known.revision == item.usage.revision and known != item.usage:
            return "one revision with two contents"
        if known is None or known.revision < item.usage.revision:
            if run.final:
                return "usage after the end of the books"
            if run.seen.ended_at is not None and any(span.end > run.seen.ended_at for span in item.usage.spans):
                return "usage after the end of the run"
            run.hours[item.usage.hour] = item.usage
        return None


def stated_all(dispatch: Dispatch, site: FakeSite, second: datetime) -> bool:
    """Whether all that the site really allocated before `second` has been stated, and nothing else."""
    stated = {identity: run.spans() for placed in dispatch.attempts.values() for identity, run in placed.runs.items()}
    for found in [*site.submissions.values(), *site.forgotten.values()]:
        for run in found.runs:
            start, end = floor_second(run.started_at), floor_second(run.ended_at or site.clock())
            told = sum((min(e, second) - s).total_seconds() for s, e, _ in stated.get(run.identity, []) if s < second)
            if start < min(end, second) and told != (min(end, second) - start).total_seconds():
                return False
    return True


class DispatchApi:
    """What an agent talks to (services.broker.agent.AgentApi), in this process."""

    def __init__(self, dispatch: Dispatch) -> None:
        self.dispatch = dispatch

    async def take_lease(self, site: str, request: LeaseRequest) -> Lease:
        return self.dispatch.take_lease(request)

    async def release_lease(self, site: str, epoch: int) -> None:
        self.dispatch.release_lease(epoch)

    async def get_work(self, site: str, epoch: int, after: int, wait: float) -> Work:
        deadline = clock.monotonic() + wait
        while True:
            work = self.dispatch.get_work(epoch, after)
            if work.items or work.log_reads or clock.monotonic() >= deadline:
                return work
            await asyncio.sleep(0.005)

    async def commit_submissions(self, site: str, batch: CommitBatch) -> CommitAnswers:
        return self.dispatch.commit(batch)

    async def report(self, site: str, report: Report) -> Reported:
        return self.dispatch.report(report)

    async def answer_log_read(self, site: str, log_read: str, answer: LogAnswer) -> None:
        self.dispatch.answer_log_read(log_read, answer)

    async def get_wanted_books(self, site: str, epoch: int) -> BooksWanted:
        return self.dispatch.get_wanted_books(epoch)

    async def report_books(self, site: str, report: BooksReport) -> BooksWanted:
        return self.dispatch.report_books(report)
