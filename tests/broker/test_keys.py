"""A request that breaks after its job was stored leaves a key that the next request takes over."""

import pytest

from caravan.client import AccountingClient
from caravan.contracts.funds import HoldAnswer, HoldRequest
from caravan.contracts.jobs import Job
from caravan.kernel.idempotency import Key
from caravan.kernel.tokens import Caller
from services.broker.jobs.service import JobService
from tests.broker.conftest import Shop

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Breaking(AccountingClient):
    """A way to accounting with a bug in it."""

    async def put_hold(self, job: str, request: HoldRequest) -> HoldAnswer:
        raise ZeroDivisionError("a bug")


async def test_a_request_that_broke_is_answered_when_it_comes_again(shop: Shop) -> None:
    app = shop.market.platform.apps["broker"]
    jobs: JobService = app.provided[JobService]
    broken = JobService(jobs._db, jobs._reception, Breaking("http://nowhere", "token"), jobs._owner)
    caller = Caller("enterprise", frozenset({f"org/{shop.customer.organization}:member"}))
    key = Key("a test", shop.customer.project, "the same body")
    spec = shop.customer.spec()
    with pytest.raises(ZeroDivisionError):
        await broken.submit(spec, caller, key)
    (stored,) = (await shop.customer.broker.list_jobs(project=shop.customer.project)).items

    answer = await jobs.submit(spec, caller, key)

    assert answer.status == 201
    assert Job.model_validate_json(answer.body).id == stored.id
    assert (await jobs.submit(spec, caller, key)).body == answer.body
