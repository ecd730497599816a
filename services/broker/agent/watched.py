"""One attempt as the agent knows it, and the facts of it that are new to the broker."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from caravan.contracts.base import prose
from caravan.contracts.dispatch import (
    AttemptObserved,
    Desired,
    FinalStated,
    ReportItem,
    RunObserved,
    Submission,
    UsageStated,
    WorkItem,
)
from caravan.contracts.jobs import Outcome, RunState
from caravan.contracts.usage import Span
from caravan.kernel import ids
from caravan.kernel.clock import floor_hour
from services.broker.adapters.port import NotSeen, RunSeen, Seen
from services.broker.agent import metering
from services.broker.agent.metering import Books


@dataclass(eq=False)
class Run:
    """What has been told of one run."""

    books: Books = field(default_factory=Books)
    seen: RunSeen | None = None
    unstated: datetime | None = None
    """Its earliest second that isn't stated yet, as of the last look."""
    metered: tuple[object, ...] = ()
    """What the books looked like when they were last gone through: while that stays, there is nothing to state."""


class Stand(Enum):
    """How far an attempt has come here. It goes on in this order; OVER and RELEASED may follow each of the others, and what was taken
    for OVER and turns out to have been released is RELEASED."""

    PENDING = "pending"
    """It is to be staged, or what another agent had committed is to be released."""
    COMMITTED = "committed"
    """The broker has committed what was staged here, which is to be released."""
    RELEASED = "released"
    """The backend has released what is committed."""
    OVER = "over"
    """Nothing is to be staged or released any more: rejected, refused by the broker, cancelled, or gone."""


@dataclass(eq=False)
class Watched:
    """An attempt. `reference` is the committed submission, the only one that is ever released."""

    attempt: str
    desired: Desired
    submission: Submission | None = None
    reference: str | None = None
    staged: str | None = None
    """Staged by this agent, and the broker hasn't said yet whether it is the one."""
    stand: Stand = Stand.PENDING
    cancelled: bool = False
    """The backend was asked to end what is committed."""
    settled: bool = False
    """It has ended and all its books are final: nothing new can be seen of it."""
    number: int = 0
    told: tuple[str, str] | None = None
    """The state that the broker knows, and why the attempt waits in it."""
    seen_at: datetime | None = None
    runs: dict[str, Run] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None

    @property
    def tag(self) -> str:
        return ids.bare(self.attempt)

    def take(self, item: WorkItem) -> None:
        """Take in what the broker wants. What it doesn't say stays as it is known."""
        self.desired = item.desired
        self.submission = item.submission or self.submission
        self.number = max(self.number, item.observed)
        if item.reference is not None:
            self.reference = item.reference
            if self.staged == item.reference:
                self.staged = None
        for identity in item.stated.keys() | set(item.finals):
            if identity not in self.runs:
                books = Books.told(item.stated.get(identity, {}), identity in item.finals)
                self.runs[identity] = Run(books)

    def observed(self, state: str, detail: str = "") -> list[ReportItem]:
        """The attempt's state as an item, when it is news; while it waits, why it does is news, too."""
        said = prose(detail)
        news = (state, said if state == "queued" else "")
        if news == self.told:
            return []
        self.told = news
        number, runs = self._next(), len(self.runs)
        return [AttemptObserved(attempt=self.attempt, observation=number, state=state, runs=runs, detail=said)]

    def saw(self, seen: Seen | NotSeen, lag: timedelta) -> list[ReportItem]:
        """Take in what the backend shows; returns all of it that the broker doesn't know yet, in the order to tell it."""
        if isinstance(seen, NotSeen):
            return self._gone(seen) if seen.provably_gone else self._unseen(seen)
        if self.seen_at is not None and seen.seen_at < self.seen_at:
            return []
        self.seen_at = seen.seen_at
        if seen.released:
            self.stand = Stand.RELEASED
        items: list[ReportItem] = []
        for run in seen.runs:
            items += self._run(run) + self._usage(run, seen.seen_at - lag)
        self.settled = seen.ended and all(run.final for run in seen.runs)
        if seen.ended and self._misses_runs(seen):
            return items + (self._gone(NotSeen(True, seen.detail)) if self.settled else [])
        if seen.ended:
            return items + self.observed("ended", seen.detail)
        if any(run.state is RunState.RUNNING for run in seen.runs):
            return items + self.observed("running", seen.detail)
        return items + (self.observed("queued", seen.detail) if seen.released else [])

    def complete_through(self, lag: timedelta) -> datetime | None:
        """The second before which all its usage has been stated; None: not known yet."""
        if self.seen_at is None:
            return None
        open_seconds = [run.unstated for run in self.runs.values() if run.unstated is not None]
        return min([self.seen_at - lag, *open_seconds])

    def retell(self, item: ReportItem) -> None:
        """The broker says that `item` can't be true: say at the next full look how things stand, as if it were news."""
        self.settled, self.seen_at = False, None
        if isinstance(item, AttemptObserved):
            self.told = None
            return
        run = self.runs[item.backend_identity]
        if isinstance(item, RunObserved):
            run.seen = None
        else:
            run.books, run.metered = Books(revisions=run.books.revisions), ()
            run.unstated = run.seen.started_at if run.seen is not None else None

    def _next(self) -> int:
        self.number += 1
        return self.number

    def _misses_runs(self, seen: Seen) -> bool:
        """The broker knows runs whose books are open and that the backend doesn't show: what ended may be no run by its last word."""
        shown = {run.identity for run in seen.runs}
        return any(not run.books.final for identity, run in self.runs.items() if identity not in shown)

    def _unseen(self, seen: NotSeen) -> list[ReportItem]:
        return self.observed("unknown", seen.detail) if self.stand is Stand.RELEASED else []

    def _gone(self, seen: NotSeen) -> list[ReportItem]:
        """Gone for good: what was running has ended when it was last seen, and its books are what they were then.

        Of runs that an earlier agent saw, the broker knows more than this one.
        """
        items: list[ReportItem] = []
        for run in [run.seen for run in self.runs.values() if run.seen is not None]:
            if run.state is RunState.RUNNING or not run.final:
                ended = run.ended_at or (run.spans[-1].end if run.spans else run.started_at)
                outcome = run.outcome or Outcome.LOST
                last = RunSeen(
                    index=run.index, identity=run.identity, state=RunState.ENDED, started_at=run.started_at, ended_at=ended,
                    outcome=outcome, exit_code=run.exit_code, signal=run.signal, detail=run.detail or seen.detail,
                    spans=run.spans, final=True,
                )  # fmt: skip
                items += self._run(last) + self._usage(last, ended)
        self.settled, self.stand = True, Stand.OVER
        return items + self.observed("gone", seen.detail or "the backend has it no more")

    def _run(self, seen: RunSeen) -> list[ReportItem]:
        run = self.runs.setdefault(seen.identity, Run())
        before, run.seen = run.seen, seen
        if before is not None and _facts(before) == _facts(seen):
            return []
        return [
            RunObserved(
                attempt=self.attempt, index=seen.index, backend_identity=seen.identity, observation=self._next(),
                state=seen.state, started_at=seen.started_at, ended_at=seen.ended_at, outcome=seen.outcome,
                exit_code=seen.exit_code, signal=seen.signal, detail=prose(seen.detail),
            )
        ]  # fmt: skip

    def _usage(self, seen: RunSeen, through: datetime) -> list[ReportItem]:
        run = self.runs[seen.identity]
        looks = (seen.final, floor_hour(through), seen.spans[:-1], _start(seen.spans[-1:], seen))
        if run.books.final or (run.metered == looks and run.unstated is not None):
            return []
        run.metered = looks
        of: dict[str, object] = {"attempt": self.attempt, "index": seen.index, "backend_identity": seen.identity}
        run.books, statements = metering.state(run.books, seen.spans, through, seen.final)
        run.unstated = metering.first_unstated(run.books, seen.spans)
        items: list[ReportItem] = [UsageStated.model_validate(of | {"usage": usage}) for usage in statements]
        if run.books.final:
            items.append(FinalStated.model_validate(of | {"hours": metering.last_revisions(run.books)}))
        return items


def _facts(run: RunSeen) -> tuple[object, ...]:
    """What RunObserved says: usage grows by itself and is told otherwise."""
    return run.state, run.started_at, run.ended_at, run.outcome, run.exit_code, run.signal, run.detail


def _start(last: tuple[Span, ...], run: RunSeen) -> tuple[object, ...]:
    """The last span, without its end while it is growing."""
    if run.ended_at is not None:
        return last
    return tuple(
        (span.start, span.nodes, span.cpus, span.memory_mib, span.accelerators, span.accelerator) for span in last
    )
