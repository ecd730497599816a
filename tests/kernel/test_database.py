"""Units of work on both engines: all or nothing, whoever else is at work and whoever leaves."""

import asyncio
import sqlite3
import sys
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import make_url, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from caravan.kernel import migrations
from caravan.kernel.database import Database, affected, database_now
from caravan.kernel.sqlite import WriterTaken
from tests.kernel.scratch import Thing, add, everything, opened, put, set_value, things, value
from tests.support import until

numbers = count()


class Refused(Exception):
    pass


def put_then_raise(tx: Session, id: str) -> None:
    put(tx, id)
    raise Refused(id)


def orphan(tx: Session, id: str) -> None:
    """Fails at the commit and not before."""
    put(tx, id, parent="nobody")


async def test_a_write_returns_what_the_unit_returned_and_stands(db: Database) -> None:
    def unit(tx: Session, id: str, *, number: int) -> str:
        put(tx, id, number)
        return f"{id} put"

    assert await db.write(unit, "a", number=7) == "a put"
    assert await db.read(everything) == {"a": 7}


async def test_objects_of_a_unit_are_written_and_outlive_it(db: Database) -> None:
    def unit(tx: Session) -> Thing:
        thing = Thing(id="a", value=7)
        tx.add(thing)
        return thing

    assert (await db.write(unit)).value == 7
    found = await db.read(Session.get_one, Thing, "a")
    assert (found.id, found.value, found.parent) == ("a", 7, None)


async def test_an_exception_takes_all_of_its_unit_back(db: Database) -> None:
    with pytest.raises(Refused, match="a"):
        await db.write(put_then_raise, "a")
    assert await db.read(everything) == {}
    await db.write(put, "a")


async def test_of_units_at_once_those_that_raise_leave_the_others(db: Database) -> None:
    units = [db.write(put_then_raise if number % 3 == 0 else put, f"{number:02}") for number in range(20)]
    outcomes = await asyncio.gather(*units, return_exceptions=True)
    assert [isinstance(outcome, Refused) for outcome in outcomes] == [number % 3 == 0 for number in range(20)]
    assert list(await db.read(everything)) == [f"{number:02}" for number in range(20) if number % 3]


async def test_a_unit_whose_commit_fails_hears_it_and_leaves_nothing(db: Database) -> None:
    with pytest.raises(IntegrityError):
        await db.write(orphan, "a")
    assert await db.read(everything) == {}
    await db.write(put, "a")


async def test_of_units_at_once_only_that_fails_whose_commit_would(db: Database) -> None:
    units = [db.write(orphan if number == 5 else put, f"{number:02}") for number in range(10)]
    outcomes = await asyncio.gather(*units, return_exceptions=True)
    assert [number for number, outcome in enumerate(outcomes) if outcome is not None] == [5]
    assert isinstance(outcomes[5], IntegrityError)
    assert list(await db.read(everything)) == [f"{number:02}" for number in range(10) if number != 5]


async def test_what_a_unit_saw_of_one_that_could_not_commit_is_not_its_answer(sqlite_db: Database) -> None:
    def unless_there(tx: Session) -> bool:
        if "a" in everything(tx):
            raise Refused
        return True

    outcomes = await at_once(sqlite_db, (orphan, "a"), (unless_there,))
    assert isinstance(outcomes[0], IntegrityError)
    assert outcomes[1] is True


async def test_a_unit_that_ends_the_transaction_for_all_fails_alone(sqlite_db: Database) -> None:
    twice = text("INSERT OR ROLLBACK INTO things (id, value) VALUES ('a', 1)")

    def ends_it(tx: Session) -> None:
        tx.execute(twice)

    def ends_it_and_goes_on(tx: Session) -> None:
        with pytest.raises(IntegrityError):
            tx.execute(twice)

    await sqlite_db.write(put, "a")
    outcomes = await at_once(sqlite_db, (put, "b"), (ends_it,), (add, "b"), (ends_it_and_goes_on,), (add, "b"))
    assert [type(outcome) for outcome in outcomes] == [type(None), IntegrityError, type(None), RuntimeError, type(None)]
    for unit, error in ((ends_it, IntegrityError), (ends_it_and_goes_on, RuntimeError)):
        with pytest.raises(error):
            await sqlite_db.write(unit)
    assert await sqlite_db.read(everything) == {"a": 0, "b": 2}


async def at_once(db: Database, *units: tuple[Any, ...]) -> list[Any]:
    """Have the units wait together: SQLite's writer is held until all of them are there."""
    loop, held, let_go = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def hold(tx: Session) -> None:
        loop.call_soon_threadsafe(held.set)
        asyncio.run_coroutine_threadsafe(let_go.wait(), loop).result(timeout=30)

    holding = asyncio.create_task(db.write(hold))
    await held.wait()
    waiting = [asyncio.ensure_future(db.write(unit, *args)) for unit, *args in units]
    await asyncio.sleep(0)
    let_go.set()
    await holding
    return await asyncio.gather(*waiting, return_exceptions=True)


def driver(tx: Session) -> sqlite3.Connection:
    return cast(sqlite3.Connection, tx.connection().connection.driver_connection)


async def traced(db: Database) -> list[str]:
    """What SQLite's writer will have been told."""
    statements: list[str] = []
    await db.write(lambda tx: driver(tx).set_trace_callback(statements.append))
    statements.clear()
    return statements


async def test_units_that_wait_together_share_a_commit(sqlite_db: Database) -> None:
    statements = await traced(sqlite_db)
    await at_once(sqlite_db, *((put, f"{number}") for number in range(20)))
    assert statements.count("COMMIT") <= 10


async def test_a_unit_alone_is_told_to_sqlite_without_ado(sqlite_db: Database) -> None:
    statements = await traced(sqlite_db)
    await sqlite_db.write(put, "a")
    begin, statement, commit = statements
    assert (begin, commit) == ("BEGIN IMMEDIATE", "COMMIT")
    assert statement.startswith("INSERT INTO things")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.sampled_from((0, 0, 0.0005, 0.003))), max_size=12))
async def test_a_caller_that_leaves_neither_locks_the_writer_nor_leaves_half(
    db: Database, callers: list[tuple[bool, int, float]]
) -> None:
    """Callers are cancelled after some turns of the loop and some seconds; each unit writes two rows, or raises between them."""
    expected = await db.read(everything)
    started: list[str] = []

    def unit(tx: Session, id: str, fails: bool) -> None:
        put(tx, f"{id} first")
        if fails:
            raise Refused
        put(tx, f"{id} second")

    async def call(id: str, fails: bool) -> None:
        if not fails:
            started.append(id)
        await db.write(unit, id, fails)

    async def call_and_leave(fails: bool, turns: int, seconds: float) -> None:
        calling = asyncio.create_task(call(f"{next(numbers):06}", fails))
        for _ in range(turns):
            await asyncio.sleep(0)
        if seconds:
            await asyncio.sleep(seconds)
        calling.cancel()
        await asyncio.wait([calling])

    await asyncio.gather(*(call_and_leave(*caller) for caller in callers))
    last = f"{next(numbers):06}"
    await asyncio.wait_for(db.write(unit, last, False), 30)
    expected |= {f"{id} {half}": 0 for id in (*started, last) for half in ("first", "second")}

    async def all_have_ended() -> bool:
        return await db.read(everything) == expected

    await until(all_have_ended)


async def test_stopping_finishes_what_callers_have_left(db: Database) -> None:
    callers = [asyncio.create_task(db.write(put, f"{number:02}")) for number in range(20)]
    await asyncio.sleep(0)
    for caller in callers:
        caller.cancel()
    await asyncio.wait(callers)
    await db.stop()
    await db.start()
    assert list(await db.read(everything)) == [f"{number:02}" for number in range(20)]


async def test_readers_cannot_write(db: Database) -> None:
    for _ in range(6):  # whichever connection it is
        with pytest.raises(DBAPIError):
            await db.read(put, "a")
    assert await db.read(everything) == {}
    await asyncio.gather(*(db.write(put, str(number)) for number in range(6)))


async def test_a_read_sees_one_state(db: Database) -> None:
    await db.write(put, "a", 1)
    begun, written = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def look_twice(tx: Session) -> tuple[int, int]:
        first = value(tx, "a")
        loop.call_soon_threadsafe(begun.set)
        while not written.is_set():
            tx.execute(select(1))
        return first, value(tx, "a")

    reading = asyncio.create_task(db.read(look_twice))
    await begun.wait()
    await db.write(set_value, "a", 2)
    written.set()
    assert await reading == (1, 1)
    assert await db.read(value, "a") == 2


async def test_stop_iteration_reaches_the_caller(db: Database) -> None:
    def unit(tx: Session) -> str:
        return next(iter(()))

    for run in (db.write, db.read):
        with pytest.raises(RuntimeError):
            await asyncio.wait_for(run(unit), 30)


async def test_a_stopped_database_takes_no_units(db: Database) -> None:
    await db.stop()
    with pytest.raises(RuntimeError, match="not started"):
        await db.write(put, "a")
    with pytest.raises(RuntimeError, match="not started"):
        await db.read(everything)


async def test_a_database_opened_to_be_read(database_url: str) -> None:
    async with opened(database_url) as writer:
        await writer.write(put, "a")
        reader = Database(database_url, read_only=True)
        await reader.start()
        assert await reader.read(everything) == {"a": 0}
        with pytest.raises(RuntimeError, match="to be read"):
            await reader.write(put, "b")
        await reader.stop()


# The writer's lock

HOLD_LOCK = (
    "import sys; from caravan.kernel.sqlite import *; take_lock(Path(sys.argv[1])); print('held'); sys.stdin.read()"
)


async def test_one_process_writes_to_a_file_and_a_second_is_refused_by_name(sqlite_url: str) -> None:
    path = Path(str(make_url(sqlite_url).database))
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLD_LOCK, str(path), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert other.stdout is not None
        assert await other.stdout.readline() == b"held\n"
        refused = Database(sqlite_url)
        with pytest.raises(WriterTaken, match=rf"{path} is written by another process: pid {other.pid} since 20"):
            await refused.start()
        with pytest.raises(WriterTaken):
            await asyncio.to_thread(migrations.migrate, sqlite_url, "catalog")
        reader = Database(sqlite_url, read_only=True)
        await reader.start()
        await reader.stop()
    finally:
        other.kill()
        await other.communicate()
    async with opened(sqlite_url):
        pass


async def test_what_a_writer_starts_does_not_keep_its_lock(sqlite_url: str) -> None:
    async with opened(sqlite_url):
        child = await asyncio.create_subprocess_exec("sleep", "60", close_fds=False)
    try:
        async with opened(sqlite_url, create=False) as db:
            await db.write(put, "a")
    finally:
        child.kill()
        await child.wait()


async def test_how_many_rows_were_met(db: Database) -> None:
    for id in ("a", "b"):
        await db.write(put, id)
    assert await db.write(affected, update(things).values(value=1)) == 2
    assert await db.write(affected, update(things).where(things.c.id == "c").values(value=1)) == 0


async def test_the_databases_clock_is_a_clock(db: Database) -> None:
    first, second = await db.read(database_now), await db.read(database_now)
    assert first.utcoffset() is not None
    assert first < second
    assert abs((datetime.now(UTC) - second).total_seconds()) < 600
