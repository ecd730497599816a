"""A stretch of time as the days of a zone have it. Pure."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

DAY: Final = 86_400
_FIRST: Final = date(1970, 1, 1).toordinal()


def zone_named(name: str) -> ZoneInfo:
    """The zone of that name in the IANA database. Raises ValueError: there is none.

    Its names begin with a capital: `localtime` and `right/…`, which counts leap seconds, are of the machine, and mean another time on
    another one.
    """
    try:
        found = ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        found = None
    if found is None or not name[0].isupper():
        raise ValueError(f"{name!r} is no name of the IANA database, like Asia/Shanghai")
    return found


class LocalDay(NamedTuple):
    """[start, end) in seconds since the epoch, all of it on one day of the zone and at one distance from UTC."""

    number: int
    """Days since 1970-01-01, by the zone's calendar."""
    start: int
    end: int
    offset: int
    """Local time less UTC, in seconds."""

    @property
    def date(self) -> date:
        return date.fromordinal(_FIRST + self.number)

    def second(self, time: int) -> int:
        """The second since the epoch at which clocks of the zone show `time`, in seconds since the start of the day."""
        return self.number * DAY + time - self.offset

    def time(self, second: int) -> int:
        """The inverse of `second`: what the clocks show, in seconds since the start of the day."""
        return second + self.offset - self.number * DAY


def local_days(zone: ZoneInfo, start: int, end: int) -> Iterator[LocalDay]:
    """[start, end) cut at midnights, and where the zone's clocks are changed: in order, without gap or overlap.

    A zone that changes its clocks twice on one day, there and back, would be read as if it had not: none has.
    """
    at = start
    while at < end:
        offset = _offset(zone, at)
        number = (at + offset) // DAY
        until = min((number + 1) * DAY - offset, end)
        if _offset(zone, until - 1) != offset:
            until = _change(zone, at, until - 1)
        yield LocalDay(number, at, until, offset)
        at = until


def midnight(zone: ZoneInfo, second: int, days: int = 0) -> int:
    """The first second of the zone's day in which `second` falls, or of the one that is `days` later."""
    day = datetime.fromtimestamp(second, zone).date() + timedelta(days=days)
    return int(datetime.combine(day, time(), zone).timestamp())


def _change(zone: ZoneInfo, before: int, after: int) -> int:
    """The first second that has the offset of `after`."""
    changed = _offset(zone, after)
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(zone, middle) == changed:
            after = middle
        else:
            before = middle
    return after


def _offset(zone: ZoneInfo, second: int) -> int:
    offset = datetime.fromtimestamp(second, zone).utcoffset()
    assert offset is not None  # of an aware time
    return offset.days * DAY + offset.seconds
