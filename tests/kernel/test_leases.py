"""Leases: one holder at a time, by the database's clock."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.orm import Session

from caravan.kernel import clock, leases
from caravan.kernel.database import Database, database_now
from caravan.kernel.leases import Fenced, Held, acquire, check, peek, release
from caravan.kernel.tables import leases as stored
from tests.kernel.scratch import things

TTL = timedelta(minutes=5)


def expire(tx: Session, name: str) -> None:
    past = database_now(tx) - timedelta(microseconds=1)
    tx.execute(update(stored).where(stored.c.name == name).values(expires_at=past))


async def held(db: Database, name: str = "site") -> Held:
    found = await db.read(peek, name)
    assert found is not None
    return found


async def test_a_lease_is_one_holders_until_it_ends(db: Database) -> None:
    first = await db.write(acquire, "site", "one", TTL)
    assert (first.holder, first.epoch) == ("one", 1)
    assert await db.write(acquire, "site", "two", TTL) == first == await held(db)
    await db.write(expire, "site")
    second = await db.write(acquire, "site", "two", TTL)
    assert (second.holder, second.epoch) == ("two", 2)
    assert (await db.write(acquire, "other", "one", TTL)).epoch == 1


async def test_renewing_keeps_the_epoch_and_moves_the_end(db: Database) -> None:
    first = await db.write(acquire, "site", "one", TTL)
    renewed = await db.write(acquire, "site", "one", TTL)
    assert renewed.epoch == 1
    assert renewed.expires_at > first.expires_at


async def test_a_holder_that_was_too_late_gets_a_new_epoch(db: Database) -> None:
    """Another may have held it meanwhile, and been forgotten; what was begun under the old epoch is void."""
    await db.write(acquire, "site", "one", TTL)
    await db.write(expire, "site")
    assert (await db.write(acquire, "site", "one", TTL)).epoch == 2


async def test_of_many_that_want_it_at_once_one_gets_it(db: Database) -> None:
    answers = await asyncio.gather(*(db.write(acquire, "site", f"{number}", TTL) for number in range(12)))
    assert len({answer.holder for answer in answers}) == 1
    assert {answer.epoch for answer in answers} == {1}


async def test_who_acts_under_an_old_epoch_is_fenced(db: Database) -> None:
    with pytest.raises(Fenced) as never_held:
        await db.read(check, "site", 1)
    assert never_held.value.epoch == 0
    await db.write(acquire, "site", "one", TTL)
    await db.read(check, "site", 1)
    await db.write(expire, "site")
    await db.read(check, "site", 1)
    await db.write(acquire, "site", "two", TTL)
    with pytest.raises(Fenced) as taken:
        await db.read(check, "site", 1)
    assert taken.value.epoch == 2
    await db.read(check, "site", 2)


async def test_who_takes_a_lease_reads_all_that_was_written_under_it(postgresql_db: Database) -> None:
    """A write that was under way when the lease changed hands is in the next holder's first snapshot, or never is."""
    db, begun = postgresql_db, asyncio.Event()
    await db.write(acquire, "site", "one", TTL)
    await db.write(expire, "site")

    def slow(tx: Session) -> None:
        leases.fence(tx, "site", 1)
        begun.set()
        tx.execute(text("SELECT pg_sleep(0.3)"))
        tx.execute(insert(things).values(id="written", value=1))

    writing = asyncio.create_task(db.write(slow))
    await begun.wait()
    assert (await db.write(acquire, "site", "two", TTL)).epoch == 2
    seen = await db.read(lambda tx: tx.execute(select(things.c.id)).all())
    await asyncio.gather(writing, return_exceptions=True)
    assert seen == await db.read(lambda tx: tx.execute(select(things.c.id)).all())
    with pytest.raises(Fenced):
        await db.write(leases.fence, "site", 1)


async def test_a_released_lease_is_the_next_ones_at_once(db: Database) -> None:
    await db.write(acquire, "site", "one", TTL)
    await db.write(release, "site", 1)
    assert (await db.write(acquire, "site", "two", TTL)).epoch == 2
    await db.write(release, "site", 1)
    assert (await db.write(acquire, "site", "three", TTL)).holder == "two"


async def test_the_databases_clock_decides(postgresql_db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process whose clock is a year ahead takes nobody's lease."""
    first = await postgresql_db.write(acquire, "site", "one", TTL)
    monkeypatch.setattr(clock, "now", lambda: datetime.now(UTC) + timedelta(days=365))
    assert await postgresql_db.write(acquire, "site", "two", TTL) == first
    renewed = await postgresql_db.write(acquire, "site", "one", TTL)
    assert renewed.expires_at - first.expires_at < timedelta(days=1)


async def test_leases_are_forgotten_by_prefix_and_nothing_else(db: Database) -> None:
    for name in ("owner:a", "owner:b", "ownerXa", "owner%"):
        await db.write(acquire, name, "one", TTL)
    await db.write(leases.forget, "owner:")
    assert [await db.read(peek, name) is None for name in ("owner:a", "owner:b", "ownerXa", "owner%")] == [
        True,
        True,
        False,
        False,
    ]
