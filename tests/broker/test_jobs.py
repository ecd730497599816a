"""Submitting jobs: acceptance, money, what goes on by itself; and finding them."""

from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from caravan.client import each
from caravan.contracts.funds import BudgetDraft, HoldRequest
from caravan.contracts.jobs import HoldState, JobState, PendingReason
from caravan.contracts.problems import BudgetExceeded, InsufficientFunds, NoOfferingFits, UnknownReference
from caravan.kernel import clock, ids
from caravan.kernel.database import affected
from caravan.kernel.money import Money
from caravan.kernel.problems import Invalid
from services.broker.jobs.models import JobRow
from tests.broker.conftest import Shop
from tests.broker.market import Market, eventually, sold, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


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


async def test_someone_elses_project_is_unknown(shop: Shop) -> None:
    other = await shop.market.customer()
    await eventually(other.broker.create_quote, other.spec())
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


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"script": "#!/bin/sh\r\necho\r\n"}, "/script", "script_line_ends"),
        ({"environment": {"NAME": "长" * 30_000}}, "/environment/NAME", "value_too_long"),
        ({"environment": {"NAME": "x" * 65_537}}, "/environment/NAME", "string_too_long"),
    ],
)
async def test_what_linux_could_not_run_is_refused(shop: Shop, change: Any, pointer: str, code: str) -> None:
    with pytest.raises(Invalid) as refused:
        await shop.customer.broker.submit_job(shop.customer.spec().model_copy(update=change))
    assert [(error.pointer, error.code) for error in refused.value.errors] == [(pointer, code)]


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
    await until(lambda: shop.customer.is_placed(job.id))
    assert (await shop.customer.job(job.id)).version > job.version, "a change is told by the version"
    assert await shop.hand.attempt_of(job)


async def test_what_is_funded_and_placed_is_not_looked_at_again(shop: Shop) -> None:
    job = await shop.customer.submit()
    due = select(JobRow.wake_at).where(JobRow.id == job.id)
    assert await shop.market.platform.runtime.db.read(lambda tx: tx.execute(due).scalar_one()) is None


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


async def test_the_loop_funds_a_job_whose_request_died(shop: Shop) -> None:
    """As if the process had died between the first transaction and the hold's call."""
    job = await shop.customer.submit()
    db = shop.market.platform.runtime.db

    def as_after_transaction_one(tx: Session) -> None:
        values = {"hold_state": HoldState.UNCONFIRMED, "wake_at": clock.now(), "granted_fen": None}
        tx.execute(update(JobRow).where(JobRow.id == job.id).values(values))

    await db.write(as_after_transaction_one)
    await until(lambda: shop.customer.is_placed(job.id))


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
    await until(lambda: shop.customer.is_placed(job.id))
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
