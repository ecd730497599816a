"""The published years within a transaction."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.contracts.prices import CalendarYear
from services.catalog.calendars.models import CalendarRow


def published(tx: Session) -> tuple[CalendarYear, ...]:
    """All of them, in order."""
    return tuple(row.days() for row in tx.scalars(select(CalendarRow).order_by(CalendarRow.year)))
