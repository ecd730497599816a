"""How often a submission is looked at: what changed lately soon again, the rest seldom. No I/O, no clock of its own."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from services.broker.adapters.slurm.known import Known

WAITING_SECONDS: Final = 60.0
"""Between looks at why something waits, where a list of states says that it does."""
AWAY_SECONDS: Final = 30.0
"""A job whose states weren't listed for so long may have been requeued and run again under the same state."""
SOONEST_SECONDS: Final = 0.2
LATEST_SECONDS: Final = 30.0
READS_PER_SECOND: Final = 100.0
BOOKS_SOONEST_SECONDS: Final = 0.3
BOOKS_LATEST_SECONDS: Final = 60.0
GROWTH: Final = 1.7


@dataclass(eq=False)
class Watched:
    """A submission and when it is due. Times are on a clock that never jumps."""

    known: Known
    listed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Task -> its state when it was last read."""
    listed_at: float = 0.0
    read: bool = False
    read_again_at: float = 0.0
    changed_at: float = 0.0
    look: object = None
    """What the last read showed."""
    asked_books_at: float = float("-inf")
    books_pause: float = BOOKS_SOONEST_SECONDS

    @property
    def settled(self) -> bool:
        """Nothing new can be seen of it."""
        return self.read and not self.known.live and not self.known.wants_books

    def touch(self) -> None:
        """It is due now."""
        self.read_again_at = 0.0
        self.changed_at = float("inf")

    def was_listed(self, at: float) -> None:
        """Its states were listed at `at`: after a gap all of its tasks are to be read, whatever these are."""
        if at - self.listed_at > AWAY_SECONDS:
            self.listed.clear()
        self.listed_at = at

    def looked(self, look: object, at: float) -> None:
        """It was read at `at` and showed this; it is due again after a tenth of the time for which it has been showing that."""
        if look != self.look or self.changed_at > at:
            self.look, self.changed_at = look, at
        quiet = (at - self.changed_at) / 10
        self.read = True
        self.read_again_at = at + min(max(quiet, SOONEST_SECONDS), LATEST_SECONDS)
        if not self.known.live:
            self.read_again_at = float("inf")

    def books_due(self, at: float) -> bool:
        """Whether slurmdbd is to be asked. Of what goes on seldom: its books grow with each of its tasks."""
        pause = BOOKS_LATEST_SECONDS if self.known.live else self.books_pause
        return self.read and self.known.wants_books and at >= self.asked_books_at + pause

    def asked_books(self, at: float) -> None:
        """slurmdbd was asked."""
        self.asked_books_at = at
        self.books_pause = min(self.books_pause * GROWTH, BOOKS_LATEST_SECONDS)


class Budget:
    """Reads that a site is asked for in a second, of what was read before."""

    def __init__(self) -> None:
        self._left = READS_PER_SECOND
        self._at = 0.0

    def affordable(self, items: Iterable[Watched], at: float) -> list[Watched]:
        """Those that are due, the longest overdue first, as far as it goes; what was never read always."""
        self._left = min(READS_PER_SECOND, self._left + (at - self._at) * READS_PER_SECOND)
        self._at = at
        due = sorted((item for item in items if item.read_again_at <= at), key=lambda item: item.read_again_at)
        first = [item for item in due if not item.read]
        again = [item for item in due if item.read][: int(self._left)]
        self._left -= len(again)
        return first + again
