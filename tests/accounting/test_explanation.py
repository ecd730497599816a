"""The words in which a charge is explained."""

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from caravan.contracts.base import Words
from caravan.contracts.prices import Component
from caravan.contracts.statements import BearerKind, BearerReason
from caravan.kernel.money import Money
from caravan.pricing import LineKey
from caravan.pricing.explained import explained
from caravan.pricing.explained_days import Stretch
from caravan.pricing.explained_words import Unit
from services.accounting.charging.explanation import adjusted, arithmetic, bearer, correction, stretches
from services.accounting.charging.lines import Portion, Record, assigned, mode_of, portions, quantities
from tests.accounting.test_lines import CORE, WHOLE, Facts, every, facts, terms
from tests.pricing.cases import START, at, price_list, tariff

CPU, CORES, MIB = Component.CPU_CORE_HOUR, Unit(Component.CPU_CORE_HOUR), Unit(Component.MEMORY_GIB_HOUR)


def test_a_sum_that_comes_out_even_is_shown_as_it_is() -> None:
    factors = [Stretch("run_a", 0, 40, 2)]
    assert arithmetic(CORES, factors, 80, Decimal("36")) == Words(
        zh="2 核 x 40 秒 = 80 核秒；80 x 36.00 / 3600 = 0.80",
        en="2 cores x 40 s = 80 core-seconds; 80 x 36.00 / 3600 = 0.80",
    )


def test_a_rounded_sum_shows_what_was_rounded() -> None:
    one = [Stretch("run_a", 0, 1, 1)]
    assert arithmetic(CORES, one, 1, Decimal("18")).en.endswith(
        "1 core x 1 s = 1 core-second; 1 x 18.00 / 3600 = 0.005, rounded 0.01"
    )
    assert arithmetic(CORES, one, 1, Decimal("0.35")).en.endswith("1 x 0.35 / 3600 = 0.00009722…, rounded 0.00")
    assert arithmetic(MIB, one, 1, Decimal("18432")).en.endswith("1 x 18432.00 / 3686400 = 0.005, rounded 0.01")


def test_many_factors_are_counted_and_jobs_have_no_seconds() -> None:
    factors = [Stretch(f"run_{n}", 0, 10, 1) for n in range(6)]
    assert arithmetic(CORES, factors, 60, Decimal("36")).en.startswith(
        "1 core x 10 s + 1 core x 10 s + 1 core x 10 s + 1 core x 10 s + 2 more = 60 core-seconds; "
    )
    jobs = arithmetic(Unit(Component.JOB), factors[:3], 3, Decimal("5.5"))
    assert jobs == Words(zh="3 个作业 x 5.50 = 16.50", en="3 jobs x 5.50 = 16.50")


def test_an_adjustment_says_what_was_billed_before() -> None:
    assert adjusted(arithmetic(CORES, (), 50, Decimal("36")), Money(40), Money(10)) == Words(
        zh="现为 50 核秒；50 x 36.00 / 3600 = 0.50；此前已计 0.40；差额 0.10",
        en="now 50 core-seconds; 50 x 36.00 / 3600 = 0.50; 0.40 billed before; difference 0.10",
    )


def test_a_correction_adds_what_a_closed_period_lacks_or_has_too_much() -> None:
    more, less = (correction("per_" + "1" * 32, "2026-03", Money(40), Money(now)) for now in (50, 35))
    assert (more.difference, less.difference) == (Money(10), Money(-5))
    assert more.words == Words(
        zh="更正账期 2026-03：现为 0.50，此前已计 0.40，差额 0.10",
        en="corrects the period 2026-03: now 0.50, billed before 0.40, difference 0.10",
    )
    assert less.words.en.endswith("now 0.35, billed before 0.40, difference -0.05")


def test_who_bears_a_line_and_why_has_words_for_all_that_there_is() -> None:
    plain = {kind: bearer(kind, None).words for kind in BearerKind}
    assert len({words.zh for words in plain.values()}) == len(BearerKind)
    assert plain[BearerKind.ORGANIZATION].en == "the organization bears it"
    assert bearer(BearerKind.PROVIDER, None, preempted=True).words == plain[BearerKind.PROVIDER]
    said = {bearer(BearerKind.PROVIDER, reason).words.en for reason in BearerReason}
    assert len(said) == len(BearerReason) and all(words.startswith("the centre bears it: ") for words in said)
    charged = bearer(BearerKind.ORGANIZATION, None, preempted=True).words
    assert charged.en.startswith("the organization bears it: ") and "offering" in charged.en
    kept = bearer(BearerKind.PROVIDER, BearerReason.OVERRUN, preempted=True)
    assert kept == bearer(BearerKind.PROVIDER, BearerReason.OVERRUN)


def test_hours_of_a_run_are_one_stretch_and_a_gap_makes_two() -> None:
    own = terms(price_list(tariff("t", 0, None, cpu_core_hour="36")))
    pieces: list[Portion] = []
    for first, last in ((0, 10), (10, 25), (30, 40)):
        piece = CORE.model_copy(update={"start": at(first), "end": at(last)})
        pieces += [p for p in portions(Record("run_a", START, (piece,), own, None), WHOLE) if p.key.component is CPU]
    assert [(s.start - START, s.end - START) for s in stretches(reversed(pieces))] == [(0, 25), (30, 40)]


def test_one_second_of_one_core_is_in_the_singular() -> None:
    one = [Stretch("run_1", START, START + 1, 1)]
    said = arithmetic(CORES, one, 1, Decimal("36.00"))
    assert said.en == "1 core x 1 s = 1 core-second; 1 x 36.00 / 3600 = 0.01"


@given(facts(), st.integers(0, 20_000))
def test_a_line_is_told_with_all_its_seconds_and_no_others(given_facts: Facts, hold: int) -> None:
    records, calendar = given_facts
    records = [replace(one, run=f"run_{one.run[-1] * 32}") for one in records]
    lists = {one.terms.price_list.id: one.terms.price_list for one in records}
    borne = assigned(every(records, calendar), hold)
    for key, quantity in quantities(borne).items():
        own = [portion for portion in borne if portion.key == key]
        rate = LineKey(key.component, key.accelerator or None, key.tariff, key.window, mode_of(key))
        found = explained(rate, stretches(own), lists[key.price_list], key.unit_price, None)
        assert sum(step.quantity for step in found.steps) == found.arithmetic.quantity == quantity
        assert found.seconds == sum(portion.end - portion.start for portion in own)
        assert found.arithmetic.amount.fen == key.amount(quantity)
