"""Jobs' stored lines, and what becomes of them when a total changes.

The total of a key is over its line and all adjustments that correct it. A closed period's lines stay: the rest goes to one adjustment in
the open period, with the amount that makes the sum of all equal the once-rounded price of the total.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from caravan.contracts.prices import Component
from caravan.contracts.statements import BearerKind, PeriodState
from caravan.kernel import ids
from caravan.kernel.bulk import ChangeMany, InsertMany, SelectMany
from caravan.kernel.database import table_of
from caravan.kernel.prepared import Fetched
from services.accounting.charging.lines import Key
from services.accounting.charging.models import LineRow
from services.accounting.periods import service as periods

LINES = table_of(LineRow)
_OF_JOBS: Final = SelectMany(
    {"job": LINES.c.job.type}, lambda given: select(LINES).join(given, LINES.c.job == given.c.job)
)
_LINE: Final = {"id": LINES.c.id.type}
_CHANGE: Final = ChangeMany(
    {**_LINE, "quantity": LINES.c.quantity.type, "amount": LINES.c.amount.type},
    lambda given: update(LINES).where(LINES.c.id == given.id).values(quantity=given.quantity, amount=given.amount),
)
_DELETE: Final = ChangeMany(_LINE, lambda given: delete(LINES).where(LINES.c.id == given.id))
_INSERT: Final = InsertMany(LINES)


@dataclass(frozen=True, slots=True)
class _Stored:
    """A line as it stands: `period` is where it is billed, its key's is where its seconds lie."""

    id: str
    period: str
    quantity: int
    amount: int


class Books:
    """The lines of some jobs, each a Book by its job. `write` once, when all totals are set."""

    def __init__(self, tx: Session, jobs: Iterable[str], closed: Mapping[str, bool]) -> None:
        """`closed`: of periods, as far as the caller knows; others are looked up."""
        self._tx = tx
        books = _Periods(tx, dict(closed))
        self._books = {job: Book(job, books) for job in jobs}
        for row in _OF_JOBS.all(tx, [{"job": job} for job in self._books]):
            self._books[row.job].has(row)

    def __getitem__(self, job: str) -> "Book":
        return self._books[job]

    def write(self) -> None:
        """Store what `set` has changed."""
        books = self._books.values()
        _DELETE.run(self._tx, [{"id": line} for book in books for line in book.gone])
        _CHANGE.run(
            self._tx,
            [{"id": one.id, "quantity": one.quantity, "amount": one.amount} for book in books for one in book.changed],
        )
        _INSERT.run(self._tx, [line for book in books for line in book.new])


class Book:
    """The lines of one job, and what is to be stored of them."""

    def __init__(self, job: str, periods: "_Periods") -> None:
        self._job = job
        self._periods = periods
        self._lines: dict[Key, dict[str, _Stored]] = {}
        self.new: list[dict[str, Any]] = []
        self.changed: list[_Stored] = []
        self.gone: list[str] = []

    def has(self, row: Fetched) -> None:
        """Take a line as it is stored."""
        stored = _Stored(row.id, row.period, row.quantity, row.amount)
        self._lines.setdefault(key_of(row), {})[row.period] = stored

    def keys_of(self, organization: str) -> list[Key]:
        """Those of what it buys."""
        return [key for key in self._lines if key.organization == organization]

    def amounts(self) -> Iterator[tuple[Key, int]]:
        """What each key's line and all that corrects it come to, in fen, as far as they stand in periods that are open."""
        for key, lines in self._lines.items():
            yield key, sum(line.amount for line in lines.values() if not self._periods.is_closed(line.period))

    def total(self, key: Key) -> int:
        """The quantity of the key's line and of what corrects it."""
        return sum(line.quantity for line in self._lines.get(key, {}).values())

    def totals(self, differences: Mapping[Key, int]) -> dict[Key, int]:
        """What the totals are after these differences, of the keys that change."""
        return {key: self.total(key) + more for key, more in differences.items() if more}

    def cost_of(self, differences: Mapping[Key, int]) -> int:
        """What these differences of quantities would add to what the organization bears, in fen."""
        return sum(
            key.amount(self.total(key) + more) - key.amount(self.total(key))
            for key, more in differences.items()
            if more and key.billed
        )

    def set(self, key: Key, total: int) -> int:
        """Make `total` the key's total. Returns by how much its amount has grown, in fen."""
        lines = self._lines.setdefault(key, {})
        if total == self.total(key):
            return 0
        period = self._periods.to_bill(key.period)
        others = [line for line in lines.values() if line.period != period]
        quantity = total - sum(line.quantity for line in others)
        amount = key.amount(total) - sum(line.amount for line in others)
        old = lines.get(period)
        if old is None:
            lines[period] = self._make(key, period, quantity, amount)
        else:
            lines[period] = replace(old, quantity=quantity, amount=amount)
            if quantity:
                self.changed.append(lines[period])
            else:
                self.gone.append(old.id)
                del lines[period]
        return amount - (old.amount if old else 0)

    def _make(self, key: Key, period: str, quantity: int, amount: int) -> _Stored:
        made = _Stored(ids.new("lin"), period, quantity, amount)
        values = key._asdict()
        values["pricing_window"] = values.pop("window")
        self.new.append(
            values
            | {
                "id": made.id,
                "job": self._job,
                "period": period,
                "corrects": key.period if period != key.period else "",
                "unit_price": format(key.unit_price, "f"),
                "bearer": key.bearer.value,
                "component": key.component.value,
                "quantity": quantity,
                "amount": amount,
            }
        )
        return made


class _Periods:
    """Which periods are closed, and where what corrects them goes: each asked once."""

    def __init__(self, tx: Session, closed: dict[str, bool]) -> None:
        self._tx = tx
        self._closed = closed
        self._open: str | None = None

    def is_closed(self, period: str) -> bool:
        if period not in self._closed:
            self._closed[period] = periods.find(self._tx, period).state == PeriodState.CLOSED
        return self._closed[period]

    def to_bill(self, period: str) -> str:
        """The period in which what lies in `period` is billed now."""
        if not self.is_closed(period):
            return period
        if self._open is None:
            self._open = periods.open_period(self._tx)
        return self._open


def key_of(row: Fetched) -> Key:
    """The key of a stored line (a row of `lines`): that of what it corrects, when it is an adjustment."""
    return Key(
        period=row.corrects or row.period,
        organization=row.organization,
        provider=row.provider,
        project=row.project,
        price_list=row.price_list,
        price_list_revision=row.price_list_revision,
        component=Component(row.component),
        accelerator=row.accelerator,
        tariff=row.tariff,
        window=row.pricing_window,
        unit_price=Decimal(row.unit_price),
        bearer=BearerKind(row.bearer),
        reason=row.reason,
        attempt=row.attempt,
        reseller=row.reseller,
    )
