"""Decisions about calendars: publishing a year, and knowing which one is missing."""

from collections.abc import Mapping
from datetime import date
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.contracts.prices import Calendar, CalendarYear
from caravan.kernel import audit
from caravan.kernel.database import database_now
from caravan.kernel.logs import get_logger
from caravan.kernel.metrics import Metrics
from caravan.kernel.pages import Listing, Page
from caravan.kernel.problems import NotFound
from caravan.kernel.runtime import Runtime
from caravan.kernel.tokens import Caller
from services.catalog.calendars.library import known_years
from services.catalog.calendars.models import CalendarRow
from services.catalog.calendars.years import published
from services.catalog.prices.lists import reprice

DECEMBER: Final = 12
LOOK_SECONDS: Final = 3600.0
log = get_logger(__name__)


class CalendarService:
    """Which days are not what their weekday says."""

    def __init__(self, runtime: Runtime, metrics: Metrics) -> None:
        self._db = runtime.db
        self._now = runtime.now
        self._missing = metrics.gauge(
            "calendar_years_missing", "Years that nobody published: this one, and from 1 December the next."
        )

    async def seed(self) -> None:
        """Publish the years that the library covers and nobody has published, from last year on."""
        await self._db.write(self._seed)

    def _seed(self, tx: Session) -> None:
        there = set(tx.scalars(select(CalendarRow.year)))
        new = [one for one in known_years() if one.year >= self._now().year - 1 and one.year not in there]
        for year in new:
            _store(tx, year)
        if new:
            reprice(tx, published(tx))

    async def publish(self, year: CalendarYear, caller: Caller) -> Calendar:
        """The year as it is from now on, with new revisions of all price lists that go by it. The same again changes nothing."""
        return await self._db.write(self._publish, year, caller)

    def _publish(self, tx: Session, year: CalendarYear, caller: Caller) -> Calendar:
        row = tx.get(CalendarRow, year.year)
        if row is None or row.days() != year:
            row = _store(tx, year)
            reprice(tx, published(tx))
            audit.record(tx, caller.subject, "publish_calendar", str(year.year), year)
        return row.shown()

    async def get(self, year: int) -> Calendar:
        return await self._db.read(self._get, year)

    def _get(self, tx: Session, year: int) -> Calendar:
        row = tx.get(CalendarRow, year)
        if row is None:
            raise NotFound
        return row.shown()

    async def look(self) -> float:
        """An iteration of the loop that alarms while a year is missing."""
        missing = await self._db.read(self._look)
        self._missing.set(len(missing))
        for year in missing:
            log.warning("calendar_not_published", year=year)
        return LOOK_SECONDS

    def _look(self, tx: Session) -> list[int]:
        there = set(tx.scalars(select(CalendarRow.year)))
        now = self._now()
        needed = (now.year, now.year + 1) if now.month == DECEMBER else (now.year,)
        return [year for year in needed if year not in there]

    async def list(self, listing: Listing) -> Page[Calendar]:
        return await self._db.read(self._list, listing)

    def _list(self, tx: Session, listing: Listing) -> Page[Calendar]:
        query = select(CalendarRow).order_by(CalendarRow.year.desc()).limit(listing.fetch)
        if listing.after is not None:
            query = query.where(CalendarRow.year < listing.after[0])
        return listing.page([row.shown() for row in tx.scalars(query)], key=lambda calendar: (calendar.year,))


def _in_order(days: Mapping[date, str]) -> dict[str, str]:
    return {day.isoformat(): name for day, name in sorted(days.items())}


def _store(tx: Session, year: CalendarYear) -> CalendarRow:
    row = tx.get(CalendarRow, year.year) or CalendarRow(year=year.year, revision=0)
    row.holidays, row.working_weekends = _in_order(year.holidays), _in_order(year.working_weekends)
    row.revision += 1
    row.published_at = database_now(tx)
    tx.add(row)
    tx.flush()
    return row
