"""Many jobs in one request: each answered for itself, all of them once."""

import pytest

from caravan.client import AccountingClient, each
from caravan.contracts.funds import BudgetDraft, HoldBatch, HoldOutcomes
from caravan.contracts.jobs import HoldState, JobAnswers, PendingReason
from caravan.contracts.problems import BudgetExceeded, InsufficientFunds, NoOfferingFits, UnknownReference
from caravan.contracts.spec import JobBatch
from caravan.kernel import clock, ids
from caravan.kernel.idempotency import Key
from caravan.kernel.money import Money
from caravan.kernel.problems import Invalid, KeyReused
from caravan.kernel.tokens import Caller
from services.broker.jobs import service
from services.broker.jobs.service import JobService
from tests.broker.conftest import Shop
from tests.broker.market import until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_each_job_is_answered_as_it_would_be_alone(shop: Shop) -> None:
    customer = shop.customer
    specs = (
        customer.spec("first", cpus=3),
        customer.spec("elsewhere").model_copy(update={"project": ids.new("prj")}),
        customer.spec("too large", cpus=400),
        customer.spec("second", cpus=2, labels={"team": "cfd"}),
        customer.spec("too dear", walltime=80_000, cpus=4, indices=100, max_parallel=1),
    )
    found = (await customer.broker.submit_jobs(JobBatch(jobs=specs))).items
    assert [one.status for one in found] == [201, UnknownReference.status, NoOfferingFits.status, 201, 402]
    first, unknown, large, second, dear = found
    assert first.job is not None and second.job is not None
    assert (first.job.name, first.job.reason, first.job.hold.state) == ("first", None, HoldState.GRANTED)
    assert (second.job.reason, second.job.labels) == (PendingReason.NO_CAPACITY, {"team": "cfd"})
    assert unknown.problem is not None and unknown.problem["errors"][0]["pointer"] == "/project"
    for refused, spec in ((large, specs[2]), (dear, specs[4])):
        with pytest.raises((NoOfferingFits, InsufficientFunds)) as alone:
            await customer.submit(spec)
        mine, its = dict(refused.problem or {}), alone.value.body()
        assert mine.pop("job", None) != its.pop("job", "another")
        assert mine == its
    assert {job.name async for job in each(customer.broker.list_jobs)} == {"first", "too dear", "second"}
    waits = second.job.id
    await shop.hand.play(first.job.id)
    assert await until(lambda: customer.is_placed(waits))


async def test_a_budget_is_used_up_in_the_order_of_the_batch(shop: Shop) -> None:
    customer = shop.customer
    buyer = shop.market.platform.accounting("buyer", f"org/{customer.organization}:admin")
    draft = BudgetDraft(
        organization=customer.organization, project=customer.project, name="Spring", limit=Money.parse("3.00"),
        starts_at=clock.floor_hour(clock.now()),
    )  # fmt: skip
    await buyer.create_budget(draft)
    specs = tuple(customer.spec(f"{number}") for number in range(5))
    answers = (await customer.broker.submit_jobs(JobBatch(jobs=specs))).items
    assert [one.status for one in answers] == [201, 201, 201, 402, 402]
    assert answers[3].problem is not None
    assert answers[3].problem["code"] == BudgetExceeded.code
    assert answers[3].problem["held"] == "3.00"


async def test_what_is_no_job_refuses_the_whole_batch_by_its_place(shop: Shop) -> None:
    good = shop.customer.spec()
    bad = good.model_copy(update={"resources": good.resources.model_copy(update={"walltime_seconds": 0})})
    with pytest.raises(Invalid) as refused:
        await shop.customer.broker.submit_jobs(JobBatch.model_construct(jobs=(good, bad)))
    assert [error.pointer for error in refused.value.errors] == ["/jobs/1/resources/walltime_seconds"]
    assert not (await shop.customer.broker.list_jobs()).items


async def test_a_repeated_key_gets_the_same_answers_and_makes_nothing(shop: Shop) -> None:
    batch = JobBatch(jobs=tuple(shop.customer.spec(f"{number}") for number in range(3)))
    first = await shop.customer.broker.submit_jobs(batch, "k")
    assert await shop.customer.broker.submit_jobs(batch, "k") == first
    with pytest.raises(KeyReused):
        await shop.customer.broker.submit_jobs(JobBatch(jobs=batch.jobs[:2]), "k")
    assert len((await shop.customer.broker.list_jobs()).items) == 3


class Breaking(AccountingClient):
    """A way to accounting that breaks at its second call, before or after accounting has heard it."""

    def __init__(self, real: AccountingClient, *, heard: bool) -> None:
        super().__init__("http://nowhere", "token")
        self._real, self._heard, self._calls = real, heard, 0

    async def put_holds(self, batch: HoldBatch) -> HoldOutcomes:
        self._calls += 1
        if self._calls == 2:
            if self._heard:
                await self._real.put_holds(batch)
            raise ZeroDivisionError("a bug")
        return await self._real.put_holds(batch)


@pytest.mark.parametrize("heard", [True, False])
async def test_a_batch_whose_request_broke_goes_on_where_it_was(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, heard: bool
) -> None:
    monkeypatch.setattr(service, "PART", 2)
    customer, jobs = shop.customer, shop.market.platform.apps["broker"].provided[JobService]
    broken = JobService(jobs._db, jobs._reception, Breaking(jobs._accounting, heard=heard), jobs._owner)
    caller = Caller("enterprise", frozenset({f"org/{customer.organization}:member"}))
    key = Key("a test", customer.project, "the same body")
    batch = JobBatch(jobs=tuple(customer.spec(f"{number}") for number in range(5)))
    with pytest.raises(ZeroDivisionError):
        await broken.submit_many(batch, caller, key)
    stored = {job.name: job.id async for job in each(customer.broker.list_jobs)}
    assert stored.keys() == {"0", "1", "2", "3"}

    answer = await jobs.submit_many(batch, caller, key)

    found = [one.job for one in JobAnswers.model_validate_json(answer.body).items]
    assert [job.name for job in found if job] == ["0", "1", "2", "3", "4"]
    assert all(job and stored.get(job.name, job.id) == job.id for job in found)
    assert all(job and job.hold.state is HoldState.GRANTED for job in found)
    assert len((await customer.broker.list_jobs()).items) == 5
    assert (await jobs.submit_many(batch, caller, key)).body == answer.body


async def test_a_batch_without_accounting_waits_for_its_funds(shop: Shop) -> None:
    jobs = shop.market.platform.apps["broker"].provided[JobService]
    caller = Caller("enterprise", frozenset({f"org/{shop.customer.organization}:member"}))
    batch = JobBatch(jobs=(shop.customer.spec("a"), shop.customer.spec("b")))
    async with AccountingClient("http://127.0.0.1:9", "token") as nobody:
        away = JobService(jobs._db, jobs._reception, nobody, jobs._owner)
        answer = await away.submit_many(batch, caller, Key("a test", shop.customer.project, "away"))
    found = JobAnswers.model_validate_json(answer.body).items
    assert [(one.status, one.job and one.job.reason) for one in found] == [(201, PendingReason.FUNDS_UNCONFIRMED)] * 2
    for job in [one.job.id for one in found if one.job]:

        async def granted(job: str = job) -> bool:
            return (await shop.customer.job(job)).hold.state is HoldState.GRANTED

        assert await until(granted)
        assert (await shop.customer.hold(job)).held == Money.parse("1.00")
