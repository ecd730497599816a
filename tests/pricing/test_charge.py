from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from caravan.contracts.dispatch import Grant
from caravan.contracts.modes import SiteMode
from caravan.contracts.prices import Component, Day, PriceList
from caravan.kernel.clock import to_seconds
from caravan.kernel.money import Money
from caravan.pricing import (
    LineKey,
    Piece,
    Shape,
    Window,
    amount,
    covered,
    mode_at,
    quantities,
    reference_price,
    unit_price,
    units_of,
    windows,
)
from caravan.pricing.amounts import prices_in
from caravan.pricing.modes import stretches
from tests.pricing.cases import (
    ACCELERATOR,
    START,
    at,
    grants,
    in_mode,
    instants,
    mode,
    price_list,
    price_lists,
    span,
    tariff,
    window,
)

lengths = st.integers(1, 60)


def totals(pieces: Iterable[Piece]) -> Counter[LineKey]:
    sums: Counter[LineKey] = Counter()
    for piece in pieces:
        sums[piece.key] += piece.quantity
    return sums


def kind_of(prices: PriceList, day: date) -> Day:
    for year in prices.calendar:
        if day in year.holidays:
            return Day.HOLIDAY
        if day in year.working_weekends:
            return Day.WORKING_WEEKEND
    return Day(f"{day:%A}".lower())


def covering(prices: PriceList, second: int) -> tuple[str, str]:
    """The tariff and window of one second, by the words of the contract: each [start, end), by the clocks of the list's zone."""
    for one in prices.tariffs:
        if one.starts_at <= at(second) and (one.ends_at is None or at(second) < one.ends_at):
            local = at(second).astimezone(ZoneInfo(prices.zone))
            names = [
                part.name
                for part in one.windows
                if kind_of(prices, local.date()) in part.days
                and any(time.starts <= f"{local:%H:%M}" < time.ends for time in part.times)
            ]
            return one.name, names[0] if names else "flat" if one.windows else "all"
    return "none", "all"


@given(price_lists(), instants, lengths)
def test_windows_give_each_second_its_tariff_once(prices: PriceList, start: int, length: int) -> None:
    cut = windows(prices, START + start, START + start + length)
    assert [w.start for w in cut] == [START + start, *(w.end for w in cut[:-1])]
    assert cut[-1].end == START + start + length
    assert all(w.start < w.end for w in cut)
    by_second = [(w.tariff, w.name) for w in cut for _ in range(w.start, w.end)]
    assert by_second == [covering(prices, second) for second in range(start, start + length)]
    assert [w.mode for w in cut for _ in range(w.start, w.end)] == [
        in_mode(prices, second) for second in range(start, start + length)
    ]
    assert covered(prices, START + start, START + start + length) == all(name != "none" for name, _ in by_second)


@given(price_lists())
def test_a_mode_is_in_force_from_its_first_second(prices: PriceList) -> None:
    for second in range(-25, 85):
        assert mode_at(prices.modes, at(second)) is in_mode(prices, second)
        assert list(stretches(prices.modes, START + second, START + second)) == []


def test_windows_are_cut_at_tariff_edges_and_where_nothing_covers() -> None:
    prices = price_list(tariff("late", 20, None, job="1"), tariff("early", 0, 10, job="1"))
    assert windows(prices, START + 9, START + 21) == [
        Window("early", "all", START + 9, START + 10),
        Window("none", "all", START + 10, START + 20),
        Window("late", "all", START + 20, START + 21),
    ]
    assert [windows(prices, START + 5, START + end) for end in (5, 4)] == [[], []]
    assert windows(prices, START + 10, START + 10) == []


@given(price_lists(), grants(), instants, lengths, st.lists(st.integers(-2, 62), max_size=4))
def test_each_second_of_each_component_lies_in_one_piece(
    prices: PriceList, grant: Grant, start: int, length: int, edges: list[int]
) -> None:
    edges = [START + start + edge for edge in edges]
    pieces = quantities([span(grant, start, start + length)], prices, START + start, edges)
    for component, units in units_of(grant):
        of_component = [p for p in pieces if p.key.component is component]
        assert [p.start for p in of_component] == [START + start, *(p.end for p in of_component[:-1])]
        assert of_component[-1].end == START + start + length
        for piece in of_component:
            assert piece.start < piece.end
            assert piece.units == units
            assert piece.quantity == units * (piece.end - piece.start)
            assert {
                (*covering(prices, s - START), in_mode(prices, s - START)) for s in range(piece.start, piece.end)
            } == {(piece.key.tariff, piece.key.window, piece.key.mode)}
            assert not any(piece.start < edge < piece.end for edge in edges)
            assert (piece.key.accelerator is not None) == (component is Component.ACCELERATOR_HOUR)
    jobs = [p for p in pieces if p.key.component is Component.JOB]
    assert [(p.start, p.quantity, (p.key.tariff, p.key.window), p.key.mode) for p in jobs] == [
        (START + start, 1, covering(prices, start), in_mode(prices, start))
    ]


@given(price_lists(), grants(), instants, lengths, st.sets(st.integers(1, 119)), st.lists(instants, max_size=3))
def test_usage_split_at_any_seconds_has_the_same_quantities(
    prices: PriceList, grant: Grant, start: int, length: int, cuts: set[int], edges: list[int]
) -> None:
    end = start + length
    whole = quantities([span(grant, start, end)], prices, START + start, [])
    bounds = [start, *sorted(cut for cut in cuts if start < cut < end), end]
    in_parts = [
        piece
        for part in pairwise(bounds)
        for piece in quantities([span(grant, *part)], prices, START + start, [START + edge for edge in edges])
    ]
    assert totals(in_parts) == totals(whole)


@given(price_lists(), grants(), instants, lengths)
def test_a_search_shows_what_the_same_span_is_charged(prices: PriceList, grant: Grant, start: int, length: int) -> None:
    shown = reference_price(grant, length, prices, START + start)
    in_force, window = covering(prices, start)
    if in_force == "none":
        assert shown is None
        return
    for_good = price_list(
        *(
            t.model_copy(update={"starts_at": at(0), "ends_at": None, "windows": (), "prices": prices_in(t, window)})
            for t in prices.tariffs
            if t.name == in_force
        ),
        modes=(mode(in_mode(prices, start), 0),),
    )
    lines = totals(quantities([span(grant, start, start + length)], for_good, START + start, []))
    charged = sum(
        amount(key.component, quantity, unit_price(for_good, key.tariff, key.window, key.component, key.mode))
        for key, quantity in lines.items()
    )
    assert shown is not None
    assert shown.fen == charged


def test_what_a_shape_has_none_of_is_neither_priced_nor_shown() -> None:
    prices = price_list(tariff("a", 0, None, cpu_core_hour="36", accelerator_hour="36", job="0.05"))
    shape = Shape(nodes=1, cpus=2, memory_mib=0)
    assert units_of(shape) == ((Component.CPU_CORE_HOUR, 2), (Component.NODE_HOUR, 1))
    assert reference_price(shape, 10, prices, START) == Money(25)


def test_a_week_of_peak_and_off_peak_by_hand() -> None:
    """From Saturday 22:00 to Monday 12:00 in Xi'an: no peak on Sunday, and the night is one window over midnight."""
    weekdays = tuple(Day)[:5]
    prices = price_list(
        tariff("2026", -(10**7), None, cpu_core_hour="1").model_copy(
            update={
                "windows": (
                    window("peak", ("08:30", "11:30"), ("18:00", "22:00"), days=weekdays, cpu_core_hour="2"),
                    window("off-peak", ("23:00", "24:00"), ("00:00", "07:00"), cpu_core_hour="0.5"),
                )
            }
        )
    )
    saturday = to_seconds(datetime(2026, 2, 28, 22, tzinfo=ZoneInfo("Asia/Shanghai")))
    hours = [
        (w.name, (w.start - saturday) / 3600, (w.end - saturday) / 3600)
        for w in windows(prices, saturday, saturday + 38 * 3600)
    ]
    assert hours == [
        ("flat", 0, 1),
        ("off-peak", 1, 9),
        ("flat", 9, 25),
        ("off-peak", 25, 33),
        ("flat", 33, 34.5),
        ("peak", 34.5, 37.5),
        ("flat", 37.5, 38),
    ]


def test_where_clocks_are_changed_each_second_has_the_window_that_they_show() -> None:
    """Berlin, 2026-03-29 has no 02:00 to 03:00, and 2026-10-25 has it twice."""
    prices = price_list(tariff("2026", -(10**8), None, job="1")).model_copy(update={"zone": "Europe/Berlin"})
    at_two = window("two", ("02:00", "03:00"), job="2")
    prices = prices.model_copy(update={"tariffs": (prices.tariffs[0].model_copy(update={"windows": (at_two,)}),)})

    def seconds_of_two(day: datetime) -> int:
        start = to_seconds(day)
        return sum(w.end - w.start for w in windows(prices, start, start + 86_400) if w.name == "two")

    assert seconds_of_two(datetime(2026, 3, 28, tzinfo=UTC)) == 3600
    assert seconds_of_two(datetime(2026, 3, 29, tzinfo=UTC)) == 0
    assert seconds_of_two(datetime(2026, 10, 25, tzinfo=UTC) - timedelta(hours=2)) == 7200


def test_a_span_over_a_price_change_and_a_period_end_by_hand() -> None:
    prices = price_list(tariff("a", 0, 10, cpu_core_hour="36", accelerator_hour="3.6"), tariff("b", 10, None, job="1"))
    grant = Grant(nodes=1, cpus=2, memory_mib=512, accelerators=4, accelerator=ACCELERATOR, max_seconds=60)
    pieces = quantities([span(grant, 5, 25)], prices, START + 5, [START + edge for edge in (25, 20, 10, 5)])
    cpu = [
        (p.key.tariff, p.start - START, p.end - START, p.quantity) for p in pieces if p.key.component == "cpu_core_hour"
    ]
    assert cpu == [("a", 5, 10, 10), ("b", 10, 20, 20), ("b", 20, 25, 10)]
    assert [p.quantity for p in pieces if p.key.component == "memory_gib_hour"] == [2560, 5120, 2560]
    assert [p.quantity for p in pieces if p.key == LineKey(Component.ACCELERATOR_HOUR, ACCELERATOR, "b", "all")] == [
        40,
        20,
    ]
    assert [p for p in pieces if p.key.component is Component.JOB] == [
        Piece(LineKey(Component.JOB, None, "a", "all"), START + 5, START + 6, 1, 1)
    ]


def test_a_mode_that_changes_cuts_a_span_and_what_is_tracked_has_no_price() -> None:
    prices = price_list(
        tariff("a", 0, None, cpu_core_hour="36", job="1"),
        modes=(mode("tracked", 0), mode("notional", 10), mode("billed", 15)),
    )
    grant = Grant(nodes=1, cpus=2, memory_mib=1, max_seconds=60)
    pieces = quantities([span(grant, 5, 25)], prices, START + 5, [])
    assert [
        (p.key.mode, p.quantity, str(unit_price(prices, "a", "all", p.key.component, p.key.mode)))
        for p in pieces
        if p.key.component in ("cpu_core_hour", "job")
    ] == [
        (SiteMode.TRACKED, 10, "0"),
        (SiteMode.TRACKED, 1, "0"),
        (SiteMode.NOTIONAL, 10, "36"),
        (SiteMode.BILLED, 20, "36"),
    ]


def test_a_run_that_starts_at_a_price_change_pays_the_new_price_per_job() -> None:
    prices = price_list(tariff("a", 0, 10, job="1"), tariff("b", 10, None, job="2"))
    grant = Grant(nodes=1, cpus=1, memory_mib=1, max_seconds=60)
    pieces = quantities([span(grant, 0, 20)], prices, START + 10, [])
    assert [p.key.tariff for p in pieces if p.key.component is Component.JOB] == ["b"]


def test_usage_without_the_runs_first_second_carries_no_price_per_job() -> None:
    prices = price_list(tariff("a", 0, None, job="1"))
    grant = Grant(nodes=1, cpus=1, memory_mib=1, max_seconds=60)
    pieces = quantities([span(grant, 5, 10), span(grant, 12, 20)], prices, START + 4, [])
    assert not [p for p in pieces if p.key.component is Component.JOB]
