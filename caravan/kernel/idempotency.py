"""Idempotency-Key: the first answer, byte for byte, for every repeat of a request.

`claim` in the first transaction, `answer` in the last: what was decided and what was said become durable together. A key whose
owner (a process) has died, or has let it go, is taken over by the next request that brings it; `reference` tells that one what
the first had made, in the transaction of its claim. Were both to finish, the first answer stands for both.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from sqlalchemy import ColumnElement, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from caravan.kernel import clock, leases
from caravan.kernel.database import Database, database_now, is_sqlite
from caravan.kernel.prepared import Prepared
from caravan.kernel.problems import KeyReused, StillRunning
from caravan.kernel.tables import idempotency

OWNER_TTL: Final = timedelta(seconds=10)
KEPT: Final = timedelta(days=7)
NOBODY: Final = ""

_THIS: Final = (idempotency.c.scope == bindparam("of_scope")) & (idempotency.c.key == bindparam("of_key"))
_FIND: Final = Prepared(select(idempotency).where(_THIS))
_CLAIM: Final = {
    True: Prepared(sqlite.insert(idempotency).on_conflict_do_nothing()),
    False: Prepared(postgresql.insert(idempotency).on_conflict_do_nothing()),
}
_ANSWER: Final = Prepared(
    update(idempotency)
    .where(_THIS, idempotency.c.status.is_(None))
    .values(status=bindparam("said"), body=bindparam("with_body"), headers=bindparam("with_headers"))
)


@dataclass(frozen=True)
class Answer:
    """A stored HTTP answer."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Claimed:
    """The key is this request's to work on. `reference` is what a dead owner had made already, if anything."""

    reference: str | None


@dataclass(frozen=True)
class Key:
    """An Idempotency-Key within its scope (caller and operation), with a fingerprint of the request's body."""

    scope: str
    key: str
    fingerprint: str


def fingerprint(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def owner_lease(owner: str) -> str:
    return f"owner:{owner}"


def claim(tx: Session, key: Key, owner: str, reference: str | None = None) -> Answer | Claimed:
    """Take the key, or return the stored answer. Raises KeyReused (other body) and StillRunning (its owner is alive).

    `reference`: what this transaction makes, for whoever takes over.
    """
    claimed = _CLAIM[is_sqlite(tx)].run(
        tx,
        scope=key.scope,
        key=key.key,
        fingerprint=key.fingerprint,
        owner=owner,
        reference=reference,
        created_at=clock.now(),
    )
    if claimed:
        return Claimed(None)
    row = _FIND.one(tx, of_scope=key.scope, of_key=key.key)
    if row.fingerprint != key.fingerprint:
        raise KeyReused
    if row.status is not None:
        return Answer(row.status, row.body, row.headers or {})
    lease = leases.peek(tx, owner_lease(row.owner))
    if lease is not None and lease.expires_at > database_now(tx):
        raise StillRunning
    tx.execute(update(idempotency).where(_is(key)).values(owner=owner))
    return Claimed(row.reference)


def answer(tx: Session, key: Key, stored: Answer) -> Answer:
    """Store what every repeat will get, and return it: `stored`, unless another that took the key over has answered before."""
    said = {"said": stored.status, "with_body": stored.body, "with_headers": stored.headers}
    if _ANSWER.run(tx, of_scope=key.scope, of_key=key.key, **said):
        return stored
    row = _FIND.one(tx, of_scope=key.scope, of_key=key.key)
    return Answer(row.status, row.body, row.headers or {})


def abandon(tx: Session, key: Key) -> None:
    """Let a claim go whose request ends without an answer: the next request with this key takes it over at once."""
    tx.execute(update(idempotency).where(_is(key), idempotency.c.status.is_(None)).values(owner=NOBODY))


def prune(tx: Session, limit: int = 1000) -> int:
    """Drop keys older than a week. Returns how many went."""
    old = (
        select(idempotency.c.scope, idempotency.c.key).where(idempotency.c.created_at < clock.now() - KEPT).limit(limit)
    )
    rows = tx.execute(old).all()
    for row in rows:
        tx.execute(delete(idempotency).where(_is(Key(row.scope, row.key, ""))))
    return len(rows)


def _is(key: Key) -> ColumnElement[bool]:
    return (idempotency.c.scope == key.scope) & (idempotency.c.key == key.key)


class Owner:
    """This process as the owner of keys: its lease says that it lives."""

    def __init__(self, db: Database, owner: str) -> None:
        self._db = db
        self.id = owner

    async def start(self) -> None:
        """Announce this process. On SQLite every earlier owner is dead: the writer's lock says so."""
        if self._db.sqlite:
            await self._db.write(leases.forget, "owner:")
        await self.iteration()

    async def iteration(self) -> float:
        """Renew, as a supervised loop; returns the seconds until the next time."""
        await self._db.write(leases.acquire, owner_lease(self.id), self.id, OWNER_TTL)
        return OWNER_TTL.total_seconds() / 3
