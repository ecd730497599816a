"""A submission that is looked at: what was read of it when, and what of it is to be read. No I/O, no clock of its own."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from services.broker.adapters.slurm.known import Known
from services.broker.adapters.slurm.states import Stage, meaning

BOOKS_SOONEST_SECONDS: Final = 0.3
BOOKS_LATEST_SECONDS: Final = 60.0
GROWTH: Final = 1.7
State = tuple[str, ...]


class Phase(Enum):
    NEW = "new"
    """It was never read: nothing can be said of it."""
    BEHIND = "behind"
    """The list of states says that something of it has changed, and that wasn't read yet: what is known was so before."""
    CURRENT = "current"
    SETTLED = "settled"
    """It has ended, and its books are closed: nothing new can be seen of it."""


@dataclass(eq=False)
class Watched:
    """Times are on a clock that never jumps."""

    known: Known
    phase: Phase = Phase.NEW
    taken: int = 0
    """The number of the last look that was taken in."""
    look: object = None
    """What the last read showed."""
    changed_at: float = 0.0
    """When it first showed that."""
    states_read: dict[str, State] = field(default_factory=dict)
    """Where states are listed: task -> its state when it was last read."""
    reason_due_at: float = 0.0
    """When it is to be read why it waits, although its state is what it was."""
    vouched: bool = False
    """Slurm has acted on it as ours, and it was in sight since: while it waits, only why is left to be read."""
    books_asked_at: float = float("-inf")
    books_pause: float = BOOKS_SOONEST_SECONDS

    def touch(self) -> None:
        """It was acted on: it may be about to change, and what it waits for may be another thing."""
        self.look, self.reason_due_at = None, 0.0

    def was_released(self, reason_due_at: float) -> None:
        """Slurm says so."""
        self.look, self.reason_due_at = None, reason_due_at
        self.known.detail = ""
        self.vouched = self.known.released = True

    def is_news(self, look: int) -> bool:
        """Whether what the look of this number shows is to be taken in. Of two at the same time the one that began first may come last:
        what it shows was so before. Of what has settled nothing new can be seen."""
        if look < self.taken or self.phase is Phase.SETTLED:
            return False
        self.taken = look
        return True

    def was_out_of_sight(self) -> None:
        """It may have run meanwhile, or another job have its id by now, whatever its states are."""
        self.states_read.clear()
        self.vouched = False

    def has_changed(self) -> None:
        """The list of states says so."""
        if self.phase is Phase.CURRENT:
            self.phase = Phase.BEHIND

    def was_caught_up(self) -> None:
        """All that there is to know has been read."""
        done = not self.known.live and not self.known.wants_books
        self.phase = Phase.SETTLED if done else Phase.CURRENT

    def looked(self, look: object, at: float) -> float:
        """It was read and showed this. Returns the seconds for which it has been showing it."""
        if look != self.look:
            self.look, self.changed_at = look, at
        return at - self.changed_at

    def to_read(self, states: Mapping[str, State], at: float) -> list[str]:
        """Tasks whose state isn't what it was. Of those that wait one stands for all."""
        tasks: list[str] = []
        waiting: str | None = None
        new = at >= self.reason_due_at
        for task, state in states.items():
            before = self.states_read.get(task)
            if waits(state) and before in (None, state):
                waiting = waiting or task
                new = new or (before is None and not self.vouched)
            elif before != state:
                tasks.append(task)
        return [waiting, *tasks] if waiting is not None and new else tasks

    def was_read(self, task: str, others: Iterable[int], states: Mapping[str, State], reason_due_at: float) -> None:
        """`task` was read while the list said `states`. `others`: indexes of those that its record stands for, too: the tasks of
        an array that wait, or were cancelled while they did."""
        job = self.known.reference.job
        read = [task, *(f"{job}_{index}" for index in others)]
        if task in states and waits(states[task]):
            self.reason_due_at = reason_due_at
            # a record's list of indexes may be cut
            read += [one for one, state in states.items() if one not in self.states_read and waits(state)]
        self.states_read |= {one: states[one] for one in read if one in states}

    @property
    def books_due_at(self) -> float:
        """When slurmdbd is to be asked. Of what goes on seldom: its books grow with each of its tasks."""
        return self.books_asked_at + (BOOKS_LATEST_SECONDS if self.known.live else self.books_pause)

    def books_asked(self, at: float) -> None:
        """slurmdbd was asked."""
        self.books_asked_at = at
        self.books_pause = min(self.books_pause * GROWTH, BOOKS_LATEST_SECONDS)


def waits(state: State) -> bool:
    return meaning(state)[0] is Stage.WAITING
