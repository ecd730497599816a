"""Which price applies when: a stretch of time cut at the edges of tariffs."""

from collections.abc import Iterable
from dataclasses import dataclass

from caravan.contracts.offerings import Tariff
from caravan.kernel.clock import from_seconds, to_seconds

UNCOVERED = "none"
"""The tariff of a second that no tariff covers. It has no prices; no tariff may be called that."""
WHOLE_TARIFF = "all"
"""The window of a tariff that prices all its seconds alike."""


@dataclass(frozen=True, slots=True)
class Window:
    """[start, end) in seconds since the epoch, priced by one part of one tariff."""

    tariff: str
    name: str
    start: int
    end: int


def windows(tariffs: Iterable[Tariff], start: int, end: int) -> list[Window]:
    """[start, end) cut at tariff edges: in order, without gap or overlap. Empty where `end <= start`.

    `tariffs` don't overlap (their price list checks it) and stand in any order.
    """
    first, last = from_seconds(start), from_seconds(end)
    # datetimes are compared, and only those of the few tariffs that apply are converted: this runs for every usage record
    applying = [t for t in tariffs if t.starts_at < last and (t.ends_at is None or t.ends_at > first)]
    applying.sort(key=lambda t: t.starts_at)
    cut, at = [], start
    for tariff in applying:
        begins = max(to_seconds(tariff.starts_at), at)
        ends = end if tariff.ends_at is None else min(to_seconds(tariff.ends_at), end)
        if at < begins:
            cut.append(Window(UNCOVERED, WHOLE_TARIFF, at, begins))
        cut.append(Window(tariff.name, WHOLE_TARIFF, begins, ends))
        at = ends
    if at < end:
        cut.append(Window(UNCOVERED, WHOLE_TARIFF, at, end))
    return cut
