"""Leases: one holder at a time by the database's clock, with an epoch that grows at each change of hands.

A lease fences writes to this database: whoever acts under one calls `fence` in the same transaction. It does not fence the world.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.orm import Session

from caravan.kernel.database import database_now
from caravan.kernel.prepared import Prepared
from caravan.kernel.tables import leases

_ONE: Final = select(leases).where(leases.c.name == bindparam("lease"))
_PEEK: Final = Prepared(_ONE)
_KEEP: Final = Prepared(_ONE.with_for_update(read=True))


@dataclass(frozen=True)
class Held:
    """A lease as it stands."""

    holder: str
    epoch: int
    expires_at: datetime


class Fenced(Exception):
    """The lease is not held under this epoch any more. `epoch` is the current one."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"the lease is at epoch {epoch}")
        self.epoch = epoch


def peek(tx: Session, name: str) -> Held | None:
    """The lease as stored, expired or not."""
    return _held(_PEEK, tx, name)


def _held(statement: Prepared, tx: Session, name: str) -> Held | None:
    row = statement.first(tx, lease=name)
    return Held(row.holder, row.epoch, row.expires_at) if row else None


def acquire(tx: Session, name: str, holder: str, ttl: timedelta) -> Held:
    """Take or renew the lease for `holder`. Returns who has it now: compare `holder`. A new holder gets a new epoch."""
    now = database_now(tx)
    current = peek(tx, name)
    if current is None:
        taken = Held(holder, 1, now + ttl)
        tx.execute(insert(leases).values(name=name, holder=holder, epoch=1, expires_at=taken.expires_at))
        return taken
    if current.holder != holder and current.expires_at > now:
        return current
    epoch = current.epoch if current.holder == holder and current.expires_at > now else current.epoch + 1
    tx.execute(update(leases).where(leases.c.name == name).values(holder=holder, epoch=epoch, expires_at=now + ttl))
    return Held(holder, epoch, now + ttl)


def check(tx: Session, name: str, epoch: int) -> None:
    """Raise Fenced unless `epoch` is the lease's newest. An expired lease that nobody took is still its holder's."""
    _newest(peek(tx, name), epoch)


def fence(tx: Session, name: str, epoch: int) -> None:
    """`check` for what writes: the lease doesn't change hands before `tx` has ended.

    Who takes the lease next thus reads all that was written under it. PostgreSQL alone would let `tx` commit after that:
    its reads are snapshots, which take no part in serialization.
    """
    _newest(_held(_KEEP, tx, name), epoch)


def _newest(current: Held | None, epoch: int) -> None:
    if current is None or current.epoch != epoch:
        raise Fenced(current.epoch if current else 0)


def release(tx: Session, name: str, epoch: int) -> None:
    """Give the lease back, so that the next one needn't wait. The epoch stays."""
    tx.execute(update(leases).where(leases.c.name == name, leases.c.epoch == epoch).values(expires_at=database_now(tx)))


def forget(tx: Session, prefix: str) -> None:
    """Drop all leases whose name starts with `prefix` (a SQLite writer's start: every earlier owner is dead)."""
    tx.execute(delete(leases).where(leases.c.name.startswith(prefix, autoescape=True)))
