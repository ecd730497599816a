"""Graduated volume discounts."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from caravan.contracts.prices import Component, PriceListDraft, VolumeTier
from caravan.kernel.money import Money
from caravan.pricing import DIVISOR, amount, tier_parts, volume_discount
from caravan.pricing.volume_words import discounted
from tests.pricing.cases import COMPONENTS, prices

CORE = Component.CPU_CORE_HOUR


def tiers(*steps: tuple[int, str]) -> tuple[VolumeTier, ...]:
    return tuple(VolumeTier(above=above, percent_off=Decimal(percent)) for above, percent in steps)


@st.composite
def rising(draw: st.DrawFn) -> tuple[VolumeTier, ...]:
    """Up to four tiers, some from the first unit on, some up to all of it."""
    above = sorted(draw(st.sets(st.integers(0, 5) | st.integers(0, 10**6), min_size=1, max_size=4)))
    hundredths = st.integers(1, 10_000) | st.sampled_from([1, 10_000])
    percents = sorted(draw(st.sets(hundredths, min_size=len(above), max_size=len(above))))
    return tiers(*((at, f"{Decimal(of).scaleb(-2):f}") for at, of in zip(above, percents, strict=True)))


components = st.sampled_from(COMPONENTS)
quantities = st.integers(0, 10**4) | st.integers(0, 10**13)
amounts = st.integers(0, 10**4) | st.integers(0, 10**14)


def test_only_what_lies_above_a_threshold_is_cheaper() -> None:
    both, hour = tiers((1000, "10"), (5000, "25.5")), 3600
    for hours, off in ((0, 0), (1000, 0), (1001, 10), (5000, 400_00), (5001, 400_26), (6000, 655_00)):
        assert volume_discount(CORE, both, hours * hour, hours * 100) == off, hours
    assert tier_parts(CORE, both, 5000 * hour + 1) == [(both[0], 4000 * hour), (both[1], 1)]
    assert tier_parts(CORE, both, 1000 * hour) == []


def test_hours_and_jobs_are_counted_as_prices_are_given() -> None:
    for component in COMPONENTS:
        assert volume_discount(component, tiers((2, "50")), 3 * DIVISOR[component], 300) == 50
    assert volume_discount(Component.JOB, tiers((0, "50")), 1, 300) == 150


def test_halves_of_a_fen_are_rounded_up_once() -> None:
    assert volume_discount(CORE, tiers((0, "50")), 3600, 1) == 1
    assert volume_discount(CORE, tiers((0, "49.99")), 3600, 1) == 0
    assert volume_discount(CORE, tiers((0, "25"), (1, "75")), 7200, 1) == 1


@given(components, rising(), quantities, amounts)
def test_a_discount_is_exact_and_never_more_than_the_amount(
    component: Component, steps: tuple[VolumeTier, ...], quantity: int, fen: int
) -> None:
    divisor, off = DIVISOR[component], Fraction(0)
    edges = [*(tier.above * divisor for tier in steps), max(quantity, steps[-1].above * divisor)]
    for place, tier in enumerate(steps):
        inside = max(0, min(quantity, edges[place + 1]) - edges[place])
        off += Fraction(tier.percent_off) / 100 * inside
    exact = off / quantity * fen if quantity else Fraction(0)
    found = volume_discount(component, steps, quantity, fen)
    assert 0 <= found <= fen
    assert exact - Fraction(1, 2) < found <= exact + Fraction(1, 2)


@given(components, rising(), quantities, quantities, amounts, amounts)
def test_more_use_or_dearer_use_is_never_discounted_less(
    component: Component, steps: tuple[VolumeTier, ...], quantity: int, more: int, fen: int, dearer: int
) -> None:
    low = volume_discount(component, steps, quantity, fen)
    assert low <= volume_discount(component, steps, quantity + more, fen)
    assert low <= volume_discount(component, steps, quantity, fen + dearer)


@given(components, rising(), quantities, quantities, prices)
def test_more_use_at_one_price_never_costs_less_by_more_than_its_rounding(
    component: Component, steps: tuple[VolumeTier, ...], quantity: int, more: int, price: Decimal
) -> None:
    def net(of: int) -> int:
        fen = amount(component, of, price)
        return fen - volume_discount(component, steps, of, fen)

    assert net(quantity) <= net(quantity + more) + 1


@given(components, rising())
def test_nothing_used_is_nothing_off(component: Component, steps: tuple[VolumeTier, ...]) -> None:
    assert volume_discount(component, steps, 0, 0) == volume_discount(component, steps, -5, -5) == 0


def test_words_tell_what_was_rounded_and_what_reaches_nothing() -> None:
    found = discounted(Component.JOB, tiers((1, "33.30")), 3, Money(100))
    assert found.zh.endswith("超过 1 个作业的 2 减免 33.3%；1.00 x (33.3 x 2) / (100 x 3) = 0.222，四舍五入为 0.22")
    assert found.en.endswith("2 above 1 jobs at 33.3% off; 1.00 x (33.3 x 2) / (100 x 3) = 0.222, rounded 0.22")
    even = discounted(CORE, tiers((0, "12.50"), (1, "100")), 2 * 3600, Money(400))
    assert even.zh.endswith(
        "；超过 0 核时的 3600 减免 12.5%，超过 1 核时的 3600 减免 100%；"
        "4.00 x (12.5 x 3600 + 100 x 3600) / (100 x 7200) = 2.25"
    )
    assert even.en.endswith(
        "; 3600 above 0 core-hours at 12.5% off, 3600 above 1 core-hours at 100% off; "
        "4.00 x (12.5 x 3600 + 100 x 3600) / (100 x 7200) = 2.25"
    )
    assert discounted(CORE, tiers((1, "5")), 3600, Money(100)).en.endswith("which reaches no threshold")


TARIFFS = [{"name": "a", "starts_at": "2026-01-01T00:00:00Z", "prices": {"cpu_core_hour": "1"}}]


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([(10, "5"), (10, "6")], "Let above rise from tier to tier: 10 comes after 10"),
        ([(10, "5"), (20, "5.00")], "Let percent_off rise from tier to tier: 5.00 comes after 5"),
        ([(10, "100.01")], "A percentage is a string"),
        ([(10, "0")], "A percentage is a string"),
        ([(10, "1.005")], "A percentage is a string"),
        ([(10, 5)], "A percentage is a string"),
        ([(-1, "5")], "greater than or equal to 0"),
        ([("1", "5")], "valid integer"),
        ([], "at least 1 item"),
    ],
)
def test_a_schedule_with_a_fault_is_refused_in_words(steps: list[tuple[object, object]], words: str) -> None:
    given = [{"above": above, "percent_off": percent} for above, percent in steps]
    with pytest.raises(ValidationError, match=words):
        PriceListDraft.model_validate({"tariffs": TARIFFS, "volume_discounts": {"cpu_core_hour": given}})


def test_a_schedule_is_kept_as_it_was_given() -> None:
    given = {"cpu_core_hour": [{"above": 0, "percent_off": "5.50"}, {"above": 7, "percent_off": "100"}]}
    draft = PriceListDraft.model_validate({"tariffs": TARIFFS, "volume_discounts": given})
    assert draft.model_dump(mode="json")["volume_discounts"] == given
