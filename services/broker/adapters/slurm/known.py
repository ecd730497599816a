"""What is known of one submission, and how it stands by that. Decisions only: what asks Slurm is `watch.py`."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from caravan.contracts.jobs import Outcome
from caravan.kernel import clock
from services.broker.adapters.port import NotSeen, RunSeen, Seen
from services.broker.adapters.slurm import reasons
from services.broker.adapters.slurm.dialect import Exit
from services.broker.adapters.slurm.records import Record
from services.broker.adapters.slurm.reference import Reference
from services.broker.adapters.slurm.runs import Allocation, exit_told, is_run, run_later, run_seen
from services.broker.adapters.slurm.states import REQUEUED, Stage, meaning
from services.broker.adapters.slurm.tres import Accelerators

HELD = "JobHeldUser"
ABSENT_SECONDS = 600.0
"""How long slurmdbd must have had nothing of what slurmctld doesn't have either before it counts as gone: its records come late."""
Run = tuple[int, int]
"""Raw job id and submit time."""


@dataclass(eq=False)
class Known:
    """A submission. Records of slurmctld are kept when it has forgotten them (MinJobAge)."""

    reference: Reference
    controller: dict[Run, Record] = field(default_factory=dict)
    books: dict[Run, Record] = field(default_factory=dict)
    left: dict[Run, Exit | None] = field(default_factory=dict)
    never: set[int] = field(default_factory=set)
    """Tasks that were cancelled while they waited."""
    newest: dict[int, int] = field(default_factory=dict)
    """Raw job id -> its last submit time that was seen. Runs of an earlier one were taken back by a requeue."""
    due: dict[int, int] = field(default_factory=dict)
    """Raw job id -> how many runs of it there must be by slurmctld's count of its restarts."""
    present: bool = False
    """slurmctld has it."""
    live: bool = False
    """Some of it waits or runs."""
    foreign: bool = False
    """Another job has its id by now."""
    released: bool = False
    detail: str = ""
    seen_at: int = 0
    """slurmctld's clock, in epoch seconds, up to which all of it is known."""
    absent_since: float | None = None
    _view: "View | None" = None
    """What follows from all that, until something of it changes; it is dear where there are many tasks."""

    def take(self, records: Iterable[Record]) -> None:
        """Take in what slurmctld says of some of its tasks."""
        self._view = None
        for record in records:
            self.foreign = record.name != self.reference.tag
            if self.foreign:
                continue
            stage = meaning(record.state)[0]
            self._submitted(record)
            self.due[record.job] = record.restarts + is_run(record)
            self._requeued(record)
            if is_run(record) or (stage is Stage.ENDED and (record.job, record.submitted) in self.controller):
                self.controller[record.job, record.submitted] = record
            elif stage is Stage.ENDED:
                self.never.update(record.indices)
            if stage is not Stage.ENDED or not self.live:
                self.detail = reasons.plain(record.reason)
            # who requeues a job may hold it, too
            self.released = self.released or record.reason != HELD or record.restarts > 0

    def _submitted(self, record: Record) -> None:
        self.newest[record.job] = max(record.submitted, self.newest.get(record.job, 0))

    def _requeued(self, record: Record) -> None:
        """A run of the same job with an earlier submit time has ended by then."""
        for run, earlier in self.controller.items():
            if run[0] == record.job and run[1] < record.submitted and meaning(earlier.state)[0] is not Stage.ENDED:
                ended = max(earlier.started, record.submitted)
                self.controller[run] = replace(earlier, state=REQUEUED, ended=ended)

    def stands(self, states: Iterable[tuple[str, ...]], second: int) -> None:
        """Take in the states of all that slurmctld has of it at this second: nothing, when it has forgotten it."""
        stages = {meaning(state)[0] for state in states}
        self._view = None
        self.present, self.live = bool(stages), bool(stages - {Stage.ENDED})
        if self.present or not self.wants_books:
            self.seen_at = second

    def still(self, second: int) -> None:
        """As `stands`, when its states are what they were."""
        if self.present or not self.wants_books:
            self.seen_at = second

    def take_books(self, records: Iterable[Record], at: float, *, codes_are_right: bool) -> None:
        """Take in what slurmdbd has of it. `at`: on a clock that never jumps. Of signals it is always right.

        Seen on 22.05: of a run that starts as slurmctld comes back it may have the end and not the start, which comes later. Should it
        not have come when slurmctld forgets the run, what slurmctld said stands.
        """
        self._view = None
        for record in records:
            if record.name != self.reference.tag:
                continue
            self._submitted(record)
            if meaning(record.state)[0] is not Stage.ENDED or not record.ended:
                continue
            ran = self.controller.get((record.job, record.submitted))
            if ran is not None and not 0 < record.started <= record.ended:
                if self.present:
                    continue
                record = replace(ran, state=record.state, ended=record.ended, exit=record.exit)
            if is_run(record) or ran is not None:
                believed = codes_are_right or (record.exit is not None and record.exit.signal is not None)
                self.books[record.job, record.submitted] = record if believed else replace(record, exit=None)
            else:
                self.never.update(record.indices)
        missing = not self.live and self._unaccounted
        self.absent_since = (at if self.absent_since is None else self.absent_since) if missing else None

    @property
    def view(self) -> "View":
        if self._view is None:
            allocations = sorted(map(self._allocation, self.controller.keys() | self.books.keys()), key=_order)
            self._view = View(
                str(self.reference), tuple(allocations), self._open_books(), self._unaccounted, self._runs_missing
            )
        return self._view

    def _open_books(self) -> bool:
        """A run has ended by slurmctld, and not yet by slurmdbd."""
        return any(
            run not in self.books and (meaning(record.state)[0] is Stage.ENDED or not self.present)
            for run, record in self.controller.items()
        )

    @property
    def _unaccounted(self) -> bool:
        """Tasks are left of which nobody has said how they ended or that they never will run; or runs of which nobody has said anything."""
        records = [*self.controller.items(), *self.books.items()]
        told = {record.index or 0 for run, record in records if not self._taken_back(run, record)} | self.never
        return len(told) < max(1, self.reference.tasks) or self._runs_missing

    @property
    def _runs_missing(self) -> bool:
        """slurmctld has started a job again after runs that nobody has told of: it forgets them at once."""
        known = Counter(job for job, _ in self.controller.keys() | self.books.keys())
        return any(known[job] < due for job, due in self.due.items())

    def _taken_back(self, run: Run, record: Record) -> bool:
        """It was requeued: its task is still to end."""
        return run[1] < self.newest[run[0]] or record.state == REQUEUED

    @property
    def wants_books(self) -> bool:
        """Something of it has ended of which slurmdbd hasn't been heard yet."""
        view = self.view
        return view.open_books or view.runs_missing or (not self.live and view.unaccounted)

    def seen(self, at: float, cluster: str, accelerators: Accelerators) -> Seen | NotSeen:
        """How it stands. `at` as in `take_books`."""
        view = self.view
        runs = view.runs(cluster, self.seen_at, accelerators)
        given_up = self.absent_since is not None and at - self.absent_since >= ABSENT_SECONDS
        if not self.present and not runs and not self.never:
            return NotSeen(given_up, "slurmctld has no such job, and slurmdbd has nothing of it")
        running = any(run.ended_at is None for run in runs)
        ended = not self.live and not running and (given_up or not view.unaccounted)
        released = self.released or bool(runs)
        return Seen(
            view.reference,
            released,
            released and not ended and not running,
            ended,
            runs,
            clock.from_seconds(self.seen_at),
            self.detail,
        )

    @property
    def unexplained(self) -> dict[Run, int]:
        """Index of each run that has failed and Slurm doesn't say how: slurmctld may have forgotten it before it told of its end."""
        return {
            run: record.index or 0
            for run, record in self.books.items()
            if meaning(record.state)[1] is Outcome.USER
            and exit_told(self.controller.get(run), record) is None
            and run not in self.left
        }

    def take_left(self, left: Mapping[Run, Exit | None]) -> None:
        """Take in the exit codes that scripts left."""
        self._view = None
        self.left |= left

    def _allocation(self, run: Run) -> Allocation:
        controller, books = self.controller.get(run), self.books.get(run)
        record = books or controller
        index, requeued = record.index or 0 if record else 0, run[1] < self.newest[run[0]]
        return Allocation(index, controller, books, self.left.get(run), requeued)


@dataclass(eq=False)
class View:
    """What follows from the records of a submission."""

    reference: str
    allocations: tuple[Allocation, ...]
    """By index and start."""
    open_books: bool
    unaccounted: bool
    runs_missing: bool
    _shown: list[RunSeen] = field(default_factory=list)
    _until: int = 0

    def runs(self, cluster: str, until: int, accelerators: Accelerators) -> tuple[RunSeen, ...]:
        """As of `until`. Between two looks those that go on have grown, and the others are the same."""
        if not self._shown:
            self._shown = [run_seen(one, cluster, until, accelerators) for one in self.allocations]
        elif until != self._until:
            self._shown = [
                run_later(one, run, until) if run.ended_at is None else run
                for one, run in zip(self.allocations, self._shown, strict=True)
            ]
        self._until = until
        return tuple(self._shown)


def _order(found: Allocation) -> tuple[int, int]:
    return found.index, found.record.started
