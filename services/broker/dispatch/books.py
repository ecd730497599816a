"""The sites' own books: a day of them is asked for once all its usage has been stated, and passed on to accounting.

Which days are done is kept here: a new agent goes on where the last one was.
"""

from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy.orm import Session

from caravan.contracts import events
from caravan.contracts.books import BooksRead, BooksReport, BooksWanted, Day
from caravan.kernel import clock, feed
from caravan.kernel.database import Database
from caravan.kernel.local_days import midnight
from caravan.kernel.tokens import Caller
from services.broker.dispatch import leasing
from services.broker.dispatch.models import SiteRow
from services.broker.dispatch.wanted import site_row


class BooksService:
    def __init__(self, db: Database, zone: str, now: Callable[[], datetime]) -> None:
        self._db = db
        self._zone = ZoneInfo(zone)
        self._now = now

    async def wanted(self, site: str, epoch: int, caller: Caller) -> BooksWanted:
        """The first day that isn't done, once it's over. Raises NotFound, LeaseLost."""
        return await self._db.read(self._wanted, site, epoch, caller)

    def _wanted(self, tx: Session, site: str, epoch: int, caller: Caller) -> BooksWanted:
        leasing.check(tx, site, epoch, caller)
        return BooksWanted(day=self._day(tx.get(SiteRow, site)))

    async def report(self, site: str, report: BooksReport, caller: Caller) -> BooksWanted:
        """Pass a page on, and say what is wanted next. One of another day than is wanted changes nothing. Raises NotFound, LeaseLost."""
        return await self._db.write(self._report, site, report, caller)

    def _report(self, tx: Session, site: str, report: BooksReport, caller: Caller) -> BooksWanted:
        leasing.fence(tx, site, report.epoch, caller)
        row = site_row(tx, site)
        if self._day(row) == Day(start=report.start, end=report.end):
            page = BooksRead(
                site=site, **{name: getattr(report, name) for name in BooksRead.model_fields if name != "site"}
            )
            feed.fact(tx, events.BOOKS_READ, f"books:{site}", page)
            if report.last:
                row.books_through = report.end
        return BooksWanted(day=self._day(row))

    def _day(self, row: SiteRow | None) -> Day | None:
        if row is None or row.complete_through is None:
            return None
        today = midnight(self._zone, clock.to_seconds(self._now()))
        start = midnight(self._zone, today, -1) if row.books_through is None else clock.to_seconds(row.books_through)
        end = midnight(self._zone, start, 1)
        if end > min(today, clock.to_seconds(row.complete_through)):
            return None
        return Day(start=clock.from_seconds(start), end=clock.from_seconds(end))
