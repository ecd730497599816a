"""The published years within a transaction."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.contracts.prices import CalendarYear
from caravan.kernel.database import database_now
from services.catalog.calendars.models import CalendarRow


def published(tx: Session) -> tuple[CalendarYear, ...]:
    """From last year on, in order: what a price list that is made now can still price lies in no earlier one, in any zone."""
    query = select(CalendarRow).where(CalendarRow.year >= database_now(tx).year - 1).order_by(CalendarRow.year)
    return tuple(row.days() for row in tx.scalars(query))
