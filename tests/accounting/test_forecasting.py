"""How long a pool lasts, and what is redeemed by the year's end. Pure."""

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.accounting.estimates.forecasting import Outlook, Rate, Standing, outlook

JULY = date(2026, 7, 1)


def standing(**changes: Any) -> Standing:
    """On 1 July: 900 of 1500 are issued, 100 in each of the last months, and of May back 60 a month are redeemed."""
    plain: dict[str, Any] = {
        "today": JULY,
        "pool": 1500,
        "committed": 900,
        "begins": 1,
        "closed": 5,
        "issued": {1: 600, 4: 100, 5: 100, 6: 100},
        "redeemed": {2: 500, 3: 60, 4: 60, 5: 60},
    }
    return Standing(**plain | changes)


def test_what_is_left_is_issued_at_the_rate_of_the_last_three_months() -> None:
    assert outlook(standing()) == Outlook(
        issued=Rate(300, 3), used_up=12, redeemed=Rate(180, 3), by_year_end=680 + 7 * 60
    )


@pytest.mark.parametrize(
    ("changes", "month"),
    [
        ({"committed": 899}, None),
        ({"today": JULY + timedelta(days=1)}, None),
        ({"committed": 1400}, 7),
        ({"committed": 1399}, 8),
        ({"committed": 1401, "today": date(2026, 7, 31)}, 8),
        ({"committed": 1500}, 7),
        ({"pool": 0, "committed": 0}, 7),
        ({"issued": {1: 600}}, None),
        ({"begins": 6, "issued": {6: 200}}, 9),
        ({"begins": 7, "issued": {7: 900}}, None),
        ({"begins": None, "issued": {}}, None),
    ],
)
def test_a_pool_is_used_up_in_the_month_in_which_nothing_is_left(changes: dict[str, Any], month: int | None) -> None:
    assert outlook(standing(**changes)).used_up == month


@pytest.mark.parametrize(
    ("changes", "rate", "by_year_end"),
    [
        ({"closed": 0}, None, None),
        ({"begins": 6}, None, None),
        ({"begins": 5, "redeemed": {5: 60}}, Rate(60, 1), 480),
        ({"closed": 2, "redeemed": {2: 100}}, Rate(100, 2), 600),
        ({"pool": 1099}, Rate(180, 3), 1099),
        ({"redeemed": {5: -5}}, Rate(-5, 3), 0),
        ({"redeemed": {3: 1}, "closed": 5}, Rate(1, 3), 3),
    ],
)
def test_what_is_redeemed_goes_on_as_in_the_last_closed_months_and_never_beyond_the_pool(
    changes: dict[str, Any], rate: Rate | None, by_year_end: int | None
) -> None:
    found = outlook(standing(**changes))
    assert (found.redeemed, found.by_year_end) == (rate, by_year_end)


@given(
    st.dates(date(2026, 1, 1), date(2026, 12, 31)),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.lists(st.integers(0, 10**5), min_size=12, max_size=12),
)
def test_walking_day_by_day_comes_to_the_same_month(today: date, pool: int, committed: int, issued: list[int]) -> None:
    """Each day takes its part of a month's rate; a pool that ends with a month is used up in it."""
    found = outlook(standing(today=today, pool=pool, committed=committed, issued=dict(enumerate(issued, start=1))))
    if found.issued is None or pool <= committed:
        assert found.used_up == (today.month if pool <= committed else None)
        return
    days = (date(today.year + today.month // 12, today.month % 12 + 1, 1) - today.replace(day=1)).days
    rest = days - today.day + 1
    left, month = (pool - committed) * found.issued.months * days, today.month
    left -= rest * found.issued.fen
    while left > 0 and month <= 12:
        left, month = left - days * found.issued.fen, month + 1
    assert found.used_up == (month if month <= 12 else None)
