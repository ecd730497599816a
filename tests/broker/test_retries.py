"""What a site failed is tried elsewhere: with what needs it, with its money, and not for ever."""

import pytest
import pytest_asyncio

from caravan.contracts.dispatch import Desired, WorkItem
from caravan.contracts.jobs import AttemptState, HoldState, Job, JobState, Outcome, PendingReason
from caravan.contracts.offerings import OfferingDraft, PreemptedBearer
from caravan.contracts.problems import WrongState
from caravan.contracts.spec import Array, Where
from caravan.kernel.money import Money
from caravan.kernel.problems import NotFound
from tests.broker.hand import Hand, Run
from tests.broker.market import Customer, Market, sold, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Two:
    """A cheap and a dear offering of one site."""

    def __init__(self, market: Market, hand: Hand, customer: Customer, cheap: str, dear: str) -> None:
        self.market, self.hand, self.customer, self.cheap, self.dear = market, hand, customer, cheap, dear

    async def attempt(self, job: Job, number: int) -> tuple[str, str, tuple[int, ...]]:
        """(id, offering, indices) of the job's attempt with this number, once it is funded and its site has heard of it."""

        async def there() -> tuple[str, str, tuple[int, ...]] | None:
            found = (await self.customer.broker.list_job_attempts(job.id)).items
            open_ = await self.hand.everything()
            if len(found) < number or found[number - 1].id not in open_:
                return None
            return found[number - 1].id, found[number - 1].offering, found[number - 1].indices

        return await until(there)


@pytest_asyncio.fixture(loop_scope="session")
async def two(market: Market) -> Two:
    site = await market.site()
    cheap, dear = await market.offering(site), await market.offering(site, price="72.00")
    customer, hand = await market.customer(site), await market.hand(site)
    await sold(customer, cheap.id, dear.id)
    return Two(market, hand, customer, cheap.id, dear.id)


async def test_a_cancel_that_nobody_asked_for_is_the_sites_doing(two: Two) -> None:
    job = await two.customer.submit()
    attempt = await two.hand.start(job)
    await two.hand.end(attempt, [Run(attempt, seconds=20, outcome=Outcome.CANCELLED)])
    _, offering, _ = await two.attempt(job, 2)
    assert offering == two.dear
    again = await two.customer.job(job.id)
    assert again.state is JobState.PENDING
    # Nothing for what ran, and the whole walltime at 2 fen.
    assert again.hold.amount == Money.parse("2.00")


async def test_only_the_tasks_that_need_it_are_tried_elsewhere_and_the_hold_follows(two: Two) -> None:
    customer, hand = two.customer, two.hand
    job = await customer.submit(array=Array(indices=(3, 5, 7, 9)))
    assert job.hold.amount == Money.parse("4.00")
    attempt = await hand.start(job)
    told = {3: Outcome.SUCCEEDED, 5: Outcome.SITE, 7: Outcome.USER, 9: Outcome.LOST}
    runs = [Run(attempt, index, 20, outcome) for index, outcome in told.items()]
    await hand.end(attempt, runs)
    second, offering, indices = await two.attempt(job, 2)
    assert (offering, indices) == (two.dear, (5, 9))
    again = await customer.job(job.id)
    assert again.counts == {JobState.SUCCEEDED: 1, JobState.FAILED: 1, JobState.PENDING: 2}
    # Two runs of 20 s at 1 fen, and two whole walltimes at 2 fen.
    assert (again.hold.amount, again.hold.state) == (Money.parse("4.40"), HoldState.GRANTED)
    assert (await customer.hold(job.id)).amount == Money.parse("4.40")
    await hand.commit(second)
    await hand.tell(hand.saw(second, "released"))
    await hand.end(second, [Run(second, 5, 30), Run(second, 9, 30)])
    ended = await customer.job(job.id)
    assert (ended.state, ended.counts) == (JobState.FAILED, {JobState.SUCCEEDED: 3, JobState.FAILED: 1})
    hold = await customer.hold_settles(job.id)
    assert hold.captured == Money.parse("1.60"), "2 x 20 s at 1 fen, 2 x 30 s at 2 fen; the site's faults cost nothing"
    assert (await customer.funds()).held == Money(0)
    types = await customer.event_types(job.id)
    assert types.count("attempt.ended") == types.count("attempt.planned") == 2
    assert types.count("job.settled") == 1


async def test_what_was_preempted_is_held_for_beside_the_next_try_where_the_organization_bears_it(
    market: Market,
) -> None:
    site = await market.site()
    cheap = await market.offering(site, preempted_borne_by="organization")
    dear = await market.offering(site, price="72.00")
    customer, hand = await market.customer(site), await market.hand(site)
    await sold(customer, cheap.id, dear.id)
    two = Two(market, hand, customer, cheap.id, dear.id)
    job = await customer.submit()
    shown = (await customer.job(job.id)).placement
    assert shown and [one.preempted_borne_by for one in shown.candidates] == ["organization", "provider"]
    attempt = await hand.start(job)
    kept = OfferingDraft.model_validate(cheap.model_dump(include=set(OfferingDraft.model_fields)))
    later = kept.model_copy(update={"preempted_borne_by": PreemptedBearer.PROVIDER})
    await market.seller.update_offering(cheap.id, later, cheap.version)
    one = Run(attempt, 0, 20, Outcome.PREEMPTED)
    await hand.end(attempt, [one])
    second, offering, _ = await two.attempt(job, 2)
    assert offering == dear.id
    again = await customer.job(job.id)
    assert again.hold.amount == Money.parse("2.20"), "20 s at 1 fen, and the whole walltime at 2 fen"
    attempts = (await customer.broker.list_job_attempts(job.id)).items
    assert [one.preempted_borne_by for one in attempts] == ["organization", "provider"]
    await hand.commit(second)
    other = Run(second, 0, 100, Outcome.PREEMPTED, start=one.end)
    await hand.end(second, [other])
    third, offering, _ = await two.attempt(job, 3)
    assert offering == cheap.id
    assert (await customer.job(job.id)).hold.amount == Money.parse("1.20"), "nothing for what the provider bears"
    await hand.commit(third)
    await hand.end(third, [Run(third, 0, 30, start=other.end)])
    assert (await customer.hold_settles(job.id)).captured == Money.parse("0.50")


async def test_what_was_preempted_and_charged_is_not_tried_again_without_money_for_both(market: Market) -> None:
    site = await market.site()
    offering = await market.offering(site, preempted_borne_by="organization")
    customer, hand = await market.customer(site, deposit="1.10"), await market.hand(site)
    await sold(customer, offering.id)
    job = await customer.submit()
    attempt = await hand.start(job)
    await hand.end(attempt, [Run(attempt, 0, 20, Outcome.PREEMPTED)])
    failed = await customer.reaches(job.id, JobState.FAILED)
    assert "did not cover 1.20" in failed.detail
    hold = await customer.hold_settles(job.id)
    assert (hold.amount, hold.captured) == (Money.parse("1.00"), Money.parse("0.20"))


async def test_the_price_per_job_is_held_and_charged_once_for_all_tasks_and_tries(market: Market) -> None:
    site = await market.site()
    cheap = await market.offering(site, per_job="0.30")
    dear = await market.offering(site, price="72.00", per_job="0.20")
    customer, hand = await market.customer(site), await market.hand(site)
    await sold(customer, cheap.id, dear.id)
    job = await customer.submit(array=Array(indices=(3, 5, 7)))
    assert job.hold.amount == Money.parse("3.30")
    attempt = await hand.start(job)
    await hand.end(attempt, [Run(attempt, 3, 20), Run(attempt, 5, 20, Outcome.SITE), Run(attempt, 7, 20, Outcome.LOST)])
    second, offering, _ = await Two(market, hand, customer, cheap.id, dear.id).attempt(job, 2)
    assert offering == dear.id
    again = await customer.job(job.id)
    assert again.hold.amount == Money.parse("4.50"), "20 s at 1 fen, two walltimes at 2 fen, the dearer price per job"
    await hand.commit(second)
    await hand.tell(hand.saw(second, "released"))
    await hand.end(second, [Run(second, 5, 30), Run(second, 7, 30)])
    hold = await customer.hold_settles(job.id)
    assert hold.captured == Money.parse("1.70"), "20 s at 1 fen, 60 s at 2 fen, and the first run's price per job"


async def test_each_attempt_of_which_anything_is_billed_costs_its_minimum_and_the_hold_covers_that(
    market: Market,
) -> None:
    site = await market.site()
    cheap, dear = (
        await market.offering(site, minimum="5.00"),
        await market.offering(site, price="72.00", minimum="6.00"),
    )
    customer, hand = await market.customer(site), await market.hand(site)
    await sold(customer, cheap.id, dear.id)
    job = await customer.submit(array=Array(indices=(3, 5)))
    assert job.hold.amount == Money.parse("5.00")
    attempt = await hand.start(job)
    await hand.end(attempt, [Run(attempt, 3, 20), Run(attempt, 5, 20, Outcome.SITE)])
    second, offering, _ = await Two(market, hand, customer, cheap.id, dear.id).attempt(job, 2)
    assert offering == dear.id
    assert (await customer.job(job.id)).hold.amount == Money.parse("11.00")
    await hand.commit(second)
    await hand.tell(hand.saw(second, "released"))
    await hand.end(second, [Run(second, 5, 30)])
    assert (await customer.hold_settles(job.id)).captured == Money.parse("11.00")
    failed = await customer.submit(array=Array(indices=(0,)), max_attempts=1)
    attempt = await hand.start(failed)
    await hand.end(attempt, [Run(attempt, 0, 20, Outcome.SITE)])
    assert (await customer.hold_settles(failed.id)).captured == Money(0)


async def test_tries_are_counted(two: Two) -> None:
    job = await two.customer.submit(max_attempts=2)
    for number in (1, 2):
        attempt, _, _ = await two.attempt(job, number)
        await two.hand.commit(attempt)
        run = Run(attempt, outcome=Outcome.SITE)
        await two.hand.end(attempt, [run])
    failed = await two.customer.job(job.id)
    assert (failed.state, failed.detail) == (JobState.FAILED, "site")
    assert (await two.customer.hold_settles(job.id)).captured == Money(0)


async def test_of_offerings_that_it_does_not_ask_for_a_jobs_end_says_nothing(two: Two) -> None:
    job = await two.customer.submit(where=Where(offerings=(two.dear,)))
    attempt, _, _ = await two.attempt(job, 1)
    await two.hand.tell(two.hand.saw(attempt, "rejected", detail="not here"))
    failed = await two.customer.reaches(job.id, JobState.FAILED)
    assert failed.detail.count("not here") == 1
    assert "not among the offerings asked for" not in failed.detail


async def test_where_it_was_rejected_it_never_comes_again_where_it_failed_only_if_there_is_no_other(two: Two) -> None:
    job = await two.customer.submit(max_attempts=5)
    attempt, offering, _ = await two.attempt(job, 1)
    assert offering == two.cheap
    await two.hand.tell(two.hand.saw(attempt, "rejected", detail="x" * 4000))
    for number in (2, 3):
        attempt, offering, _ = await two.attempt(job, number)
        assert offering == two.dear
        await two.hand.tell(two.hand.saw(attempt, "discarded"))
    attempt, offering, _ = await two.attempt(job, 4)
    assert offering == two.dear
    await two.hand.tell(two.hand.saw(attempt, "rejected", detail="not here either"))
    failed = await two.customer.reaches(job.id, JobState.FAILED)
    assert failed.detail.startswith("No offering can take it any more")
    assert len(failed.detail) <= 4000
    assert (await two.customer.hold_settles(job.id)).captured == Money(0)


async def test_a_retry_and_what_waited_before_both_get_their_room(market: Market) -> None:
    site = await market.site()
    offering = await market.offering(site, cpus=2)
    customer, hand = await market.customer(site), await market.hand(site)
    await sold(customer, offering.id)
    array = await customer.submit(array=Array(indices=(0, 1)))
    waiting = await customer.submit(cpus=2)
    assert waiting.reason == PendingReason.NO_CAPACITY
    attempt = await hand.start(array)
    await hand.end(attempt, [Run(attempt, 0, 10), Run(attempt, 1, 10, Outcome.SITE)])

    async def one_is_placed() -> list[WorkItem]:
        return [item for item in (await hand.everything()).values() if item.submission and item.reference is None]

    played = []
    for _ in range(2):
        [item] = await until(one_is_placed)
        assert item.submission is not None
        played.append(item.submission.job)
        await hand.commit(item.attempt)
        if item.submission.job == array.id:
            hold = (await customer.job(array.id)).hold
            assert hold.amount == Money.parse("1.10"), "10 s that were used, and one task's walltime"
        await hand.end(item.attempt, [Run(item.attempt, item.submission.indices[0])])
    assert set(played) == {array.id, waiting.id}
    assert (await customer.job(array.id)).counts == {JobState.SUCCEEDED: 2}


async def test_a_retry_that_can_not_be_paid_ends_the_job_and_keeps_what_was_granted(market: Market) -> None:
    site = await market.site()
    cheap, dear = await market.offering(site), await market.offering(site, price="360.00")
    customer, hand = await market.customer(site, deposit="5.00"), await market.hand(site)
    await sold(customer, cheap.id, dear.id)
    job = await customer.submit(array=Array(indices=(0, 1)))
    attempt = await hand.start(job)
    await hand.end(attempt, [Run(attempt, 0, 10), Run(attempt, 1, 10, Outcome.SITE)])
    failed = await customer.reaches(job.id, JobState.FAILED)
    assert failed.counts == {JobState.SUCCEEDED: 1, JobState.FAILED: 1}
    assert "did not cover 10.10" in failed.detail
    assert failed.hold.amount == Money.parse("2.00")
    hold = await customer.hold_settles(job.id)
    assert (hold.amount, hold.captured) == (Money.parse("2.00"), Money.parse("0.10"))
    assert (await customer.job(job.id)).hold.state is HoldState.SETTLED


async def test_an_attempt_that_a_person_declares_lost_is_the_providers_cost_and_tried_elsewhere(two: Two) -> None:
    customer, hand, platform = two.customer, two.hand, two.market.platform
    job = await customer.submit()
    attempt = await hand.start(job)
    run = Run(attempt, seconds=50)
    await hand.tell(run.running(hand.number), *run.usage())
    centre = platform.broker("centre", f"provider/{two.market.provider}:admin")
    elsewhere = platform.broker("other", "provider/prv_" + "0" * 32 + ":admin")
    with pytest.raises(NotFound):
        await elsewhere.declare_attempt_lost(attempt)
    lost = await centre.declare_attempt_lost(attempt)
    assert (lost.state, lost.detail) == (AttemptState.ENDED, "declared lost")
    with pytest.raises(WrongState):
        await centre.declare_attempt_lost(attempt)
    assert (await hand.everything())[attempt].desired is Desired.NOTHING
    late = await hand.report(run.ended(hand.number), *run.usage(2), run.final(2))
    assert late.applied == 0, "what comes late changes nothing"
    second, offering, _ = await two.attempt(job, 2)
    assert offering == two.dear
    await hand.commit(second)
    await hand.end(second, [Run(second, 0, 10)])
    assert (await customer.job(job.id)).state is JobState.SUCCEEDED
    assert (await customer.hold_settles(job.id)).captured == Money.parse("0.20")
    [task] = (await customer.broker.list_job_tasks(job.id)).items
    assert (task.attempt, task.outcome) == (second, Outcome.SUCCEEDED)
    operator = platform.person("operator", "platform:admin")
    [entry] = (await operator.get("/audit", entity=attempt)).json()["items"]
    assert (entry["subject"], entry["action"]) == ("centre", "declare_attempt_lost")


async def test_what_waits_for_its_money_can_not_be_lost(two: Two) -> None:
    wire = two.market.platform.to_accounting
    wire.cut = True
    try:
        job = await two.customer.submit()
        [attempt] = (await two.customer.broker.list_job_attempts(job.id)).items
        with pytest.raises(WrongState) as refused:
            await two.market.platform.broker("operator", "platform:admin").declare_attempt_lost(attempt.id)
    finally:
        wire.cut = False
    assert "money" in refused.value.detail
    await two.attempt(job, 1)
    assert await two.hand.start(job) == attempt.id


async def test_a_committed_attempt_can_be_lost_before_it_runs(two: Two) -> None:
    """Its agent, thawed, may not release it any more."""
    job = await two.customer.submit()
    attempt, _, _ = await two.attempt(job, 1)
    await two.hand.commit(attempt)
    await two.market.platform.broker("operator", "platform:admin").declare_attempt_lost(attempt)
    assert (await two.hand.commit(attempt)).verdict == "discard"
    second, offering, _ = await two.attempt(job, 2)
    assert (second != attempt, offering) == (True, two.dear)
