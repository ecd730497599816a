"""The words in which a charge is explained."""

from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

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
from services.accounting.charging.explanation import Decided, adjusted, arithmetic, bearer, correction, moved, stretches
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


def line(id: str, kind: BearerKind, reason: str, quantity: int, fen: int, price: str = "36.00") -> Any:
    return SimpleNamespace(
        id=f"lin_{id * 32}",
        bearer=kind,
        reason=reason,
        quantity=quantity,
        amount=fen,
        unit_price=price,
        price_list="prl_" + "1" * 32,
    )


def test_what_an_adjustment_takes_away_stands_on_another_line_with_its_bearer() -> None:
    ours, theirs = (
        line("a", BearerKind.ORGANIZATION, "", -40, -40),
        line("b", BearerKind.PROVIDER, "site_fault", 40, 40),
    )
    there = moved(ours, theirs, CORES, (), ())
    why = bearer(BearerKind.PROVIDER, BearerReason.SITE_FAULT).words
    assert there.words == Words(
        zh=f"改记在 {theirs.id}：增加 40 核秒，单价 36.00，金额 0.40；{why.zh}",
        en=f"instead, {theirs.id} has 40 core-seconds more at 36.00: 0.40; {why.en}",
    )
    assert (there.line, there.quantity, there.amount, there.reason) == (
        theirs.id,
        40,
        Money(40),
        BearerReason.SITE_FAULT,
    )
    back = moved(theirs, ours, CORES, (), ())
    assert back.words == Words(
        zh=f"转自 {ours.id}：减少 40 核秒，单价 36.00，金额 -0.40；此前由企业承担",
        en=f"it comes from {ours.id}, which has 40 core-seconds less at 36.00: -0.40; the organization bore it",
    )
    assert (back.quantity, back.reason) == (-40, None)
    one = line("c", BearerKind.PROVIDER, "overrun", 1, 1)
    assert (
        " has 1 core-second more "
        in moved(line("d", BearerKind.PROVIDER, "site_fault", -1, -1), one, CORES, (), ()).words.en
    )
    assert "beyond" in moved(line("d", BearerKind.PROVIDER, "site_fault", -1, -1), one, CORES, (), ()).words.en


def test_what_was_decided_is_named_behind_the_line_that_it_moved_to() -> None:
    wrong, right = (
        line("a", BearerKind.ORGANIZATION, "", -40, -40),
        line("b", BearerKind.ORGANIZATION, "", 40, 4, "3.6"),
    )
    cor, cts = "cor_" + "1" * 32, "cts_" + "2" * 32
    found = moved(wrong, right, CORES, (), (Decided(cor, "one zero too many"),))
    assert found.words == Words(
        zh=f"改记在 {right.id}：增加 40 核秒，单价 3.60，金额 0.04；按价格更正 {cor}：one zero too many",
        en=f"instead, {right.id} has 40 core-seconds more at 3.60: 0.04; by the price correction {cor}: one zero too many",
    )
    assert (found.price_corrections, found.contests) == ((cor,), ())
    upheld = moved(line("c", BearerKind.PROVIDER, "duplicate", -40, -40), right, CORES, (cts,), ())
    assert upheld.words.zh.endswith(f"；由企业承担；算力中心的申诉 {cts} 成立，这次运行不再因其结局而由算力中心承担")
    assert upheld.words.en.endswith(
        f"; the organization bears it; finance upheld the contest {cts}: "
        "the centre doesn't bear the run for how it ended any more"
    )
    assert (upheld.price_corrections, upheld.contests) == ((), (cts,))


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
