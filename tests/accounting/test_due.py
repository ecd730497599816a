"""What is marked to be charged: taken in whole runs, put off where it failed, and dropped with the charge."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from caravan.kernel.database import Database, not_serialized
from services.accounting.charging import due
from services.accounting.charging.due import Due
from tests.accounting.books import AT

HOUR = 3600


def one(job: int, run: int, hour: int = HOUR, before: Any = ()) -> Due:
    return Due(f"job_{job}", f"run_{run}", hour, list(before))


async def marked(db: Database, *marks: Due) -> None:
    await db.write(due.mark, marks)


def taken(most: int, minutes: float = 0) -> Callable[[Session], list[Due]]:
    """What is ready some minutes after AT; that something is, or not, is known without taking it."""

    def take(tx: Session) -> list[Due]:
        at = AT + timedelta(minutes=minutes)
        found = due.take(tx, most, at)
        assert due.any_ready(tx, at) == bool(found)
        return found

    return take


def of_job(job: int) -> Callable[[Session], list[Due]]:
    return lambda tx: sorted(due.of_job(tx, f"job_{job}"))


async def test_what_is_marked_twice_keeps_what_its_lines_are_made_of(db: Database) -> None:
    await marked(db, one(1, 1, before=[1]), one(2, 2))
    await marked(db, one(1, 1, before=[2]), due.a_look_at("job_1"))
    await marked(db)
    assert await db.read(of_job(1)) == [due.a_look_at("job_1"), one(1, 1, before=[1])]
    assert await db.read(due.count) == 3


async def test_a_mark_that_is_made_while_its_job_is_charged_is_not_lost(db: Database) -> None:
    """On PostgreSQL, where both are under way at once: who charges has not read what is marked, and may not drop the mark."""
    if db.sqlite:
        return
    await marked(db, one(1, 1))
    async with sessions(db) as (charging, marking):
        taken_ = await charging.run_sync(lambda tx: due.take(tx, 10, AT))
        await marking.run_sync(lambda tx: due.mark(tx, [one(1, 1)]))
        dropping = asyncio.create_task(charging.run_sync(lambda tx: due.done(tx, taken_)))
        await asyncio.wait([dropping], timeout=0.5)
        await marking.commit()
        with pytest.raises(DBAPIError) as refused:
            await dropping
        assert not_serialized(refused.value)
    assert await db.read(of_job(1)) == [one(1, 1)]


@asynccontextmanager
async def sessions(db: Database) -> AsyncIterator[tuple[AsyncSession, AsyncSession]]:
    """Two transactions that a test leads by hand."""
    server = create_async_engine(db.url.set(drivername="postgresql+asyncpg"), isolation_level="SERIALIZABLE")
    async with AsyncSession(server) as one, AsyncSession(server) as other:
        yield one, other
    await server.dispose()


async def test_who_charges_is_woken_by_a_mark(db: Database) -> None:
    state = db.version(due.TOPIC)
    await marked(db)
    assert not state.is_set()
    await marked(db, one(1, 1))
    assert state.is_set()


async def test_a_run_is_taken_whole_or_not_at_all_and_one_at_least(db: Database) -> None:
    marks = [one(1, 1), one(1, 2), one(2, 3, 1), one(2, 3, 2), one(2, 4)]
    await marked(db, *reversed(marks))
    assert await db.read(taken(6)) == marks
    assert await db.read(taken(5)) == marks[:4]
    assert await db.read(taken(4)) == marks[:2], "whether there is more of the last run is not known"
    assert await db.read(taken(3)) == marks[:2]
    assert await db.read(taken(1)) == marks[:1]
    await db.write(due.done, marks[:2])
    assert await db.read(taken(1)) == marks[2:4]
    await marked(db, one(3, 3))
    assert await db.read(taken(2)) == marks[2:4]


async def test_a_job_that_failed_is_put_off_for_a_minute_and_no_other(db: Database) -> None:
    await marked(db, one(1, 1), one(2, 2))
    await db.write(due.failed, "job_1", "first", AT - timedelta(hours=1))
    await db.write(due.failed, "job_1", "again", AT)
    assert await db.read(taken(9, 0.9)) == [one(2, 2)]
    assert await db.read(taken(9, 1)) == [one(1, 1), one(2, 2)]
    await db.write(due.done, [one(2, 2)])
    assert await db.read(taken(9, 0.9)) == []
    assert await db.read(taken(9, 1)) == [one(1, 1)]


async def test_a_failure_is_forgotten_when_nothing_of_its_job_is_due(db: Database) -> None:
    await marked(db, one(1, 1), one(2, 2))
    for job in ("job_1", "job_2"):
        await db.write(due.failed, job, "why", AT)
    await db.write(due.forget_failures)
    assert await db.read(due.failed_count) == 2
    await db.write(due.done, [one(1, 1)])
    await db.write(due.forget_failures)
    assert await db.read(due.failed_count) == 1
    await marked(db, one(1, 1))
    assert await db.read(taken(9)) == [one(1, 1)]


async def test_what_is_done_is_just_that_hour_of_that_run(db: Database) -> None:
    marks = [one(1, 1, 1), one(1, 1, 2), one(1, 2, 1), one(2, 3, 1)]
    await marked(db, *marks)
    await db.write(due.done, marks[:1])
    assert await db.read(of_job(1)) == marks[1:3]
    assert await db.read(of_job(2)) == marks[3:]
    assert await db.read(due.of_runs, [("job_1", "run_1"), ("job_2", "run_4"), ("job_1", "run_1")]) == marks[1:2]
    assert await db.read(due.left, ["job_1", "job_3"]) == {"job_1"}
    assert await db.read(due.left, ["job_3"]) == set()
