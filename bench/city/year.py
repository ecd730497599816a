"""The city's year: months of Asia/Shanghai, and how instants are written."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from caravan.kernel.clock import to_seconds
from caravan.kernel.local_days import zone_named

MONTHS: Final = 12
"""In which jobs start."""
TAIL: Final = MONTHS
"""The month after them: jobs end in it, and much that was late comes. It is closed too."""
AFTER: Final = MONTHS + 1
"""Behind the last close."""
HOUR: Final = 3600
DAY: Final = 86_400
ZONE: Final = zone_named("Asia/Shanghai")


class Course(NamedTuple):
    """What of the year is played: from the month `first` on, `months` in which jobs start, and `closes` that are closed.

    `settled`: all that was begun ends, and is told, before the last of them closes, and no credit note gives back of what is closed.
    """

    first: int
    months: int
    closes: int
    settled: bool
    organizations: int
    jobs_each: int
    """In a small city there are so many organizations, and one more for each so many jobs."""


YEAR: Final = Course(0, MONTHS, TAIL + 1, settled=False, organizations=20, jobs_each=4)
QUARTER: Final = Course(1, 3, 6, settled=True, organizations=2, jobs_each=2)
"""February to April: of two spans of claims of three months."""


def month(number: int) -> datetime:
    """When a month starts; 0 is January 2025."""
    years, months = divmod(number, 12)
    return datetime(2025 + years, months + 1, 1, tzinfo=ZONE).astimezone(UTC)


def month_seconds(number: int) -> tuple[int, int]:
    """[start, end) of a month, in seconds since the epoch."""
    return to_seconds(month(number)), to_seconds(month(number + 1))


def noon_after(instant: datetime) -> datetime:
    """Noon of the next day in Shanghai: nothing of the platform's own is due by its clock then."""
    day = (instant.astimezone(ZONE) + timedelta(days=1)).date()
    return datetime(day.year, day.month, day.day, 12, tzinfo=ZONE).astimezone(UTC)


@lru_cache(maxsize=65_536)
def written(second: int) -> str:
    """RFC 3339 in UTC."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
