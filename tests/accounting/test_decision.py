"""The pure decision of a hold."""

from hypothesis import given
from hypothesis import strategies as st

from caravan.contracts.funds import FundsLimit
from services.accounting.funds.decision import Limit, decide

limits = st.lists(
    st.integers(-50, 100).map(lambda left: Limit(FundsLimit.BUDGET, 100, 0, left)), min_size=1, max_size=4
)


@given(limits, st.one_of(st.none(), st.integers(0, 50)), st.integers(0, 200))
def test_a_refusal_says_the_largest_amount_that_is_granted(
    given_limits: list[Limit], current: int | None, asked: int
) -> None:
    refused = decide(given_limits, current, asked)
    if refused is None:
        assert all(limit.available >= asked - (current or 0) for limit in given_limits) or asked <= (current or 0)
        return
    assert refused.fits < asked or min(limit.available for limit in given_limits) < 0
    assert refused.short.available == min(limit.available for limit in given_limits)
    assert decide(given_limits, current, refused.fits + 1) is not None
    if current is not None or refused.short.available >= 0:
        assert decide(given_limits, current, refused.fits) is None


@given(limits, st.integers(-50, 100), st.none() | st.integers(0, 50), st.integers(0, 200), st.integers(-40, 60))
def test_what_vouchers_pay_is_not_taken_of_funds_and_is_of_budgets(
    budgets: list[Limit], left: int, current: int | None, asked: int, more: int
) -> None:
    funds, held = Limit(FundsLimit.FUNDS, 100, 0, left), current or 0
    own = asked - held - more
    refused = decide([funds, *budgets], current, asked, more)
    by_all = left >= own and all(limit.available >= asked - held for limit in budgets)
    never_less = current is not None and asked <= held and own <= 0
    assert (refused is None) == (by_all or never_less)
    if refused is not None and (current is not None or refused.fits):
        assert refused.fits < max(asked, 1)
        assert decide([funds, *budgets], current, refused.fits, min(more, 0)) is None or refused.fits == 0


def test_nothing_new_is_held_below_zero_and_less_than_was_held_always_is() -> None:
    overdrawn = [Limit(FundsLimit.FUNDS, 0, 0, -1)]
    assert decide(overdrawn, None, 0) is not None
    assert decide(overdrawn, 10, 9) is None
    assert decide(overdrawn, 10, 10) is None
    assert decide(overdrawn, 10, 11) is not None
