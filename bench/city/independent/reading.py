"""Files, times and amounts of a played city (bench/city/README.md)."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

HOUR = 3600
DAY = 86400

Fact = dict[str, Any]


class Unreadable(Exception):
    """The folder isn't one of a played city, or a file of it can't be read."""


@lru_cache(maxsize=1 << 16)
def _midnight(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())


def seconds(text: str) -> int:
    """Seconds since 1970 of an RFC 3339 time in UTC; a fraction of a second is cut off."""
    if text[-1] != "Z":
        return int(datetime.fromisoformat(text).timestamp())
    return _midnight(text[:10]) + int(text[11:13]) * HOUR + int(text[14:16]) * 60 + int(text[17:19])


def instant(text: str) -> Fraction:
    """The same, exactly."""
    whole, _, rest = text.rstrip("Z").partition(".")
    return seconds(whole + "Z") + (Fraction(int(rest), 10 ** len(rest)) if rest else Fraction(0))


def fen(text: str) -> int:
    """Fen of an amount in CNY with two places."""
    exact = Fraction(text) * 100
    if exact.denominator != 1:
        raise Unreadable(f"{text} is no amount with two places")
    return exact.numerator


def yuan(amount: int) -> str:
    """An amount in CNY with two places."""
    return f"{'-' if amount < 0 else ''}{abs(amount) // 100}.{abs(amount) % 100:02}"


def halves_away(numerator: int, denominator: int) -> int:
    """`numerator / denominator`, rounded to an integer, halves away from zero; the denominator is above 0 (docs/prices.md)."""
    size = (2 * abs(numerator) + denominator) // (2 * denominator)
    return size if numerator >= 0 else -size


def records(path: Path) -> Iterator[Fact]:
    """The objects of a `.jsonl` file, in their order."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    try:
                        yield json.loads(line)
                    except ValueError as error:
                        raise Unreadable(f"{path}, line {number}: {error}") from error
    except OSError as error:
        raise Unreadable(f"{path}: {error}") from error


def told(folder: Path) -> list[Path]:
    """The files of `facts/`, in the order of telling."""
    files = sorted((folder / "facts").glob("*.jsonl"))
    if not files:
        raise Unreadable(f"{folder} has no facts/")
    return files
