"""The feed: what happened goes to an outbox in the transaction that made it happen, and out in one order.

Publishing: `state(tx, type, subject, entity)` for an entity as it now is, `fact(tx, type, subject, data)` for what happened once.
Serving: `page` and `snapshot` are what GET /v1/feed and /v1/snapshot answer.
A follower is its token's subject, registered at its first GET; `after` acknowledges. Following is `caravan/kernel/follow.py`.

A cursor is `<generation>:<position>`. On SQLite the one writer gives positions at insert. On PostgreSQL transactions commit in another
order than they insert, so a lease-holder gives positions to what has committed (`give_positions`): a reader at position n has seen all
that will ever stand before n.
"""

import json
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any, Final

from pydantic import BaseModel
from sqlalchemy import Row, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from caravan.kernel import clock, ids, leases
from caravan.kernel.database import Database, affected, is_sqlite, signal
from caravan.kernel.prepared import Prepared, Upsert
from caravan.kernel.problems import CursorGone, FieldError, Invalid
from caravan.kernel.tables import feed_entities, feed_followers, feed_state, outbox

TOPIC: Final = "feed"
PAGE: Final = 500
REMEMBERED: Final = timedelta(days=7)
"""A follower that isn't expected is forgotten when it has not come for so long: one curious look keeps no events for ever."""
POLL_SECONDS: Final = 0.5
"""How often a waiting reader looks, where another process may have published (PostgreSQL)."""
LEASE: Final = "feed-positions"


def upsert(tx: Session, table: Any) -> Any:
    """`INSERT … ON CONFLICT` of the engine at hand."""
    return sqlite.insert(table) if is_sqlite(tx) else postgresql.insert(table)


# Statements that every submission runs are made once.

_FIRST: Final = select(func.min(outbox.c.position)).scalar_subquery()
_LAST: Final = select(func.coalesce(func.max(outbox.c.position), 0)).scalar_subquery()
_APPEND: Final = {True: Prepared(insert(outbox).values(position=_LAST + 1)), False: Prepared(insert(outbox))}
_REMEMBER: Final = Upsert(
    lambda insert: (new := insert(feed_entities)).on_conflict_do_update(
        index_elements=["subject"], set_={name: new.excluded[name] for name in ("type", "time", "data")}
    )
)
_BOUNDS: Final = select(_FIRST.label("first"), _LAST.label("last"), feed_state.c.generation.label("generation")).where(
    feed_state.c.id == 1
)
_AFTER: Final = (
    select(outbox)
    .where(outbox.c.position > bindparam("after"))
    .order_by(outbox.c.position)
    .limit(bindparam("most", type_=outbox.c.position.type))
)
_ACKNOWLEDGED: Final = select(feed_followers.c.position, feed_followers.c.seen_at).where(
    feed_followers.c.subject == bindparam("follower")
)


def state(tx: Session, type: str, subject: str, entity: BaseModel) -> None:
    """Publish `entity` as it is after this transaction. A follower that missed earlier versions misses nothing."""
    event = _append(tx, type, subject, entity)
    _REMEMBER.run(tx, **{name: event[name] for name in ("subject", "type", "time", "data")})


def fact(tx: Session, type: str, subject: str, data: BaseModel) -> None:
    """Publish something that happened once. `subject` is the entity within which order matters."""
    _append(tx, type, subject, data)


def _append(tx: Session, type: str, subject: str, data: BaseModel) -> dict[str, Any]:
    event = {
        "id": ids.new("evt"),
        "type": type,
        "subject": subject,
        "time": clock.now(),
        "data": data.model_dump_json(by_alias=True),
    }
    _APPEND[is_sqlite(tx)].run(tx, **event)
    signal(tx, TOPIC)
    return event


def any_unpositioned(tx: Session) -> bool:
    """Whether committed events wait for their position (PostgreSQL)."""
    return tx.execute(select(outbox.c.sequence).where(outbox.c.position.is_(None)).limit(1)).first() is not None


def give_positions(tx: Session, holder: str, ttl: timedelta) -> int:
    """PostgreSQL: give positions to committed events, under the lease. Returns how many; 0 also when another holds the lease."""
    if leases.acquire(tx, LEASE, holder, ttl).holder != holder:
        return 0
    waiting = (
        select(outbox.c.sequence, func.row_number().over(order_by=outbox.c.sequence).label("number"))
        .where(outbox.c.position.is_(None))
        .order_by(outbox.c.sequence)
        .limit(PAGE)
        .subquery()
    )
    given = affected(
        tx,
        update(outbox)
        .where(outbox.c.sequence == waiting.c.sequence)
        .values(position=select(func.coalesce(func.max(outbox.c.position), 0)).scalar_subquery() + waiting.c.number),
    )
    if given:
        signal(tx, TOPIC)
    return given


def generation(tx: Session) -> str:
    """This database's generation; made once by `prepare`."""
    value: str = tx.execute(select(feed_state.c.generation).where(feed_state.c.id == 1)).scalar_one()
    return value


def prepare(tx: Session, *, restored: bool = False) -> None:
    """Give the database its generation. `restored`: a new one, since what followers saw after the backup did not happen here."""
    if restored:
        tx.execute(delete(feed_state))
    if tx.execute(select(feed_state.c.id)).one_or_none() is None:
        tx.execute(insert(feed_state).values(id=1, generation=ids.bare(ids.new("evt"))))


def position_of(tx: Session, cursor: str | None) -> int:
    """The position of a cursor of this feed; None stands before everything.

    Raises CursorGone (another generation, or events that the cursor lacks are dropped: take a snapshot) and Invalid (not a cursor).
    """
    bounds = tx.execute(_BOUNDS).one()
    mine, _, position = (cursor or f"{bounds.generation}:0").partition(":")
    if not position.isascii() or not position.isdecimal() or len(position) > 18:
        raise Invalid(
            errors=[FieldError(pointer="query/after", code="cursor", detail="Pass a cursor that this feed gave")]
        )
    if mine != bounds.generation or not (bounds.first or 1) - 1 <= int(position) <= bounds.last:
        raise CursorGone
    return int(position)


def event_of(row: Row[Any], source: str) -> dict[str, Any]:
    """A CloudEvents 1.0 envelope."""
    return _envelope(row, source, row.id, row.position)


def _envelope(row: Row[Any], source: str, id: str, position: int) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": row.type,
        "subject": row.subject,
        "time": row.time,
        "data": json.loads(row.data),
        "position": position,
    }


def after(tx: Session, position: int, limit: int = PAGE) -> Sequence[Row[Any]]:
    """Events that stand after `position`, in order."""
    return tx.execute(_AFTER, {"after": position, "most": limit}).all()


def acknowledge(tx: Session, follower: str, position: int) -> None:
    """Remember that `follower` has everything up to `position`; registers it at first sight."""
    values = {"position": position, "seen_at": clock.now()}
    tx.execute(
        upsert(tx, feed_followers)
        .values(subject=follower, **values)
        .on_conflict_do_update(index_elements=["subject"], set_=values, where=feed_followers.c.position <= position)
    )


def prune(tx: Session, expected: Collection[str] = (), limit: int = 1000) -> int:
    """Drop events that all followers have, the newest one excepted (it carries the position). Returns how many went.

    Nothing is dropped before each of the `expected` followers has come once. Others count while they are REMEMBERED.
    """
    lately = clock.now() - REMEMBERED
    known = {
        row.subject: row.position
        for row in tx.execute(select(feed_followers))
        if row.subject in expected or row.seen_at > lately
    }
    if not known or not known.keys() >= set(expected):
        return 0
    old = (
        select(outbox.c.sequence)
        .where(outbox.c.position < min(known.values()))
        .order_by(outbox.c.position)
        .limit(limit)
    )
    return affected(tx, delete(outbox).where(outbox.c.sequence.in_(old)))


async def page(
    db: Database, source: str, follower: str, cursor: str | None, wait_seconds: float
) -> tuple[list[dict[str, Any]], str]:
    """Events after `cursor`, waiting up to `wait_seconds` for the first, and the next cursor. Raises CursorGone, Invalid.

    An idle follower that asks again with the same cursor costs reads only.
    """
    position, is_news = await db.read(_position, follower, cursor)
    if is_news:
        await db.write(acknowledge, follower, position)
    deadline = clock.monotonic() + wait_seconds
    while True:
        version = db.version(TOPIC)
        rows, current = await db.read(_look, position)
        left = deadline - clock.monotonic()
        if rows or left <= 0 or db.closing:
            return [event_of(r, source) for r in rows], f"{current}:{rows[-1].position if rows else position}"
        await db.wait(TOPIC, version, left if db.sqlite else min(left, POLL_SECONDS))


def _position(tx: Session, follower: str, cursor: str | None) -> tuple[int, bool]:
    """The cursor's position, and whether it is to be acknowledged: it has moved, or the follower was last seen a day ago."""
    position, known = position_of(tx, cursor), tx.execute(_ACKNOWLEDGED, {"follower": follower}).one_or_none()
    return position, known is None or known.position < position or known.seen_at < clock.now() - REMEMBERED / 7


def _look(tx: Session, position: int) -> tuple[Sequence[Row[Any]], str]:
    return after(tx, position), generation(tx)


def snapshot(
    tx: Session, source: str, start_after: str, limit: int = PAGE
) -> tuple[str, list[dict[str, Any]], str | None]:
    """A page of current entities by subject, and the cursor from which to follow once all pages are read.

    The cursor stands before the oldest event that is kept: a new follower gets the facts too. Following from it brings entities
    again, and an older version never replaces a newer one.
    """
    bounds = tx.execute(_BOUNDS).one()
    found = (
        select(feed_entities)
        .where(feed_entities.c.subject > start_after)
        .order_by(feed_entities.c.subject)
        .limit(limit)
    )
    rows = tx.execute(found).all()
    events = [_envelope(row, source, f"snapshot-{row.subject}", bounds.last) for row in rows]
    cursor = f"{bounds.generation}:{(bounds.first or 1) - 1}"
    return cursor, events, rows[-1].subject if len(rows) == limit else None
