"""Jobs that wait for room: in order, for whatever could take them, and for nothing once they have ended."""

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from caravan.contracts.jobs import HoldState, JobState, PendingReason
from caravan.contracts.offerings import OfferingDraft, SiteState
from caravan.kernel import clock
from caravan.kernel.money import Money
from services.broker.jobs.models import JobRow
from services.broker.placement.models import Waiting
from tests.broker.conftest import Shop
from tests.broker.market import Customer, Market, sold, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def reason_of(customer: Customer, job: str) -> str | None:
    return (await customer.job(job)).reason


async def test_without_room_jobs_wait_in_order_and_the_attempt_comes_when_room_does(market: Market) -> None:
    site = await market.site()
    cheap, dear = await market.offering(site, cpus=1), await market.offering(site, cpus=1, price="72.00")
    customer, hand = await market.customer(site), await market.hand(site)
    await sold(customer, cheap.id, dear.id)
    running = [await customer.submit() for _ in range(2)]
    assert [job.offering for job in running] == [cheap.id, dear.id]
    first, second = await customer.submit(), await customer.submit()
    for waiting in (first, second):
        assert (waiting.state, waiting.reason) == (JobState.PENDING, PendingReason.NO_CAPACITY)
        assert (waiting.offering, waiting.hold.state) == (None, HoldState.GRANTED)
        assert waiting.hold.amount == Money.parse("2.00"), "the dearest candidate is held for"
        placement = (await customer.job(waiting.id)).placement
        assert placement is not None
        assert placement.chosen is None
        assert not any(candidate.has_room for candidate in placement.candidates)
    await hand.play(running[0])
    await until(lambda: customer.is_placed(first.id))
    placed = await customer.job(first.id)
    assert (placed.offering, placed.hold.amount, placed.hold.revision) == (cheap.id, Money.parse("1.00"), 2)
    assert (await customer.hold(first.id)).amount == Money.parse("1.00")
    assert await reason_of(customer, second.id) == PendingReason.NO_CAPACITY
    await hand.play(running[1])
    await until(lambda: customer.is_placed(second.id))
    assert (await customer.job(second.id)).offering == dear.id


async def test_a_site_that_can_not_be_asked_gets_no_new_jobs_until_it_can(market: Market) -> None:
    first, second = await market.site(), await market.site()
    cheap, dear = await market.offering(first), await market.offering(second, price="72.00")
    customer, hand, other = await market.customer(first, second), await market.hand(first), await market.hand(second)
    await sold(customer, cheap.id, dear.id)
    await hand.health(SiteState.UNAVAILABLE, "slurmctld is away")
    assert (await customer.submit()).offering == dear.id, "elsewhere it can be dearer, and is at once"
    await other.health(SiteState.UNAVAILABLE, "no answer")
    waiting = await customer.submit()
    assert (waiting.state, waiting.reason) == (JobState.PENDING, PendingReason.SITE_UNAVAILABLE)
    assert (waiting.offering, waiting.hold.state) == (None, HoldState.GRANTED)
    assert SiteState.UNAVAILABLE.words in waiting.detail
    assert "slurmctld" not in waiting.model_dump_json(), "the centre's own words are for the centre"
    await hand.health()
    await until(lambda: customer.is_placed(waiting.id))
    assert (await customer.job(waiting.id)).offering == cheap.id


async def test_a_new_job_does_not_pass_one_that_waits(market: Market) -> None:
    site = await market.site()
    offering, customer, hand = await market.offering(site, cpus=4), await market.customer(site), await market.hand(site)
    await sold(customer, offering.id)
    running = await customer.submit(cpus=3)
    large, small = await customer.submit(cpus=2), await customer.submit(cpus=1)
    assert small.reason == PendingReason.NO_CAPACITY
    await hand.play(running)
    await until(lambda: customer.is_placed(small.id))
    numbers = [item.submission.job for item in (await hand.everything()).values() if item.submission]
    assert set(numbers) == {large.id, small.id}


async def test_those_behind_go_on_when_the_first_leaves_the_queue(market: Market) -> None:
    """Cancelled, or no longer fitting: neither may block the queue."""
    site = await market.site()
    offering, customer, _ = await market.offering(site, cpus=4), await market.customer(site), await market.hand(site)
    await sold(customer, offering.id)
    running = await customer.submit(cpus=3)
    large, middle, small = [await customer.submit(cpus=cpus) for cpus in (4, 2, 1)]
    assert large.reason == middle.reason == small.reason == PendingReason.NO_CAPACITY
    await customer.broker.cancel_job(large.id)
    assert await reason_of(customer, small.id) == PendingReason.NO_CAPACITY, "the middle one is still before it"
    current = await market.seller.get_offering(offering.id)
    draft = current.model_dump(exclude={"id", "provider", "state", "version", "created_at"})
    smaller = draft | {"limits": draft["limits"] | {"cpus_per_node": 1}}
    await market.seller.update_offering(offering.id, OfferingDraft.model_validate(smaller), current.version)
    failed = await customer.reaches(middle.id, JobState.FAILED)
    assert "No offering can take it any more" in failed.detail
    await until(lambda: customer.is_placed(small.id))
    assert (await customer.hold_settles(middle.id)).captured == Money(0)
    assert (await customer.job(running.id)).state is JobState.PENDING


async def test_a_paused_offering_is_waited_for(market: Market) -> None:
    site = await market.site()
    offering, customer, hand = await market.offering(site, cpus=1), await market.customer(site), await market.hand(site)
    await sold(customer, offering.id)
    running, waiting = await customer.submit(), await customer.submit()
    await market.seller.pause_offering(offering.id)

    async def retrying() -> bool:
        return await reason_of(customer, waiting.id) == PendingReason.RETRYING

    await until(retrying)
    detail = (await customer.job(waiting.id)).detail
    assert detail.endswith("at present: 1 cores: 算力中心已暂停出售 The centre has paused its sale")
    await hand.play(running)  # what was placed is still dispatched, and ends
    await market.seller.activate_offering(offering.id)
    await sold(customer, offering.id)  # before the broker has heard of it, the job would go on waiting
    await market.platform.runtime.db.write(_wake, waiting.id)
    await until(lambda: customer.is_placed(waiting.id))
    assert (await customer.job(waiting.id)).detail == ""


async def test_a_new_offering_takes_what_waits_for_others(market: Market) -> None:
    site = await market.site()
    offering, customer, _ = await market.offering(site, cpus=1), await market.customer(site), await market.hand(site)
    await sold(customer, offering.id)
    await customer.submit()
    waiting = await customer.submit()
    assert waiting.reason == PendingReason.NO_CAPACITY
    added = await market.offering(site, cpus=1)
    await until(lambda: customer.is_placed(waiting.id))
    assert (await customer.job(waiting.id)).offering == added.id


async def test_looking_again_in_vain_leaves_nothing_behind(shop: Shop) -> None:
    await shop.customer.submit(cpus=4)
    waiting = await shop.customer.submit()
    before = await shop.customer.job(waiting.id)
    db = shop.market.platform.runtime.db
    await db.write(_wake, waiting.id)

    async def asleep() -> bool:
        return await db.read(lambda tx: tx.get_one(JobRow, waiting.id).wake_at) is None

    await until(asleep)
    after = await shop.customer.job(waiting.id)
    assert (after.placement, after.version, after.hold) == (before.placement, before.version, before.hold)


def _wake(tx: Session, job: str) -> None:
    """As the loop does when the job's time has come."""
    tx.execute(update(JobRow).where(JobRow.id == job).values(wake_at=clock.now()))


async def test_nothing_waits_twice_or_after_its_end(shop: Shop) -> None:
    await shop.customer.submit(cpus=4)
    waiting = await shop.customer.submit()
    db = shop.market.platform.runtime.db

    def rows(tx: Session) -> int:
        return tx.execute(select(func.count()).select_from(Waiting).where(Waiting.job == waiting.id)).scalar_one()

    assert await db.read(rows) == 1
    cancelled = await shop.customer.broker.cancel_job(waiting.id)
    assert (cancelled.state, cancelled.reason) == (JobState.CANCELLED, None)
    assert await db.read(rows) == 0
