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


def decide(limits: Sequence[Limit], current: int | None, asked: int, granted_more: int = 0) -> Refused | None:
    """None when a hold of `asked` in all is granted; `current` is what was granted before (None: a new hold).

    `granted_more`: what vouchers pay of it, less what they paid of it before; only the organization's own money is taken for the rest,
    while a budget is for all of it. Asking for no more than was granted is always granted, unless vouchers pay less. A new hold needs
    `available >= asked` of every limit, so none is given, not even of nothing, where a correction has left less than nothing.
    """
    held = current or 0

    def pays(limit: Limit) -> int:
        return granted_more if limit.kind is FundsLimit.FUNDS else 0

    if current is not None and asked - current - min(granted_more, 0) <= 0:
        return None
    shortest = min(limits, key=lambda limit: limit.available + pays(limit))
    if shortest.available + pays(shortest) >= asked - held:
        return None
    room = min(limit.available + min(pays(limit), 0) for limit in limits)
    return Refused(shortest, held + max(room, 0 if granted_more >= 0 else -held))
