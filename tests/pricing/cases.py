"""Strategies for price lists, shapes and usage. Times are small seconds after T0, so that edges meet often.

T0 is a Sunday, eight in the morning by the clocks of price lists (Asia/Shanghai); windows have edges at the minutes around it.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Final

from hypothesis import strategies as st

from caravan.contracts.dispatch import Grant
from caravan.contracts.modes import SiteMode, SiteModeFrom
from caravan.contracts.prices import PRICED, CalendarYear, Component, Day, DaySpan, PriceList, PriceWindow, Tariff
from caravan.contracts.usage import Span
from caravan.kernel.clock import to_seconds
from caravan.kernel.money import Money

T0 = datetime(2026, 3, 1, tzinfo=UTC)
START = to_seconds(T0)
ACCELERATOR = "acc_nvidia-h100-80g"
COMPONENTS = list(PRICED)

prices = st.one_of(
    # ties: half a fen per core-second, per MiB-second, per job
    st.sampled_from([Decimal(p) for p in ("0", "0.005", "0.35", "18", "18432", "36", "54.000001")]),
    st.integers(0, 60_000_000).map(lambda millionths: Decimal(millionths).scaleb(-6)),
)
instants = st.integers(0, 60)


def at(second: int) -> datetime:
    """`second` seconds after T0."""
    return T0 + timedelta(seconds=second)


def price_list(
    *tariffs: Tariff, calendar: tuple[CalendarYear, ...] = (), modes: tuple[SiteModeFrom, ...] = ()
) -> PriceList:
    return PriceList(
        id="prl_" + "1" * 32,
        offering="off_" + "2" * 32,
        revision=1,
        created_at=T0,
        tariffs=tariffs,
        calendar=calendar,
        modes=modes,
    )


def mode(name: str, start: int) -> SiteModeFrom:
    return SiteModeFrom(mode=SiteMode(name), starts_at=at(start))


def in_mode(prices: PriceList, second: int) -> SiteMode:
    """The mode of one second, by the words of the contract: the last that has started, else billed."""
    started = [one.mode for one in prices.modes if one.starts_at <= at(second)]
    return started[-1] if started else SiteMode.BILLED


@st.composite
def site_modes(draw: st.DrawFn) -> tuple[SiteModeFrom, ...]:
    """Mostly none; else up to three, some of which change nothing."""
    edges = draw(st.just(set[int]()) | st.sets(st.integers(-20, 80), max_size=3))
    return tuple(mode(draw(st.sampled_from(list(SiteMode))), edge) for edge in sorted(edges))


WORKED: Final = CalendarYear(year=2026, working_weekends={T0.date(): "春节"})
FREE: Final = CalendarYear(year=2026, holidays={T0.date(): "元旦"})
"""What T0's day may be instead of a Sunday."""


def tariff(name: str, start: int, end: int | None, **by_component: str) -> Tariff:
    return Tariff(
        name=name,
        starts_at=at(start),
        ends_at=None if end is None else at(end),
        prices={Component(component): Decimal(price) for component, price in by_component.items()},
    )


def window(name: str, *times: tuple[str, str], days: tuple[Day, ...] = tuple(Day), **by_component: str) -> PriceWindow:
    return PriceWindow(
        name=name,
        days=days,
        times=tuple(DaySpan(starts=starts, ends=ends) for starts, ends in times),
        prices={Component(component): Decimal(price) for component, price in by_component.items()},
    )


@st.composite
def price_windows(draw: st.DrawFn) -> tuple[PriceWindow, ...]:
    """Up to three, each of up to two spans; some meet, some don't hold on Sundays, or on a day that the calendar has changed."""
    minutes = sorted(
        draw(st.sets(st.sampled_from(["00:00", "07:58", "07:59", "08:00", "08:01", "08:02", "24:00"]), min_size=2))
    )
    spans = draw(st.lists(st.sampled_from(list(pairwise(minutes))), min_size=1, unique=True))
    names = draw(st.lists(st.sampled_from(["peak", "off-peak", "night"]), min_size=len(spans), max_size=len(spans)))
    return tuple(
        PriceWindow(
            name=name,
            days=draw(st.sampled_from([tuple(Day), (Day.SUNDAY, Day.WORKING_WEEKEND), (Day.SATURDAY, Day.HOLIDAY)])),
            times=tuple(
                DaySpan(starts=starts, ends=ends) for (starts, ends), of in zip(spans, names, strict=True) if of == name
            ),
            prices=draw(st.dictionaries(st.sampled_from(COMPONENTS), prices, min_size=1)),
        )
        for name in dict.fromkeys(names)
    )


@st.composite
def price_lists(draw: st.DrawFn, minima: bool = False) -> PriceList:
    """Up to five tariffs, some adjacent, with gaps between others, in any order, some with windows; the last may be open. With `minima`
    some have a minimum charge.

    The site's mode may change.
    """
    minimum = st.none() | st.integers(1, 2000).map(Money) if minima else st.none()
    edges = sorted(draw(st.sets(st.integers(-20, 80), min_size=2, max_size=6)))
    spans: list[tuple[int, int | None]] = list(pairwise(edges))
    kept: list[tuple[int, int | None]] = draw(st.lists(st.sampled_from(spans), min_size=1, unique=True))
    if draw(st.booleans()):
        kept.append((edges[-1], None))
    return price_list(
        *(
            Tariff(
                name=f"t{number}",
                starts_at=at(start),
                ends_at=None if end is None else at(end),
                prices=draw(st.dictionaries(st.sampled_from(COMPONENTS), prices, min_size=1)),
                windows=draw(st.just(()) | price_windows()),
                minimum_charge=draw(minimum),
            )
            for number, (start, end) in enumerate(kept)
        ),
        calendar=draw(st.sampled_from([(), (WORKED,), (FREE,)])),
        modes=draw(site_modes()),
    )


@st.composite
def level_price_lists(draw: st.DrawFn) -> PriceList:
    """Adjacent tariffs of the same prices, all ties: nothing but rounding can make a difference."""
    edges = sorted(draw(st.sets(st.integers(1, 80), max_size=3)))
    same = {
        Component.CPU_CORE_HOUR: Decimal(18),
        Component.MEMORY_GIB_HOUR: Decimal(18432),
        Component.JOB: Decimal("0.005"),
    }
    return price_list(
        *(
            Tariff(name=f"t{start}", starts_at=at(start), ends_at=None if end is None else at(end), prices=same)
            for start, end in zip([0, *edges], [*edges, None], strict=True)
        )
    )


@st.composite
def grants(draw: st.DrawFn, longest: int = 30) -> Grant:
    accelerators = draw(st.integers(0, 3))
    return Grant(
        nodes=draw(st.integers(1, 2)),
        cpus=draw(st.integers(1, 5)),
        memory_mib=draw(st.sampled_from([1, 333, 1024])),
        accelerators=accelerators,
        accelerator=ACCELERATOR if accelerators else None,
        max_seconds=draw(st.integers(1, longest)),
    )


def span(grant: Grant, start: int, end: int) -> Span:
    """The grant, allocated in full from `start` to `end` seconds after T0."""
    return Span(
        start=at(start),
        end=at(end),
        nodes=grant.nodes,
        cpus=grant.cpus,
        memory_mib=grant.memory_mib,
        accelerators=grant.accelerators,
        accelerator=grant.accelerator,
    )
