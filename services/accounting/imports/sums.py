"""Seconds by days and months of a zone. Pure."""

from bisect import bisect_right
from collections.abc import Iterator
from datetime import date, datetime, timedelta, tzinfo
from itertools import pairwise

from caravan.contracts.imports import By
from caravan.kernel import clock


class Calendar:
    """The days or months of a zone in [first, end). Seconds outside are in none."""

    def __init__(self, by: By, zone: tzinfo, first: date, end: date) -> None:
        days = (first + timedelta(days=n) for n in range((end - first).days))
        starts = [day for day in days if by is By.DAY or day.day == 1 or day == first]
        self._names = [day.isoformat() if by is By.DAY else f"{day:%Y-%m}" for day in starts]
        self._edges = [_midnight(day, zone) for day in (*starts, end)]
        self.start, self.end = self._edges[0], self._edges[-1]

    def split(self, start: int, end: int) -> Iterator[tuple[str, int]]:
        """How many of [start, end)'s seconds, since the epoch, fall in each."""
        start, end = max(start, self.start), min(end, self.end)
        if start >= end:
            return
        at = bisect_right(self._edges, start) - 1
        for (since, until), name in zip(pairwise(self._edges[at:]), self._names[at:], strict=True):
            if since >= end:
                return
            yield name, min(until, end) - max(since, start)


def _midnight(day: date, zone: tzinfo) -> int:
    """The first second of a day. Where clocks jump over midnight it is the second of the jump."""
    return clock.to_seconds(datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(clock.EPOCH.tzinfo))
