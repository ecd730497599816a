"""What an attempt lacks to its tariff's minimum charge."""

from decimal import Decimal
from typing import NamedTuple

from caravan.contracts.prices import Component, PriceList, Tariff
from caravan.kernel.money import Money
from caravan.pricing import Billed, TopUp, top_up
from tests.pricing.cases import price_list, tariff


class Line(NamedTuple):
    tariff: str = "one"
    component: Component = Component.CPU_CORE_HOUR
    unit_price: Decimal = Decimal(36)


def least(name: str, start: int, end: int | None, fen: int | None) -> Tariff:
    minimum = None if fen is None else Money(fen)
    return tariff(name, start, end, cpu_core_hour="36").model_copy(update={"minimum_charge": minimum})


PRICES = price_list(least("one", 0, 10, 100), least("two", 10, 20, 70), least("free", 20, None, None))
JOB = Line(component=Component.JOB, unit_price=Decimal("0.30"))
HALF = Line(component=Component.MEMORY_GIB_HOUR, unit_price=Decimal(18432))
"""Half a fen per MiB-second."""


def billed(line: Line, end: int, quantity: int, run: str = "a", prices: PriceList = PRICES) -> Billed[Line]:
    return Billed(line, prices, run, end, quantity)


def of(*own: Billed[Line]) -> TopUp[Line]:
    found = top_up(own)
    assert found is not None
    return found


def test_the_seconds_and_the_price_per_job_are_taken_off_the_minimum() -> None:
    found = of(billed(Line(), 5, 30), billed(JOB, 1, 1), billed(Line(), 8, 10))
    assert (found.minimum, found.seconds, found.per_job, found.lacking) == (100, 40, 30, 30)


def test_nothing_lacks_where_the_minimum_is_reached_and_nothing_billed_has_none() -> None:
    assert [of(billed(Line(), 5, quantity)).lacking for quantity in (99, 100, 101, 200)] == [1, 0, 0, 0]
    assert of(billed(Line("free"), 25, 1))[1:] == (0, 1, 0)
    assert of(billed(Line("free"), 25, 1)).lacking == 0
    assert top_up([]) is None


def test_the_tariff_of_what_ends_last_counts_and_of_equal_ends_that_of_the_later_run() -> None:
    one, two = billed(Line("one"), 9, 1, "b"), billed(Line("two"), 11, 1, "a")
    assert of(one, two).last == of(two, one).last == two
    assert of(one, two).minimum == 70
    dear = price_list(least("one", 0, None, 300))
    other = billed(Line("one"), 9, 1, "c", dear)
    assert of(one, other).last == of(other, one).last == other
    assert of(other, one).minimum == 300


def test_quantities_of_one_line_are_rounded_together() -> None:
    assert of(billed(HALF, 5, 1), billed(HALF, 6, 1)).seconds == 1
    assert of(billed(HALF, 5, 1), billed(HALF._replace(tariff="two"), 11, 1)).seconds == 2
