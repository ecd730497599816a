"""Faults that can be planted into the service: each replaces one function of it, before a history is played.

The independent checker must see every one of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from caravan import pricing
from caravan.contracts.jobs import Outcome
from caravan.contracts.offerings import PreemptedBearer
from caravan.contracts.prices import PriceList
from caravan.contracts.usage import Span
from caravan.kernel import clock
from caravan.pricing import Piece, Window, amounts, charge
from services.accounting.charging import charger, due, lines
from services.accounting.charging.book import Book
from services.accounting.charging.due import Due
from services.accounting.charging.lines import Key
from services.accounting.funds.settling import END

Windows = Callable[[PriceList, int, int], list[Window]]


@dataclass(frozen=True)
class Fault:
    """`spoil` makes what stands in for `owner.name`, from the original."""

    owner: Any
    name: str
    spoil: Callable[[Any], Any]
    shows_as: str
    """The kind of difference by which the checker must see it."""

    def plant(self) -> None:
        setattr(self.owner, self.name, self.spoil(getattr(self.owner, self.name)))


def _half_even(_: object) -> Callable[[int, int], int]:
    def divide(numerator: int, denominator: int) -> int:
        whole, rest = divmod(numerator, denominator)
        return whole + (2 * rest > denominator or (2 * rest == denominator and whole % 2 == 1))

    return divide


def _a_second_late(windows: Windows) -> Windows:
    """Each second has the price of the second before it."""

    def late(prices: PriceList, start: int, end: int) -> list[Window]:
        return [Window(one.tariff, one.name, one.start + 1, one.end + 1) for one in windows(prices, start - 1, end - 1)]

    return late


def _newest_tariff(windows: Windows) -> Windows:
    """Each second has the price of the last tariff of the list."""

    def newest(prices: PriceList, start: int, end: int) -> list[Window]:
        first, *_, last = sorted(prices.tariffs, key=lambda tariff: tariff.starts_at)
        always = last.model_copy(update={"starts_at": first.starts_at})
        return windows(prices.model_copy(update={"tariffs": (always,)}), start, end)

    return newest


def _by_utc(windows: Windows) -> Windows:
    """Windows of a week go by UTC's days and clocks, whatever the list's zone."""

    def by_utc(prices: PriceList, start: int, end: int) -> list[Window]:
        return windows(prices.model_copy(update={"zone": "UTC"}), start, end)

    return by_utc


def _charged_again(charge: Callable[[Session, Sequence[Due], datetime], None]) -> Callable[..., None]:
    """Each record is charged a second time, as if it had just come."""
    once: set[tuple[str, int]] = set()

    def charged(tx: Session, marks: Sequence[Due], at: datetime) -> None:
        charge(tx, marks, at)
        new = [one for one in marks if one.hour != END and (one.run, one.hour) not in once]
        once.update((one.run, one.hour) for one in new)
        due.mark(tx, [one._replace(before=[]) for one in new])

    return charged


def _job_in_each_hour(quantities: Callable[..., list[Piece]]) -> Callable[..., list[Piece]]:
    """The price per job falls in the first second that each run held in each hour, and not once."""

    def of_hour(
        spans: Sequence[Span], price_list: PriceList, job_second: int | None, edges: Sequence[int]
    ) -> list[Piece]:
        first = clock.to_seconds(spans[0].start) if spans else job_second
        return quantities(spans, price_list, first, edges)

    return of_hour


def _corrections_dropped(set_total: Callable[[Book, Key, int], int]) -> Callable[[Book, Key, int], int]:
    """What comes for a closed period is forgotten."""

    def dropping(book: Book, key: Key, total: int) -> int:
        return 0 if book._periods.to_bill(key.period) != key.period else set_total(book, key, total)

    return dropping


FAULTS: Final = {
    "half-even-rounding": Fault(amounts, "divide_half_away", _half_even, "amount"),
    "second-off-at-an-edge": Fault(charge, "windows", _a_second_late, "quantity"),
    "doubled-record": Fault(charger, "charge", _charged_again, "quantity"),
    "job-in-each-hour": Fault(pricing, "quantities", _job_in_each_hour, "quantity"),
    "wrong-tariff": Fault(charge, "windows", _newest_tariff, "quantity"),
    "windows-by-utc": Fault(charge, "windows", _by_utc, "quantity"),
    "dropped-adjustment": Fault(Book, "set", _corrections_dropped, "quantity"),
    "grant-ignored": Fault(lines, "_by_grant", lambda _: lambda portion, *_: [portion], "quantity"),
    "preempted-never-billed": Fault(
        lines, "provider_bears", lambda bears: lambda outcome, _: bears(outcome, PreemptedBearer.PROVIDER), "quantity"
    ),
    "site-fault-billed": Fault(
        lines, "PROVIDER_BEARS", lambda borne: {Outcome.DUPLICATE: borne[Outcome.DUPLICATE]}, "quantity"
    ),
}
