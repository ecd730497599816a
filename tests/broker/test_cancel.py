"""Cancelling a job in each of its states."""

import pytest

from caravan.contracts.dispatch import Desired, Verdict
from caravan.contracts.jobs import HoldState, Job, JobState, Outcome, PendingReason
from caravan.contracts.problems import WrongState
from caravan.contracts.spec import Array
from caravan.kernel.money import Money
from caravan.kernel.problems import NotFound
from tests.broker.conftest import Shop
from tests.broker.hand import Run

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def cancel(shop: Shop, job: Job) -> Job:
    return await shop.customer.broker.cancel_job(job.id)


async def test_while_it_waits_for_room(shop: Shop) -> None:
    running = await shop.customer.submit(cpus=4)
    job = await shop.customer.submit()
    assert job.reason == PendingReason.NO_CAPACITY
    cancelled = await cancel(shop, job)
    assert (cancelled.state, cancelled.hold.state) == (JobState.CANCELLED, HoldState.SETTLED)
    assert cancelled.settled_at is not None
    assert (await shop.customer.hold_settles(job.id)).captured == Money(0)
    assert (await shop.customer.funds()).held == running.hold.amount


async def test_while_its_money_is_not_confirmed(shop: Shop) -> None:
    wire = shop.market.platform.to_accounting
    wire.cut = True
    try:
        job = await shop.customer.submit()
        cancelled = await cancel(shop, job)
    finally:
        wire.cut = False
    assert (cancelled.state, cancelled.counts) == (JobState.CANCELLED, {JobState.CANCELLED: 1})
    assert (await shop.customer.funds()).held == Money(0)
    assert not await shop.hand.everything(), "the site never hears of it"
    with pytest.raises(NotFound):
        await shop.customer.hold(job.id)


async def test_before_anything_is_committed_nothing_can_be_any_more(shop: Shop) -> None:
    job = await shop.customer.submit()
    attempt = await shop.hand.attempt_of(job)
    assert (await cancel(shop, job)).state is JobState.CANCELLED
    committed = await shop.hand.commit(attempt)
    assert (committed.verdict, committed.reference) == (Verdict.DISCARD, None)
    item = (await shop.hand.everything())[attempt]
    assert (item.desired, item.submission) == (Desired.NOTHING, None)
    reported = await shop.hand.report(shop.hand.saw(attempt, "released"))
    assert reported.applied == 0
    await shop.hand.tell(shop.hand.saw(attempt, "forgotten"))
    assert attempt not in await shop.hand.everything()


async def test_what_is_committed_is_cancelled_by_its_site(shop: Shop) -> None:
    job = await shop.customer.submit()
    attempt = await shop.hand.attempt_of(job)
    assert (await shop.hand.commit(attempt)).verdict is Verdict.RELEASE
    cancelling = await cancel(shop, job)
    assert cancelling.state is JobState.PENDING
    assert (await cancel(shop, job)).state is JobState.PENDING, "once more changes nothing"
    assert (await shop.hand.commit(attempt)).verdict is Verdict.DISCARD, "it is not released any more"
    assert (await shop.hand.everything())[attempt].desired is Desired.CANCEL
    await shop.hand.tell(shop.hand.saw(attempt, "ended"))
    assert (await shop.customer.job(job.id)).state is JobState.CANCELLED
    assert (await shop.customer.event_types(job.id)).count("job.cancel_requested") == 1
    assert (await shop.customer.hold_settles(job.id)).captured == Money(0)


async def test_what_ran_is_charged_until_its_end(shop: Shop) -> None:
    job = await shop.customer.submit()
    attempt = await shop.hand.start(job)
    run = Run(attempt, seconds=30, outcome=Outcome.CANCELLED)
    await shop.hand.tell(run.running(shop.hand.number))
    assert (await cancel(shop, job)).state is JobState.RUNNING
    await shop.hand.tell(run.ended(shop.hand.number), *run.usage(), run.final())
    assert (await shop.customer.job(job.id)).state is JobState.CANCELLED
    assert (await shop.customer.job(job.id)).settled_at is None, "its attempt has not ended"
    await shop.hand.tell(shop.hand.saw(attempt, "ended", runs=1))
    assert (await shop.customer.hold_settles(job.id)).captured == Money.parse("0.30")
    before = await shop.customer.job(job.id)
    again = await cancel(shop, job)
    assert (again.state, again.version) == (JobState.CANCELLED, before.version), "a repeat changes nothing"


async def test_what_has_ended_by_itself_is_not_cancelled(shop: Shop) -> None:
    job = await shop.customer.submit()
    await shop.hand.play(job)
    await shop.customer.reaches(job.id, JobState.SUCCEEDED)
    with pytest.raises(WrongState) as refused:
        await cancel(shop, job)
    assert refused.value.state == JobState.SUCCEEDED


async def test_an_array_keeps_what_has_ended(shop: Shop) -> None:
    job = await shop.customer.submit(array=Array(indices=(0, 1, 2, 3), max_parallel=2))
    attempt = await shop.hand.start(job)
    done, failing = Run(attempt, 0), Run(attempt, 1, outcome=Outcome.SITE)
    hand = shop.hand
    await hand.tell(done.running(hand.number), done.ended(hand.number), *done.usage(), done.final())
    await hand.tell(failing.running(hand.number))
    running = await cancel(shop, job)
    assert running.counts == {JobState.SUCCEEDED: 1, JobState.RUNNING: 1, JobState.QUEUED: 2}
    await hand.tell(failing.ended(hand.number), *failing.usage(), failing.final())
    await hand.tell(hand.saw(attempt, "ended", runs=2))
    ended = await shop.customer.job(job.id)
    assert ended.state is JobState.CANCELLED
    assert ended.counts == {JobState.SUCCEEDED: 1, JobState.CANCELLED: 3}, "what the site failed is not tried again"
    assert (await shop.customer.hold_settles(job.id)).captured == Money.parse("0.10")


async def test_someone_elses_job_is_not_there(shop: Shop) -> None:
    job = await shop.customer.submit()
    other = await shop.market.customer()
    with pytest.raises(NotFound):
        await other.broker.cancel_job(job.id)
    assert (await shop.customer.job(job.id)).state is JobState.PENDING
