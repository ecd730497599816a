"""Following: each event has its effect once, whatever is lost, doubled or interrupted, and what can't be applied waits."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from caravan.kernel.database import Database
from caravan.kernel.follow import Follower, Handler, Together, parked_count
from caravan.kernel.problems import Unreachable
from caravan.kernel.tables import feed_cursors, feed_parked
from tests.kernel.scratch import add, everything, put, set_value, things, value
from tests.kernel.test_database import Refused, traced
from tests.kernel.upstream import PAGE, Event, Upstream

numbers = count()


def amount(tx: Session, event: Event) -> None:
    """Needs its subject to be there."""
    add(tx, event["subject"], event["data"]["amount"])


def opened(tx: Session, event: Event) -> None:
    """The entity is there, whatever it was before."""
    if event["subject"] not in everything(tx):
        put(tx, event["subject"])


HANDLERS: dict[str, Handler] = {"opened": opened, "amount": amount}


def following(db: Database, upstream: Upstream, **handlers: Handler | Together) -> Follower:
    return Follower(db, "upstream", upstream, HANDLERS | handlers)


async def to_the_end(follower: Follower, pages: int = 4) -> None:
    for _ in range(pages):
        await follower.iteration(0)


def parked(tx: Session) -> list[tuple[str, int]]:
    return [(row.subject, row.event["data"]["amount"]) for row in tx.execute(select(feed_parked).order_by("sequence"))]


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


async def test_events_of_known_types_have_their_effect_and_the_others_are_passed_over(
    db: Database, upstream: Upstream
) -> None:
    upstream.say("opened", "a")
    upstream.say("strange", "a")
    upstream.say("amount", "a", amount=5)
    upstream.say("amount", "a", amount=7)
    await to_the_end(following(db, upstream))
    assert await db.read(everything) == {"a": 12}


_ACTS = st.sampled_from(("say", "follow", "follow twice", "lose an answer", "crash", "leave"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(acts=st.lists(_ACTS, max_size=8))
async def test_each_event_has_its_effect_once(db: Database, acts: list[str]) -> None:
    """Doubles, crashes between fetching and applying and in the midst of a page, and a loop that is stopped anywhere."""
    await db.write(empty)
    upstream, subject, said, crashes = Upstream(), f"{next(numbers):06}", 0, [0]
    upstream.say("opened", subject)

    def crash_or_add(tx: Session, event: Event) -> None:
        amount(tx, event)
        if crashes[0]:
            crashes[0] -= 1
            raise OperationalError("COMMIT", None, Exception("disk full"))

    async def follow() -> None:
        with suppress(OperationalError, Unreachable):  # The loop would try again.
            await following(db, upstream, amount=crash_or_add).iteration(0)

    for number, act in enumerate(acts):
        if act == "say":
            said += 10**number
            upstream.say("amount", subject, amount=10**number)
        elif act == "follow twice":
            await asyncio.gather(follow(), follow())
        elif act == "leave":
            leaving = asyncio.create_task(follow())
            for _ in range(number):
                await asyncio.sleep(0)
            leaving.cancel()
            await asyncio.wait([leaving])
        else:
            upstream.lose += act == "lose an answer"
            crashes[0] += act == "crash"
            await follow()
    upstream.lose = crashes[0] = 0
    await to_the_end(following(db, upstream), 5)
    assert await db.read(everything) == {subject: said}
    assert await db.read(parked_count) == 0


def empty(tx: Session) -> None:
    for table in (things, feed_cursors, feed_parked):
        tx.execute(delete(table))


async def test_an_event_that_cannot_be_applied_waits_with_all_later_ones_of_its_subject(
    db: Database, upstream: Upstream
) -> None:
    def not_the_first_of_a(tx: Session, event: Event) -> None:
        if (event["subject"], event["data"]["amount"]) == ("a", 1):
            raise Refused
        amount(tx, event)

    upstream.say("opened", "a")
    upstream.say("opened", "b")
    for number in range(1, 4):
        upstream.say("amount", "a", amount=number)
        upstream.say("amount", "b", amount=number)
    await to_the_end(following(db, upstream, amount=not_the_first_of_a))
    assert await db.read(everything) == {"a": 0, "b": 6}
    assert await db.read(parked) == [("a", 1), ("a", 2), ("a", 3)]


async def test_parked_events_are_tried_again_in_their_order(db: Database, upstream: Upstream) -> None:
    """Until one still can't be applied: then those behind it wait on."""
    applied: list[int] = []

    def up_to_two(tx: Session, event: Event) -> None:
        amount(tx, event)
        if (number := event["data"]["amount"]) == 3:
            raise Refused
        applied.append(number)

    follower = following(db, upstream, amount=up_to_two)
    for number in (1, 2, 3, 4):
        upstream.say("amount", "a", amount=number)
    await to_the_end(follower)
    assert applied == []
    await db.write(put, "a")
    await follower.retry()
    assert applied == [1, 2]
    assert await db.read(parked) == [("a", 3), ("a", 4)]
    assert await db.read(value, "a") == 3

    await following(db, upstream).iteration(0)
    assert await db.read(parked) == []
    assert await db.read(value, "a") == 10


async def test_what_was_parked_is_tried_when_the_feed_has_brought_more(db: Database, upstream: Upstream) -> None:
    follower = following(db, upstream)
    upstream.say("amount", "a", amount=1)
    await to_the_end(follower)
    await db.write(put, "a")
    upstream.say("opened", "b")
    await follower.iteration(0)
    assert await db.read(everything) == {"a": 1, "b": 0}


async def test_an_event_that_breaks_a_constraint_is_parked_and_leaves_nothing(db: Database, upstream: Upstream) -> None:
    def put_twice(tx: Session, event: Event) -> None:
        put(tx, "new")
        put(tx, event["subject"])

    await db.write(put, "a")
    upstream.say("twice", "a", amount=1)
    upstream.say("opened", "b")
    await to_the_end(following(db, upstream, twice=put_twice))
    assert await db.read(everything) == {"a": 0, "b": 0}
    assert await db.read(parked) == [("a", 1)]


async def test_what_the_database_refuses_as_a_whole_is_no_events_fault(db: Database, upstream: Upstream) -> None:
    def fails(tx: Session, event: Event) -> None:
        raise OperationalError("INSERT", None, Exception("disk full"))

    upstream.say("amount", "a", amount=1)
    with pytest.raises(OperationalError):
        await following(db, upstream, amount=fails).iteration(0)
    assert await db.read(parked_count) == 0


async def test_a_new_follower_takes_the_snapshot_and_then_what_is_kept(db: Database, upstream: Upstream) -> None:
    for subject in ("a", "b", "c"):
        upstream.say("opened", subject, state=True)
        upstream.say("amount", subject, amount=1)
    follower = following(db, upstream)
    await to_the_end(follower)
    assert await db.read(everything) == {"a": 1, "b": 1, "c": 1}
    assert upstream.snapshots == 1


async def test_a_restored_feed_brings_its_snapshot_and_its_events_again(db: Database, upstream: Upstream) -> None:
    def state(tx: Session, event: Event) -> None:
        opened(tx, event)
        set_value(tx, event["subject"], event["data"]["amount"])

    follower = following(db, upstream, state=state)
    upstream.say("state", "a", state=True, amount=1)
    upstream.say("amount", "missing", amount=5)
    await to_the_end(follower)
    upstream.restore()
    upstream.say("state", "a", state=True, amount=2)
    upstream.say("state", "b", state=True, amount=3)
    await to_the_end(follower)
    assert upstream.snapshots == 2
    assert await db.read(everything) == {"a": 2, "b": 3}
    assert await db.read(parked) == [("missing", 5)]
    await db.write(put, "missing")
    await follower.retry()
    assert await db.read(value, "missing") == 5


async def test_entities_of_a_snapshot_can_wait_too(db: Database, upstream: Upstream) -> None:
    ready: list[str] = []

    def when_ready(tx: Session, event: Event) -> None:
        if not ready:
            raise Refused
        opened(tx, event)

    for subject in ("a", "b"):
        upstream.say("late", subject, state=True, amount=0)
    follower = following(db, upstream, late=when_ready)
    await to_the_end(follower)
    assert await db.read(everything) == {}
    ready.append("now")
    await follower.retry()
    assert await db.read(everything) == {"a": 0, "b": 0}
    assert await db.read(parked_count) == 0


async def test_an_idle_feed_is_followed_without_writing(sqlite_db: Database, upstream: Upstream) -> None:
    upstream.say("opened", "a")
    follower = following(sqlite_db, upstream)
    await to_the_end(follower)
    statements = await traced(sqlite_db)
    await to_the_end(follower)
    assert statements == []


_STEPS = st.lists(st.sampled_from(("price", "use", "follow prices", "follow uses")), max_size=10)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=_STEPS)
async def test_two_feeds_give_the_same_sums_however_they_interleave(db: Database, steps: list[str]) -> None:
    """Each use needs a price that the other feed brings, and a price once given stays."""
    await db.write(empty)
    prices, uses = Upstream(), Upstream()

    def priced(tx: Session, event: Event) -> None:
        put(tx, f"price of {event['subject']}", event["data"]["price"])

    def used(tx: Session, event: Event) -> None:
        price = everything(tx)[f"price of {event['subject']}"]
        opened(tx, event)
        add(tx, event["subject"], event["data"]["amount"] * price)

    of_prices = Follower(db, "prices", prices, {"priced": priced})
    of_uses = Follower(db, "uses", uses, {"used": used})

    async def follow_prices() -> None:
        await of_prices.iteration(0)
        await of_uses.retry()

    given_prices, used_amounts = 0, dict.fromkeys(range(4), 0)
    for number, step in enumerate(steps):
        if step == "price":
            prices.say("priced", f"{given_prices}", price=given_prices + 2)
            given_prices += 1
        elif step == "use":
            used_amounts[number % 4] += number
            uses.say("used", f"{number % 4}", amount=number)
        else:
            await (follow_prices() if step == "follow prices" else of_uses.iteration(0))
    for later in range(given_prices, 4):
        prices.say("priced", f"{later}", price=later + 2)
    await to_the_end(of_uses, len(uses.events) // PAGE + 1)
    await to_the_end(of_prices, len(prices.events) // PAGE + 1)
    await of_uses.retry()
    sums = {id: total for id, total in (await db.read(everything)).items() if not id.startswith("price")}
    expected = {f"{subject}": total * (subject + 2) for subject, total in used_amounts.items()}
    assert {**dict.fromkeys(expected, 0), **sums} == expected
    assert await db.read(parked_count) == 0


class Batches:
    """Takes the events of this file together, but for those that are `refused`, and keeps how many it was given at once."""

    def __init__(self, *refused: int) -> None:
        self.refused = set(refused)
        self.sizes: list[int] = []
        together = Together(self._apply)
        self.handlers = {"opened": together, "amount": together}

    def _apply(self, tx: Session, events: Sequence[Event]) -> None:
        self.sizes.append(len(events))
        for event in events:
            HANDLERS[event["type"]](tx, event)
            if event["data"].get("amount") in self.refused:
                raise Refused


async def test_what_is_taken_together_comes_at_once_as_far_as_nothing_else_stands_between(
    db: Database, upstream: Upstream
) -> None:
    batches = Batches()
    upstream.say("opened", "a")
    upstream.say("amount", "a", amount=1)
    upstream.say("strange", "a")
    upstream.say("amount", "a", amount=2)
    upstream.say("single", "b")
    upstream.say("amount", "a", amount=4)
    await to_the_end(following(db, upstream, **batches.handlers, single=opened))
    assert await db.read(everything) == {"a": 7, "b": 0}
    assert batches.sizes == [2, 1, 1]  # PAGE is 3


async def test_one_that_cannot_be_applied_with_the_others_waits_alone(db: Database, upstream: Upstream) -> None:
    batches = Batches(2)
    upstream.say("opened", "a")
    upstream.say("amount", "a", amount=2)
    upstream.say("opened", "b")
    upstream.say("amount", "b", amount=4)
    upstream.say("amount", "a", amount=8)
    follower = following(db, upstream, **batches.handlers)
    await to_the_end(follower)
    assert await db.read(everything) == {"a": 0, "b": 4}
    assert await db.read(parked) == [("a", 2), ("a", 8)]
    batches.refused, batches.sizes = set(), []
    await follower.retry()
    assert await db.read(everything) == {"a": 10, "b": 4}
    assert (await db.read(parked), batches.sizes) == ([], [2])


async def test_a_parked_event_that_nothing_takes_any_more_waits_on(db: Database, upstream: Upstream) -> None:
    upstream.say("amount", "a", amount=1)
    await to_the_end(following(db, upstream))
    without = Follower(db, "upstream", upstream, {"opened": opened})
    await without.retry()
    assert await db.read(parked) == [("a", 1)]


_SAID = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9)), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(said=_SAID, refused=st.sets(st.integers(1, 9), max_size=3), later=st.sets(st.integers(1, 9), max_size=2))
async def test_events_that_are_taken_together_have_the_effect_of_one_after_another(
    db: Database, said: list[tuple[str, int]], refused: set[int], later: set[int]
) -> None:
    """Also of what waits, and when some of it can be applied later."""
    found = []
    for together in (True, False):
        await db.write(empty)
        upstream, batches = Upstream(), Batches(*refused)
        for subject, amount in said:
            upstream.say("opened", subject)
            upstream.say("amount", subject, amount=amount)

        def one(tx: Session, event: Event, batches: Batches = batches) -> None:
            batches._apply(tx, [event])

        handlers = batches.handlers if together else {"opened": one, "amount": one}
        follower = following(db, upstream, **handlers)
        await to_the_end(follower, len(upstream.events) // PAGE + 2)
        then = await db.read(everything), await db.read(waiting)
        batches.refused = later
        await follower.retry()
        found.append((then, await db.read(everything), await db.read(waiting)))
    assert found[0] == found[1]


def waiting(tx: Session) -> dict[str, list[str]]:
    """What is parked of each subject, in its order."""
    rows = tx.execute(select(feed_parked).order_by("sequence")).all()
    subjects = sorted({row.subject for row in rows})
    return {subject: [row.event["id"] for row in rows if row.subject == subject] for subject in subjects}
