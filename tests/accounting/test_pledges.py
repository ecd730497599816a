"""What a voucher pays of a hold and of what is charged then: the organization never owes more than its own part of the hold. Pure."""

from hypothesis import given
from hypothesis import strategies as st

from caravan.contracts.programmes import WHOLE
from services.accounting.redemptions.pledges import paid, pledge, redeemed

rates = st.sampled_from([0, 1, 2000, 3333, 5000, 6667, 9999, WHOLE])
ahead = st.lists(st.tuples(rates, st.integers(0, 10**9)), max_size=4)


@given(ahead, st.integers(0, 50), st.integers(0, 10**9), st.data())
def test_however_usage_falls_no_more_is_owed_than_the_organizations_part(
    most: list[tuple[int, int]], rounding: int, left: int, data: st.DataObject
) -> None:
    """`rounding`: what a hold allows for lines that are rounded up, whichever they are of."""
    amount = sum(one for _, one in most) + rounding
    pledged = pledge(most, 0, left)
    assert 0 <= pledged <= min(left, amount)
    charged, spare = [], rounding
    for rate, bound in most:
        used = data.draw(st.integers(0, bound + spare))
        spare -= max(0, used - bound)
        charged.append((rate, used))
    gross = sum(one for _, one in charged)
    assert gross - redeemed(charged, pledged) <= amount - pledged


@given(ahead, ahead)
def test_what_is_paid_is_rounded_once_for_each_rate_in_whichever_pieces(
    some: list[tuple[int, int]], more: list[tuple[int, int]]
) -> None:
    exact = sum(rate * amount for rate, amount in some)
    assert abs(paid(some) * WHOLE - exact) * 2 <= WHOLE * len({rate for rate, _ in some})
    assert paid([*some, *more]) == paid([*more, *some])
    assert paid([(rate, 1) for rate, amount in some for _ in range(min(amount, 9))]) == paid(
        [(rate, min(amount, 9)) for rate, amount in some]
    )


def test_a_pledge_is_redeemed_up_to_itself_and_never_below_nothing() -> None:
    assert redeemed([(3000, 1000)], 1000) == 300
    assert redeemed([(3000, 1000)], 299) == 299
    assert redeemed([(3000, 1000), (3000, -1000)], 299) == 0
    assert redeemed([(3000, -1000)], 299) == 0
    assert pledge([(3000, 1000)], 40, 1000) == 340
    assert pledge([(3000, 1000)], 40, 10) == 50
