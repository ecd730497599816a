"""What corrections say of an attempt's prices, for who reads the facts of its runs."""

from collections.abc import Collection
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from caravan.kernel.database import table_of
from services.accounting.corrections.models import CorrectionRow

CORRECTIONS: Final = table_of(CorrectionRow)
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


def approved(tx: Session, offerings: Collection[str]) -> list[Correction]:
    """All approved corrections of these offerings, in the order of their approval."""
    found = select(CORRECTIONS).where(CORRECTIONS.c.offering.in_(offerings), CORRECTIONS.c.number.is_not(None))
    return [correction_of(row) for row in tx.execute(found.order_by(CORRECTIONS.c.number))]


def correction_of(row: Row[Any]) -> Correction:
    replaces = None if row.replaces == ALL else frozenset(row.replaces)
    return Correction(row.offering, row.starts_at, row.ends_at, row.price_list, replaces)
