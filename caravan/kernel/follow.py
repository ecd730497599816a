"""Following another service's feed: the cursor moves in the transaction of the effect, so each event has its effect once.

An event whose handler raises is parked with an alarm, and so are all later ones of the same subject; the feed goes on. Parked
events are tried again after each page and once a minute, the oldest first. A feed that was restored from a backup starts anew:
its snapshot comes, then all events that it keeps, those too that were applied before.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, Protocol

import structlog
from pydantic import BaseModel
from sqlalchemy import Select, delete, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from caravan.kernel import clock
from caravan.kernel.database import Database, of_the_database, savepoint
from caravan.kernel.feed import upsert
from caravan.kernel.problems import CursorGone
from caravan.kernel.tables import feed_cursors, feed_parked

_Event = dict[str, Any]
Handler = Callable[[Session, _Event], None]
"""Applies one event (an envelope as a dict). Raises when it can't be applied yet or at all."""


@dataclass(frozen=True)
class Together:
    """Handles events of several types, those of a page that follow each other at once: `apply` has the effect of one after another.

    It raises when one of them can't be applied: what it did is undone, and it gets fewer, down to that one alone.
    """

    apply: Callable[[Session, Sequence[_Event]], None]


Handlers = Mapping[str, Handler | Together]
"""By type. A Together stands with each type that it takes."""
WAIT_SECONDS: Final = 20.0
RETRY_PARKED_SECONDS: Final = 60.0
AT_ONCE: Final = 1000
"""How many parked events are read to be tried again."""
EARLIER: Final = "an earlier event of this subject is parked"
log = structlog.get_logger(__name__)


class FeedSource(Protocol):
    """What a follower needs of a service's client."""

    async def feed(self, after: str | None, wait: float) -> tuple[list[dict[str, Any]], str]:
        """Events after the cursor and the next cursor. Raises CursorGone."""

    async def snapshot(self, start_after: str | None) -> tuple[str, list[dict[str, Any]], str | None]:
        """(cursor, events, next page)."""


class Follower:
    """Follows one feed into one database. `handlers` has the types that matter here; others are passed over."""

    def __init__(self, db: Database, name: str, source: FeedSource, handlers: Handlers) -> None:
        self._db = db
        self._name = name
        self._source = source
        self._handlers = handlers
        self._retry_at = 0.0

    async def iteration(self, wait_seconds: float = WAIT_SECONDS) -> float:
        """One step of a supervised loop: fetch a page, apply it. Returns 0: the waiting is done at the other end."""
        cursor, any_parked = await self._db.read(self._look)
        if cursor is None:
            cursor = await self._take_snapshot(None)
        if any_parked and clock.monotonic() >= self._retry_at:
            self._retry_at = clock.monotonic() + RETRY_PARKED_SECONDS
            await self.retry()
        try:
            events, following = await self._source.feed(cursor, wait_seconds)
        except CursorGone:
            log.warning("feed_restored", feed=self._name)
            await self._take_snapshot(cursor)
            return 0
        if following != cursor:
            await self._db.write(self._apply_page, events, cursor, following)
        return 0

    async def retry(self) -> None:
        """Try the parked events again now; called when something they may have waited for has arrived."""
        await self._db.write(self._retry)

    async def _take_snapshot(self, gone: str | None) -> str:
        """Apply all pages, then leave `gone` for the first page's cursor: what changed meanwhile comes again by the feed."""
        first, start_after = None, None
        while True:
            cursor, events, start_after = await self._source.snapshot(start_after)
            first = first or cursor
            await self._db.write(self._apply_page, events, gone, gone if start_after else first)
            if start_after is None:
                return first

    def _cursor(self, tx: Session) -> str | None:
        return tx.execute(select(feed_cursors.c.cursor).where(feed_cursors.c.feed == self._name)).scalar_one_or_none()

    def _look(self, tx: Session) -> tuple[str | None, bool]:
        return self._cursor(tx), bool(self._parked(tx))

    def _apply_page(self, tx: Session, events: list[dict[str, Any]], cursor: str | None, following: str | None) -> None:
        """Apply what came after `cursor`, unless the feed is not there any more: another process has been quicker."""
        if self._cursor(tx) != cursor:
            return
        parked = self._parked(tx)
        for event, error in self._apply(tx, (event for event in events if event["type"] in self._handlers), parked):
            self._park(tx, event, error)
        if following is not None and following != cursor:
            moved = upsert(tx, feed_cursors).values(feed=self._name, cursor=following)
            tx.execute(moved.on_conflict_do_update(index_elements=["feed"], set_={"cursor": following}))
        if events and parked:
            self._retry(tx)

    def _apply(self, tx: Session, events: Iterable[_Event], parked: set[str]) -> list[tuple[_Event, str]]:
        """Apply them in order. Returns those that can't be, each with its reason, and adds their subjects to `parked`."""
        left = []
        for handler, run in groupby(events, key=lambda event: self._handlers.get(event["type"], _untaken)):
            if isinstance(handler, Together):
                left += self._apply_together(tx, handler, list(run), parked)
            else:
                one = _each(handler)
                left += [error for event in run for error in self._apply_together(tx, one, [event], parked)]
        return left

    def _apply_together(
        self, tx: Session, handler: Together, events: Sequence[_Event], parked: set[str]
    ) -> list[tuple[_Event, str]]:
        left = [(event, EARLIER) for event in events if event["subject"] in parked]
        ready = [event for event in events if event["subject"] not in parked]
        error = self._attempt(tx, handler, ready) if ready else None
        if error is None:
            return left
        if len(ready) > 1:
            half = len(ready) // 2
            return [
                *left,
                *self._apply_together(tx, handler, ready[:half], parked),
                *self._apply_together(tx, handler, ready[half:], parked),
            ]
        (event,) = ready
        log.warning("event_parked", feed=self._name, subject=event["subject"], type=event["type"], error=repr(error))
        parked.add(event["subject"])
        return [*left, (event, repr(error))]

    def _attempt(self, tx: Session, handler: Together, events: Sequence[_Event]) -> Exception | None:
        """Apply all of them or none, and say why not."""
        try:
            with savepoint(tx):
                handler.apply(tx, events)
        except Exception as error:  # Whatever it is, the feed goes on: the event is kept, counted and tried again.
            if isinstance(error, DBAPIError) and of_the_database(error):
                raise
            return error
        return None

    def _parked(self, tx: Session) -> set[str]:
        """The subjects that have parked events."""
        return set(tx.scalars(select(feed_parked.c.subject).where(feed_parked.c.feed == self._name).distinct()))

    def _park(self, tx: Session, event: dict[str, Any], error: str) -> None:
        """Put the event behind all that are parked; once, when a restored feed brings it again."""
        kept = event | {"time": event["time"] if isinstance(event["time"], str) else event["time"].isoformat()}
        values = {"id": event["id"], "subject": event["subject"], "event": kept, "error": error}
        parked = upsert(tx, feed_parked).values(feed=self._name, parked_at=clock.now(), **values)
        tx.execute(parked.on_conflict_do_nothing(index_elements=["feed", "id"]))

    def _retry(self, tx: Session) -> None:
        """Try the parked events in their order; behind one that still can't be applied, those of its subject wait on."""
        last, still_parked = 0, set[str]()
        while rows := tx.execute(self._parked_after(last)).all():
            last = rows[-1].sequence
            left = self._apply(tx, (row.event for row in rows), still_parked)
            waiting = {event["id"] for event, _ in left}
            done = [row.sequence for row in rows if row.event["id"] not in waiting]
            tx.execute(delete(feed_parked).where(feed_parked.c.sequence.in_(done)))

    def _parked_after(self, sequence: int) -> Select[Any]:
        mine = (feed_parked.c.feed == self._name) & (feed_parked.c.sequence > sequence)
        return select(feed_parked.c.sequence, feed_parked.c.event).where(mine).order_by("sequence").limit(AT_ONCE)


def _each(handler: Handler) -> Together:
    def apply(tx: Session, events: Sequence[_Event]) -> None:
        for event in events:
            handler(tx, event)

    return Together(apply)


def _untaken(tx: Session, event: _Event) -> None:
    """Of a parked event that was taken once."""
    raise LookupError(f"nothing takes {event['type']}")


def parked_count(tx: Session) -> int:
    """How many events are parked, for /metrics: anything but 0 wants a person."""
    return tx.execute(select(func.count()).select_from(feed_parked)).scalar_one()


def validated(model: type[BaseModel], event: dict[str, Any]) -> Any:
    """The event's data as its contract."""
    return model.model_validate(event["data"])
