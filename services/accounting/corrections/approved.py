"""What corrections say of an attempt's prices, for who reads the facts of its runs; and of the volume discounts of whole periods."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Row, select, update
from sqlalchemy.orm import Session

from caravan.kernel.clock import to_seconds
from caravan.kernel.database import table_of
from services.accounting.corrections.models import CorrectionRow, WorkRow

CORRECTIONS: Final = table_of(CorrectionRow)
WORK: Final = table_of(WorkRow)
SETTLED: Final = CORRECTIONS.c.id.in_(select(WORK.c.correction).where(WORK.c.settled))
"""A period has closed since they were approved."""
ALL: Final = "all"


class Correction(NamedTuple):
    """Seconds in [start, end) of an offering's attempts that were placed by one of `replaces` (None: by any) are priced by `price_list`."""

    offering: str
    start: int
    end: int
    price_list: str
    replaces: frozenset[str] | None

    def concerns(self, offering: str, pinned: str) -> bool:
        """Whether it concerns an attempt on `offering` that was placed by the list `pinned`."""
        return offering == self.offering and (self.replaces is None or pinned in self.replaces)

    def covers(self, starts_at: datetime, ends_at: datetime) -> bool:
        """Whether it covers all of [starts_at, ends_at)."""
        return self.start <= to_seconds(starts_at) and to_seconds(ends_at) <= self.end


def approved(tx: Session, offerings: Collection[str]) -> list[Correction]:
    """All approved corrections of these offerings, in the order of their approval."""
    return found(tx, CORRECTIONS.c.offering.in_(offerings))


def found(tx: Session, *conditions: ColumnElement[bool]) -> list[Correction]:
    """All approved corrections of which these hold, in the order of their approval."""
    query = select(CORRECTIONS).where(CORRECTIONS.c.number.is_not(None), *conditions)
    return [correction_of(row) for row in tx.execute(query.order_by(CORRECTIONS.c.number))]


def settle(tx: Session) -> None:
    """A period closes, and the discounts of those that closed before it have been brought up to all approved corrections."""
    known = select(CORRECTIONS.c.id).where(CORRECTIONS.c.number.is_not(None))
    tx.execute(update(WORK).where(~WORK.c.settled, WORK.c.correction.in_(known)).values(settled=True))


def correction_of(row: Row[Any]) -> Correction:
    replaces = None if row.replaces == ALL else frozenset(row.replaces)
    return Correction(row.offering, row.starts_at, row.ends_at, row.price_list, replaces)
