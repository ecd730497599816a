"""Seconds as the days and clocks of a price list's zone have them. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import groupby
from typing import NamedTuple
from zoneinfo import ZoneInfo

from caravan.contracts.explanations import DayReason
from caravan.contracts.prices import WEEK, Day, PriceList, Tariff
from caravan.kernel.local_days import local_days
from caravan.pricing.windows import depends_on_days


class Stretch(NamedTuple):
    """[start, end) with one number of units, of one run, or of none (what would be)."""

    run: str | None
    start: int
    end: int
    units: int

    @property
    def quantity(self) -> int:
        return self.units * (self.end - self.start)


@dataclass(frozen=True, slots=True)
class Days:
    """As PricedDays has them: one day, or some that follow each other. `special` is their kind where that is no weekday."""

    run: str | None
    units: int
    first: date
    last: date
    kinds: tuple[Day, ...]
    special: Day | None
    holiday: str | None
    reason: DayReason
    times: tuple[tuple[int, int], ...]
    """[start, end) in seconds of the day, by its clocks."""

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def seconds_of_each(self) -> int:
        return sum(end - start for start, end in self.times)

    @property
    def seconds(self) -> int:
        return self.days * self.seconds_of_each

    @property
    def quantity(self) -> int:
        return self.units * self.seconds

    def goes_on(self, day: "Days") -> bool:
        """Whether `day` is the next one, and more of the same."""
        return day.first == self.last + timedelta(days=1) and self._alike == day._alike

    @property
    def _alike(self) -> tuple[object, ...]:
        unpublished = self.first.year if self.reason is DayReason.UNPUBLISHED else None
        return self.run, self.units, self.special, self.holiday, self.reason, unpublished, self.times


def joined(stretches: Iterable[Stretch]) -> list[Stretch]:
    """By run and time, those of equal units that meet as one."""
    out: list[Stretch] = []
    for one in sorted(stretches, key=lambda s: (s.run or "", s.units, s.start)):
        last = out[-1] if out else None
        if last and (last.run, last.end, last.units) == (one.run, one.start, one.units):
            out[-1] = last._replace(end=one.end)
        else:
            out.append(one)
    return sorted(out, key=lambda s: (s.run or "", s.start, s.units))


def days_of(stretches: Iterable[Stretch], price_list: PriceList, tariff: Tariff | None) -> Iterator[Days]:
    """The same seconds, by run and time; days that follow each other are one where all but the date is equal.

    All of `stretches` are priced by one window of `tariff`; None: no tariff covers them.
    """
    last: Days | None = None
    for day in _single_days(stretches, price_list, tariff):
        if last is not None and last.goes_on(day):
            last = replace(last, last=day.last, kinds=tuple(dict.fromkeys((*last.kinds, *day.kinds))))
        else:
            if last is not None:
                yield last
            last = day
    if last is not None:
        yield last


def _single_days(stretches: Iterable[Stretch], price_list: PriceList, tariff: Tariff | None) -> Iterator[Days]:
    zone = ZoneInfo(price_list.zone)
    windowed = tariff is not None and depends_on_days(tariff)
    parts = ((one, day) for one in joined(stretches) for day in local_days(zone, one.start, one.end))
    for (run, units, of_day), of_one in groupby(parts, key=lambda part: (part[0].run, part[0].units, part[1].date)):
        special, holiday, reason = _special(of_day, price_list) if windowed else (None, None, DayReason.ALIKE)
        times = tuple((day.time(day.start), day.time(day.start) + day.end - day.start) for _, day in of_one)
        kind = special or WEEK[of_day.weekday()]
        yield Days(run, units, of_day, of_day, (kind,), special, holiday, reason, times)


def _special(day: date, price_list: PriceList) -> tuple[Day | None, str | None, DayReason]:
    year = next((one for one in price_list.calendar if one.year == day.year), None)
    if year is None:
        return None, None, DayReason.UNPUBLISHED
    name = year.holidays.get(day) or year.working_weekends.get(day)
    return price_list.special_days.get(day), name, DayReason.CALENDAR
