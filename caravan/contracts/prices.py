"""What is charged: components, tariffs with their windows, and price lists as immutable revisions."""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Final, Self

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from caravan.contracts.base import Instant, Model, Name, Positive, Second, TargetField, TargetValue, like
from caravan.contracts.ids import OfferingId, OrganizationId, PriceListId
from caravan.contracts.modes import SiteModeFrom
from caravan.kernel.local_days import zone_named
from caravan.kernel.money import MAX_FEN, Money, UnitPrice


class Component(StrEnum):
    """What a line is of: one of what a tariff prices, or its minimum charge."""

    CPU_CORE_HOUR = "cpu_core_hour"
    ACCELERATOR_HOUR = "accelerator_hour"
    MEMORY_GIB_HOUR = "memory_gib_hour"
    NODE_HOUR = "node_hour"
    JOB = "job"
    MINIMUM_CHARGE = "minimum_charge"
    """What an attempt lacks to its tariff's minimum, in fen. It has no price: 0.01 each."""


PRICED: Final = tuple(component for component in Component if component is not Component.MINIMUM_CHARGE)
"""What a tariff prices."""


def _priced(value: Component) -> Component:
    if value not in PRICED:
        raise PydanticCustomError(
            "component", "No unit of it is sold: give the tariff's own minimum_charge, beside its prices"
        )
    return value


Prices = Annotated[
    dict[
        Annotated[Component, AfterValidator(_priced), WithJsonSchema({"type": "string", "enum": [*map(str, PRICED)]})],
        UnitPrice,
    ],
    Field(min_length=1),
]
"""CNY per unit of each component."""


def _not_reserved(value: str) -> str:
    if value == "none":
        raise PydanticCustomError("tariff_name", 'Call it otherwise: "none" stands for the time that no tariff covers')
    return value


_SHORT_NAME: Final = like(
    r"^[a-z0-9][a-z0-9\-]*$",
    "Give small letters, digits and dashes, like night-2026, without a dash in front.",
    max_length=40,
)
TariffName = Annotated[
    str,
    _SHORT_NAME,
    AfterValidator(_not_reserved),
]

WHOLE_TARIFF: Final = "all"
"""The window of a tariff that prices all its seconds alike."""
FLAT: Final = "flat"
"""The window of a tariff's seconds that lie in none of its windows: 平段."""


def _no_other_window(value: str) -> str:
    if value in (WHOLE_TARIFF, FLAT):
        raise PydanticCustomError(
            "window_name",
            'Call it otherwise: "{name}" stands for the time outside of all windows, which the tariff\'s own prices are for',
            {"name": value},
        )
    return value


WindowName = Annotated[
    str,
    _SHORT_NAME,
    AfterValidator(_no_other_window),
]


class Day(StrEnum):
    """A kind of day: each is one. The weekdays come first, from Monday."""

    MONDAY = "monday"
    TUESDAY = "tuesday"
    WEDNESDAY = "wednesday"
    THURSDAY = "thursday"
    FRIDAY = "friday"
    SATURDAY = "saturday"
    SUNDAY = "sunday"
    HOLIDAY = "holiday"
    """By the calendar, whatever weekday it is."""
    WORKING_WEEKEND = "working_weekend"
    """A Saturday or Sunday that is worked in return for a holiday (调休上班)."""


WEEK: Final = tuple(Day)[:7]


_TIME: Final = r"^(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"


def _local_time(value: str) -> str:
    if not re.fullmatch(_TIME, value):
        raise PydanticCustomError(
            "string_pattern_mismatch", "Give a time of day in minutes, from 00:00 to 24:00, like 08:30"
        )
    return value


LocalTime = Annotated[str, Field(json_schema_extra={"pattern": _TIME}), AfterValidator(_local_time)]


def minute_of(time: LocalTime) -> int:
    """Minutes since the start of the day."""
    hours, minutes = time.split(":")
    return int(hours) * 60 + int(minutes)


class DaySpan(Model):
    """[starts, ends) of a day, by the clocks of the price list's zone."""

    starts: LocalTime = Field(examples=["08:30"])
    ends: LocalTime = Field(examples=["11:30"])

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.ends == "00:00":
            raise PydanticCustomError("day_span", "A span ends after it starts: the end of a day is 24:00")
        if minute_of(self.ends) <= minute_of(self.starts):
            raise PydanticCustomError(
                "day_span",
                "A span ends after it starts: write a night as two, {starts} to 24:00 and 00:00 to {ends}",
                {"starts": self.starts, "ends": self.ends},
            )
        return self


class PriceWindow(Model):
    """A part of each week with prices of its own: peak hours, off-peak hours. What it doesn't price is as the tariff has it."""

    name: WindowName = Field(examples=["peak"])
    days: tuple[Day, ...] = Field(default=tuple(Day), min_length=1, max_length=len(Day))
    times: tuple[DaySpan, ...] = Field(default=(DaySpan(starts="00:00", ends="24:00"),), min_length=1, max_length=24)
    prices: Prices


def _minimum(value: Money) -> Money:
    if value.fen <= 0:
        raise PydanticCustomError("minimum_charge", "Give more than 0.00, or leave it out: then there is none")
    if value.fen > MAX_FEN:
        raise PydanticCustomError("minimum_charge", "Give at most {most}", {"most": str(Money(MAX_FEN))})
    return value


class Buyers(Model):
    """Some of those who buy: these organizations, and all that have one of these price classes."""

    organizations: tuple[OrganizationId, ...] = Field(
        default=(), max_length=200, description="The others of these are shown to none of them."
    )
    classes: tuple[Name, ...] = Field(default=(), max_length=20, examples=[["高校"]])

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if not self.organizations and not self.classes:
            raise PydanticCustomError("buyers", "Name organizations or classes; without `buyers` a tariff is for all")
        return self


class Buyer(Model):
    """Who buys, and what a job of his chose, as far as prices go by it."""

    organization: OrganizationId | None = None
    price_class: Name | None = None
    options: dict[TargetField, TargetValue] = Field(default_factory=dict)


class Tariff(Model):
    """Prices for [starts_at, ends_at). A component without a price is free."""

    name: TariffName = Field(examples=["2026"])
    starts_at: Second
    ends_at: Second | None = None
    prices: Prices
    buyers: Buyers | None = Field(
        default=None,
        description="Whom it is for; null: for all. An organization by name goes before its class, and that before all.",
        examples=[None],
    )
    options: dict[TargetField, Annotated[tuple[TargetValue, ...], Field(min_length=1, max_length=100)]] = Field(
        default_factory=dict,
        max_length=20,
        description="For jobs that have one of these values in each of these fields of the backend target, by the offering or by "
        "their own `options`. Of tariffs for the same buyers, one with options goes before one without.",
        examples=[{}],
    )
    minimum_charge: Annotated[Money, AfterValidator(_minimum)] | None = Field(
        default=None,
        description="The least that an attempt costs once it has ended, if anything of it is billed. "
        "The tariff of its last billed second counts.",
    )
    windows: tuple[PriceWindow, ...] = Field(
        default=(),
        max_length=20,
        description="Without overlap, each name once. `prices` are for all other time, `flat`.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.ends_at is not None and self.ends_at <= self.starts_at:
            raise PydanticCustomError("span", "ends_at must be after starts_at")
        return self

    @property
    def for_all(self) -> bool:
        """Whether it prices all buyers and all options."""
        return self.buyers is None and not self.options

    @model_validator(mode="after")
    def _windows_apart(self) -> Self:
        if len({window.name for window in self.windows}) != len(self.windows):
            raise PydanticCustomError("window_name", "Each window of a tariff needs a name of its own")
        for day in Day:
            spans = sorted(
                (span.starts, span.ends, window.name)
                for window in self.windows
                if day in window.days
                for span in window.times
            )
            for (_, until, one), (starts, ends, other) in pairwise(spans):
                if starts < until:
                    raise PydanticCustomError(
                        "windows_overlap",
                        "Windows {one} and {other} overlap on {day} from {starts} to {ends}: let each time be in one of them",
                        {"one": one, "other": other, "day": day.value, "starts": starts, "ends": min(until, ends)},
                    )
        return self


def _of_one_rank(one: Tariff, other: Tariff) -> bool:
    """Whether a job could be that both are for, and neither goes before the other.

    It has one value of each field, so options that have no value of a field in common are never both its own. An organization has one
    class. Of a class there may always be an organization that neither tariff names.
    """
    if bool(one.options) != bool(other.options):
        return False
    shared = one.options.keys() & other.options.keys()
    if not all(set(one.options[field]) & set(other.options[field]) for field in shared):
        return False
    if one.buyers is None or other.buyers is None:
        return one.buyers is other.buyers
    return bool(
        set(one.buyers.organizations) & set(other.buyers.organizations)
        or set(one.buyers.classes) & set(other.buyers.classes)
    )


Year = Annotated[int, Field(ge=2000, le=2200, examples=[2026])]


class CalendarYear(Model):
    """Of a year, the days that are not what their weekday says, with the name of the holiday that they are of."""

    year: Year = Field(strict=True)
    holidays: dict[date, Name] = Field(default_factory=dict, max_length=366, examples=[{"2026-02-17": "春节"}])
    working_weekends: dict[date, Name] = Field(default_factory=dict, max_length=110, examples=[{"2026-02-14": "春节"}])

    @model_validator(mode="after")
    def _days_of_the_year(self) -> Self:
        for day in (*self.holidays, *self.working_weekends):
            if day.year != self.year:
                raise PydanticCustomError(
                    "calendar_day", "{day} is not in {year}: give the days of one year", {"day": day, "year": self.year}
                )
        for day in self.working_weekends:
            if day.weekday() < 5:
                raise PydanticCustomError(
                    "calendar_day", "{day} is no Saturday or Sunday: only those are worked in return", {"day": day}
                )
            if day in self.holidays:
                raise PydanticCustomError("calendar_day", "{day} is both: let it be one of them", {"day": day})
        return self


class Calendar(CalendarYear):
    """A year as an administrator published it last."""

    revision: Positive
    published_at: Instant


def _known_zone(value: str) -> str:
    try:
        zone_named(value)
    except ValueError:
        raise PydanticCustomError("zone", "Give a name of the IANA database, like Asia/Shanghai") from None
    return value


Zone = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_known_zone)]
"""A time zone, by its name in the IANA database."""


_PERCENT: Final = r"(?:100(?:\.0{1,2})?|[1-9]?[0-9](?:\.[0-9]{1,2})?)"


def _percent(value: object) -> Decimal:
    if isinstance(value, Decimal):
        value = format(value, "f")
    if isinstance(value, str) and re.fullmatch(_PERCENT, value) and (percent := Decimal(value)):
        return percent
    raise PydanticCustomError(
        "percent", 'A percentage is a string: above 0 and at most 100, with at most two places, for example "12.5"'
    )


Percent = Annotated[
    Decimal,
    PlainValidator(_percent),
    PlainSerializer(lambda percent: format(percent, "f"), return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^{_PERCENT}$",
            "description": "Above 0 and at most 100, at most two places.",
            "examples": ["12.5"],
        }
    ),
]


class VolumeTier(Model):
    """What of a period's total lies `above`, up to the next tier, is `percent_off` cheaper."""

    above: int = Field(ge=0, le=10**12, strict=True, description="In units of the price: hours, or jobs.")
    percent_off: Percent


def _rising(tiers: tuple[VolumeTier, ...]) -> tuple[VolumeTier, ...]:
    for lower, higher in pairwise(tiers):
        for name in ("above", "percent_off"):
            if getattr(lower, name) >= getattr(higher, name):
                raise PydanticCustomError(
                    "volume_tiers",
                    "Let {name} rise from tier to tier: {higher} comes after {lower}",
                    {"name": name, "lower": str(getattr(lower, name)), "higher": str(getattr(higher, name))},
                )
    return tiers


VolumeTiers = Annotated[tuple[VolumeTier, ...], Field(min_length=1, max_length=20), AfterValidator(_rising)]


class PriceListDraft(Model):
    """All dated tariffs of an offering, each name once. Those for the same buyers and options are without overlap."""

    reseller: OrganizationId | None = Field(
        default=None,
        description="Who sells the offering on at these prices, to its members; null: the provider sells. "
        "Revisions are counted for each of them.",
        examples=[None],
    )
    zone: Zone = Field(default="Asia/Shanghai", description="Whose clocks and days the windows of its tariffs go by.")
    tariffs: tuple[Tariff, ...] = Field(min_length=1, max_length=200)
    volume_discounts: dict[Component, VolumeTiers] = Field(
        default_factory=dict,
        description="By what an organization used of the offering in a billing period, whatever price lists that was placed by."
        " The newest revision made before the period's end holds for all of it, unless a correction of the whole period puts another in its"
        " place.",
        examples=[{"cpu_core_hour": [{"above": 10000, "percent_off": "10"}]}],
    )

    @model_validator(mode="after")
    def _no_overlap(self) -> Self:
        ordered = sorted(self.tariffs, key=lambda t: t.starts_at)
        for place, earlier in enumerate(ordered, 1):
            for later in ordered[place:]:
                if earlier.ends_at is not None and earlier.ends_at <= later.starts_at:
                    break
                if _of_one_rank(earlier, later):
                    raise PydanticCustomError(
                        "tariffs_overlap",
                        "Tariffs {earlier} and {later} overlap; end the earlier one where the later one starts"
                        if earlier.for_all and later.for_all
                        else "Tariffs {earlier} and {later} overlap, and could both be for the same job; end the earlier one where "
                        "the later one starts, or let them be for other buyers or options",
                        {"earlier": earlier.name, "later": later.name},
                    )
        if len({t.name for t in self.tariffs}) != len(self.tariffs):
            raise PydanticCustomError("tariff_name", "Each tariff of a price list needs a name of its own")
        return self


class PriceList(PriceListDraft):
    """An immutable revision; what was placed by it is charged by it, its calendar and its site's modes included."""

    tariffs: tuple[Tariff, ...] = Field(
        max_length=200,
        description="To others than the provider and the platform, without those for other organizations.",
    )
    calendar: tuple[CalendarYear, ...] = Field(
        default=(),
        description="As it was published then, where tariffs have windows. Days of other years go by their weekday.",
    )
    modes: tuple[SiteModeFrom, ...] = Field(
        default=(),
        description="The modes of the offering's site as they were published then, in the order of time. "
        "Before the first all is billed; there are none where all ever was.",
    )
    id: PriceListId
    offering: OfferingId
    revision: Positive
    created_at: Instant

    @property
    def for_all(self) -> bool:
        """Whether it prices all buyers and all options alike."""
        return all(tariff.for_all for tariff in self.tariffs)

    @cached_property
    def special_days(self) -> Mapping[date, Day]:
        """Days that are not what their weekday says."""
        return {day: Day.HOLIDAY for year in self.calendar for day in year.holidays} | {
            day: Day.WORKING_WEEKEND for year in self.calendar for day in year.working_weekends
        }
