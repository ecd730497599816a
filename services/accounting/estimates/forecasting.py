"""How long a year's pool lasts, and what of it is redeemed by the year's end: straight lines. Pure; amounts are fen, months 1 to 12."""

from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final, NamedTuple

from caravan.kernel.money import divide_half_away

LOOKS_BACK: Final = 3
"""Months at most."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Of a programme on `today`, of whose year the pool is. `begins`: the month of the year since which it issues; None: it doesn't.
    Of the months up to `closed` all that is redeemed is known."""

    today: date
    pool: int
    committed: int
    begins: int | None
    closed: int
    issued: Mapping[int, int]
    redeemed: Mapping[int, int]


class Rate(NamedTuple):
    """`fen` in `months` months."""

    fen: int
    months: int

    @property
    def a_month(self) -> int:
        return divide_half_away(self.fen, self.months)


@dataclass(frozen=True, slots=True)
class Outlook:
    """`used_up`: the month in which the pool has nothing left; None: not in this year. Rates and `by_year_end` are None where no month
    is over yet."""

    issued: Rate | None
    used_up: int | None
    redeemed: Rate | None
    by_year_end: int | None


def outlook(of: Standing) -> Outlook:
    """By the last months that are over: those before this one of what is issued, the closed ones of what is redeemed."""
    issued = _rate(of.issued, of.begins, of.today.month - 1)
    redeemed = _rate(of.redeemed, of.begins, of.closed)
    by_year_end = None
    if redeemed is not None:
        ahead = divide_half_away(redeemed.fen * (12 - of.closed), redeemed.months)
        by_year_end = max(0, min(sum(of.redeemed.values()) + ahead, of.pool))
    return Outlook(issued, _used_up(of, issued), redeemed, by_year_end)


def _rate(amounts: Mapping[int, int], begins: int | None, last: int) -> Rate | None:
    if begins is None or begins > last:
        return None
    months = range(max(begins, last - LOOKS_BACK + 1), last + 1)
    return Rate(sum(amounts.get(month, 0) for month in months), len(months))


def _used_up(of: Standing, issued: Rate | None) -> int | None:
    left, today = of.pool - of.committed, of.today
    if left <= 0:
        return today.month
    if issued is None or issued.fen <= 0:
        return None
    days = monthrange(today.year, today.month)[1]
    gone = (today.month - 1) * days + today.day - 1
    ends = -(-(gone * issued.fen + left * issued.months * days) // (days * issued.fen))
    return ends if ends <= 12 else None
