"""Which price a price list has for a second.

docs/prices.md: "Peak and off-peak", "Prices for some", "Holidays", "Sites that do not bill yet".
"""

from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from bench.city.independent.reading import DAY, HOUR, fen, halves_away, instant, seconds

CHINA = timedelta(hours=8)  # periods are months of Asia/Shanghai, which has had no other offset since 1991
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
DIVISORS = {
    "cpu_core_hour": HOUR,
    "accelerator_hour": HOUR,
    "node_hour": HOUR,
    "memory_gib_hour": HOUR * 1024,
    "job": 1,
    "minimum_charge": 1,
}


@lru_cache(maxsize=1 << 16)
def month(hour: int) -> int:
    """The period of an hour (seconds since 1970): 12 x year + month - 1."""
    local = datetime.fromtimestamp(hour, UTC) + CHINA
    return 12 * local.year + local.month - 1


def month_start(number: int) -> int:
    """The first second of a period."""
    local = datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)
    return int((local - CHINA).timestamp())


@dataclass(frozen=True, eq=False, slots=True)
class Rate:
    """A tariff's window of a price list: one object each, so that two are the same where they are identical."""

    price_list: str
    tariff: str
    window: str
    prices: dict[str, Fraction]
    minimum: int

    def amount(self, component: str, quantity: int) -> int:
        """Fen of `quantity`, rounded once, halves away from zero."""
        price = self.prices.get(component)
        if price is None:
            return 0
        return halves_away(100 * price.numerator * quantity, price.denominator * DIVISORS[component])


@dataclass(frozen=True, slots=True)
class Window:
    """Minutes of the day, [start, end), on some kinds of days."""

    days: frozenset[str]
    times: tuple[tuple[int, int], ...]
    rate: Rate


@dataclass(frozen=True, slots=True)
class Tariff:
    """A dated tariff with its windows; `flat` is all other time."""

    starts: int
    ends: int | None
    organizations: frozenset[str]
    classes: frozenset[str]
    for_all: bool
    options: dict[str, list[Any]]
    flat: Rate
    windows: tuple[Window, ...]

    def rank(self, organization: str, price_class: str | None, options: dict[str, Any]) -> tuple[int, int] | None:
        """How early it goes among those that cover a second, lowest first; None where it is not for this job."""
        if any(options.get(name) not in values for name, values in self.options.items()):
            return None
        if self.for_all:
            buyer = 2
        elif organization in self.organizations:
            buyer = 0
        elif price_class is not None and price_class in self.classes:
            buyer = 1
        else:
            return None
        return buyer, 0 if self.options else 1


def _minutes(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:5])


def _prices(raw: dict[str, str]) -> dict[str, Fraction]:
    return {component: Fraction(price) for component, price in raw.items()}


def _tariff(price_list: str, raw: dict[str, Any]) -> Tariff:
    prices = _prices(raw["prices"])
    minimum = fen(raw.get("minimum_charge") or "0.00")
    buyers = raw.get("buyers")
    windows = tuple(
        Window(
            frozenset(window.get("days") or (*WEEKDAYS, "holiday", "working_weekend")),
            tuple(
                (_minutes(span["starts"]), _minutes(span["ends"]))
                for span in window.get("times") or [{"starts": "00:00", "ends": "24:00"}]
            ),
            Rate(price_list, raw["name"], window["name"], prices | _prices(window["prices"]), minimum),
        )
        for window in raw.get("windows") or []
    )
    return Tariff(
        seconds(raw["starts_at"]),
        seconds(raw["ends_at"]) if raw.get("ends_at") else None,
        frozenset((buyers or {}).get("organizations") or []),
        frozenset((buyers or {}).get("classes") or []),
        buyers is None,
        raw.get("options") or {},
        Rate(price_list, raw["name"], "flat" if windows else "all", prices, minimum),
        windows,
    )


Priced = tuple[list[int], list[Rate]]


@dataclass(slots=True)
class PriceList:
    """One immutable revision of an offering's prices, by the provider or by a reseller."""

    id: str
    offering: str
    revision: int
    created: Fraction
    reseller: str | None
    zone: ZoneInfo
    tariffs: list[Tariff]
    tiers: dict[str, list[tuple[int, Fraction]]]
    modes: list[tuple[int, str]]
    kinds: dict[date, str]
    none: Rate
    days: dict[tuple[tuple[int, ...], int], Priced] = field(default_factory=dict)

    @classmethod
    def read(cls, raw: dict[str, Any]) -> "PriceList":
        """Of the catalog's PriceList."""
        kinds: dict[date, str] = {}
        for year in raw.get("calendar") or []:
            kinds |= {date.fromisoformat(day): "holiday" for day in year.get("holidays") or {}}
            kinds |= {date.fromisoformat(day): "working_weekend" for day in year.get("working_weekends") or {}}
        return cls(
            raw["id"],
            raw["offering"],
            raw["revision"],
            instant(raw["created_at"]),
            raw.get("reseller"),
            ZoneInfo(raw.get("zone") or "Asia/Shanghai"),
            [_tariff(raw["id"], tariff) for tariff in raw["tariffs"]],
            {
                component: [(tier["above"], Fraction(tier["percent_off"])) for tier in tiers]
                for component, tiers in (raw.get("volume_discounts") or {}).items()
            },
            sorted((seconds(mode["starts_at"]), mode["mode"]) for mode in raw.get("modes") or []),
            kinds,
            Rate(raw["id"], "none", "all", {}, 0),
        )

    def chain(self, organization: str, price_class: str | None, options: dict[str, Any]) -> tuple[int, ...]:
        """Which tariffs are for a job, by their place in the list; of those that cover a second the first holds."""
        ranked = [(tariff.rank(organization, price_class, options), place) for place, tariff in enumerate(self.tariffs)]
        return tuple(place for _, place in sorted((rank, place) for rank, place in ranked if rank is not None))

    def mode(self, second: int) -> str:
        """The site's: `billed`, `notional` or `tracked`. It changes on whole hours only."""
        place = bisect_right(self.modes, second, key=lambda mode: mode[0])
        return self.modes[place - 1][1] if place else "billed"

    def rates(self, chain: tuple[int, ...], start: int, end: int) -> list[tuple[int, int, Rate]]:
        """The pieces of [start, end), which lies in one UTC day, each with its rate."""
        day = start // DAY * DAY
        known = self.days.get((chain, day))
        if known is None:
            known = self.days[chain, day] = self._priced(chain, day)
        starts, rates = known
        place = bisect_right(starts, start) - 1
        pieces = []
        while start < end:
            stop = min(end, starts[place + 1]) if place + 1 < len(starts) else end
            pieces.append((start, stop, rates[place]))
            start, place = stop, place + 1
        return pieces

    def _priced(self, chain: tuple[int, ...], day: int) -> Priced:
        """From which seconds of a UTC day on which rates hold."""
        tariffs = [self.tariffs[place] for place in chain]
        cuts = set(range(day, day + DAY, HOUR))
        for tariff in tariffs:
            cuts |= {cut for cut in (tariff.starts, tariff.ends) if cut is not None and day < cut < day + DAY}
        cuts |= self._edges(tariffs, day)
        starts: list[int] = []
        rates: list[Rate] = []
        for cut in sorted(cuts):
            rate = self._rate(tariffs, cut)
            if not rates or rates[-1] is not rate:
                starts.append(cut)
                rates.append(rate)
        return starts, rates

    def _edges(self, tariffs: list[Tariff], day: int) -> set[int]:
        """The seconds of a UTC day at which windows may begin or end: local midnight too, as the kind of day changes."""
        minutes = {edge for tariff in tariffs for window in tariff.windows for span in window.times for edge in span}
        if not minutes:
            return set()
        first, last = (datetime.fromtimestamp(day + at, self.zone).utcoffset() or timedelta() for at in (0, DAY))
        if first != last:
            return set(range(day, day + DAY, 60))  # windows begin and end on whole minutes, and so do changes of clocks
        ahead = int(first.total_seconds())
        return {day + (minute * 60 - ahead) % DAY for minute in minutes | {0}}

    def _rate(self, tariffs: list[Tariff], second: int) -> Rate:
        for tariff in tariffs:
            if tariff.starts <= second and (tariff.ends is None or second < tariff.ends):
                return self._window(tariff, second)
        return self.none

    def _window(self, tariff: Tariff, second: int) -> Rate:
        if tariff.windows:
            local = datetime.fromtimestamp(second, self.zone)
            minute, kind = local.hour * 60 + local.minute, self.kind(local.date())
            for window in tariff.windows:
                if kind in window.days and any(start <= minute < end for start, end in window.times):
                    return window.rate
        return tariff.flat

    def kind(self, day: date) -> str:
        """Each day is of one kind."""
        return self.kinds.get(day) or WEEKDAYS[day.weekday()]
