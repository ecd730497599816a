"""Which price applies when: a stretch of time cut at the edges of modes and tariffs, and at those of the windows of each."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from caravan.contracts.modes import SiteMode
from caravan.contracts.prices import FLAT, WEEK, WHOLE_TARIFF, Day, DaySpan, PriceList, Tariff, minute_of
from caravan.kernel.clock import from_seconds, to_seconds
from caravan.kernel.local_days import DAY, local_days
from caravan.pricing.modes import stretches

UNCOVERED = "none"
"""The tariff of a second that no tariff covers. It has no prices; no tariff may be called that."""


@dataclass(frozen=True, slots=True)
class Window:
    """[start, end) in seconds since the epoch, priced by one part of one tariff, in one mode of the site."""

    tariff: str
    name: str
    start: int
    end: int
    mode: SiteMode = SiteMode.BILLED


def windows(price_list: PriceList, start: int, end: int) -> list[Window]:
    """[start, end) cut where its price may change: in order, without gap or overlap. Empty where `end <= start`.

    The tariffs don't overlap, nor do the windows of one (their contract checks it); both stand in any order.
    """
    cut = []
    for mode, since, until in stretches(price_list.modes, start, end):
        for tariff, begins, ends in _tariffs(price_list.tariffs, since, until):
            if tariff is None:
                cut.append(Window(UNCOVERED, WHOLE_TARIFF, begins, ends, mode))
            elif not tariff.windows:
                cut.append(Window(tariff.name, WHOLE_TARIFF, begins, ends, mode))
            else:
                cut += _parts(tariff, price_list, begins, ends, mode)
    return cut


def covered(price_list: PriceList, start: int, end: int) -> bool:
    """Whether each second of [start, end) has a tariff. Unlike `windows` it costs the same for an hour and a year."""
    return not uncovered(price_list, start, end)


def uncovered(price_list: PriceList, start: int, end: int) -> list[tuple[int, int]]:
    """The parts of [start, end) that have no tariff, in order."""
    return [(begins, ends) for tariff, begins, ends in _tariffs(price_list.tariffs, start, end) if tariff is None]


def window_names(tariff: Tariff) -> list[str]:
    """The windows that seconds of the tariff lie in, in the order of the kinds of days."""
    if not tariff.windows:
        return [WHOLE_TARIFF]
    return list(dict.fromkeys(part.name for plan in _plans_of(tariff).values() for part in plan))


def depends_on_days(tariff: Tariff) -> bool:
    """Whether two kinds of days differ in their windows."""
    return len(set(_plans_of(tariff).values())) > 1


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


def _parts(tariff: Tariff, price_list: PriceList, start: int, end: int, mode: SiteMode) -> list[Window]:
    """One tariff's [start, end), cut at the edges of its windows; what meets under one name, over midnight too, is one."""
    plans, special = _plans_of(tariff), price_list.special_days
    parts: list[Window] = []
    for day in local_days(ZoneInfo(price_list.zone), start, end):
        of_day = day.date
        for part in plans[special.get(of_day) or WEEK[of_day.weekday()]]:
            begins, ends = max(day.second(part.start), day.start), min(day.second(part.end), day.end)
            if begins >= ends:
                continue
            if parts and parts[-1].name == part.name:
                begins = parts.pop().start
            parts.append(Window(tariff.name, part.name, begins, ends, mode))
    return parts


class _Part(NamedTuple):
    """[start, end) of a day, in seconds by its clocks."""

    start: int
    end: int
    name: str


_Plans = Mapping[Day, tuple[_Part, ...]]
"""Each kind of day in parts without gap."""


def _plans_of(tariff: Tariff) -> _Plans:
    return _plans(tuple((window.name, window.days, window.times) for window in tariff.windows))


@lru_cache(maxsize=1024)
def _plans(windows: tuple[tuple[str, tuple[Day, ...], tuple[DaySpan, ...]], ...]) -> _Plans:
    return {
        day: tuple(
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
    }


def _filled(parts: Iterable[_Part]) -> Iterator[_Part]:
    at = 0
    for part in parts:
        if at < part.start:
            yield _Part(at, part.start, FLAT)
        yield part
        at = part.end
    if at < DAY:
        yield _Part(at, DAY, FLAT)
