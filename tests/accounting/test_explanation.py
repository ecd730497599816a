"""The words in which a charge is explained."""

from decimal import Decimal

from caravan.contracts.prices import Component
from services.accounting.charging.explanation import Stretch, arithmetic, correction, stretches
from services.accounting.charging.lines import Portion, Record, portions
from tests.accounting.test_lines import CORE, WHOLE, terms
from tests.pricing.cases import START, at, price_list, tariff

CPU, MEMORY = Component.CPU_CORE_HOUR, Component.MEMORY_GIB_HOUR


def test_a_sum_that_comes_out_even_is_shown_as_it_is() -> None:
    factors = [Stretch("run_a", 0, 40, 2)]
    assert arithmetic(CPU, Decimal("36"), factors, 80) == "2 cores x 40 s = 80 core-seconds; 80 x 36.00 / 3600 = 0.80"


def test_a_rounded_sum_shows_what_was_rounded() -> None:
    one = [Stretch("run_a", 0, 1, 1)]
    assert arithmetic(CPU, Decimal("18"), one, 1).endswith(
        "1 core x 1 s = 1 core-second; 1 x 18.00 / 3600 = 0.005, rounded 0.01"
    )
    assert arithmetic(CPU, Decimal("0.35"), one, 1).endswith("1 x 0.35 / 3600 = 0.00009722…, rounded 0.00")
    assert arithmetic(MEMORY, Decimal("18432"), one, 1).endswith("1 x 18432.00 / 3686400 = 0.005, rounded 0.01")


def test_many_factors_are_counted_and_jobs_have_no_seconds() -> None:
    factors = [Stretch(f"run_{n}", 0, 10, 1) for n in range(6)]
    assert arithmetic(CPU, Decimal("36"), factors, 60).startswith(
        "1 core x 10 s + 1 core x 10 s + 1 core x 10 s + 1 core x 10 s + 2 more = 60 core-seconds; "
    )
    assert arithmetic(Component.JOB, Decimal("5.5"), factors[:3], 3) == "3 jobs x 5.50 = 16.50"


def test_an_adjustment_says_what_was_billed_before() -> None:
    assert (
        correction(CPU, Decimal("36"), 50, 40, 10)
        == "now 50 core-seconds; 50 x 36.00 / 3600 = 0.50; 0.40 billed before; difference 0.10"
    )


def test_hours_of_a_run_are_one_stretch_and_a_gap_makes_two() -> None:
    own = terms(price_list(tariff("t", 0, None, cpu_core_hour="36")))
    pieces: list[Portion] = []
    for first, last in ((0, 10), (10, 25), (30, 40)):
        piece = CORE.model_copy(update={"start": at(first), "end": at(last)})
        pieces += [p for p in portions(Record("run_a", START, (piece,), own, None), WHOLE) if p.key.component is CPU]
    assert [(s.start - START, s.end - START) for s in stretches(reversed(pieces))] == [(0, 25), (30, 40)]


def test_one_second_of_one_core_is_in_the_singular() -> None:
    one = [Stretch("run_1", START, START + 1, 1)]
    said = arithmetic(Component.CPU_CORE_HOUR, Decimal("36.00"), one, 1)
    assert said == "1 core x 1 s = 1 core-second; 1 x 36.00 / 3600 = 0.01"
