"""Times as integers, exact."""

from datetime import UTC, datetime, timedelta

from caravan.kernel import clock

T0 = datetime(2026, 3, 1, tzinfo=UTC)


def test_seconds_are_exact_and_floored() -> None:
    assert clock.to_seconds(T0) == 1_772_323_200
    assert clock.to_seconds(T0 + timedelta(microseconds=999_999)) == 1_772_323_200
    assert clock.to_seconds(clock.EPOCH - timedelta(microseconds=1)) == -1
    assert clock.from_seconds(1_772_323_200) == T0
