"""Statements over many rows mean what they mean for each, on both engines."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import BigInteger, Column, MetaData, String, Table, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from caravan.kernel import migrations
from caravan.kernel.bulk import ChangeMany, InsertMany, SelectMany
from caravan.kernel.database import Database, Instant, Json

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
_metadata = MetaData()
kept = Table(
    "bulk_rows",
    _metadata,
    Column("run", String, primary_key=True),
    Column("hour", BigInteger, primary_key=True),
    Column("at", Instant),
    Column("data", Json),
)
INSERT = InsertMany(kept)
KEEP_FIRST = InsertMany(kept, lambda new: new.on_conflict_do_nothing())
KEEP_LAST = InsertMany(
    kept,
    lambda new: new.on_conflict_do_update(
        index_elements=["run", "hour"], set_={"at": new.excluded.at, "data": new.excluded.data}
    ),
)
KEY = {"run": kept.c.run.type, "hour": kept.c.hour.type}
FIND = SelectMany(
    KEY,
    lambda given: (
        select(kept)
        .join(given, (kept.c.run == given.c.run) & (kept.c.hour == given.c.hour))
        .order_by(kept.c.run, kept.c.hour)
    ),
)
CHANGE = ChangeMany(
    KEY | {"data": kept.c.data.type},
    lambda given: update(kept).where(kept.c.run == given.run, kept.c.hour == given.hour).values(data=given.data),
)
DROP = ChangeMany(KEY, lambda given: delete(kept).where(kept.c.run == given.run, kept.c.hour == given.hour))


def row(run: str, hour: int, data: Any = None, at: datetime | None = NOON) -> dict[str, Any]:
    return {"run": run, "hour": hour, "at": at, "data": data}


def everything(tx: Session) -> list[Any]:
    return [tuple(one) for one in tx.execute(select(kept).order_by(kept.c.run, kept.c.hour))]


@pytest.fixture
async def made(db: Database, database_url: str) -> Database:
    await asyncio.to_thread(migrations.on_connection, database_url, _metadata.create_all)
    return db


async def test_rows_go_in_as_they_are_given_and_some_are_found_by_their_keys(made: Database) -> None:
    rows = [row("a'", 3600 * 2**20, {"秦岭": [1, None]}), row("b", 0, None, None), row("b", 1, []), row("c", 1, "x")]

    def unit(tx: Session) -> tuple[list[Any], list[Any]]:
        INSERT.run(tx, rows)
        keys = [{"run": "b", "hour": 1}, {"run": "a'", "hour": 3600 * 2**20}, {"run": "c", "hour": 2}]
        return everything(tx), [tuple(one) for one in FIND.all(tx, keys)]

    stored, found = await made.write(unit)
    assert stored == [tuple(one.values()) for one in rows]
    assert found == [stored[0], stored[2]]


async def test_a_list_in_each_row_stays_a_list(made: Database) -> None:
    lists: list[Any] = [[{"a": 1}], [{"b": 2}], []]

    def unit(tx: Session) -> list[Any]:
        INSERT.run(tx, [row("a", hour, one) for hour, one in enumerate(lists)])
        CHANGE.run(tx, [row("a", hour, [one]) for hour, one in enumerate(lists)])
        return [data for *_, data in everything(tx)]

    assert await made.write(unit) == [[one] for one in lists]


async def test_what_is_there_already_stays_or_is_replaced(made: Database) -> None:
    def unit(tx: Session) -> tuple[list[Any], list[Any]]:
        INSERT.run(tx, [row("a", 1, "first")])
        KEEP_FIRST.run(tx, [row("a", 1, "second"), row("a", 2, "second")])
        stayed = everything(tx)
        KEEP_LAST.run(tx, [row("a", 2, "third"), row("a", 3, "third")])
        return stayed, everything(tx)

    stayed, replaced = await made.write(unit)
    assert [(hour, data) for _, hour, _, data in stayed] == [(1, "first"), (2, "second")]
    assert [(hour, data) for _, hour, _, data in replaced] == [(1, "first"), (2, "third"), (3, "third")]


async def test_each_row_is_changed_by_what_is_given_for_it_and_no_other(made: Database) -> None:
    def unit(tx: Session) -> list[Any]:
        INSERT.run(tx, [row("a", 1), row("a", 2), row("b", 1), row("b", 2)])
        CHANGE.run(tx, [row("a", 2, "x"), row("b", 1, None), row("b", 2, "y"), row("c", 1, "z")])
        DROP.run(tx, [row("a", 1), row("b", 1), row("d", 1)])
        return [(run, hour, data) for run, hour, _, data in everything(tx)]

    assert await made.write(unit) == [("a", 2, "x"), ("b", 2, "y")]


async def test_without_rows_nothing_is_done(made: Database) -> None:
    def unit(tx: Session) -> list[Any]:
        INSERT.run(tx, [row("a", 1)])
        for nothing in (INSERT, CHANGE, DROP):
            nothing.run(tx, [])
        return [*everything(tx), *FIND.all(tx, [])]

    assert await made.write(unit) == [("a", 1, NOON, None)]


async def test_one_that_breaks_a_constraint_undoes_them_all(made: Database) -> None:
    with pytest.raises(IntegrityError):
        await made.write(INSERT.run, [row("a", 1), row("a", 2), row("a", 1)])
    assert await made.read(everything) == []
