"""A job's stored lines, and what becomes of them when a total changes.

The total of a key is over its line and all adjustments that correct it. A closed period's lines stay: the rest goes to one adjustment in
the open period, with the amount that makes the sum of all equal the once-rounded price of the total.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Row, bindparam, delete, insert, select, update
from sqlalchemy.orm import Session

from caravan.contracts.prices import Component
from caravan.contracts.statements import BearerKind, PeriodState
from caravan.kernel import ids
from caravan.kernel.database import table_of
from services.accounting.charging.lines import Key
from services.accounting.charging.models import LineRow
from services.accounting.periods import service as periods

LINES = table_of(LineRow)
_OF_JOB: Final = select(LINES).where(LINES.c.job == bindparam("job"))
_CHANGE: Final = (
    update(LINES).where(LINES.c.id == bindparam("line")).values(quantity=bindparam("now"), amount=bindparam("costs"))
)
_INSERT: Final = insert(LINES)


@dataclass(frozen=True, slots=True)
class _Stored:
    """A line as it stands: `period` is where it is billed, its key's is where its seconds lie."""

    id: str
    period: str
    quantity: int
    amount: int


class Book:
    """The lines of one job. `set` totals, then `write` once."""

    def __init__(self, tx: Session, job: str, closed: Mapping[str, bool]) -> None:
        """`closed`: of periods, as far as the caller knows; others are looked up."""
        self._tx = tx
        self._job = job
        self._lines: dict[Key, dict[str, _Stored]] = {}
        self._closed = dict(closed)
        self._target: str | None = None
        self._new: list[dict[str, Any]] = []
        self._changed: list[_Stored] = []
        self._gone: list[str] = []
        for row in tx.execute(_OF_JOB, {"job": job}):
            stored = _Stored(row.id, row.period, row.quantity, row.amount)
            self._lines.setdefault(key_of(row), {})[row.period] = stored

    def keys(self) -> Iterable[Key]:
        return self._lines.keys()

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
        period = self._open_period() if self._is_closed(key.period) else key.period
        others = [line for line in lines.values() if line.period != period]
        quantity = total - sum(line.quantity for line in others)
        amount = key.amount(total) - sum(line.amount for line in others)
        old = lines.get(period)
        if old is None:
            lines[period] = self._make(key, period, quantity, amount)
        else:
            lines[period] = replace(old, quantity=quantity, amount=amount)
            if quantity:
                self._changed.append(lines[period])
            else:
                self._gone.append(old.id)
                del lines[period]
        return amount - (old.amount if old else 0)

    def write(self) -> None:
        """Store what `set` has changed."""
        if self._gone:
            self._tx.execute(delete(LINES).where(LINES.c.id.in_(self._gone)))
        if self._changed:
            changes = [{"line": one.id, "now": one.quantity, "costs": one.amount} for one in self._changed]
            self._tx.execute(_CHANGE, changes)
        if self._new:
            self._tx.execute(_INSERT, self._new)

    def _make(self, key: Key, period: str, quantity: int, amount: int) -> _Stored:
        made = _Stored(ids.new("lin"), period, quantity, amount)
        values = key._asdict()
        values["pricing_window"] = values.pop("window")
        self._new.append(
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

    def _is_closed(self, period: str) -> bool:
        if period not in self._closed:
            self._closed[period] = periods.find(self._tx, period).state == PeriodState.CLOSED
        return self._closed[period]

    def _open_period(self) -> str:
        if self._target is None:
            self._target = periods.open_period(self._tx)
        return self._target


def key_of(row: Row[Any]) -> Key:
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
    )
