"""Price lists of the city: each offering's revisions over the year, whatever made them: other prices, a mode of its site, a calendar."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from random import Random
from typing import Any, Final

from bench.charges.market import draw_prices, draw_some_prices, identifier
from bench.city.year import MONTHS, ZONE, month
from caravan.contracts.modes import SiteMode, SiteModeFrom
from caravan.contracts.prices import (
    WEEK,
    Buyers,
    CalendarYear,
    Component,
    Day,
    DaySpan,
    PriceList,
    PriceWindow,
    Tariff,
    VolumeTier,
)
from caravan.kernel.money import Money
from services.catalog.calendars.library import known_years

BEGINS: Final = datetime(2024, 12, 1, tzinfo=ZONE)
"""Before the first job. All tariffs for all start here."""
NEXT_YEAR_KNOWN: Final = datetime(2025, 11, 10, 9, tzinfo=ZONE)
"""When the calendar of 2026 is published."""
GAP: Final = 4
"""The month whose prices leave some seconds without a tariff."""
CLASSES: Final = ("高校", "中小企业")
QOS: Final = "qos"
HIGH: Final = "high"
MINIMA: Final = (None, Money(50), Money(20_000), Money(150_000))
TIERS: Final = {
    Component.CPU_CORE_HOUR: ((0, 20, 200), ("1.5", "5", "12.25")),
    Component.ACCELERATOR_HOUR: ((1, 30), ("2", "10")),
    Component.JOB: ((2,), ("33.33",)),
}
"""By component above how many units what percentage is taken off."""


@dataclass
class Priced:
    """An offering's prices. `set_modes`: of its site, when which one was set. `organizations`: some of them are named in deals."""

    offering: str
    zone: str
    set_modes: Sequence[tuple[datetime, SiteModeFrom]]
    organizations: Sequence[str]
    minimal: bool
    """Whether its tariffs have minimum charges."""
    reseller: str | None = None
    revisions: list[PriceList] = field(default_factory=list)

    def draw(self, random: Random, rights: Sequence[datetime]) -> None:
        """All revisions of the year: one a month with other prices, one for each mode and calendar, and those of `rights`, which put wrong
        ones right."""
        made: list[tuple[datetime, dict[str, Any] | None]] = [(BEGINS, self._terms(random))]
        for number in range(1, MONTHS):
            at = month(number) + timedelta(seconds=random.randrange(12 * 86_400))
            made.append((at, self._terms(random, gap=number == GAP)))
        made += [(at, self._terms(random)) for at in rights]
        made += [(at, None) for at, _ in self.set_modes]
        made.append((NEXT_YEAR_KNOWN, None))
        terms: dict[str, Any] = {}
        for revision, (at, new) in enumerate(sorted(made, key=lambda one: one[0]), start=1):
            terms = new or terms
            self.revisions.append(
                PriceList(
                    id=identifier(random, "prl"),
                    offering=self.offering,
                    reseller=self.reseller,
                    revision=revision,
                    created_at=at,
                    zone=self.zone,
                    calendar=_calendar(at),
                    modes=tuple(mode for when, mode in self.set_modes if when <= at),
                    **terms,
                )
            )

    def at(self, instant: datetime) -> PriceList:
        """The newest that is made by then."""
        return next(one for one in reversed(self.revisions) if one.created_at <= instant)

    def _terms(self, random: Random, *, gap: bool = False) -> dict[str, Any]:
        half = month(6) + timedelta(seconds=random.randrange(86_400))
        tariffs = [
            _tariff(random, self.minimal, "first-half", BEGINS, half),
            _tariff(random, self.minimal, "second-half", half + timedelta(seconds=45 if gap else 0), None),
        ]
        if random.random() < 0.6:
            tariffs.append(
                _tariff(random, self.minimal, "class", BEGINS, None, buyers=Buyers(classes=(random.choice(CLASSES),)))
            )
        if random.random() < 0.6:
            tariffs.append(_tariff(random, self.minimal, "high", BEGINS, None, options={QOS: (HIGH,)}))
        if random.random() < 0.5:
            named = tuple(sorted(random.sample(self.organizations, min(12, len(self.organizations)))))
            starts = month(random.randrange(MONTHS)) + timedelta(seconds=random.randrange(10 * 86_400))
            ends = starts + timedelta(seconds=random.randrange(86_400, 60 * 86_400))
            tariffs.append(_tariff(random, self.minimal, "deal", starts, ends, buyers=Buyers(organizations=named)))
        return {"tariffs": tuple(tariffs), "volume_discounts": _discounts(random)}


def _tariff(random: Random, minimal: bool, name: str, starts: datetime, ends: datetime | None, **whom: Any) -> Tariff:
    return Tariff(
        name=name,
        starts_at=starts,
        ends_at=ends,
        prices=draw_prices(random),
        minimum_charge=random.choice(MINIMA) if minimal else None,
        windows=_windows(random) if random.random() < 0.8 else (),
        **whom,
    )


def _windows(random: Random) -> tuple[PriceWindow, ...]:
    """Peak hours of working days, off-peak hours of the night with an edge where summer time begins and ends, and noon of days off."""
    night = (DaySpan(starts="00:00", ends="02:30"), DaySpan(starts="22:15", ends="24:00"))
    morning, evening = DaySpan(starts="08:30", ends="11:30"), DaySpan(starts="18:00", ends="22:00")
    working, off = (*WEEK[:5], Day.WORKING_WEEKEND), (*WEEK[5:], Day.HOLIDAY)
    return (
        PriceWindow(name="peak", days=working, times=(morning, evening), prices=draw_some_prices(random)),
        PriceWindow(name="off-peak", times=night, prices=draw_some_prices(random)),
        PriceWindow(name="day-off", days=off, times=(morning,), prices=draw_some_prices(random)),
    )


def _discounts(random: Random) -> dict[Component, tuple[VolumeTier, ...]]:
    """Of some components; none at all for a third."""
    if random.random() < 0.33:
        return {}
    return {
        component: tuple(VolumeTier(above=a, percent_off=Decimal(p)) for a, p in zip(*tiers, strict=True))
        for component, tiers in TIERS.items()
        if random.random() < 0.7
    }


@cache
def _known() -> dict[int, CalendarYear]:
    return {one.year: one for one in known_years()}


def _calendar(at: datetime) -> tuple[CalendarYear, ...]:
    """From the year before `at` on, as far as published then."""
    last = 2026 if at >= NEXT_YEAR_KNOWN else 2025
    return tuple(_known()[year] for year in range(at.astimezone(ZONE).year - 1, last + 1))


def modes(number: int) -> list[tuple[datetime, SiteModeFrom]]:
    """When what mode was set for the site of a centre, from when on. The first and the fourth centre bill all."""
    notional, tracked, billed = SiteMode.NOTIONAL, SiteMode.TRACKED, SiteMode.BILLED

    def on(day: datetime, hours: int, mode: SiteMode) -> tuple[datetime, SiteModeFrom]:
        return day + timedelta(hours=hours, minutes=-90), SiteModeFrom(
            mode=mode, starts_at=day + timedelta(hours=hours)
        )

    plans = {
        1: [on(BEGINS, 2, notional), on(month(2), 5 * 24 + 6, billed)],
        2: [on(month(4), 12 * 24, tracked), on(month(4), 15 * 24 + 3, billed)],
        4: [
            on(BEGINS, 2, tracked),
            on(month(1), 0, notional),
            on(month(2), 0, billed),
            on(month(9), 40, notional),
            on(month(9), 200, billed),
        ],
        5: [on(month(10), 25 * 24, notional)],
    }
    return plans.get(number, [])
