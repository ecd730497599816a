from decimal import Decimal
from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.contracts.prices import Component
from caravan.kernel.money import Money
from caravan.pricing import DIVISOR, amount, minimum_charge, unit_price
from tests.pricing.cases import COMPONENTS, price_list, prices, tariff, window

components = st.sampled_from(COMPONENTS)


def half_away(value: Fraction) -> int:
    return floor(value + Fraction(1, 2)) if value >= 0 else -floor(-value + Fraction(1, 2))


@given(components, st.integers(-(10**15), 10**15), prices)
def test_an_amount_is_the_exact_price_rounded_once(component: Component, quantity: int, price: Decimal) -> None:
    exact = 100 * Fraction(price) * quantity / DIVISOR[component]
    assert amount(component, quantity, price) == half_away(exact)


@given(components, st.integers(-(10**6), 10**6))
def test_half_a_fen_is_rounded_away_from_zero(component: Component, halves: int) -> None:
    odd = 2 * halves + 1
    price = Decimal(DIVISOR[component]) / 200  # half a fen per quantity of 1
    assert 2 * abs(amount(component, odd, price)) == abs(odd) + 1
    assert amount(component, -odd, price) == -amount(component, odd, price)


@pytest.mark.parametrize(
    ("component", "quantity", "price", "fen"),
    [
        (Component.CPU_CORE_HOUR, 80, "36.00", 80),
        (Component.CPU_CORE_HOUR, 3600, "0.35", 35),
        (Component.CPU_CORE_HOUR, 1, "18", 1),
        (Component.CPU_CORE_HOUR, 5, "18", 3),
        (Component.CPU_CORE_HOUR, 5, "17.999999", 2),
        (Component.MEMORY_GIB_HOUR, 1024 * 3600, "1000", 100_000),
        (Component.ACCELERATOR_HOUR, 8 * 3600, "12.5", 10_000),
        (Component.NODE_HOUR, 1800, "1", 50),
        (Component.NODE_HOUR, 1000 * 3600, "1", 100_000),
        (Component.JOB, 3, "0.005", 2),
        (Component.MINIMUM_CHARGE, 85, "0.01", 85),
    ],
)
def test_amounts_worked_out_by_hand(component: Component, quantity: int, price: str, fen: int) -> None:
    assert amount(component, quantity, Decimal(price)) == fen


def test_a_unit_price_is_the_named_tariffs_and_free_where_nothing_is_priced() -> None:
    prices = price_list(tariff("day", 0, 10, cpu_core_hour="0.35"), tariff("late", 10, None, cpu_core_hour="0.20"))
    assert unit_price(prices, "late", "all", Component.CPU_CORE_HOUR) == Decimal("0.20")
    assert unit_price(prices, "day", "all", Component.JOB) == 0
    assert unit_price(prices, "none", "all", Component.CPU_CORE_HOUR) == 0
    with pytest.raises(KeyError, match="no tariff 'night'"):
        unit_price(prices, "night", "all", Component.CPU_CORE_HOUR)


def test_a_window_has_its_own_prices_and_else_the_tariffs() -> None:
    peak, night = window("peak", ("08:00", "20:00"), cpu_core_hour="2"), window("night", ("20:00", "24:00"), job="0.1")
    prices = price_list(
        tariff("day", 0, None, cpu_core_hour="1", job="0.3").model_copy(update={"windows": (peak, night)})
    )
    found = {
        name: [
            str(unit_price(prices, "day", name, component)) for component in (Component.CPU_CORE_HOUR, Component.JOB)
        ]
        for name in ("peak", "night", "flat")
    }
    assert found == {"peak": ["2", "0.3"], "night": ["1", "0.1"], "flat": ["1", "0.3"]}
    for unknown in ("noon", "all"):
        with pytest.raises(KeyError, match=f"no window '{unknown}'"):
            unit_price(prices, "day", unknown, Component.JOB)


def test_a_minimum_is_the_named_tariffs_and_nothing_where_it_has_none() -> None:
    low, high = (
        tariff(name, start, start + 1, job="1").model_copy(update={"minimum_charge": Money(fen)})
        for name, start, fen in (("low", 0, 50), ("high", 1, 200))
    )
    prices = price_list(high, low, tariff("free", 2, None, job="1"))
    assert [minimum_charge(prices, name) for name in ("low", "high", "free", "none")] == [50, 200, 0, 0]


def test_no_tariff_is_called_none() -> None:
    with pytest.raises(ValueError, match="no tariff covers"):
        tariff("none", 0, None, job="1")
