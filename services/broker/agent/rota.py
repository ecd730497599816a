"""Whose turn it is to be looked at although nothing is known to have changed. No I/O, no clock of its own."""

from collections import deque
from collections.abc import Collection


class Rota:
    """Everything has a turn once in `seconds`, a share of it in each pass: the dearest pass costs little more than any other."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._order: deque[str] = deque()
        self._in_order: set[str] = set()
        self._passed_at = float("inf")
        self._owed = 0.0
        """Turns that the time until now has brought and nobody has had; a part of one is kept."""

    def turns(self, references: Collection[str], at: float) -> list[str]:
        """Of `references` those that had no turn yet, and then those whose last one is longest ago. `at`: on a clock that never jumps."""
        new = [reference for reference in references if reference not in self._in_order]
        given = [*new, *self._share(references, at)]
        self._order.extend(given)
        self._in_order.update(given)
        return given

    def _share(self, references: Collection[str], at: float) -> list[str]:
        passed, self._passed_at = max(0.0, at - self._passed_at), at
        self._owed += len(self._order) * (passed / self._seconds if passed < self._seconds else 1.0)
        share: list[str] = []
        while self._order and self._owed >= 1:
            reference = self._order.popleft()
            self._in_order.discard(reference)
            self._owed -= 1
            if reference in references:
                share.append(reference)
        return share
