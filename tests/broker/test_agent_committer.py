"""Questions to the broker whether what is staged may start: few for many."""

import asyncio

import pytest

from caravan.client import ServiceUnavailable
from caravan.contracts.dispatch import Commit, CommitAnswers, CommitBatch, LeaseRequest
from caravan.kernel import clock, ids
from services.broker.adapters.fake import adapter
from services.broker.agent.committer import AT_ONCE, Committer
from services.broker.agent.tenure import Tenure
from tests.broker.agents import QUICK
from tests.broker.dispatch_double import Dispatch, DispatchApi


class Counted(DispatchApi):
    """Waits for `gate` before each answer, and fails the first `failures` of them."""

    def __init__(self, dispatch: Dispatch, failures: int = 0) -> None:
        super().__init__(dispatch)
        self.gate = asyncio.Event()
        self.failures = failures
        self.sizes: list[int] = []

    async def commit_submissions(self, site: str, batch: CommitBatch) -> CommitAnswers:
        self.sizes.append(len(batch.commits))
        await self.gate.wait()
        if len(self.sizes) <= self.failures:
            raise ServiceUnavailable("no answer")
        return await super().commit_submissions(site, batch)


def committer(broker: Dispatch, api: DispatchApi) -> Committer:
    lease = broker.take_lease(LeaseRequest(holder="first", descriptor=adapter.descriptor))
    return Committer(Tenure(lease, clock.monotonic() + 30, QUICK), api)


def commits(broker: Dispatch, count: int) -> list[Commit]:
    return [Commit(attempt=broker.place("#fake run=5"), reference=ids.new("own")) for _ in range(count)]


async def test_what_is_asked_while_a_question_is_on_its_way_goes_together_in_the_next(broker: Dispatch) -> None:
    api, asked = Counted(broker), commits(broker, AT_ONCE + 3)
    own = committer(broker, api)
    waiting = [asyncio.create_task(own.ask(asked[0]))]
    await asyncio.sleep(0.01)
    waiting += [asyncio.create_task(own.ask(commit)) for commit in asked[1:]]
    await asyncio.sleep(0.01)
    api.gate.set()
    assert [answer.reference for answer in await asyncio.gather(*waiting)] == [commit.reference for commit in asked]
    assert api.sizes == [1, AT_ONCE, 2]


async def test_a_failed_question_fails_those_in_it_and_no_others(broker: Dispatch) -> None:
    api, asked = Counted(broker, failures=1), commits(broker, 3)
    own = committer(broker, api)
    waiting = [asyncio.create_task(own.ask(asked[0]))]
    await asyncio.sleep(0.01)
    waiting += [asyncio.create_task(own.ask(commit)) for commit in asked[1:]]
    await asyncio.sleep(0.01)
    api.gate.set()
    with pytest.raises(ServiceUnavailable):
        await waiting[0]
    assert [(await one).reference for one in waiting[1:]] == [commit.reference for commit in asked[1:]]
    assert (await own.ask(asked[0])).reference == asked[0].reference, "and it can be asked again"


async def test_one_who_no_longer_waits_takes_nothing_from_the_others(broker: Dispatch) -> None:
    api, asked = Counted(broker), commits(broker, 3)
    own = committer(broker, api)
    waiting = [asyncio.create_task(own.ask(commit)) for commit in asked]
    await asyncio.sleep(0.01)
    waiting[0].cancel()
    api.gate.set()
    assert [(await one).reference for one in waiting[1:]] == [commit.reference for commit in asked[1:]]
