"""Which price applies when: a stretch of time cut at the edges of tariffs, and at those of the windows of each."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from caravan.contracts.prices import FLAT, WHOLE_TARIFF, Day, DaySpan, PriceListDraft, Tariff, minute_of
from caravan.kernel.clock import from_seconds, to_seconds
from caravan.kernel.local_days import DAY, local_days

UNCOVERED = "none"
"""The tariff of a second that no tariff covers. It has no prices; no tariff may be called that."""


@dataclass(frozen=True, slots=True)
class Window:
    """[start, end) in seconds since the epoch, priced by one part of one tariff."""

    tariff: str
    name: str
    start: int
    end: int


def windows(price_list: PriceListDraft, start: int, end: int) -> list[Window]:
    """[start, end) cut where its price may change: in order, without gap or overlap. Empty where `end <= start`.

    The tariffs don't overlap, nor do the windows of one (their contract checks it); both stand in any order.
    """
    cut = []
    for tariff, begins, ends in _tariffs(price_list.tariffs, start, end):
        if tariff is None:
            cut.append(Window(UNCOVERED, WHOLE_TARIFF, begins, ends))
        elif not tariff.windows:
            cut.append(Window(tariff.name, WHOLE_TARIFF, begins, ends))
        else:
            cut += _parts(tariff, ZoneInfo(price_list.zone), begins, ends)
    return cut


def window_names(tariff: Tariff) -> list[str]:
    """The windows that seconds of the tariff lie in, in the order of a week."""
    if not tariff.windows:
        return [WHOLE_TARIFF]
    return list(dict.fromkeys(part.name for day in _week_of(tariff) for part in day))


def _tariffs(tariffs: Iterable[Tariff], start: int, end: int) -> Iterator[tuple[Tariff | None, int, int]]:
    first, last = from_seconds(start), from_seconds(end)
    # datetimes are compared, and only those of the few tariffs that apply are converted: this runs for every usage record
    applying = [t for t in tariffs if t.starts_at < last and (t.ends_at is None or t.ends_at > first)]
    applying.sort(key=lambda t: t.starts_at)
    at = start
    for tariff in applying:
        begins = max(to_seconds(tariff.starts_at), at)
        ends = end if tariff.ends_at is None else min(to_seconds(tariff.ends_at), end)
        if at < begins:
            yield None, at, begins
        yield tariff, begins, ends
        at = ends
    if at < end:
        yield None, at, end


def _parts(tariff: Tariff, zone: ZoneInfo, start: int, end: int) -> list[Window]:
    """One tariff's [start, end), cut at the edges of its windows; what meets under one name, over midnight too, is one."""
    week = _week_of(tariff)
    parts: list[Window] = []
    for day in local_days(zone, start, end):
        for part in week[day.weekday]:
            begins, ends = max(day.second(part.start), day.start), min(day.second(part.end), day.end)
            if begins >= ends:
                continue
            if parts and parts[-1].name == part.name:
                begins = parts.pop().start
            parts.append(Window(tariff.name, part.name, begins, ends))
    return parts


class _Part(NamedTuple):
    """[start, end) of a day, in seconds by its clocks."""

    start: int
    end: int
    name: str


_Week = tuple[tuple[_Part, ...], ...]
"""Each weekday, Monday first, in parts without gap."""


def _week_of(tariff: Tariff) -> _Week:
    return _week(tuple((window.name, window.days, window.times) for window in tariff.windows))


@lru_cache(maxsize=1024)
def _week(windows: tuple[tuple[str, tuple[Day, ...], tuple[DaySpan, ...]], ...]) -> _Week:
    return tuple(
        tuple(
            _filled(
                sorted(
                    _Part(minute_of(time.starts) * 60, minute_of(time.ends) * 60, name)
                    for name, days, times in windows
                    if day in days
                    for time in times
                )
            )
        )
        for day in Day
    )


def _filled(parts: Iterable[_Part]) -> Iterator[_Part]:
    at = 0
    for part in parts:
        if at < part.start:
            yield _Part(at, part.start, FLAT)
        yield part
        at = part.end
    if at < DAY:
        yield _Part(at, DAY, FLAT)
