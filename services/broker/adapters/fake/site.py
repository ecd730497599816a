"""A site in memory that plays submissions by a clock. Deterministic: how it stands depends on what was asked and the time alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from caravan.contracts.books import BookedRun
from caravan.contracts.dispatch import Submission
from caravan.contracts.jobs import Outcome, RunState
from caravan.contracts.offerings import InventoryItem
from caravan.contracts.usage import Span
from caravan.kernel.clock import Clock, floor_second, now
from services.broker.adapters.fake.faults import Faults
from services.broker.adapters.fake.script import Play, plays
from services.broker.adapters.port import LogBytes, NotSeen, Rejected, RunSeen, Seen, Staged, booked, script_of


class HandClock:
    """A clock that stands until it is told to go on."""

    def __init__(self, at: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass
class Run:
    """One allocation of one array task."""

    index: int
    identity: str
    started_at: datetime
    ends_at: datetime
    outcome: Outcome
    exit_code: int | None = None
    signal: int | None = None
    detail: str = ""
    ended_at: datetime | None = None
    output: bytes = b""


@dataclass
class Submitted:
    """A submission and all that became of it."""

    reference: str
    submission: Submission
    staged_at: datetime
    changed_at: datetime
    released_at: datetime | None = None
    closed: bool = False
    """Cancelled before it was released: it never can be."""
    waiting: list[tuple[datetime, int, int]] = field(default_factory=list)
    """What has still to start: (not before, index, tries already made), in order."""
    runs: list[Run] = field(default_factory=list)
    detail: str = ""

    @property
    def running(self) -> list[Run]:
        return [run for run in self.runs if run.ended_at is None]

    @property
    def ended(self) -> bool:
        return self.closed or (self.released_at is not None and not self.waiting and not self.running)


class FakeSite:
    """What a real backend would be: it outlives every connection to it, and every connection sees the same.

    Tests script it: `faults` makes calls fail, hang, repeat or lose their answer; `clock` drives it; `hold_books` keeps the books of
    ended runs open; `fail_node` ends a run as a node failure would; `starts` lists every start there ever was;
    `wrong` is what a probe finds.
    """

    def __init__(
        self,
        name: str = "fake",
        *,
        clock: Clock = now,
        nodes: int = 4,
        cpus_per_node: int = 64,
        memory_mib_per_node: int = 262_144,
        accelerators_per_node: int = 0,
        accelerator_backend_name: str | None = None,
    ) -> None:
        self.name = name
        self.clock = clock
        self.part = InventoryItem(
            target={}, name=name, nodes=nodes, cpus_per_node=cpus_per_node, memory_mib_per_node=memory_mib_per_node,
            accelerators_per_node=accelerators_per_node, accelerator_backend_name=accelerator_backend_name,
        )  # fmt: skip
        self.faults = Faults()
        self.wrong: tuple[str, ...] = ()
        self.hold_books = False
        self.submissions: dict[str, Submitted] = {}
        self.forgotten: dict[str, Submitted] = {}
        self.starts: list[tuple[str, int]] = []
        self._at = clock()
        self._made = 0

    @property
    def cpus(self) -> int:
        return self.part.nodes * self.part.cpus_per_node

    def inventory(self) -> tuple[InventoryItem, ...]:
        return (self.part,)

    def stage(self, submission: Submission) -> str:
        now = self.advance()
        if submission.grant.cpus > self.cpus or submission.grant.nodes > self.part.nodes:
            raise Rejected(f"the site has {self.part.nodes} nodes of {self.part.cpus_per_node} CPUs")
        script = script_of(submission)
        try:
            for index in submission.indices:
                plays(script, index)
        except ValueError as error:
            raise Rejected(str(error)) from error
        self._made += 1
        reference = f"{submission.tag}-{self._made}"
        self.submissions[reference] = Submitted(reference, submission, now, now)
        return reference

    def release(self, reference: str) -> None:
        now = self.advance()
        found = self.submissions.get(reference)
        if found is None or found.closed:
            raise Rejected("there is no such submission, or it was cancelled or discarded")
        if found.released_at is None:
            found.released_at = found.changed_at = now
            for index in sorted(found.submission.indices):
                ready = now + timedelta(seconds=self._play(found, index).queue_seconds)
                found.waiting.append((ready, index, 0))
            self._start(now)

    def cancel(self, reference: str) -> None:
        now = self.advance()
        found = self.submissions.get(reference)
        if found is None or found.ended:
            return
        found.changed_at = now
        if found.released_at is None:
            found.closed, found.detail = True, "cancelled before it was released"
            return
        found.waiting.clear()
        found.detail = "cancelled"
        for run in found.running:
            self._end(run, now, Outcome.CANCELLED, "cancelled", signal=15)
        self._start(now)

    def discard(self, reference: str) -> None:
        self.advance()
        found = self.submissions.get(reference)
        if found is not None and found.released_at is None:
            del self.submissions[reference]

    def fail_node(self, reference: str, index: int, *, requeue: bool = False) -> None:
        """The node of a running task fails now; the backend may run the task again by itself."""
        now = self.advance()
        found = self.submissions[reference]
        for run in found.running:
            if run.index == index:
                self._end(run, now, Outcome.SITE, "the node failed")
                found.changed_at = now
                if requeue:
                    found.waiting.append((now, index, 1))
        self._start(now)

    def observe(self, reference: str) -> Seen | NotSeen:
        seen_at = floor_second(self.advance())
        found = self.submissions.get(reference)
        if found is None:
            return NotSeen(provably_gone=True, detail="there is no such submission")
        runs = tuple(self._seen(found, run, seen_at) for run in found.runs)
        released = found.released_at is not None
        queued = released and not found.ended and not found.running
        return Seen(reference, released, queued, found.ended, runs, seen_at, found.detail)

    def changed(self, since: float | None) -> Sequence[str]:
        self.advance()
        return [
            reference
            for reference, found in self.submissions.items()
            if since is None or found.changed_at.timestamp() >= since - 1
        ]

    def staged(self) -> Sequence[Staged]:
        self.advance()
        return [
            Staged(found.submission.tag, reference, found.staged_at)
            for reference, found in self.submissions.items()
            if found.released_at is None and not found.closed
        ]

    def read_log(self, reference: str, index: int, stream: str, offset: int, limit: int) -> LogBytes:
        self.advance()
        found = self.submissions.get(reference) or self.forgotten.get(reference)
        runs = [run for run in found.runs if run.index == index] if found else []
        if not runs or stream not in ("stdout", "stderr"):
            raise FileNotFoundError(f"no {stream} of {reference} yet")
        output = runs[-1].output if stream == "stdout" else b""
        at = max(0, len(output) + offset) if offset < 0 else min(offset, len(output))
        data = output[at : at + limit]
        return LogBytes(data, at, len(output), runs[-1].ended_at is not None and at + len(data) == len(output))

    def forget(self, reference: str) -> None:
        self.advance()
        found = self.submissions.pop(reference, None)
        if found is not None:
            self.forgotten[reference] = found

    def books(self, start: datetime, end: datetime) -> tuple[BookedRun, ...]:
        """Of all that ever ran."""
        seen_at = floor_second(self.advance())
        return tuple(
            row
            for found in [*self.submissions.values(), *self.forgotten.values()]
            for run in found.runs
            for row in booked(self._seen(found, run, seen_at), start, end)
        )

    def advance(self) -> datetime:
        """Play on to the clock's time, and return it."""
        until = max(self.clock(), self._at)
        while True:
            self._start(self._at)
            due = [max(at, self._at) for at in self._ends() if at <= until]
            due += [at for at in self._readies() if self._at < at <= until]
            if not due:
                self._at = until
                return until
            self._at = min(due)
            for found in self._active():
                for run in found.running:
                    if run.ends_at <= self._at:
                        self._finish(found, run)

    def _active(self) -> list[Submitted]:
        return [found for found in self.submissions.values() if found.released_at is not None and not found.ended]

    def _ends(self) -> list[datetime]:
        return [run.ends_at for found in self._active() for run in found.running]

    def _readies(self) -> list[datetime]:
        return [ready for found in self._active() for ready, _, _ in found.waiting]

    def _start(self, at: datetime) -> None:
        """Start what is ready and has room, in the order of release."""
        active = self._active()
        free = self.cpus - sum(found.submission.grant.cpus * len(found.running) for found in active)
        for found in active:
            for entry in list(found.waiting):
                ready, index, tries = entry
                room = free >= found.submission.grant.cpus and len(found.running) < found.submission.max_parallel
                if ready > at or not room:
                    continue
                found.waiting.remove(entry)
                found.runs.append(self._begin(found, index, tries, at))
                found.changed_at = at
                free -= found.submission.grant.cpus

    def _begin(self, found: Submitted, index: int, tries: int, at: datetime) -> Run:
        self.starts.append((found.reference, index))
        play = self._play(found, index)
        seconds, outcome, detail = play.run_seconds, Outcome.SUCCEEDED, ""
        exit_code: int | None = play.exit_code
        if play.site_fails or tries < play.requeues:
            outcome, detail, exit_code = Outcome.SITE, "the node failed", None
        elif play.signal is not None:
            outcome, detail, exit_code = Outcome.USER, f"ended by signal {play.signal}", None
        elif play.exit_code:
            outcome, detail = Outcome.USER, f"exit code {play.exit_code}"
        if seconds > found.submission.resources.walltime_seconds:
            seconds = found.submission.resources.walltime_seconds
            outcome, detail, exit_code = Outcome.LIMIT, f"walltime: {seconds} s are over", None
        if play.memory_mib > found.submission.grant.memory_mib:
            outcome, detail, exit_code = Outcome.LIMIT, f"memory: {play.memory_mib} MiB used", None
        signal = 15 if outcome is Outcome.LIMIT else play.signal if outcome is Outcome.USER else None
        output = f"{play.prints or found.submission.name} [{index}]\n".encode()
        identity = f"fake:{self.name}:{len(self.starts)}"
        return Run(
            index, identity, at, at + timedelta(seconds=seconds), outcome, exit_code, signal, detail, None, output
        )

    def _finish(self, found: Submitted, run: Run) -> None:
        run.ended_at = run.ends_at
        found.changed_at = run.ends_at
        tries = sum(1 for other in found.runs if other.index == run.index)
        if run.outcome is Outcome.SITE and tries <= self._play(found, run.index).requeues:
            found.waiting.append((run.ends_at, run.index, tries))

    def _end(self, run: Run, at: datetime, outcome: Outcome, detail: str, signal: int | None = None) -> None:
        run.ended_at, run.outcome, run.detail, run.exit_code, run.signal = at, outcome, detail, None, signal

    def _play(self, found: Submitted, index: int) -> Play:
        return plays(script_of(found.submission), index)

    def _seen(self, found: Submitted, run: Run, seen_at: datetime) -> RunSeen:
        started_at = floor_second(run.started_at)
        ended_at = floor_second(run.ended_at) if run.ended_at else None
        grant = found.submission.grant
        until = ended_at or seen_at
        spans: tuple[Span, ...] = ()
        if until > started_at:
            shape = grant.model_dump(exclude={"max_seconds"})
            spans = (Span(start=started_at, end=until, **shape),)
        known = ended_at is not None
        return RunSeen(
            index=run.index, identity=run.identity, state=RunState.ENDED if known else RunState.RUNNING,
            started_at=started_at, ended_at=ended_at, outcome=run.outcome if known else None,
            exit_code=run.exit_code if known else None, signal=run.signal if known else None, detail=run.detail if known else "",
            spans=spans, final=known and not self.hold_books,
        )  # fmt: skip
