"""Who is read next, and how many may be: a queue by due time, a budget that no second passes, and whether who fails to answer is asked.
No I/O, no clock of its own.

All times are on a clock that never jumps.
"""

import heapq
from collections import deque
from collections.abc import Callable, Collection
from typing import Final

SOONEST_SECONDS: Final = 0.2
LATEST_SECONDS: Final = 30.0
TRUST_SOONEST_SECONDS: Final = 1.0
TRUST_LATEST_SECONDS: Final = 30.0
TOUCHED_OF: Final = 4
"""Of so many reads one is for who has waited longest, however many were touched."""


def interval(quiet_seconds: float, waiting: int, per_second: int) -> float:
    """Seconds until what has looked the same for `quiet_seconds` is read again: a tenth of that. Where so many wait in the queue
    that all of them at the longest interval would take more than half of the budget, that one grows with them."""
    latest = max(LATEST_SECONDS, 2 * waiting / per_second)
    return min(max(quiet_seconds / 10, SOONEST_SECONDS), latest)


class Budget:
    """Reads that a site is asked for, of which no second sees more than `left` allows; what an act needs is spent whatever is left."""

    def __init__(self) -> None:
        self._spent: deque[tuple[float, int]] = deque()
        self._in_this_second = 0

    def left(self, at: float, per_second: int) -> int:
        """How many there may be at `at`, with so many in a second."""
        while self._spent and self._spent[0][0] <= at - 1:
            self._in_this_second -= self._spent.popleft()[1]
        return max(0, per_second - self._in_this_second)

    def spend(self, at: float, reads: int) -> None:
        self._spent.append((at, reads))
        self._in_this_second += reads


class Queue:
    """Each key is in it at most once: touched, and then next; or due at a time. Nobody starves: among those that are due the one
    that has been for longest is first, and of those that were touched the one that was first."""

    def __init__(self) -> None:
        self._touched: dict[str, None] = {}
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        """Holds what `_due` held at some time: what it doesn't hold any more is skipped."""
        self._turn = 0

    def __len__(self) -> int:
        return len(self._touched) + len(self._due)

    def __contains__(self, key: str) -> bool:
        return key in self._touched or key in self._due

    def touch(self, key: str) -> None:
        """It is next, after those that were touched before it."""
        self._due.pop(key, None)
        self._touched.setdefault(key)

    def due(self, key: str, at: float) -> None:
        """It is due at that time, and no earlier."""
        self._touched.pop(key, None)
        self._due[key] = at
        heapq.heappush(self._heap, (at, key))

    def drop(self, key: str) -> None:
        self._touched.pop(key, None)
        self._due.pop(key, None)

    def is_due(self, key: str, at: float) -> bool:
        return key in self._touched or self._due.get(key, float("inf")) <= at

    def pop(self, at: float) -> str | None:
        """Take the next one out; None: nobody is due."""
        overdue = self._overdue(at)
        if overdue is None and not self._touched:
            return None
        self._turn += 1
        if overdue is None or (self._touched and self._turn % TOUCHED_OF):
            key = next(iter(self._touched))
            del self._touched[key]
            return key
        heapq.heappop(self._heap)
        del self._due[overdue]
        return overdue

    def _overdue(self, at: float) -> str | None:
        while self._heap and self._heap[0][0] <= at:
            due, key = self._heap[0]
            if self._due.get(key) == due:
                return key
            heapq.heappop(self._heap)
        return None


class Turns:
    """A queue and its budget. `tasks` says what would be read of a key, so many at most."""

    def __init__(self) -> None:
        self.queue = Queue()
        self._budget = Budget()
        self.chosen: dict[str, list[str]] = {}
        """What is to be read of those whose turn it is: they are out of the queue, and what they need of the budget is spent."""
        self._offered: set[str] = set()

    def choose(self, at: float, per_second: int, tasks: Callable[[str, int], list[str]]) -> None:
        """Give turns, for half of what a second may see at most: a call is never dear."""
        left = min(self._budget.left(at, per_second), per_second // 2 - sum(map(len, self.chosen.values())))
        while left > 0 and (key := self.queue.pop(at)) is not None:
            left -= self._give(key, at, tasks(key, left))

    def insist(self, key: str, at: float, tasks: list[str]) -> None:
        """Give it its turn now, whatever was spent."""
        self.queue.drop(key)
        self._give(key, at, tasks)

    def _give(self, key: str, at: float, tasks: list[str]) -> int:
        self.chosen[key] = tasks
        self._budget.spend(at, len(tasks))
        return len(tasks)

    def begin(self, keys: Collection[str]) -> dict[str, list[str]]:
        """Those of `keys` whose turn it is: it is theirs no more."""
        return {key: self.chosen.pop(key) for key in keys if key in self.chosen}

    def offer(self, later: float) -> set[str]:
        """Whose turn it is. Who was offered theirs and didn't use it has another later, and takes none from those who would."""
        for key in self._offered & self.chosen.keys():
            self.queue.due(key, later)
            del self.chosen[key]
        self._offered = set(self.chosen)
        return self._offered

    def drop(self, key: str) -> None:
        self.queue.drop(key)
        self.chosen.pop(key, None)


class Trust:
    """In one who may be away or frozen. After a question that failed nothing is asked for a pause, which doubles with each that fails;
    then one question tries, and the others follow when it was answered."""

    def __init__(self) -> None:
        self.lost = False
        """The last question failed."""
        self._pause = TRUST_SOONEST_SECONDS
        self._again_at = float("-inf")

    def due(self, at: float) -> bool:
        """Something may be asked now: one question where trust is lost."""
        return at >= self._again_at

    def answered(self) -> None:
        self.lost, self._pause, self._again_at = False, TRUST_SOONEST_SECONDS, float("-inf")

    def failed(self, at: float) -> None:
        self.lost, self._again_at = True, at + self._pause
        self._pause = min(2 * self._pause, TRUST_LATEST_SECONDS)
