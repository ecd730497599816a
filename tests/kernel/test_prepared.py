"""A prepared statement means what the same statement means to a session, on both engines."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from caravan.kernel import migrations
from caravan.kernel.database import Database, Instant, Json, savepoint
from caravan.kernel.prepared import Prepared
from tests.kernel.scratch import Thing, everything, put, things, value

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
_metadata = MetaData()
kept = Table(
    "prepared_rows",
    _metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("at", Instant),
    Column("data", Json),
    Column("word", String),
)
KEEP = Prepared(insert(kept))
ALL = Prepared(select(kept).order_by(kept.c.id))
OF = Prepared(select(kept).where(kept.c.id == bindparam("of_id")))
CHANGE = Prepared(update(kept).where(kept.c.id == bindparam("of_id")))


@pytest.fixture
async def made(db: Database, database_url: str) -> Database:
    await asyncio.to_thread(migrations.on_connection, database_url, _metadata.create_all)
    return db


async def test_what_goes_in_prepared_comes_out_of_a_session_and_the_other_way(made: Database) -> None:
    mine: list[dict[str, Any]] = [
        {"id": 1, "at": NOON, "data": {"秦岭": [1, None]}, "word": "a"},
        {"id": 2, "at": None, "data": None, "word": None},
    ]
    others = [row | {"id": row["id"] + 2} for row in mine]

    def unit(tx: Session) -> tuple[list[Any], list[Any]]:
        for row in mine:
            assert KEEP.run(tx, **row) == 1
        tx.execute(insert(kept), others)
        return [tuple(row) for row in tx.execute(select(kept).order_by(kept.c.id))], [tuple(r) for r in ALL.all(tx)]

    in_session, prepared = await made.write(unit)
    assert in_session == prepared == [tuple(row.values()) for row in mine + others]


async def test_rows_have_their_columns_as_attributes_and_absence_is_none(made: Database) -> None:
    def unit(tx: Session) -> tuple[Any, Any]:
        KEEP.run(tx, id=7, at=NOON, data=[1], word="x")
        return OF.first(tx, of_id=7), OF.first(tx, of_id=8)

    found, missing = await made.write(unit)
    assert (found.id, found.at, found.data, found.word, missing) == (7, NOON, [1], "x", None)
    with pytest.raises(LookupError):
        await made.read(OF.one, of_id=8)


async def test_an_insert_names_the_columns_it_is_given_and_leaves_the_rest(made: Database) -> None:
    def unit(tx: Session) -> list[Any]:
        KEEP.run_each(tx, [{"id": 1, "word": "a"}, {"id": 2, "word": "b"}])
        KEEP.run(tx, id=3, data={})
        return [tuple(row) for row in ALL.all(tx)]

    assert await made.write(unit) == [(1, None, None, "a"), (2, None, None, "b"), (3, None, {}, None)]


async def test_an_update_sets_what_it_is_given_and_counts_the_rows(made: Database) -> None:
    def unit(tx: Session) -> tuple[int, int, Any]:
        KEEP.run(tx, id=1, at=NOON, data=[1], word="a")
        met = CHANGE.run(tx, of_id=1, at=None, data={"b": 2})
        return met, CHANGE.run(tx, of_id=9, word="z"), tuple(OF.one(tx, of_id=1))

    assert await made.write(unit) == (1, 0, (1, None, {"b": 2}, "a"))


async def test_values_within_the_statement_keep_their_place(made: Database) -> None:
    counting = Prepared(
        select(func.coalesce(func.max(kept.c.id), 41).label("last")).where(
            kept.c.word == "a", kept.c.id > bindparam("least"), kept.c.at < NOON
        )
    )

    def unit(tx: Session) -> tuple[int, int]:
        KEEP.run_each(tx, [{"id": n, "word": "ab"[n % 2], "at": NOON.replace(hour=n)} for n in range(1, 20)])
        return counting.one(tx, least=5).last, counting.one(tx, least=11).last

    assert await made.write(unit) == (10, 41)


async def test_what_the_session_has_pending_goes_first(db: Database) -> None:
    of = Prepared(select(things.c.value).where(things.c.id == bindparam("of_id")))

    def unit(tx: Session) -> tuple[int, int, Any]:
        thing = Thing(id="a", value=7)
        tx.add(thing)
        added = of.one(tx, of_id="a").value
        thing.value = 8
        changed = of.one(tx, of_id="a").value
        tx.delete(thing)
        return added, changed, of.first(tx, of_id="a")

    assert await db.write(unit) == (7, 8, None)


async def test_a_forgotten_value_is_an_error_and_never_null(made: Database) -> None:
    with pytest.raises(Exception, match="of_id"):
        await made.read(OF.first)


async def test_a_broken_constraint_is_the_same_error_and_undoes_the_unit(db: Database) -> None:
    new = Prepared(insert(things))

    def unit(tx: Session) -> None:
        put(tx, "b")
        new.run(tx, id="a", value=1)

    def twice(tx: Session) -> None:
        put(tx, "c")
        new.run_each(tx, [{"id": "d", "value": 1}, {"id": "a", "value": 1}])

    await db.write(put, "a", 5)
    for failing in (unit, twice):
        with pytest.raises(IntegrityError):
            await db.write(failing)
    assert await db.read(value, "a") == 5
    assert await db.read(lambda tx: tx.scalars(select(things.c.id)).all()) == ["a"]


async def test_what_a_savepoint_takes_back_is_gone(db: Database) -> None:
    new = Prepared(insert(things))

    def unit(tx: Session) -> None:
        new.run(tx, id="a", value=1)
        with suppress(LookupError), savepoint(tx):
            new.run(tx, id="b", value=2)
            raise LookupError
        with savepoint(tx):
            new.run(tx, id="c", value=3)

    await db.write(unit)
    assert await db.read(everything) == {"a": 1, "c": 3}


async def test_a_savepoint_takes_back_what_the_session_did_and_keeps_what_was_done_before_it(db: Database) -> None:
    await db.write(put, "kept", 1)

    def unit(tx: Session) -> None:
        tx.add(Thing(id="before", value=2))
        with suppress(LookupError), savepoint(tx):
            tx.get_one(Thing, "kept").value = 9
            tx.add(Thing(id="never", value=9))
            tx.flush()
            tx.get_one(Thing, "before").value = 9
            raise LookupError
        assert (tx.get_one(Thing, "kept").value, tx.get(Thing, "never")) == (1, None)
        tx.get_one(Thing, "before").value += 1
        with savepoint(tx):
            tx.add(Thing(id="after", value=4))
            with suppress(LookupError), savepoint(tx):
                tx.get_one(Thing, "after").value = 9
                raise LookupError

    await db.write(unit)
    assert await db.read(everything) == {"kept": 1, "before": 3, "after": 4}


async def test_what_fails_at_the_end_of_a_savepoint_fails_there(db: Database) -> None:
    await db.write(put, "a", 1)

    def unit(tx: Session) -> None:
        with pytest.raises(IntegrityError), savepoint(tx):
            tx.add(Thing(id="a", value=2))
        tx.add(Thing(id="b", value=2))

    await db.write(unit)
    assert await db.read(everything) == {"a": 1, "b": 2}


async def test_a_reader_may_not_write_prepared_either(made: Database) -> None:
    with pytest.raises(Exception, match=r"readonly|read-only"):
        await made.read(KEEP.run, id=1)
    assert await made.read(ALL.all) == []
