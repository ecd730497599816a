"""What vouchers pay: at which rate of each line, how much of a claim floor and caps allow, and how that stands on lines. Pure."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.contracts.offerings import Tier
from caravan.contracts.prices import Component
from caravan.contracts.programmes import WHOLE, Funder, IssuerLevel, Origin
from caravan.kernel.money import Money
from services.accounting.programmes.claims import (
    Claim,
    Holder,
    Offer,
    Part,
    Used,
    funded,
    paid,
    rate_of,
    share,
    spread,
    together,
)
from tests.accounting.programmes_cases import programme

PLAIN = Holder(frozenset(), None, frozenset())
PROVIDER, OTHER = f"prv_{1:032x}", f"prv_{2:032x}"
CARDS = Used(Component.ACCELERATOR_HOUR, Tier.AI, Origin.DOMESTIC, PROVIDER)
CORES = Used(Component.CPU_CORE_HOUR, Tier.HPC, None, PROVIDER)

rates = st.integers(0, WHOLE)
fen = st.integers(0, 10**12)


def offer(number: int, level: IssuerLevel, rate: int, stacks_to: int | None = None) -> Offer:
    return Offer(f"vou_{number:032x}", level, rate, stacks_to)


offers = st.lists(
    st.builds(offer, st.integers(1, 9), st.sampled_from(IssuerLevel), rates, st.none() | rates),
    max_size=6,
    unique_by=lambda one: one.voucher,
)


@pytest.mark.parametrize(
    ("rules", "holder", "used", "rate"),
    [
        ([{"rate": 2000}, {"origin": "domestic", "rate": 3000}], PLAIN, CARDS, 3000),
        ([{"rate": 2000}, {"origin": "domestic", "rate": 3000}], PLAIN, CARDS._replace(origin=Origin.FOREIGN), 2000),
        ([{"rate": 2000}, {"origin": "domestic", "rate": 3000}], PLAIN, CORES, 2000),
        ([{"rate": 2000}, {"use": "filed_model", "rate": 3000}], PLAIN._replace(use="filed_model"), CORES, 3000),
        ([{"rate": 2000}, {"use": "filed_model", "rate": 3000}], PLAIN._replace(use="other"), CORES, 2000),
        ([{"kind": "awarded", "rate": 6000}], PLAIN, CARDS, 0),
        ([{"kind": "awarded", "rate": 6000}, {"rate": 5000}], PLAIN._replace(kinds=frozenset({"awarded"})), CARDS, 6000),
        ([{"kind": "awarded", "origin": "domestic", "rate": 6000}], PLAIN._replace(kinds=frozenset({"awarded"})), CORES, 0),
    ],
)  # fmt: skip
def test_the_highest_rate_counts_of_those_whose_conditions_are_met(
    rules: list[dict[str, Any]], holder: Holder, used: Used, rate: int
) -> None:
    assert rate_of(programme(rates=rules), holder, used) == rate


@pytest.mark.parametrize(
    ("limits", "paid_for"),
    [
        ({"components": ["accelerator_hour"]}, [CARDS]),
        ({"tiers": ["hpc"]}, [CORES]),
        ({"origins": ["domestic"]}, [CARDS]),
        ({"eligibility": {"suppliers": [OTHER]}}, []),
        ({"eligibility": {"suppliers": [PROVIDER]}}, [CARDS, CORES]),
        ({"eligibility": {"unaffiliated": True}}, []),
        ({}, [CARDS, CORES]),
    ],
)
def test_nothing_is_paid_for_what_a_programme_does_not_support(limits: dict[str, Any], paid_for: list[Used]) -> None:
    holder = PLAIN._replace(affiliates=frozenset({PROVIDER}))
    some = programme(**limits)
    assert [used for used in (CARDS, CORES) if rate_of(some, holder, used)] == paid_for


def test_on_one_level_the_best_voucher_pays_alone_and_of_equal_ones_the_first() -> None:
    city = IssuerLevel.CITY
    assert together([offer(1, city, 2000, WHOLE), offer(2, city, 3000, WHOLE)]) == {f"vou_{2:032x}": 3000}
    assert together([offer(2, city, 3000), offer(1, city, 3000)]) == {f"vou_{1:032x}": 3000}


def test_levels_that_stack_pay_together_up_to_the_least_limit_and_the_higher_one_first() -> None:
    province, city = offer(2, IssuerLevel.PROVINCE, 3000, 5000), offer(1, IssuerLevel.CITY, 3000, 4500)
    assert together([city, province]) == {province.voucher: 3000, city.voucher: 1500}
    district = offer(3, IssuerLevel.DISTRICT, 3000, WHOLE)
    assert together([city, province, district]) == {province.voucher: 3000, district.voucher: 2000}
    assert together([province, district]) == {province.voucher: 3000, district.voucher: 2000}


def test_a_low_limit_of_one_keeps_no_others_from_paying_together() -> None:
    low = offer(1, IssuerLevel.PROVINCE, 1000, 1000)
    others = [offer(2, IssuerLevel.CITY, 3000, WHOLE), offer(3, IssuerLevel.DISTRICT, 3000, WHOLE)]
    assert together([low, *others]) == {one.voucher: 3000 for one in others}
    assert together([low]) == {low.voucher: 1000}


def test_one_that_does_not_stack_pays_alone_where_that_is_more() -> None:
    stack = [offer(1, IssuerLevel.PROVINCE, 2000, WHOLE), offer(2, IssuerLevel.CITY, 2000, WHOLE)]
    assert together([*stack, offer(3, IssuerLevel.DISTRICT, 5000)]) == {f"vou_{3:032x}": 5000}
    assert together([*stack, offer(3, IssuerLevel.DISTRICT, 3000)]) == {one.voucher: 2000 for one in stack}


def test_what_pays_already_keeps_its_level_and_counts_in_the_limit_of_what_stacks_with_it() -> None:
    city, province = offer(1, IssuerLevel.CITY, 3000, 4000), offer(2, IssuerLevel.PROVINCE, 2000, WHOLE)
    assert together([offer(3, IssuerLevel.CITY, 9000, WHOLE)], [city]) == {}
    assert together([province], [city]) == {province.voucher: 1000}
    assert together([province._replace(stacks_to=3000)], [city]) == {}
    assert together([province._replace(stacks_to=None)], [city]) == {}
    assert together([province], [city._replace(stacks_to=None)]) == {}


@given(offers, st.integers(0, 6))
def test_what_comes_second_pays_with_what_came_first_no_more_than_all(some: list[Offer], cut: int) -> None:
    rates = together(some[:cut])
    first = [one._replace(rate=rates[one.voucher]) for one in some[:cut] if one.voucher in rates]
    more = together(some[cut:], first)
    both = [one for one in some if one.voucher in {**rates, **more}]
    assert sum(rates.values()) + sum(more.values()) <= WHOLE
    assert len({one.level for one in both}) == len(both)
    if rates and more:
        assert sum(rates.values()) + sum(more.values()) <= min(one.stacks_to or 0 for one in both)
    assert rates or more == together(some[cut:])


@given(offers)
def test_no_vouchers_pay_more_than_all_and_never_less_than_the_best_alone(some: list[Offer]) -> None:
    rates = together(some)
    assert 0 <= sum(rates.values()) <= WHOLE
    assert sum(rates.values()) >= max((one.rate for one in some), default=0)
    assert together(reversed(some)) == rates
    levels = Counter(one.level for one in some if one.voucher in rates)
    assert all(count == 1 for count in levels.values())
    assert len(rates) < 2 or sum(rates.values()) <= min(one.stacks_to or 0 for one in some if one.voucher in rates)


@given(st.integers(-(10**12), 10**12), offers)
def test_shares_are_rounded_once_together_and_a_line_given_back_gives_them_back(amount: int, some: list[Offer]) -> None:
    rates = together(some)
    shares = share(amount, rates)
    assert abs(2 * (sum(shares.values()) * WHOLE - amount * sum(rates.values()))) <= WHOLE
    assert all(one * amount >= 0 for one in shares.values())
    assert abs(sum(shares.values())) <= abs(amount)
    assert share(-amount, rates) == {voucher: -one for voucher, one in shares.items()}


VOUCHERS = {f"vou_{number:032x}": number * 1000 for number in (1, 2, 3)}
claims = st.lists(
    st.builds(
        Claim,
        st.sampled_from(sorted(VOUCHERS)),
        st.integers(0, 5),
        st.sampled_from([2026, 2027]),
        st.integers(-500, 5000),
    ),
    unique_by=lambda claim: (claim.voucher, claim.start),
)
limits = st.fixed_dictionaries(
    {},
    optional={"claim": st.integers(0, 3000), "redeemed_in_year": st.integers(0, 4000)},
).map(lambda caps: {name: str(Money(fen)) for name, fen in caps.items()})


@given(claims, limits, st.integers(0, 2000))
def test_no_claim_passes_its_caps_and_each_has_all_that_they_leave(
    some: list[Claim], caps: dict[str, str], floor: int
) -> None:
    rules = programme(caps=caps, floor=str(Money(floor)))
    pays = paid(rules, VOUCHERS, some)
    assert pays == paid(rules, VOUCHERS, reversed(some))
    of_voucher, in_year = Counter[str](), Counter[int]()
    for claim in sorted(some, key=lambda claim: (claim.start, claim.voucher)):
        left = [claim.full, VOUCHERS[claim.voucher] - of_voucher[claim.voucher]]
        if rules.caps.claim is not None:
            left.append(rules.caps.claim.fen)
        if rules.caps.redeemed_in_year is not None:
            left.append(rules.caps.redeemed_in_year.fen - in_year[claim.year])
        assert pays[claim] == (max(0, min(left)) if claim.full >= floor else 0)
        of_voucher[claim.voucher] += pays[claim]
        in_year[claim.year] += pays[claim]


parts = st.lists(
    st.builds(Part, st.uuids().map(lambda one: f"lin_{one.hex}"), st.integers(0, 3), st.integers(-100, 500)),
    unique_by=lambda part: part.line,
)


@given(parts, st.data())
def test_what_a_claim_pays_stands_on_its_lines_in_the_order_of_their_usage(some: list[Part], data: Any) -> None:
    full = sum(part.share for part in some)
    pays = data.draw(st.integers(0, max(0, full)))
    stands = spread(some, pays)
    assert sum(stands) == pays
    if pays == full:
        assert stands == [part.share for part in some] or not pays
    by_line = dict(zip((part.line for part in some), stands, strict=True))
    shuffled = data.draw(st.permutations(some))
    assert dict(zip((part.line for part in shuffled), spread(shuffled, pays), strict=True)) == by_line
    positive = sorted((part for part in some if part.share > 0), key=lambda part: (part.ends_at, part.line))
    states = [by_line[part.line] - part.share for part in positive]
    partly = [place for place, short in enumerate(states) if short]
    assert all(by_line[part.line] == 0 for part in positive[partly[0] + 1 :]) if partly else True


@given(parts, st.data())
def test_no_more_moves_between_lines_than_what_a_claim_pays_more_or_less(some: list[Part], data: Any) -> None:
    below = sum(min(part.share, 0) for part in some)
    most = sum(part.share for part in some)
    was, pays = (data.draw(st.integers(0, max(0, most - below))) + below for _ in "wp")
    before = spread(some, was)
    stands = spread(some, pays, before)
    assert spread(some, was, before) == before
    if pays and was:
        assert sum(stands) == pays
        assert sum(abs(now - then) for now, then in zip(stands, before, strict=True)) == abs(pays - was)
    for part, fen in zip(some, stands, strict=True):
        assert 0 <= fen <= part.share or fen == part.share or not pays


def test_what_stood_on_a_line_goes_to_another_only_as_its_share_is_less() -> None:
    late, early, middle = Part("lin_1", 300, 50), Part("lin_2", 100, 50), Part("lin_3", 200, 50)
    assert spread([late, early, middle], 80, [50, 0, 0]) == [50, 30, 0]
    assert spread([late, early, middle], 30, [50, 0, 20]) == [10, 0, 20]
    assert spread([late, early, Part("lin_3", 200, 5)], 70, [50, 0, 20]) == [50, 15, 5]


@given(fen, st.lists(st.integers(1, 50), min_size=1, max_size=4))
def test_funders_pay_the_whole_each_its_part_within_a_fen(pays: int, weights: list[int]) -> None:
    shares = [WHOLE * weight // sum(weights) for weight in weights]
    shares[0] += WHOLE - sum(shares)
    parts = funded(pays, [Funder(name="某厅", share=one) for one in shares])
    assert sum(parts) == pays
    assert all(abs(part * WHOLE - pays * one) < WHOLE for part, one in zip(parts, shares, strict=True))
