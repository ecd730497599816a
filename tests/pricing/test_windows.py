"""Where windows and tariffs begin and end: to the second, and without any that no second lies in."""

from datetime import datetime
from itertools import combinations, pairwise
from typing import Final
from zoneinfo import ZoneInfo

from caravan.contracts.prices import FLAT, Day, PriceList
from caravan.kernel.clock import to_seconds
from caravan.pricing import Window, covered, uncovered, windows
from caravan.pricing.windows import depends_on_days, window_names
from tests.pricing.cases import START, mode, price_list, tariff, window

MIDNIGHT: Final = to_seconds(datetime(2026, 3, 4, tzinfo=ZoneInfo("Asia/Shanghai")))
HOUR: Final = 3600
EVENING = window("evening", ("20:00", "24:00"), job="2")
NIGHT = window("night", ("00:00", "06:00"), job="3")
DAYTIME = window("day", ("06:00", "20:00"), job="4")
PLAIN = tariff("t", -(10**7), None, job="1")


def windowed(*some: object) -> PriceList:
    return price_list(PLAIN.model_copy(update={"windows": some}))


def hours(prices: PriceList, start: int, end: int) -> list[tuple[str, float, float]]:
    """From and to hours of 4 March, by the clocks of the list."""
    cut = windows(prices, MIDNIGHT + start, MIDNIGHT + end)
    return [(w.name, (w.start - MIDNIGHT) / HOUR, (w.end - MIDNIGHT) / HOUR) for w in cut]


def test_what_is_in_no_window_is_flat_from_midnight_to_midnight() -> None:
    both = 0, 48 * HOUR
    assert hours(windowed(EVENING), *both) == [
        ("flat", 0, 20),
        ("evening", 20, 24),
        ("flat", 24, 44),
        ("evening", 44, 48),
    ]
    assert hours(windowed(NIGHT), *both) == [("night", 0, 6), ("flat", 6, 24), ("night", 24, 30), ("flat", 30, 48)]
    assert hours(windowed(EVENING), 20 * HOUR - 1, 20 * HOUR + 1) == [
        ("flat", 20 - 1 / HOUR, 20),
        ("evening", 20, 20 + 1 / HOUR),
    ]


def test_a_stretch_from_edge_to_edge_has_no_window_without_a_second() -> None:
    prices = windowed(EVENING, NIGHT)
    edges = [hour * HOUR for hour in (-4, 0, 6, 20, 24, 30)]
    names = ["evening", "night", FLAT, "evening", "night"]
    for first, last in combinations(range(len(edges)), 2):
        parts = zip(names[first:last], pairwise(edges[first : last + 1]), strict=True)
        wanted = [(name, start / HOUR, end / HOUR) for name, (start, end) in parts]
        assert hours(prices, edges[first], edges[last]) == wanted


def test_a_tariff_that_begins_where_a_stretch_ends_or_ends_where_it_begins_has_no_part_in_it() -> None:
    prices = price_list(tariff("a", 0, 10, job="1"), tariff("b", 10, 20, job="1"), tariff("c", 30, 40, job="1"))
    assert windows(prices, START + 10, START + 20) == [Window("b", "all", START + 10, START + 20)]
    assert windows(prices, START + 20, START + 30) == [Window("none", "all", START + 20, START + 30)]
    assert uncovered(prices, START + 10, START + 50) == [(START + 20, START + 30), (START + 40, START + 50)]
    assert [covered(prices, START + start, START + end) for start, end in ((0, 20), (0, 21), (20, 30), (30, 40))] == [
        True,
        False,
        False,
        True,
    ]
    assert uncovered(prices, START + 25, START + 25) == uncovered(prices, START + 5, START + 4) == []


def test_a_tariff_names_the_windows_that_some_second_lies_in() -> None:
    def names(*some: object) -> list[str]:
        return window_names(PLAIN.model_copy(update={"windows": some}))

    assert names() == ["all"]
    assert names(EVENING, DAYTIME, NIGHT) == ["night", "day", "evening"]
    assert names(EVENING, NIGHT) == ["night", FLAT, "evening"]
    assert names(DAYTIME, NIGHT) == ["night", "day", FLAT]
    assert names(EVENING, DAYTIME) == [FLAT, "day", "evening"]


def test_a_tariff_goes_by_days_only_where_its_windows_differ_from_day_to_day() -> None:
    def depends(*some: object) -> bool:
        return depends_on_days(PLAIN.model_copy(update={"windows": some}))

    assert not depends()
    assert not depends(EVENING, NIGHT)
    assert depends(window("sundays", ("00:00", "24:00"), days=(Day.SUNDAY,), job="2"))
    assert not depends(window("x", ("08:00", "09:00"), job="2"), window("y", ("09:00", "10:00"), job="2"))


def test_modes_cut_windows_to_the_second() -> None:
    prices = price_list(PLAIN, modes=(mode("notional", 5), mode("billed", 10)))
    assert [(w.mode.value, w.start - START, w.end - START) for w in windows(prices, START, START + 10)] == [
        ("billed", 0, 5),
        ("notional", 5, 10),
    ]
