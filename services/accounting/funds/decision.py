"""Whether a hold is granted, and what would fit. Pure; all amounts are fen."""

from collections.abc import Sequence
from dataclasses import dataclass

from caravan.contracts.funds import FundsLimit


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit that a hold must keep: `available` is what it has left, other jobs' holds and this one's taken off."""

    kind: FundsLimit
    limit: int
    held: int
    available: int
    budget: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The limit that is shortest, and the largest amount (in all) that would be granted now."""

    short: Limit
    fits: int


def decide(limits: Sequence[Limit], current: int | None, asked: int) -> Refused | None:
    """None when a hold of `asked` in all is granted; `current` is what was granted before (None: a new hold).

    Asking for no more than was granted is always granted. A new hold needs `available >= asked` of every limit, so none is given, not
    even of nothing, where a correction has left less than nothing.
    """
    if current is not None and asked <= current:
        return None
    granted = current or 0
    shortest = min(limits, key=lambda limit: limit.available)
    if shortest.available >= asked - granted:
        return None
    return Refused(shortest, granted + max(shortest.available, 0))
