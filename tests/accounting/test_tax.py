"""The tax in prices, and its parts on lines: pure."""

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.accounting.statements.totals import Tally
from services.accounting.tax.spreading import spread, tax_of

RATES = st.one_of(st.sampled_from([0, 100, 300, 600, 1300]), st.integers(0, 10_000))
AMOUNTS = st.lists(st.integers(-(10**9), 10**9) | st.integers(-20, 20), max_size=40)


def exact(amount: int, rate: int) -> Fraction:
    return Fraction(amount * rate, 10_000 + rate)


def half_away(value: Fraction) -> int:
    whole = int(abs(value) + Fraction(1, 2))
    return whole if value >= 0 else -whole


@given(st.integers(-(10**15), 10**15), RATES)
def test_the_tax_in_a_gross_is_rounded_once(gross: int, rate: int) -> None:
    assert tax_of(gross, rate) == half_away(exact(gross, rate))
    assert tax_of(-gross, rate) == -tax_of(gross, rate)


@pytest.mark.parametrize(
    ("gross", "rate", "tax"), [(106, 600, 6), (1_000, 1300, 115), (100, 0, 0), (3, 10_000, 2), (-3, 10_000, -2)]
)
def test_halves_of_a_fen_of_tax_go_away_from_zero(gross: int, rate: int, tax: int) -> None:
    assert tax_of(gross, rate) == tax


@given(AMOUNTS, RATES)
def test_the_parts_are_the_tax_of_the_sum_and_each_is_its_amounts_within_a_fen(amounts: list[int], rate: int) -> None:
    parts = spread(amounts, rate)
    assert sum(parts) == tax_of(sum(amounts), rate)
    assert all(abs(part - exact(amount, rate)) < 1 for amount, part in zip(amounts, parts, strict=True))


@given(AMOUNTS, RATES, st.randoms(use_true_random=False))
def test_in_another_order_only_lines_of_equal_remainders_change_their_parts(
    amounts: list[int], rate: int, random: Random
) -> None:
    def rests(some: list[int]) -> Counter[tuple[int, Fraction]]:
        """Of each line the remainder, and how far its part is from its exact tax."""
        pairs = zip(some, spread(some, rate), strict=True)
        return Counter((amount * rate % (10_000 + rate), part - exact(amount, rate)) for amount, part in pairs)

    assert rests(random.sample(amounts, len(amounts))) == rests(amounts)


@pytest.mark.parametrize(
    ("amounts", "parts"),
    [
        ((100, 100, 100), (6, 6, 5)),  # 300 x 6/106 = 16.98: 17, and of equals the first go up
        ((5, 5, 5, 5), (1, 0, 0, 0)),  # each 0.28, together 1.13
        ((1000, -1000), (57, -57)),  # 56.60 and -56.60
        ((1000, -999), (57, -57)),  # 56.60 and -56.55 come to 0.06, so to none: 56 and -57, and the one goes to 0.60
        ((-100, -100), (-5, -6)),  # -5.66 each, -11.32 together
        ((), ()),
    ],
)
def test_the_largest_remainders_go_up(amounts: tuple[int, ...], parts: tuple[int, ...]) -> None:
    assert spread(amounts, 600) == list(parts)


@dataclass(frozen=True)
class Taxed:
    """What a tally reads of a line."""

    amount: int
    tax: int
    tax_rate: int
    tax_treatment: str = "taxed"
    bearer: str = "organization"
    corrects: str = ""


@given(st.dictionaries(RATES, AMOUNTS.filter(bool), max_size=4))
def test_net_and_tax_make_the_gross_on_each_line_in_each_section_and_in_all(supplies: dict[int, list[int]]) -> None:
    """Net is what gross is without tax at the rate: within half a fen in a section, within a fen on a line."""
    tally = Tally()
    lines = [
        Taxed(amount, tax, rate)
        for rate, amounts in supplies.items()
        for amount, tax in zip(amounts, spread(amounts, rate), strict=True)
    ]
    for line in lines:
        tally.add("prv_1", line)
        assert abs(line.amount - line.tax - Fraction(line.amount * 10_000, 10_000 + line.tax_rate)) < 1
    totals = tally.totals()
    assert {section.key.rate for section in totals.sections} == supplies.keys()
    for section in totals.sections:
        own = [line for line in lines if line.tax_rate == section.key.rate]
        net = section.gross - section.tax
        assert net == sum(line.amount - line.tax for line in own)
        assert abs(net - Fraction(section.gross * 10_000, 10_000 + section.key.rate)) <= Fraction(1, 2)
    assert totals.gross - totals.tax == sum(section.gross - section.tax for section in totals.sections)
    assert (totals.gross, totals.tax) == (sum(line.amount for line in lines), sum(line.tax for line in lines))
