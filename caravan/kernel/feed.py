"""The feed: what happened goes to an outbox in the transaction that made it happen, and out in one order.

Publishing: `state(tx, type, subject, entity)` for an entity as it now is, `fact(tx, type, subject, data)` for what happened once.
Serving: `page` and `snapshot` are what GET /v1/feed and /v1/snapshot answer.
A follower is its token's subject, registered at its first GET; `after` acknowledges. Following is `caravan/kernel/follow.py`.

A cursor is `<generation>:<position>`. On SQLite the one writer gives positions at insert. On PostgreSQL transactions commit in another
order than they insert, so a lease-holder gives positions to what has committed (`give_positions`): a reader at position n has seen all
that will ever stand before n.
"""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from pydantic import BaseModel
from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from caravan.kernel import clock, ids, leases
from caravan.kernel.database import Database, affected, database_now, is_sqlite, signal
from caravan.kernel.problems import CursorGone, FieldError, Invalid
from caravan.kernel.tables import feed_entities, feed_followers, feed_state, outbox

TOPIC: Final = "feed"
PAGE: Final = 500
POLL_SECONDS: Final = 0.5
"""How often a waiting reader looks, where another process may have published (PostgreSQL)."""
LEASE: Final = "feed-positions"


def upsert(tx: Session, table: Any) -> Any:
    """`INSERT … ON CONFLICT` of the engine at hand."""
    return sqlite.insert(table) if is_sqlite(tx) else postgresql.insert(table)


def state(tx: Session, type: str, subject: str, entity: BaseModel) -> None:
    """Publish `entity` as it is after this transaction. A follower that missed earlier versions misses nothing."""
    data = entity.model_dump_json(by_alias=True)
    _append(tx, type, subject, data)
    values = {"type": type, "time": database_now(tx), "data": data}
    tx.execute(
        upsert(tx, feed_entities)
        .values(subject=subject, **values)
        .on_conflict_do_update(index_elements=["subject"], set_=values)
    )


def fact(tx: Session, type: str, subject: str, data: BaseModel) -> None:
    """Publish something that happened once. `subject` is the entity within which order matters."""
    _append(tx, type, subject, data.model_dump_json(by_alias=True))


def _append(tx: Session, type: str, subject: str, data: str) -> None:
    position = select(func.coalesce(func.max(outbox.c.position), 0) + 1).scalar_subquery() if is_sqlite(tx) else None
    tx.execute(
        insert(outbox).values(
            position=position,
            id=ids.new("evt"),
            type=type,
            subject=subject,
            time=database_now(tx),
            data=data,
        )
    )
    signal(tx, TOPIC)


def any_unpositioned(tx: Session) -> bool:
    """Whether committed events wait for their position (PostgreSQL)."""
    return tx.execute(select(outbox.c.sequence).where(outbox.c.position.is_(None)).limit(1)).first() is not None


def give_positions(tx: Session, holder: str, ttl: timedelta) -> int:
    """PostgreSQL: give positions to committed events, under the lease. Returns how many; 0 also when another holds the lease."""
    if leases.acquire(tx, LEASE, holder, ttl).holder != holder:
        return 0
    waiting = tx.scalars(
        select(outbox.c.sequence).where(outbox.c.position.is_(None)).order_by(outbox.c.sequence).limit(PAGE)
    ).all()
    if not waiting:
        return 0
    last = tx.execute(select(func.coalesce(func.max(outbox.c.position), 0))).scalar_one()
    for offset, sequence in enumerate(waiting, start=1):
        tx.execute(update(outbox).where(outbox.c.sequence == sequence).values(position=last + offset))
    signal(tx, TOPIC)
    return len(waiting)


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


def cursor_of(tx: Session, position: int) -> str:
    return f"{generation(tx)}:{position}"


def parse_cursor(tx: Session, cursor: str) -> int:
    """The position of a cursor of this generation. Raises CursorGone for another generation, Invalid for what isn't a cursor."""
    mine, _, position = cursor.partition(":")
    if not position.isascii() or not position.isdecimal() or len(position) > 18:
        raise Invalid(
            errors=[FieldError(pointer="query/after", code="cursor", detail="Pass a cursor that this feed gave")]
        )
    last = tx.execute(select(func.coalesce(func.max(outbox.c.position), 0))).scalar_one()
    if mine != generation(tx) or int(position) > last:
        raise CursorGone
    return int(position)


def event_of(row: Row[Any], source: str) -> dict[str, Any]:
    """A CloudEvents 1.0 envelope."""
    return {
        "specversion": "1.0",
        "id": row.id,
        "source": source,
        "type": row.type,
        "subject": row.subject,
        "time": row.time,
        "data": json.loads(row.data),
        "position": row.position,
    }


def after(tx: Session, position: int, limit: int = PAGE) -> Sequence[Row[Any]]:
    """Events that stand after `position`, in order."""
    return tx.execute(select(outbox).where(outbox.c.position > position).order_by(outbox.c.position).limit(limit)).all()


def acknowledge(tx: Session, follower: str, position: int) -> None:
    """Remember that `follower` has everything up to `position`; registers it at first sight."""
    values = {"position": position, "seen_at": database_now(tx)}
    tx.execute(
        upsert(tx, feed_followers)
        .values(subject=follower, **values)
        .on_conflict_do_update(index_elements=["subject"], set_=values, where=feed_followers.c.position <= position)
    )


def prune(tx: Session, limit: int = 1000) -> int:
    """Drop events that all followers have, the newest one excepted (it carries the position). Returns how many went."""
    seen = tx.execute(select(func.min(feed_followers.c.position))).scalar_one()
    if seen is None:
        return 0
    old = select(outbox.c.sequence).where(outbox.c.position < seen).order_by(outbox.c.position).limit(limit)
    return affected(tx, delete(outbox).where(outbox.c.sequence.in_(old.scalar_subquery())))


async def page(
    db: Database, source: str, follower: str, cursor: str | None, wait_seconds: float
) -> tuple[list[dict[str, Any]], str]:
    """Events after `cursor`, waiting up to `wait_seconds` for the first, and the next cursor.

    An idle follower that asks again with the same cursor costs reads only.
    """
    position, known = await db.read(_position, follower, cursor)
    if known != position:
        await db.write(acknowledge, follower, position)
    deadline = clock.monotonic() + wait_seconds
    while True:
        version = db.version(TOPIC)
        rows, current = await db.read(_look, position)
        left = deadline - clock.monotonic()
        if rows or left <= 0 or db.closing:
            return [event_of(r, source) for r in rows], f"{current}:{rows[-1].position if rows else position}"
        await db.wait(TOPIC, version, left if db.sqlite else min(left, POLL_SECONDS))


def _position(tx: Session, follower: str, cursor: str | None) -> tuple[int, int | None]:
    acknowledged = select(feed_followers.c.position).where(feed_followers.c.subject == follower)
    return 0 if cursor is None else parse_cursor(tx, cursor), tx.execute(acknowledged).scalar_one_or_none()


def _look(tx: Session, position: int) -> tuple[Sequence[Row[Any]], str]:
    return after(tx, position), generation(tx)


def snapshot(
    tx: Session, source: str, start_after: str, limit: int = PAGE
) -> tuple[str, list[dict[str, Any]], str | None]:
    """A page of current entities by subject, and the cursor from which to follow once all pages are read.

    The cursor stands before the oldest event that is kept: a new follower gets the facts too. Following from it brings entities
    again, and an older version never replaces a newer one.
    """
    first = tx.execute(select(func.coalesce(func.min(outbox.c.position), 1))).scalar_one()
    last = tx.execute(select(func.coalesce(func.max(outbox.c.position), 0))).scalar_one()
    found = (
        select(feed_entities)
        .where(feed_entities.c.subject > start_after)
        .order_by(feed_entities.c.subject)
        .limit(limit)
    )
    rows = tx.execute(found).all()
    events = [
        {
            "specversion": "1.0",
            "id": f"snapshot-{row.subject}",
            "source": source,
            "type": row.type,
            "subject": row.subject,
            "time": row.time,
            "data": json.loads(row.data),
            "position": last,
        }
        for row in rows
    ]
    return cursor_of(tx, first - 1), events, rows[-1].subject if len(rows) == limit else None
