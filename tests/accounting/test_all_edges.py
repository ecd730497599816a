"""All edges at once: windows, holidays, clocks that are changed, tariffs for some, modes, periods and hours.

All edges lie on quarters of an hour, so the oracle asks what a second is for one second of each quarter; runs start and end at any second.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Final
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from caravan.contracts.dispatch import Grant
from caravan.contracts.jobs import Outcome
from caravan.contracts.modes import SiteMode, SiteModeFrom
from caravan.contracts.offerings import PreemptedBearer
from caravan.contracts.prices import Buyer, CalendarYear, Component, Day, DaySpan, PriceList, PriceWindow
from caravan.contracts.statements import BearerReason
from caravan.kernel.clock import HOUR_SECONDS, from_seconds, to_seconds
from caravan.pricing import prices_for, units_of
from services.accounting.charging.lines import (
    PROVIDER_BEARS,
    Key,
    PeriodSpan,
    Record,
    Terms,
    assigned,
    first_start,
    portions,
    quantities,
    starting,
)
from tests.pricing.cases import COMPONENTS, START, grants, prices, span
from tests.pricing.special import buyers, special_lists
from tests.pricing.test_buyers import winners
from tests.pricing.test_charge import kind_of

QUARTER: Final = 900
PLACES: Final = {
    "Europe/Berlin": ("2026-03-29T01:00:00+00:00", "2026-10-25T01:00:00+00:00"),
    "America/New_York": ("2026-03-08T07:00:00+00:00", "2026-11-01T06:00:00+00:00"),
    "Australia/Lord_Howe": ("2026-04-04T15:00:00+00:00", "2026-10-03T15:30:00+00:00"),
    "Asia/Shanghai": ("2026-02-28T16:00:00+00:00",),
}
"""When clocks are changed there, on a Sunday. In Xi'an they aren't: a Sunday begins."""
TIMES: Final = ("00:00", "01:00", "01:30", "02:00", "02:15", "03:00", "05:30", "12:00", "22:45", "24:00")


@dataclass(frozen=True)
class Sale:
    """Price list as it was published, who buys each attempt and bears what is preempted, and the spans of each run with its end."""

    prices: PriceList
    around: int
    buyers: Sequence[Buyer]
    preempted: Sequence[PreemptedBearer]
    runs: Sequence[tuple[str, int, Grant, Sequence[tuple[int, int]], Outcome | None]]
    calendar: tuple[PeriodSpan, ...]


@st.composite
def windows_of_a_day(draw: st.DrawFn) -> tuple[PriceWindow, ...]:
    edges = sorted(draw(st.sets(st.sampled_from(TIMES), min_size=2, max_size=6)))
    chosen = draw(st.lists(st.sampled_from(list(pairwise(edges))), min_size=1, unique=True))
    names = draw(st.lists(st.sampled_from(["peak", "off-peak"]), min_size=len(chosen), max_size=len(chosen)))
    return tuple(
        PriceWindow(
            name=name,
            days=draw(
                st.sampled_from(
                    [tuple(Day), (Day.SUNDAY, Day.SATURDAY), (Day.HOLIDAY, Day.MONDAY, Day.WORKING_WEEKEND)]
                )
            ),
            times=tuple(DaySpan(starts=a, ends=b) for (a, b), of in zip(chosen, names, strict=True) if of == name),
            prices=draw(st.dictionaries(st.sampled_from(COMPONENTS), prices, min_size=1)),
        )
        for name in dict.fromkeys(names)
    )


@st.composite
def sales(draw: st.DrawFn) -> Sale:
    """A price list with all that has edges, whose seconds are drawn out to quarters around a change of clocks; and what ran then."""
    zone = draw(st.sampled_from(sorted(PLACES)))
    change = datetime.fromisoformat(draw(st.sampled_from(PLACES[zone])))
    around = to_seconds(change)

    def placed(instant: datetime) -> datetime:
        return from_seconds(around + (to_seconds(instant) - START - 20) * QUARTER)

    drawn = draw(special_lists())
    tariffs = [
        one.model_copy(
            update={
                "starts_at": placed(one.starts_at),
                "ends_at": None if one.ends_at is None else placed(one.ends_at),
                "windows": draw(st.just(()) | windows_of_a_day()),
            }
        )
        for one in drawn.tariffs
    ]
    changes = sorted(draw(st.sets(st.integers(-20, 40), max_size=3)))
    modes = [
        SiteModeFrom(mode=draw(st.sampled_from(list(SiteMode))), starts_at=from_seconds(around + quarter * QUARTER))
        for quarter in changes
    ]
    sunday = change.astimezone(ZoneInfo(zone)).date()
    calendar = draw(
        st.sampled_from(
            [
                (),
                (CalendarYear(year=2026, holidays={sunday: "元旦"}),),
                (CalendarYear(year=2026, working_weekends={sunday: "春节"}),),
                (CalendarYear(year=2026, holidays={sunday + timedelta(days=1): "元旦"}),),
            ]
        )
    )
    sold = drawn.model_copy(
        update={"zone": zone, "tariffs": tuple(tariffs), "modes": tuple(modes), "calendar": calendar}
    )
    near = st.builds(
        lambda quarter, off: quarter * QUARTER + off, st.integers(-20, 40), st.sampled_from([-1, 0, 0, 1, 437])
    )
    runs = []
    for name in draw(st.lists(st.sampled_from(["run_a", "run_b", "run_c"]), min_size=1, unique=True)):
        edges = sorted(draw(st.sets(near, min_size=2, max_size=4)))
        spans = draw(st.lists(st.sampled_from(list(pairwise(edges))), min_size=1, unique=True).map(sorted))
        runs.append(
            (name, draw(st.integers(0, 1)), draw(grants()), spans, draw(st.sampled_from([None, None, *Outcome])))
        )
    inner = sorted(draw(st.sets(st.integers(-20, 40), max_size=2)))
    cuts = [around - 10**7, *(around + quarter * QUARTER for quarter in inner), around + 10**7]
    periods = tuple(PeriodSpan(f"per_{number}", *edge) for number, edge in enumerate(pairwise(cuts)))
    preempted = st.sampled_from(PreemptedBearer)
    attempts = draw(st.lists(st.tuples(buyers, preempted), min_size=2, max_size=2))
    return Sale(sold, around, [one for one, _ in attempts], [one for _, one in attempts], runs, periods)


def in_hours(sale: Sale) -> Iterator[Record]:
    """As agents state usage: a record for each UTC hour of a run, its spans cut at it."""
    for name, attempt, grant, spans, outcome in sale.runs:
        prices, preempted = prices_for(sale.prices, sale.buyers[attempt]), sale.preempted[attempt]
        terms = Terms("", "", "", prices, f"att_{attempt}", preempted_borne_by=preempted)
        hours: dict[int, list[tuple[int, int]]] = {}
        for start, end in spans:
            at = sale.around + start
            while at < sale.around + end:
                until = min(at - at % HOUR_SECONDS + HOUR_SECONDS, sale.around + end)
                hours.setdefault(at // HOUR_SECONDS, []).append((at - START, until - START))
                at = until
        for parts in hours.values():
            yield Record(name, None, tuple(span(grant, *part) for part in parts), terms, outcome)


def told(sale: Sale, attempt: int, second: int) -> tuple[str, str, str, SiteMode]:
    """Period, tariff, window and mode of a second, by the words of the contracts."""
    instant = from_seconds(second)
    period = next(one.period for one in sale.calendar if one.start <= second < one.end)
    started = [one.mode for one in sale.prices.modes if one.starts_at <= instant]
    mode = started[-1] if started else SiteMode.BILLED
    found = winners(sale.prices, sale.buyers[attempt], instant)
    if not found:
        return period, "none", "all", mode
    local = instant.astimezone(ZoneInfo(sale.prices.zone))
    names = [
        part.name
        for part in found[0].windows
        if kind_of(sale.prices, local.date()) in part.days
        and any(time.starts <= f"{local:%H:%M}" < time.ends for time in part.times)
    ]
    return period, found[0].name, names[0] if names else "flat" if found[0].windows else "all", mode


def by_quarters(sale: Sale) -> Counter[tuple[str, ...]]:
    """The quantity of each line by the definition."""
    total: Counter[tuple[str, ...]] = Counter()
    begins = []
    for name, attempt, grant, spans, outcome in sale.runs:
        reason = PROVIDER_BEARS[outcome].value if outcome in PROVIDER_BEARS else ""
        if reason == "preempted" and sale.preempted[attempt] is PreemptedBearer.ORGANIZATION:
            reason = ""

        def key(second: int, component: Component, of: int = attempt, borne: str = reason) -> tuple[str, ...]:
            period, tariff, window, mode = told(sale, of, second)
            return period, component.value, tariff, window, borne if mode is SiteMode.BILLED else mode.value

        for start, end in spans:
            edges = [start, *(edge for edge in range(-30 * QUARTER, 70 * QUARTER, QUARTER) if start < edge < end), end]
            for since, until in pairwise(edges):
                for component, units in units_of(grant):
                    total[key(sale.around + since, component)] += units * (until - since)
            if not reason:
                begins.append((start, name, key(sale.around + start, Component.JOB)))
    if begins:
        total[min(begins)[2]] += 1
    return total


def plain(lines: Counter[Key]) -> Counter[tuple[str, ...]]:
    """With what passed the hold as if it hadn't."""
    total: Counter[tuple[str, ...]] = Counter()
    for key, quantity in lines.items():
        reason = "" if key.reason == BearerReason.OVERRUN else key.reason
        total[key.period, key.component.value, key.tariff, key.window, reason] += quantity
    return total


@given(sales(), st.integers(0, 10**6), st.randoms(use_true_random=False))
def test_no_second_is_lost_or_doubled_over_any_mix_of_edges(sale: Sale, hold: int, random: Random) -> None:
    records = list(in_hours(sale))
    random.shuffle(records)
    start = first_start(records)
    parts = [portion for record in records for portion in portions(starting(record, start), sale.calendar)]
    found = assigned(parts, hold)
    assert plain(quantities(found)) == by_quarters(sale)
    for name, _, grant, spans, _ in sale.runs:
        for component, units in units_of(grant):
            own = sorted(
                (p.start - sale.around, p.end - sale.around)
                for p in found
                if p.run == name and p.key.component is component and p.units == units
            )
            assert joined(own) == joined(spans)


def joined(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """In order; those that meet are one. What overlaps stays apart."""
    out: list[tuple[int, int]] = []
    for start, end in spans:
        out.append((out.pop()[0] if out and out[-1][1] == start else start, end))
    return out
