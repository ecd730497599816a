"""Months in the platform's zone, as UTC seconds. Pure."""

from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from caravan.kernel import clock


class Month(NamedTuple):
    """[start, end) in UTC seconds."""

    name: str
    start: int
    end: int


def month_of(second: int, zone: ZoneInfo) -> Month:
    """The month in which `second` falls in `zone`."""
    local = clock.from_seconds(second).astimezone(zone)
    return Month(
        f"{local.year:04d}-{local.month:02d}",
        _first_second(local.year, local.month, zone),
        _first_second(local.year + local.month // 12, local.month % 12 + 1, zone),
    )


def part_name(month: str, part: int) -> str:
    """`2026-11`, and after cuts `2026-11b`, `2026-11c`, … `2026-11z`, `2026-11aa`."""
    if part == 1:
        return month
    letters = ""
    while part:
        part, digit = divmod(part - 1, 26)
        letters = chr(ord("a") + digit) + letters
    return month + letters


def _first_second(year: int, month: int, zone: ZoneInfo) -> int:
    return clock.to_seconds(datetime(year, month, 1, tzinfo=zone))
