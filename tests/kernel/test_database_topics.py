"""Waiting for what a unit of work signals: no wake-up is lost, and none comes from what did not commit."""

import asyncio
import gc

import pytest
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from caravan.kernel.database import Database, signal
from tests.kernel.scratch import add, put, value


class Refused(Exception):
    pass


def say(tx: Session, topic: str) -> None:
    signal(tx, topic)


async def test_a_topic_that_was_signalled_after_its_version_is_not_waited_for(db: Database) -> None:
    version = db.version("a")
    await db.write(say, "a")
    await asyncio.wait_for(db.wait("a", version, 60), 30)
    assert not db.version("a").is_set()


async def test_who_waits_is_woken_by_the_commit(db: Database) -> None:
    waiting = [asyncio.create_task(db.wait("a", db.version("a"), 60)) for _ in range(3)]
    await db.write(say, "b")
    with pytest.raises(Refused):
        await db.write(say_then_raise, "a")
    with pytest.raises(IntegrityError):
        await db.write(say_and_fail_at_the_commit, "a")
    await db.write(say, "c")
    done, _ = await asyncio.wait(waiting, timeout=0.05)
    assert not done
    await db.write(say, "a")
    await asyncio.wait_for(asyncio.gather(*waiting), 30)


def say_and_fail_at_the_commit(tx: Session, topic: str) -> None:
    signal(tx, topic)
    put(tx, "a", parent="nobody")


def say_then_raise(tx: Session, topic: str) -> None:
    signal(tx, topic)
    raise Refused


async def test_a_wait_ends_when_its_time_is_over(db: Database) -> None:
    version = db.version("a")
    await asyncio.wait_for(db.wait("a", version, 0.01), 30)
    assert db.version("a") is version


async def test_no_wake_up_is_lost(db: Database) -> None:
    await db.write(put, "a")

    def add_and_say(tx: Session) -> None:
        add(tx, "a")
        signal(tx, "a")

    async def reaches(number: int) -> None:
        while True:
            version = db.version("a")
            if await db.read(value, "a") >= number:
                return
            await db.wait("a", version, 60)

    waiting = [asyncio.create_task(reaches(number)) for number in range(1, 11)]
    for _ in range(5):
        await asyncio.gather(*(db.write(add_and_say) for _ in range(2)))
    await asyncio.wait_for(asyncio.gather(*waiting), 30)


async def test_a_service_that_stops_lets_all_go_that_wait(db: Database) -> None:
    waiting = asyncio.create_task(db.wait("a", db.version("a"), 60))
    await asyncio.sleep(0)
    db.close_waits()
    await asyncio.wait_for(waiting, 30)
    for topic in ("a", "b"):
        await asyncio.wait_for(db.wait(topic, db.version(topic), 60), 30)


async def test_topics_that_nobody_waits_for_are_forgotten(db: Database) -> None:
    for number in range(100):
        await db.wait(f"{number}", db.version(f"{number}"), 0)
    await db.write(say, "0")
    gc.collect()
    assert len(db._flags) == 0
