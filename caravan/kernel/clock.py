"""The one place that reads the platform's clock. A `Clock` is passed in, so tests hold time in their hands."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]
"""Gives now as an aware UTC datetime."""


def now() -> datetime:
    """The system's clock, aware, UTC, to the microsecond."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Seconds on a clock that never jumps: for waits and durations, never for facts."""
    return time.monotonic()


def floor_second(instant: datetime) -> datetime:
    """`instant` without its fraction of a second: backend times are floored, so spans of one run always meet."""
    return instant.replace(microsecond=0)


def floor_hour(instant: datetime) -> datetime:
    """The start of the UTC hour that `instant` falls in."""
    return instant.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR_SECONDS = 3600


def to_microseconds(instant: datetime) -> int:
    """Microseconds since the epoch, exact. `instant` must be aware."""
    since = instant - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_microseconds(value: int) -> datetime:
    """The inverse of `to_microseconds`."""
    return EPOCH + timedelta(microseconds=value)


def to_seconds(instant: datetime) -> int:
    """Whole seconds since the epoch, floored."""
    since = instant - EPOCH
    return since.days * 86_400 + since.seconds


def from_seconds(value: int) -> datetime:
    """The inverse of `to_seconds` for whole seconds."""
    return EPOCH + timedelta(seconds=value)
