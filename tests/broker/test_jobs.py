"""Submitting jobs: acceptance, money, room, the stored answer."""

import asyncio
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from caravan.client import each
from caravan.contracts.funds import BudgetDraft, HoldRequest
from caravan.contracts.jobs import HoldState, JobSpec, JobState, PendingReason
from caravan.contracts.offerings import OfferingDraft
from caravan.contracts.problems import BudgetExceeded, InsufficientFunds, NoOfferingFits, UnknownReference
from caravan.kernel import clock, ids
from caravan.kernel.database import affected
from caravan.kernel.money import Money
from caravan.kernel.problems import KeyReused, StillRunning
from caravan.kernel.tables import idempotency
from services.broker.jobs.models import JobRow
from services.broker.placement.models import Waiting
from tests.broker.conftest import Shop
from tests.broker.market import Customer, Market, sold, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def reason_of(customer: Customer, job: str) -> str | None:
    return (await customer.job(job)).reason


async def is_placed(customer: Customer, job: str) -> bool:
    """Whether the job has an attempt, and its money is confirmed."""
    found = await customer.job(job)
    return found.reason is None and found.hold.state is HoldState.GRANTED


async def test_a_job_is_placed_and_held_for_before_it_is_answered(shop: Shop) -> None:
    job = await shop.customer.submit(cpus=2, labels={"team": "cfd"})
    assert (job.state, job.reason, job.offering) == (JobState.PENDING, None, shop.offering)
    assert (job.hold.amount, job.hold.state, job.hold.revision) == (Money.parse("2.00"), HoldState.GRANTED, 1)
    hold = await shop.customer.hold(job.id)
    assert (hold.amount, hold.held, hold.project) == (Money.parse("2.00"), Money.parse("2.00"), job.project)
    detail = await shop.customer.job(job.id)
    assert detail.placement is not None
    assert (detail.placement.chosen, detail.spec) == (shop.offering, shop.customer.spec(cpus=2, labels={"team": "cfd"}))
    [attempt] = (await shop.customer.broker.list_job_attempts(job.id)).items
    assert (attempt.number, attempt.state, attempt.indices, attempt.offering) == (1, "planned", (0,), shop.offering)
    assert await shop.customer.event_types(job.id) == ["job.created", "attempt.planned", "hold.granted"]


async def test_what_fits_nowhere_is_refused_with_every_reason_and_not_stored(shop: Shop) -> None:
    with pytest.raises(NoOfferingFits) as refused:
        await shop.customer.submit(cpus=65, walltime=100_000, offerings=(shop.offering,))
    [mine] = [refusal for refusal in refused.value.refused if refusal.offering == shop.offering]
    codes = {reason.code: reason.field for reason in mine.reasons}
    assert codes == {
        "limit_cpus_per_node": "/resources/tasks_per_node",
        "limit_walltime_seconds": "/resources/walltime_seconds",
        "capacity": "/resources",
    }
    assert not (await shop.customer.broker.list_jobs()).items
    other = await shop.market.customer()
    with pytest.raises(UnknownReference):
        await shop.customer.submit(other.spec())


async def test_a_failed_submission_leaves_its_key_free(shop: Shop) -> None:
    key = ids.new("req")
    with pytest.raises(NoOfferingFits):
        await shop.customer.broker.submit_job(shop.customer.spec(cpus=65), key)
    job = await shop.customer.broker.submit_job(shop.customer.spec(), key)
    assert job.state is JobState.PENDING


async def test_without_money_the_job_is_stored_as_refused_and_says_what_would_fit(market: Market) -> None:
    site = await market.site()
    cheap = await market.offering(site)
    customer, hand = await market.customer(site, deposit="1.50"), await market.hand(site)
    await sold(customer, cheap.id)
    first = await customer.submit(walltime=30)
    with pytest.raises(InsufficientFunds) as refused:
        await customer.submit(walltime=200, cpus=2)
    short = refused.value
    money = (short.limit, short.held, short.asked, short.fits)
    assert money == (Money.parse("1.50"), Money.parse("0.30"), Money.parse("4.00"), Money.parse("1.20"))
    job = await customer.job(short.job)
    assert (job.state, job.hold.state) == (JobState.REFUSED, HoldState.REFUSED)
    assert "1.20 would have been granted" in job.detail
    assert job.settled_at is not None
    fits = short.walltime_seconds_that_fits
    assert fits == 60
    with pytest.raises(InsufficientFunds):
        await customer.submit(walltime=fits + 1, cpus=2)
    granted = await customer.submit(walltime=fits, cpus=2)
    assert (granted.hold.state, granted.hold.amount) == (HoldState.GRANTED, Money.parse("1.20"))
    assert (await customer.funds()).available == Money(0)
    [attempt] = (await customer.broker.list_job_attempts(short.job)).items
    assert attempt.state == "ended"
    assert await hand.attempt_of(first)
    assert attempt.id not in await hand.everything()


async def test_a_budget_that_is_short_is_named(shop: Shop) -> None:
    customer = shop.customer
    buyer = shop.market.platform.accounting("buyer", f"org/{customer.organization}:admin")
    draft = BudgetDraft(
        organization=customer.organization, project=customer.project, name="Spring", limit=Money.parse("0.50"),
        starts_at=clock.floor_hour(clock.now()),
    )  # fmt: skip
    budget = await buyer.create_budget(draft)
    with pytest.raises(BudgetExceeded) as refused:
        await customer.submit()
    short = refused.value
    assert (short.budget, short.budget_name, short.limit) == (budget.id, "Spring", Money.parse("0.50"))
    assert (short.asked, short.fits, short.walltime_seconds_that_fits) == (Money.parse("1.00"), Money.parse("0.50"), 50)


async def test_what_fits_is_true_where_other_offerings_would_be_taken_then(market: Market) -> None:
    """With room only on the dearer offering, the walltime is that of the dearer one."""
    site = await market.site()
    cheap, dear = await market.offering(site, cpus=1), await market.offering(site, cpus=1, price="72.00")
    customer = await market.customer(site, deposit="1.30")
    await market.hand(site)
    await sold(customer, cheap.id, dear.id)
    await customer.submit(walltime=30)  # takes the cheap one
    with pytest.raises(InsufficientFunds) as refused:
        await customer.submit(walltime=100)
    assert refused.value.asked == Money.parse("2.00")
    fits = refused.value.walltime_seconds_that_fits
    assert fits == 50
    with pytest.raises(InsufficientFunds):
        await customer.submit(walltime=fits + 1)
    assert (await customer.submit(walltime=fits)).hold.state is HoldState.GRANTED


async def test_not_even_a_second_fits(market: Market) -> None:
    site = await market.site()
    offering, customer = await market.offering(site), await market.customer(site, deposit="0.00")
    await market.hand(site)
    await sold(customer, offering.id)
    with pytest.raises(InsufficientFunds) as refused:
        await customer.submit()
    assert (refused.value.fits, refused.value.walltime_seconds_that_fits) == (Money(0), None)


async def test_when_accounting_is_away_the_job_waits_and_goes_on_by_itself(shop: Shop) -> None:
    wire = shop.market.platform.to_accounting
    wire.cut = True
    try:
        job = await shop.customer.submit()
        poor = await shop.customer.submit(walltime=80_000, cpus=4)
    finally:
        wire.cut = False
    assert (job.state, job.reason, job.hold.state) == (
        JobState.PENDING, PendingReason.FUNDS_UNCONFIRMED, HoldState.UNCONFIRMED,
    )  # fmt: skip
    assert poor.reason in (PendingReason.FUNDS_UNCONFIRMED, PendingReason.NO_CAPACITY)
    assert not await shop.hand.everything()
    await until(lambda: is_placed(shop.customer, job.id))
    assert await shop.hand.attempt_of(job)


async def test_a_hold_refused_later_refuses_the_job(market: Market) -> None:
    site = await market.site()
    offering, customer = await market.offering(site), await market.customer(site, deposit="0.50")
    await market.hand(site)
    await sold(customer, offering.id)
    wire = market.platform.to_accounting
    wire.cut = True
    try:
        job = await customer.submit()
    finally:
        wire.cut = False
    refused = await customer.reaches(job.id, JobState.REFUSED)
    assert "0.50 would have been granted" in refused.detail
    assert refused.reason is None
    assert (await customer.submit(walltime=50, cpus=1)).hold.state is HoldState.GRANTED


# Room


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
    await until(lambda: is_placed(customer, first.id))
    placed = await customer.job(first.id)
    assert (placed.offering, placed.hold.amount, placed.hold.revision) == (cheap.id, Money.parse("1.00"), 2)
    assert (await customer.hold(first.id)).amount == Money.parse("1.00")
    assert await reason_of(customer, second.id) == PendingReason.NO_CAPACITY
    await hand.play(running[1])
    await until(lambda: is_placed(customer, second.id))
    assert (await customer.job(second.id)).offering == dear.id


async def test_a_new_job_does_not_pass_one_that_waits(market: Market) -> None:
    site = await market.site()
    offering, customer, hand = await market.offering(site, cpus=4), await market.customer(site), await market.hand(site)
    await sold(customer, offering.id)
    running = await customer.submit(cpus=3)
    large, small = await customer.submit(cpus=2), await customer.submit(cpus=1)
    assert small.reason == PendingReason.NO_CAPACITY
    await hand.play(running)
    await until(lambda: is_placed(customer, small.id))
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
    await until(lambda: is_placed(customer, small.id))
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
    await hand.play(running)  # what was placed is still dispatched, and ends
    await market.seller.activate_offering(offering.id)
    await market.platform.runtime.db.write(_wake, waiting.id)
    await until(lambda: is_placed(customer, waiting.id))


async def test_a_new_offering_takes_what_waits_for_others(market: Market) -> None:
    site = await market.site()
    offering, customer, _ = await market.offering(site, cpus=1), await market.customer(site), await market.hand(site)
    await sold(customer, offering.id)
    await customer.submit()
    waiting = await customer.submit()
    assert waiting.reason == PendingReason.NO_CAPACITY
    added = await market.offering(site, cpus=1)
    await until(lambda: is_placed(customer, waiting.id))
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


# One answer per key


class Raw:
    """The customer's requests as bytes."""

    def __init__(self, shop: Shop) -> None:
        platform = shop.market.platform
        token = platform.token("enterprise", f"org/{shop.customer.organization}:member")
        transport = httpx.ASGITransport(platform.apps["broker"])
        headers = {"Authorization": f"Bearer {token}"}
        self.http = httpx.AsyncClient(transport=transport, base_url="http://broker", headers=headers)

    async def submit(self, spec: JobSpec, key: str) -> httpx.Response:
        body: dict[str, Any] = spec.model_dump(mode="json")
        return await self.http.post("/v1/jobs", json=body, headers={"Idempotency-Key": key})


async def test_a_repeated_key_gets_the_same_bytes_and_makes_nothing(shop: Shop) -> None:
    raw, spec = Raw(shop), shop.customer.spec()
    first = await raw.submit(spec, "k")
    await shop.hand.play(first.json()["id"])
    again = await raw.submit(spec, "k")
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert first.headers["location"] == again.headers["location"] == f"/v1/jobs/{first.json()['id']}"
    other = await raw.submit(shop.customer.spec("other"), "k")
    assert (other.status_code, other.json()["code"]) == (KeyReused.status, KeyReused.code)
    refused = await raw.submit(shop.customer.spec(walltime=80_000, cpus=4, indices=100, max_parallel=1), "r")
    repeat = await raw.submit(shop.customer.spec(walltime=80_000, cpus=4, indices=100, max_parallel=1), "r")
    assert (refused.status_code, refused.content) == (402, repeat.content)
    assert len((await shop.customer.broker.list_jobs()).items) == 2
    await raw.http.aclose()


async def test_many_clients_with_one_key_make_one_job(shop: Shop) -> None:
    raw, spec = Raw(shop), shop.customer.spec()

    async def stubborn() -> bytes:
        while True:
            answer = await raw.submit(spec, "one")
            if answer.status_code != StillRunning.status:
                return answer.content
            await asyncio.sleep(0.01)

    answers = await asyncio.gather(*(stubborn() for _ in range(20)))
    assert len(set(answers)) == 1
    assert len((await shop.customer.broker.list_jobs()).items) == 1
    await raw.http.aclose()


@pytest.mark.parametrize("after", ["accepted", "asked", "refused"])
async def test_a_key_whose_owner_died_is_taken_over_with_what_it_had_made(shop: Shop, after: str) -> None:
    """The answer is lost after transaction 1; after the hold; or for a job that was refused."""
    raw, db = Raw(shop), shop.market.platform.runtime.db
    spec = shop.customer.spec()
    if after == "refused":
        spec = shop.customer.spec(walltime=80_000, cpus=4, indices=100, max_parallel=1)
    first = await raw.submit(spec, after)
    job = first.json()["job" if after == "refused" else "id"]

    def forget(tx: Session) -> None:
        mine = idempotency.c.key == after, idempotency.c.reference == job
        unanswered = {"status": None, "body": None, "headers": None, "owner": "own_dead"}
        assert affected(tx, update(idempotency).where(*mine).values(unanswered)) == 1
        if after == "accepted":
            tx.execute(update(JobRow).where(JobRow.id == job).values(hold_state=HoldState.UNCONFIRMED))

    await db.write(forget)
    again = await raw.submit(spec, after)
    assert again.status_code == first.status_code
    assert again.json()["job" if after == "refused" else "id"] == job
    assert len((await shop.customer.broker.list_jobs()).items) == 1
    assert (await raw.submit(spec, after)).content == again.content
    await raw.http.aclose()


async def test_the_loop_funds_a_job_whose_request_died(shop: Shop) -> None:
    """As if the process had died between the first transaction and the hold's call."""
    job = await shop.customer.submit()
    db = shop.market.platform.runtime.db

    def as_after_transaction_one(tx: Session) -> None:
        values = {"hold_state": HoldState.UNCONFIRMED, "wake_at": clock.now(), "granted_fen": None}
        tx.execute(update(JobRow).where(JobRow.id == job.id).values(values))

    await db.write(as_after_transaction_one)
    await until(lambda: is_placed(shop.customer, job.id))


async def _fall_behind(shop: Shop, job: str) -> None:
    """As after a restore from a backup, which knows the job as it was just after its first transaction."""
    before = {
        "state": JobState.PENDING,
        "counts": {"pending": 1},
        "hold_state": HoldState.UNCONFIRMED,
        "hold_fen": 90,
        "granted_fen": None,
        "cancel_requested": 0,
        "settled_at": None,
        "wake_at": clock.now(),
    }
    behind = update(JobRow).where(JobRow.id == job).values(before)
    await shop.market.platform.runtime.db.write(affected, behind)


async def test_a_broker_that_knows_an_old_revision_passes_accountings(shop: Shop) -> None:
    job = await shop.customer.submit()
    service = shop.market.platform.accounting("service:broker", "service:broker")
    later = HoldRequest(
        revision=5, organization=job.organization, project=job.project, amount=Money.parse("1.50"),
        submitted_at=job.created_at,
    )  # fmt: skip
    await service.put_hold(job.id, later)
    await _fall_behind(shop, job.id)
    await until(lambda: is_placed(shop.customer, job.id))
    hold = await shop.customer.hold(job.id)
    assert (hold.revision, hold.amount) == (6, Money.parse("0.90"))
    assert (await shop.customer.job(job.id)).hold.revision == 6


async def test_a_job_that_accounting_has_settled_is_given_up(shop: Shop) -> None:
    job = await shop.customer.submit()
    await shop.customer.broker.cancel_job(job.id)
    await shop.customer.hold_settles(job.id)
    await _fall_behind(shop, job.id)

    async def given_up() -> bool:
        return "settled this job already" in (await shop.customer.job(job.id)).detail

    await until(given_up)
    assert (await shop.customer.hold(job.id)).held == Money(0)


# Reading


async def test_jobs_are_found_by_project_state_name_and_label(shop: Shop) -> None:
    customer = shop.customer
    first = await customer.submit(name="first", labels={"team": "cfd", "stage": "mesh"})
    second = await customer.submit(name="second", labels={"team": "cfd"})
    await customer.broker.cancel_job(second.id)
    broker = customer.broker

    async def found(**filters: Any) -> list[str]:
        return [job.id async for job in each(broker.list_jobs, limit=1, **filters)]

    assert await found() == [second.id, first.id]
    assert await found(label="team=cfd", project=customer.project) == [second.id, first.id]
    assert (
        await found(label="stage=mesh")
        == await found(state=JobState.PENDING)
        == await found(name="first")
        == [first.id]
    )
    assert await found(state=JobState.CANCELLED, label="team=cfd") == [second.id]
    assert await found(label="stage=none") == await found(project=ids.new("prj")) == []
    assert await found(name="first", state=JobState.CANCELLED) == []


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
