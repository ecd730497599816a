"""Capacity: never oversold, given back once, on both engines and with many at once."""

import asyncio

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from caravan.contracts.jobs import AttemptState, Job, JobState, PendingReason
from caravan.contracts.offerings import Capacity
from services.broker.jobs.models import AttemptRow
from services.broker.placement.capacity import reserve, rooms
from services.broker.placement.models import Waiting
from tests.broker.market import Market, sold, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


def reserved(tx: Session, offering: str) -> dict[str, int]:
    """Attempts that hold capacity, by how; and the CPUs of those that hold room."""
    mine = select(AttemptRow).where(AttemptRow.offering == offering, AttemptRow.state != AttemptState.ENDED)
    living = tx.scalars(mine).all()
    room = [Capacity.model_validate(a.capacity).cpus for a in living if a.reserved == "room"]
    return {"room": len(room), "ahead": sum(a.reserved == "ahead" for a in living), "cpus": sum(room)}


async def test_thirty_at_once_never_take_more_than_there_is(market: Market) -> None:
    site = await market.site()
    offering = await market.offering(site, cpus=4, queue_ahead=2)
    customer, _ = await market.customer(site), await market.hand(site)
    await sold(customer, offering.id)
    db = market.platform.runtime.db
    jobs: list[Job] = await asyncio.gather(*(customer.submit(cpus=1 + i % 2) for i in range(30)))

    def occupied(tx: Session) -> tuple[Capacity, int, bool]:
        room = rooms(tx, [offering.id])[offering.id]
        return room.occupied, room.ahead, room.waited_for

    kinds = await db.read(reserved, offering.id)
    capacity, ahead, waited_for = await db.read(occupied)
    assert capacity.cpus == kinds["cpus"] <= 4
    assert kinds["cpus"] >= 3, "what fits is taken"
    assert ahead == kinds["ahead"] == 2
    assert waited_for
    waiting = [job for job in jobs if job.reason == PendingReason.NO_CAPACITY]
    assert len(waiting) == 30 - kinds["room"] - kinds["ahead"]
    await asyncio.gather(*(customer.broker.cancel_job(job.id) for job in waiting))
    placed = [job for job in jobs if job not in waiting]

    # What was cancelled while it waited has nothing to give back; what was placed gives back just what it took.
    assert await db.read(reserved, offering.id) == kinds
    cancelled = await asyncio.gather(*(customer.broker.cancel_job(job.id) for job in placed))
    assert {job.state for job in cancelled} == {JobState.CANCELLED}
    assert await db.read(occupied) == (Capacity(cpus=0, memory_mib=0), 0, False)


async def test_what_is_reserved_passes_neither_the_capacity_nor_the_queue(market: Market) -> None:
    offering = await market.offering(await market.site(), cpus=4, queue_ahead=2)

    def take(tx: Session, cpus: int) -> str | None:
        return reserve(tx, offering, Capacity(cpus=cpus, memory_mib=1))

    db = market.platform.runtime.db
    assert [await db.write(take, cpus) for cpus in (3, 2, 1, 1, 1)] == ["room", "ahead", "room", "ahead", None]


async def test_each_offering_has_its_own_queue_and_the_oldest_goes_first(market: Market) -> None:
    site = await market.site()
    first, second = await market.offering(site, cpus=1), await market.offering(site, cpus=1)
    customer, hand = await market.customer(site), await market.hand(site)
    await sold(customer, first.id, second.id)
    on_first = [await customer.submit(offerings=(first.id,)) for _ in range(3)]
    on_second = await customer.submit(offerings=(second.id,))
    assert on_second.reason is None
    assert [job.reason for job in on_first] == [None, PendingReason.NO_CAPACITY, PendingReason.NO_CAPACITY]

    async def placed() -> list[bool]:
        return [(await customer.job(job.id)).offering is not None for job in on_first]

    async def two() -> bool:
        return await placed() == [True, True, False]

    async def three() -> bool:
        return all(await placed())

    await hand.play(on_first[0])
    await until(two)
    await hand.play(on_first[1])
    await until(three)


async def test_ahead_of_the_capacity_some_may_wait_at_the_backend(market: Market) -> None:
    site = await market.site()
    offering = await market.offering(site, cpus=1, queue_ahead=1)
    customer, hand = await market.customer(site), await market.hand(site)
    await sold(customer, offering.id)
    running, ahead, waiting = [await customer.submit() for _ in range(3)]
    assert [job.reason for job in (running, ahead, waiting)] == [None, None, PendingReason.NO_CAPACITY]
    db = market.platform.runtime.db
    assert await db.read(reserved, offering.id) == {"room": 1, "ahead": 1, "cpus": 1}
    await hand.play(ahead)

    async def follows() -> bool:
        return await db.read(reserved, offering.id) == {"room": 1, "ahead": 1, "cpus": 1}

    await until(follows)
    assert (await customer.job(waiting.id)).offering == offering.id

    def waiters(tx: Session) -> int:
        return tx.execute(select(func.count()).where(Waiting.offering == offering.id)).scalar_one()

    assert await db.read(waiters) == 0
