"""An agent freezes between two steps, another takes its lease and does the work, then the first one is let go: one start each time.

The frozen one is a driver alone, without the loops that would tell it of its loss, and past its last look at the lease.
"""

import asyncio

import pytest

from caravan.contracts.dispatch import CommitAnswers, CommitBatch, Desired, Lease, LeaseRequest
from caravan.kernel import clock
from caravan.kernel.metrics import Metrics
from services.broker.adapters.fake import FakeBackend, FakeSite, Fault, HandClock, adapter
from services.broker.agent import Agent, AgentMetrics
from services.broker.agent.driver import Driver
from services.broker.agent.tenure import Tenure
from tests.broker.agents import QUICK, an_agent, running, until
from tests.broker.dispatch_double import Dispatch, DispatchApi


class HeldApi(DispatchApi):
    """Its commits wait for `gate`, before they reach the broker or on the way back."""

    def __init__(self, dispatch: Dispatch, gate: asyncio.Event, *, reached: bool) -> None:
        super().__init__(dispatch)
        self.gate = gate
        self.reached = reached

    async def commit_submissions(self, site: str, batch: CommitBatch) -> CommitAnswers:
        if not self.reached:
            await self.gate.wait()
        answer = await super().commit_submissions(site, batch)
        await self.gate.wait()
        return answer


def frozen(broker: Dispatch, site: FakeSite, api: DispatchApi, seconds: float = 30) -> tuple[Tenure, Driver]:
    """An agent that has the lease and the work, and begins to act."""
    lease = broker.take_lease(LeaseRequest(holder="first", descriptor=adapter.descriptor))
    tenure = Tenure(lease, clock.monotonic() + seconds, QUICK)
    driver = Driver(tenure, FakeBackend(site), api, AgentMetrics(Metrics()), lambda reference: None)
    for watched in tenure.take(broker.get_work(lease.epoch, 0)):
        driver.kick(watched)
    return tenure, driver


@pytest.mark.parametrize("point", ["before_stage", "after_stage", "committing", "after_commit"])
async def test_a_frozen_agent_that_is_let_go_starts_nothing_twice(
    broker: Dispatch, site: FakeSite, time: HandClock, point: str
) -> None:
    attempt = broker.place("#fake run=50")
    placed = broker.attempts[attempt]
    gate = asyncio.Event()
    api: DispatchApi = DispatchApi(broker)
    if point in ("after_stage", "committing"):
        api = HeldApi(broker, gate, reached=point == "committing")
    else:
        site.faults.next("stage" if point == "before_stage" else "release", Fault(gate=gate))
    tenure, driver = frozen(broker, site, api)
    if point == "before_stage":
        await asyncio.sleep(0.02)
        assert not site.submissions
    else:
        await until(lambda: bool(site.submissions))
        await until(lambda: point == "after_stage" or placed.reference is not None)
    assert site.starts == []

    broker.end_lease()
    async with running(an_agent(broker)):
        await until(lambda: placed.state == "running")
        gate.set()
        await until(lambda: tenure.items[attempt].task.done())  # type: ignore[union-attr]
        assert tenure.lost is (point in ("before_stage", "after_stage"))
        time.advance(50)
        await until(lambda: placed.desired is Desired.NOTHING)
        await until(lambda: not site.submissions)
    await driver.close()
    assert site.starts == [(placed.reference, 0)]


async def test_nothing_is_asked_of_the_backend_when_the_lease_may_be_over(
    broker: Dispatch, site: FakeSite, time: HandClock
) -> None:
    attempt = broker.place("#fake run=50")
    tenure, driver = frozen(broker, site, DispatchApi(broker), seconds=0)
    await until(lambda: tenure.items[attempt].task.done())  # type: ignore[union-attr]
    assert tenure.lost
    assert site.submissions == {}
    await driver.close()


async def test_a_lease_that_can_not_be_renewed_ends_by_itself(broker: Dispatch, site: FakeSite) -> None:
    broker.ttl_seconds = 1

    class Deaf(DispatchApi):
        async def take_lease(self, site: str, request: LeaseRequest):  # type: ignore[no-untyped-def]
            if request.epoch is not None:
                raise TimeoutError
            return await super().take_lease(site, request)

    agent = Agent(broker.site, Deaf(broker), {"fake": adapter}, "fake", settings=QUICK)
    async with running(agent):
        await until(lambda: broker.epoch == 1)
        await until(lambda: broker.epoch == 2)


async def test_a_lease_is_over_no_later_than_at_the_broker_however_late_its_answers_come(
    broker: Dispatch, site: FakeSite
) -> None:
    broker.ttl_seconds = 1
    given: list[float] = []

    class Late(DispatchApi):
        async def take_lease(self, site: str, request: LeaseRequest) -> Lease:
            lease = await super().take_lease(site, request)
            given.append(clock.monotonic())
            await asyncio.sleep(0.05)
            return lease

    agent = an_agent(broker, api=Late)
    async with running(agent):
        await until(lambda: agent.epoch == 1)
        tenure = agent._tenure
        assert tenure is not None
        first = tenure.deadline
        assert first <= given[0] + broker.ttl_seconds
        await until(lambda: tenure.deadline > first)
        assert tenure.deadline <= given[1] + broker.ttl_seconds
