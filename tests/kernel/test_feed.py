"""The feed as its readers see it: everything, in one order, until all have it."""

import asyncio
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from caravan.kernel import clock, feed
from caravan.kernel.database import Database
from caravan.kernel.problems import CursorGone, Invalid
from caravan.kernel.tables import feed_entities, feed_followers, outbox
from tests.kernel.test_database import traced
from tests.support import until

Event = dict[str, Any]
versions = count(1)


class Counted(BaseModel):
    number: int


def give_positions(tx: Session) -> None:
    while feed.give_positions(tx, "here", timedelta(minutes=1)):
        pass


async def positioned(db: Database) -> None:
    """PostgreSQL: let everything that has committed have its position."""
    if not db.sqlite:
        await db.write(give_positions)


async def say(db: Database, *numbers: int, subject: str = "a") -> None:
    def unit(tx: Session) -> None:
        for number in numbers:
            feed.state(tx, "counted", subject, Counted(number=number))
        if not db.sqlite:
            give_positions(tx)

    await db.write(unit)


async def read(db: Database, follower: str, cursor: str | None = None) -> tuple[list[int], str]:
    """The numbers after the cursor, and the next one."""
    events, following = await feed.page(db, "here", follower, cursor, 0)
    return numbers(events), following


def numbers(events: list[Event]) -> list[int]:
    return [event["data"]["number"] for event in events]


def kept(tx: Session) -> list[int]:
    return list(tx.scalars(select(outbox.c.position).order_by(outbox.c.position)))


def followers(tx: Session) -> dict[str, tuple[int, Any]]:
    return {row.subject: (row.position, row.seen_at) for row in tx.execute(select(feed_followers))}


@pytest.fixture
async def full(db: Database) -> Database:
    """Five events."""
    await say(db, *range(1, 6))
    return db


async def test_events_come_as_envelopes_in_the_order_of_their_commits(db: Database) -> None:
    await say(db, 1, subject="b")
    await db.write(feed.fact, "happened", "a", Counted(number=2))
    await positioned(db)

    events, following = await feed.page(db, "here", "one", None, 0)

    assert [(e["source"], e["type"], e["subject"], e["data"], e["position"]) for e in events] == [
        ("here", "counted", "b", {"number": 1}, 1),
        ("here", "happened", "a", {"number": 2}, 2),
    ]
    assert len({event["id"] for event in events}) == 2
    assert following == f"{await db.read(feed.generation)}:2"
    assert await feed.page(db, "here", "one", following, 0) == ([], following)


async def test_what_does_not_commit_is_not_published(db: Database) -> None:
    def unit(tx: Session) -> None:
        feed.fact(tx, "happened", "a", Counted(number=1))
        raise LookupError

    with pytest.raises(LookupError):
        await db.write(unit)
    await say(db, 2)
    assert (await read(db, "one"))[0] == [2]


async def test_long_feeds_come_by_pages(db: Database) -> None:
    await say(db, *range(feed.PAGE + 1))
    first, following = await read(db, "one")
    second, following = await read(db, "one", following)
    assert (first, second) == (list(range(feed.PAGE)), [feed.PAGE])
    assert (await read(db, "one", following))[0] == []


async def test_a_cursor_is_one_that_the_feed_gave(full: Database) -> None:
    generation = await full.read(feed.generation)
    for made_up in (
        "",
        "nonsense",
        f"{generation}:",
        f"{generation}:-1",
        f"{generation}:1e3",
        f"{generation}:{10**18}",
    ):
        with pytest.raises(Invalid):
            await read(full, "one", made_up or ":")
    for gone in ("0123:1", f"{generation}:6"):
        with pytest.raises(CursorGone):
            await read(full, "one", gone)
    assert await full.read(followers) == {}


async def test_a_restored_database_is_another_generation(full: Database) -> None:
    _, cursor = await read(full, "one")
    await full.write(feed.prepare)
    assert await read(full, "one", cursor) == ([], cursor)
    await full.write(lambda tx: feed.prepare(tx, restored=True))
    with pytest.raises(CursorGone):
        await read(full, "one", cursor)
    snapshot_cursor, _, _ = await full.read(feed.snapshot, "here", "")
    assert (await read(full, "one", snapshot_cursor))[0] == [1, 2, 3, 4, 5]


async def test_a_follower_is_registered_by_coming_and_acknowledges_by_its_cursor(full: Database) -> None:
    _, cursor = await read(full, "one")
    assert (await full.read(followers))["one"][0] == 0
    await read(full, "one", cursor)
    assert (await full.read(followers))["one"][0] == 5
    await read(full, "one")
    await full.write(feed.acknowledge, "one", 3)
    assert (await full.read(followers))["one"][0] == 5


async def test_an_idle_poll_writes_nothing(sqlite_db: Database) -> None:
    await say(sqlite_db, 1, 2)
    _, cursor = await read(sqlite_db, "one")
    await read(sqlite_db, "one", cursor)
    statements = await traced(sqlite_db)
    for asked in (cursor, cursor, None):
        await read(sqlite_db, "one", asked)
    assert statements == []


async def test_nothing_is_dropped_before_all_have_come_and_have_it(full: Database) -> None:
    assert await full.write(feed.prune) == 0
    _, cursor = await read(full, "one")
    await read(full, "one", cursor)
    assert await full.write(feed.prune, ("one", "two")) == 0
    await read(full, "two", cursor.replace(":5", ":3"))
    assert await full.write(feed.prune, ("one", "two")) == 2
    assert await full.read(kept) == [3, 4, 5]
    assert (await read(full, "two", cursor.replace(":5", ":3")))[0] == [4, 5]


def seen(tx: Session, at: datetime) -> None:
    """As if all followers had come last at this time."""
    tx.execute(update(feed_followers).values(seen_at=at))


async def test_a_curious_reader_that_never_comes_back_keeps_nothing_for_ever(full: Database) -> None:
    _, cursor = await read(full, "one")
    await read(full, "one", cursor)
    await read(full, "curious")
    assert await full.write(feed.prune, ("one",)) == 0
    await full.write(seen, clock.now() - feed.REMEMBERED)
    assert await full.write(feed.prune, ("one",)) == 4
    with pytest.raises(CursorGone):
        await read(full, "curious", cursor.replace(":5", ":0"))


async def test_an_idle_follower_is_remembered(full: Database) -> None:
    _, cursor = await read(full, "idle")
    await read(full, "idle", cursor)
    await full.write(seen, clock.now() - timedelta(days=6))
    await read(full, "idle", cursor)
    (_, seen_at) = (await full.read(followers))["idle"]
    assert clock.now() - seen_at < timedelta(days=1)


async def test_the_newest_event_stays_and_the_next_one_stands_behind_it(full: Database) -> None:
    _, cursor = await read(full, "one")
    await read(full, "one", cursor)
    assert await full.write(feed.prune) == 4
    assert await full.read(kept) == [5]
    await say(full, 6)
    assert await read(full, "one", cursor) == ([6], cursor.replace(":5", ":6"))


async def test_who_lacks_dropped_events_is_sent_to_the_snapshot(full: Database) -> None:
    _, cursor = await read(full, "one")
    await read(full, "one", cursor)
    await full.write(feed.prune)
    for lacking in (None, cursor.replace(":5", ":3")):
        with pytest.raises(CursorGone):
            await read(full, "late", lacking)
    snapshot_cursor, events, _ = await full.read(feed.snapshot, "here", "")
    assert numbers(events) == [5]
    assert (await read(full, "late", snapshot_cursor))[0] == [5]


def empty(tx: Session) -> None:
    for table in (outbox, feed_followers, feed_entities):
        tx.execute(delete(table))


_ACTS = st.sampled_from(("say", "prune", "one", "two", "three"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(acts=st.lists(_ACTS, max_size=9))
async def test_dropping_never_takes_what_a_follower_lacks(db: Database, acts: list[str]) -> None:
    """Each follower has a cursor once it has come, and then gets all that is said, once and in order."""
    await db.write(empty)
    said = 0
    cursors: dict[str, str] = {}
    got: dict[str, list[int]] = {}
    for act in [*acts, "one", "two", "three"]:
        if act == "say":
            said += 1
            await say(db, said)
        elif act == "prune":
            await db.write(feed.prune)
        else:
            if act not in cursors:
                cursors[act], _, _ = await db.read(feed.snapshot, "here", "")
            found, cursors[act] = await read(db, act, cursors[act])
            first = got[act][-1] + 1 if got.get(act) else (found or [said + 1])[0]
            assert found == list(range(first, said + 1))
            got[act] = got.get(act, []) + found


async def test_of_many_writers_at_once_a_reader_sees_every_event_once(db: Database) -> None:
    """Positions are given while the writers write, by two who compete for it."""
    ending = asyncio.Event()

    def unit(tx: Session, number: int) -> None:
        feed.fact(tx, "happened", f"writer {number % 6}", Counted(number=number))
        if number % 7 == 3:
            raise LookupError

    async def write(start: int) -> None:
        for number in range(start, 48, 6):
            await asyncio.gather(db.write(unit, number), return_exceptions=True)

    async def give(holder: str) -> None:
        while not db.sqlite and not ending.is_set():
            if not await db.write(feed.give_positions, holder, timedelta(milliseconds=20)):
                await asyncio.sleep(0.005)

    expected = [number for number in range(48) if number % 7 != 3]
    got: list[Event] = []

    async def follow() -> None:
        cursor = None
        while len(got) < len(expected):
            events, cursor = await feed.page(db, "here", "one", cursor, 20)
            got.extend(events)

    giving = [asyncio.create_task(give(holder)) for holder in ("one", "two")]
    async with asyncio.timeout(60):
        await asyncio.gather(follow(), *(write(start) for start in range(6)))
    ending.set()
    await asyncio.gather(*giving)

    assert sorted(numbers(got)) == expected
    assert [event["position"] for event in got] == list(range(1, len(expected) + 1))
    for writer in range(6):
        assert [n for n in numbers(got) if n % 6 == writer] == [n for n in expected if n % 6 == writer]


async def test_what_began_early_and_commits_late_stands_where_it_committed(postgresql_db: Database) -> None:
    """By the order of insertion its number would be passed over before it is seen."""
    db, begun, seen = postgresql_db, asyncio.Event(), asyncio.Event()

    def slow(tx: Session) -> None:
        feed.fact(tx, "happened", "a", Counted(number=1))
        begun.set()
        while not seen.is_set():
            tx.execute(select(1))

    writing = asyncio.create_task(db.write(slow))
    await begun.wait()
    await say(db, 2, subject="b")
    first, cursor = await read(db, "one")
    seen.set()
    await writing
    await positioned(db)
    second, _ = await read(db, "one", cursor)
    assert (first, second) == ([2], [1])


async def test_one_process_at_a_time_gives_positions(postgresql_db: Database) -> None:
    db, long = postgresql_db, timedelta(minutes=1)
    await db.write(feed.give_positions, "one", long)
    await db.write(feed.fact, "happened", "a", Counted(number=1))
    assert await db.write(feed.give_positions, "two", long) == 0
    assert await db.read(feed.any_unpositioned)
    assert await db.write(feed.give_positions, "one", timedelta(0)) == 1
    assert not await db.read(feed.any_unpositioned)
    await db.write(feed.fact, "happened", "a", Counted(number=2))
    assert await db.write(feed.give_positions, "two", long) == 1
    assert (await read(db, "one"))[0] == [1, 2]


async def test_who_waits_gets_an_event_when_it_is_said(db: Database) -> None:
    waiting = asyncio.create_task(feed.page(db, "here", "one", None, 60))
    giving = asyncio.create_task(give_until(db, waiting))

    async def registered() -> bool:
        return "one" in await db.read(followers)

    await until(registered)
    assert not waiting.done()
    await say(db, 1)
    events, _ = await asyncio.wait_for(waiting, 30)
    assert numbers(events) == [1]
    await giving


async def give_until(db: Database, task: "asyncio.Task[Any]") -> None:
    while not task.done():
        await positioned(db)
        await asyncio.sleep(0.01)


async def test_a_wait_ends_with_its_time_or_with_the_service(db: Database) -> None:
    cursor = f"{await db.read(feed.generation)}:0"
    assert await asyncio.wait_for(feed.page(db, "here", "one", None, 0.01), 30) == ([], cursor)
    waiting = asyncio.create_task(feed.page(db, "here", "one", cursor, 60))
    await asyncio.sleep(0)
    db.close_waits()
    assert await asyncio.wait_for(waiting, 30) == ([], cursor)


_CHANGES = st.lists(st.sampled_from("abcde"), max_size=4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(before=_CHANGES, between=st.lists(_CHANGES, max_size=2))
async def test_a_snapshot_and_the_feed_behind_it_make_the_state(
    db: Database, before: list[str], between: list[list[str]]
) -> None:
    """Entities change while the pages of the snapshot are read; what the newest version is decides."""
    known: dict[str, int] = {}

    def change(tx: Session, subjects: list[str]) -> None:
        for subject in subjects:
            feed.state(tx, "counted", subject, Counted(number=next(versions)))

    def know(events: list[Event]) -> None:
        for event in events:
            known[event["subject"]] = max(known.get(event["subject"], 0), event["data"]["number"])

    await db.write(change, before)
    await positioned(db)
    changes = iter(between)
    first, events, following = await db.read(feed.snapshot, "here", "", 2)
    know(events)
    while following is not None:
        await db.write(change, next(changes, []))
        _, events, following = await db.read(feed.snapshot, "here", following, 2)
        know(events)
    await positioned(db)
    events, cursor = await feed.page(db, "here", "one", first, 0)
    while events:
        know(events)
        events, cursor = await feed.page(db, "here", "one", cursor, 0)

    def state(tx: Session) -> dict[str, int]:
        return {row.subject: Counted.model_validate_json(row.data).number for row in tx.execute(select(feed_entities))}

    assert known == await db.read(state)
