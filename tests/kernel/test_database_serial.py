"""Units at once come out as if one had followed the other."""

import asyncio
from collections.abc import Callable

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from caravan.kernel import database
from caravan.kernel.database import Database
from caravan.kernel.problems import Busy
from tests.kernel.scratch import add, everything, put, set_value, value


async def test_units_that_read_and_write_the_same_row_follow_each_other(db: Database) -> None:
    await db.write(put, "a")
    await asyncio.gather(*(db.write(add, "a") for _ in range(12)))
    assert await db.read(value, "a") == 12


def together(db: Database, number: int) -> Callable[[Session], None]:
    """Called in each of `number` units, it holds the first runs of PostgreSQL's until all have come; SQLite's have no company."""
    arrived: list[Session] = []

    def meet(tx: Session) -> None:
        if not db.sqlite and len(arrived) < number:
            arrived.append(tx)
            while len(arrived) < number:
                tx.execute(select(1))

    return meet


async def test_two_units_that_would_each_be_right_alone_are_not_both_wrong(db: Database) -> None:
    """Each takes itself away if the other stays: at SNAPSHOT ISOLATION both would go (write skew)."""
    meet = together(db, 2)

    def leave_if_another_stays(tx: Session, id: str) -> None:
        staying = sum(everything(tx).values())
        meet(tx)
        if staying == 2:
            set_value(tx, id, 0)

    for id in ("a", "b"):
        await db.write(put, id, 1)
    await asyncio.gather(db.write(leave_if_another_stays, "a"), db.write(leave_if_another_stays, "b"))
    assert sum((await db.read(everything)).values()) == 1
    assert db.run_again == (0 if db.sqlite else 1)


async def test_of_two_that_look_before_they_insert_the_second_finds_the_row(db: Database) -> None:
    meet = together(db, 2)

    def find_or_put(tx: Session) -> bool:
        found = "a" in everything(tx)
        meet(tx)
        if not found:
            put(tx, "a")
        return found

    assert sorted(await asyncio.gather(db.write(find_or_put), db.write(find_or_put))) == [False, True]


async def test_one_that_looked_before_another_inserted_finds_the_row(postgresql_db: Database) -> None:
    looked, inserted = asyncio.Event(), asyncio.Event()

    def find_or_put(tx: Session) -> bool:
        found = "a" in everything(tx)
        looked.set()
        while not inserted.is_set():
            tx.execute(select(1))
        if not found:
            put(tx, "a")
        return found

    finding = asyncio.create_task(postgresql_db.write(find_or_put))
    await looked.wait()
    await postgresql_db.write(put, "a")
    inserted.set()
    assert await finding


async def test_a_row_that_is_there_is_the_callers_to_hear_of(db: Database) -> None:
    await db.write(put, "a")
    with pytest.raises(IntegrityError):
        await db.write(put, "a")


async def test_a_unit_that_can_never_be_serialized_is_given_up(
    postgresql_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "ATTEMPTS", 3)
    runs: list[str] = []

    def never(tx: Session) -> None:
        runs.append("run")
        tx.execute(text("DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'serialization_failure'; END $$"))

    with pytest.raises(Busy):
        await postgresql_db.write(never)
    assert len(runs) == 3
