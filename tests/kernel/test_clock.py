"""Times as integers, exact."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from caravan.kernel import clock

T0 = datetime(2026, 3, 1, tzinfo=UTC)


@given(st.datetimes(timezones=st.just(UTC)))
def test_microseconds_are_exact_in_both_directions_and_seconds_are_floored_from_them(at: datetime) -> None:
    assert clock.from_microseconds(clock.to_microseconds(at)) == at
    assert clock.to_seconds(at) == clock.to_microseconds(at) // 1_000_000


def test_seconds_are_exact_and_floored() -> None:
    assert clock.to_seconds(T0) == 1_772_323_200
    assert clock.to_seconds(T0 + timedelta(microseconds=999_999)) == 1_772_323_200
    assert clock.to_seconds(clock.EPOCH - timedelta(microseconds=1)) == -1
    assert clock.from_seconds(1_772_323_200) == T0
