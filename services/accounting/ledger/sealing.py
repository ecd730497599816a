"""Seals: a chain of hashes over the entries, written after their commit by whoever holds the lease.

An entry that was changed behind the guards' back, or taken out, breaks the chain at its place.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Row, delete, insert, select
from sqlalchemy.orm import Session

from caravan.kernel import clock, leases
from caravan.kernel.database import Database, database_now
from services.accounting.ledger.models import Entry, EntryPosting, Seal, Unsealed

LEASE: Final = "ledger-seals"
LEASE_TTL: Final = timedelta(seconds=10)
BATCH: Final = 500
PAUSE_SECONDS: Final = 1.0
FIRST: Final = "0" * 64
"""What the first seal follows."""

PostingRow = Row[str, str, int]


def canonical(entry: Row[Any], postings: Iterable[PostingRow]) -> bytes:
    """The bytes that are sealed: the entry with its postings in order, as JSON with sorted keys and times in microseconds."""
    whole = {
        "id": entry.id,
        "kind": entry.kind,
        "at": clock.to_microseconds(entry.at),
        "organization": entry.organization,
        "reference": entry.reference,
        "description": entry.description,
        "postings": [[posting.account, posting.amount] for posting in postings],
    }
    return json.dumps(whole, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def link(previous: str, entry: bytes) -> str:
    """The seal of `entry` after the seal `previous`: sha256, in hex."""
    return hashlib.sha256(previous.encode() + entry).hexdigest()


def read_entries(tx: Session, ids: Sequence[str]) -> Mapping[str, bytes]:
    """The canonical bytes of these entries."""
    found = postings_of(tx, ids)
    rows = tx.execute(select(*Entry.__table__.c).where(Entry.id.in_(ids)))
    return {row.id: canonical(row, found.get(row.id, ())) for row in rows}


def postings_of(tx: Session, ids: Sequence[str]) -> Mapping[str, Sequence[PostingRow]]:
    """The postings of these entries, in order."""
    rows = tx.execute(
        select(EntryPosting.entry, EntryPosting.account, EntryPosting.amount)
        .where(EntryPosting.entry.in_(ids))
        .order_by(EntryPosting.entry, EntryPosting.number)
    )
    found: dict[str, list[PostingRow]] = defaultdict(list)
    for row in rows:
        found[row.entry].append(row)
    return found


def seal(tx: Session, holder: str) -> int:
    """Seal the entries that wait, the oldest first. Returns how many; 0 also when another holds the lease."""
    if leases.acquire(tx, LEASE, holder, LEASE_TTL).holder != holder:
        return 0
    waiting = tx.scalars(select(Unsealed.entry).order_by(Unsealed.entry).limit(BATCH)).all()
    if not waiting:
        return 0
    last = tx.execute(select(Seal.sequence, Seal.hash).order_by(Seal.sequence.desc()).limit(1)).one_or_none()
    sequence, previous = (last.sequence, last.hash) if last else (0, FIRST)
    entries, now, seals = read_entries(tx, waiting), database_now(tx), []
    for entry in waiting:
        sequence, previous = sequence + 1, link(previous, entries[entry])
        seals.append({"sequence": sequence, "entry": entry, "hash": previous, "sealed_at": now})
    tx.execute(insert(Seal), seals)
    tx.execute(delete(Unsealed).where(Unsealed.entry.in_(waiting)))
    return len(waiting)


def any_unsealed(tx: Session) -> bool:
    return tx.execute(select(Unsealed.entry).limit(1)).first() is not None


class Sealer:
    """The loop that seals."""

    def __init__(self, db: Database, holder: str) -> None:
        self._db = db
        self._holder = holder

    async def iteration(self) -> float:
        """One pass; returns the seconds until the next. Entries of a second share a seal's transaction."""
        if not await self._db.read(any_unsealed):
            return PAUSE_SECONDS
        return 0 if await self._db.write(seal, self._holder) == BATCH else PAUSE_SECONDS
