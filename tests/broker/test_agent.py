"""An agent with a fake site and a broker's double: from staging to the end, and nothing twice."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest

from caravan.contracts.dispatch import CommitAnswers, CommitBatch, Desired, Lease
from caravan.contracts.jobs import Outcome
from caravan.kernel.metrics import Metrics
from services.broker.adapters.fake import FakeBackend, FakeSite, Fault, HandClock, adapter
from services.broker.adapters.port import NotSeen, OutcomeUnknown, Seen, Unavailable
from services.broker.agent import Agent, AgentMetrics
from services.broker.agent.observer import Observer
from services.broker.agent.tenure import Tenure
from services.broker.agent.watched import Stand, Watched
from tests.broker.agents import QUICK, START, Only, an_agent, closed, running, until
from tests.broker.dispatch_double import Dispatch, DispatchApi


async def test_a_job_is_staged_committed_released_and_metered_to_its_end(
    broker: Dispatch, site: FakeSite, time: HandClock
) -> None:
    placed = broker.attempts[broker.place("#fake run=5400 exit=3")]
    async with running(an_agent(broker)):
        await until(lambda: placed.state == "running")
        time.advance(4000)
        (run,) = placed.runs.values()
        await until(lambda: START in run.hours)
        await until(lambda: broker.complete_through == START + timedelta(hours=1))
        assert not run.final
        time.advance(4000)
        await until(lambda: closed(placed) and not site.submissions)
        await until(lambda: broker.complete_through == START + timedelta(seconds=8000))
    assert placed.history == ["staged", "released", "running", "ended"] or placed.history == [
        "staged",
        "running",
        "ended",
    ]
    assert (run.seen.outcome, run.seen.exit_code, run.seen.ended_at) == (
        Outcome.USER,
        3,
        START + timedelta(seconds=5400),
    )
    assert run.spans() == [
        (START, START + timedelta(hours=1), 1),
        (START + timedelta(hours=1), START + timedelta(seconds=5400), 1),
    ]
    assert [usage.revision for usage in run.hours.values()] == [1, 1]
    assert site.starts == [(placed.reference, 0)]
    assert broker.reports[-1].state == "healthy"
    assert any(report.inventory == site.inventory() for report in broker.reports)


@pytest.mark.parametrize("method", ["release", "commit"])
async def test_what_is_still_being_started_is_not_swept(
    broker: Dispatch, site: FakeSite, time: HandClock, method: str
) -> None:
    gate = asyncio.Event()

    class Slow(DispatchApi):
        async def commit_submissions(self, site: str, batch: CommitBatch) -> CommitAnswers:
            if method == "commit":
                await gate.wait()
            return await super().commit_submissions(site, batch)

    if method == "release":
        site.faults.next("release", Fault(gate=gate))
    placed = broker.attempts[broker.place("#fake run=5")]
    litter = site.stage(placed.submission)
    async with running(Agent(broker.site, Slow(broker), {"fake": adapter}, "fake", settings=QUICK)):
        await until(lambda: len(site.submissions) == 2 or (method == "release" and litter not in site.submissions))
        await asyncio.sleep(0.1)
        gate.set()
        await until(lambda: placed.state == "running")
        time.advance(5)
        await until(lambda: closed(placed) and not site.submissions)
    assert site.starts == [(placed.reference, 0)]


async def test_an_array_runs_each_index_once(broker: Dispatch, site: FakeSite, time: HandClock) -> None:
    placed = broker.attempts[broker.place("#fake run=10\n#fake[2] exit=1", indices=(0, 1, 2, 5), max_parallel=2)]
    async with running(an_agent(broker)):
        await until(lambda: len(placed.runs) == 2)
        time.advance(10)
        await until(lambda: len(placed.runs) == 4)
        time.advance(10)
        await until(lambda: closed(placed))
    assert sorted(index for _, index in site.starts) == [0, 1, 2, 5]
    assert {run.index for run in placed.runs.values() if run.seen.outcome is Outcome.USER} == {2}


async def test_cancelling_before_anything_is_committed_discards(broker: Dispatch, site: FakeSite) -> None:
    gate = asyncio.Event()
    site.faults.next("stage", Fault(gate=gate))
    placed = broker.attempts[attempt := broker.place("#fake run=5")]
    async with running(an_agent(broker)):
        await until(lambda: broker.epoch == 1)
        await asyncio.sleep(0.02)
        broker.cancel(attempt)
        gate.set()
        await until(lambda: closed(placed))
        await until(lambda: not site.submissions)
    assert placed.state == "discarded"
    assert site.starts == []


async def test_cancelling_a_running_job_ends_it(broker: Dispatch, site: FakeSite, time: HandClock) -> None:
    placed = broker.attempts[attempt := broker.place("#fake run=500")]
    async with running(an_agent(broker)):
        await until(lambda: placed.state == "running")
        time.advance(7)
        broker.cancel(attempt)
        await until(lambda: closed(placed))
    (run,) = placed.runs.values()
    assert run.seen.outcome is Outcome.CANCELLED
    assert run.spans() == [(START, START + timedelta(seconds=7), 1)]


class Grace(FakeBackend):
    """What is cancelled runs on for a while: until `site.clock` comes to `ends_at`."""

    ends_at = START + timedelta(hours=1)
    forgot_what_runs = False

    async def cancel(self, reference: str) -> None:
        if self.site.clock() >= self.ends_at:
            await super().cancel(reference)

    async def forget(self, reference: str) -> None:
        self.forgot_what_runs |= not self.site.submissions[reference].ended
        await super().forget(reference)


@pytest.mark.parametrize("turned_up", ["later", "at once"])
async def test_what_was_given_up_is_ended_when_it_turns_up_and_let_go_of_then(
    broker: Dispatch, site: FakeSite, time: HandClock, turned_up: str
) -> None:
    """Its site was silent, or a person lost patience: another agent finds it, or the same."""
    broker.complete = lambda second: True  # what it used after that is nobody's
    placed = broker.attempts[attempt := broker.place("#fake run=50000")]
    backend = Grace(site)

    def agent() -> Agent:
        return Agent(broker.site, DispatchApi(broker), {"fake": Only(backend)}, "fake", settings=QUICK)

    async with running(agent()):
        await until(lambda: placed.state == "running")
        if turned_up == "at once":
            broker.lose(attempt)
            await asyncio.sleep(0.05)
    if turned_up == "later":
        broker.lose(attempt)
    broker.end_lease()
    async with running(agent()):
        await until(lambda: broker.epoch == 2)
        await asyncio.sleep(0.05)
        assert not placed.forgotten, "it is still running"
        time.advance(3600)
        await until(lambda: placed.forgotten)
    assert not backend.forgot_what_runs


class Asked(FakeBackend):
    """Knows how many looks there were, and at what."""

    def __init__(self, site: FakeSite) -> None:
        super().__init__(site)
        self.looks = 0
        self.at: list[str] = []

    async def changed(self, since: float | None) -> Sequence[str]:
        self.looks += 1
        return await super().changed(since)

    async def observe(self, references: Sequence[str]) -> Mapping[str, Seen | NotSeen]:
        self.at += references
        return await super().observe(references)


async def test_where_nothing_changes_nothing_is_looked_at(broker: Dispatch, site: FakeSite, time: HandClock) -> None:
    quiet, other = [broker.attempts[broker.place(f"#fake run={seconds}")] for seconds in (5000, 60)]
    backend, settings = Asked(site), QUICK.model_copy(update={"full_pass_seconds": 3600})
    async with running(Agent(broker.site, DispatchApi(broker), {"fake": Only(backend)}, "fake", settings=settings)):
        await until(lambda: {quiet.state, other.state} == {"running"})
        time.advance(10)
        before = backend.looks
        await until(lambda: backend.looks > before + 3)
        backend.at.clear()
        await until(lambda: backend.looks > before + 10)
        assert backend.at == []
        time.advance(60)
        await until(lambda: other.state == "ended")
        assert set(backend.at) == {other.reference}


class Newsy(Asked):
    """That hears of changes by itself."""

    def __init__(self, site: FakeSite) -> None:
        super().__init__(site)
        self.heard = asyncio.Event()

    async def news(self) -> None:
        await self.heard.wait()
        self.heard.clear()


async def test_what_a_backend_hears_of_is_looked_at_at_once(broker: Dispatch, site: FakeSite, time: HandClock) -> None:
    """Between looks, and until all is looked at once more, an hour passes else."""
    placed = broker.attempts[broker.place("#fake run=60")]
    backend, settings = Newsy(site), QUICK.model_copy(update={"full_pass_seconds": 3600, "observe_seconds": 3600})
    async with running(Agent(broker.site, DispatchApi(broker), {"fake": Only(backend)}, "fake", settings=settings)):
        await until(lambda: placed.state == "running")
        time.advance(60)
        backend.heard.set()
        await until(lambda: placed.state == "ended")


async def test_what_the_backend_rejects_is_told_in_its_words(broker: Dispatch, site: FakeSite) -> None:
    placed = broker.attempts[broker.place("#fake bogus=1")]
    async with running(an_agent(broker)):
        await until(lambda: closed(placed))
    assert placed.state == "rejected"
    assert "bogus" in placed.detail
    assert site.starts == []


@pytest.mark.parametrize("method", ["stage", "release"])
@pytest.mark.parametrize("done", [False, True])
async def test_calls_whose_outcome_is_unknown_start_nothing_twice(
    broker: Dispatch, site: FakeSite, time: HandClock, method: str, done: bool
) -> None:
    unknown = OutcomeUnknown("timed out")
    site.faults.next(method, Fault(after=unknown) if done else Fault(before=unknown))
    site.faults.next(method, Fault(before=Unavailable("busy")))
    placed = broker.attempts[broker.place("#fake run=5")]
    async with running(an_agent(broker)):
        await until(lambda: placed.state == "running")
        time.advance(5)
        await until(lambda: closed(placed))
        await until(lambda: not site.submissions)
    assert site.starts == [(placed.reference, 0)]


async def test_two_agents_of_one_site_take_turns(broker: Dispatch, site: FakeSite, time: HandClock) -> None:
    attempts = [broker.place(f"#fake run={seconds}") for seconds in (5, 6, 7, 8, 9)]
    async with running(an_agent(broker), an_agent(broker)):
        for _ in range(10):
            epoch = broker.epoch
            broker.end_lease()
            await until(lambda epoch=epoch: broker.epoch > epoch)  # type: ignore[misc]
        time.advance(10)
        await until(lambda: all(placed.state == "running" or closed(placed) for placed in broker.attempts.values()))
        time.advance(10)
        await until(lambda: all(closed(broker.attempts[attempt]) for attempt in attempts))
        await until(lambda: not site.submissions)
    assert sorted(reference for reference, _ in site.starts) == sorted(
        str(placed.reference) for placed in broker.attempts.values()
    )


async def test_litter_of_an_unknown_attempt_is_swept_after_a_while(broker: Dispatch, site: FakeSite) -> None:
    placed = broker.attempts.pop(broker.place("#fake run=5"))
    site.stage(placed.submission)
    async with running(an_agent(broker)):
        await until(lambda: not site.submissions)
    assert site.starts == []


class Stubborn(FakeBackend):
    """Discards nothing of one attempt."""

    keeps = ""

    async def discard(self, reference: str) -> None:
        if reference == self.keeps:
            raise Unavailable("not now")
        await super().discard(reference)


async def test_what_cannot_be_discarded_keeps_no_other_litter_from_being_swept(
    broker: Dispatch, site: FakeSite
) -> None:
    litter = [site.stage(broker.attempts.pop(broker.place("#fake run=5")).submission) for _ in range(3)]
    backend, metrics = Stubborn(site), Metrics()
    backend.keeps = litter[0]
    agent = Agent(
        broker.site, DispatchApi(broker), {"fake": Only(backend)}, "fake", settings=QUICK, metrics=AgentMetrics(metrics)
    )

    def counted(name: str, **labels: str) -> float:
        return metrics.registry.get_sample_value(name, labels) or 0

    async with running(agent):
        await until(lambda: list(site.submissions) == [litter[0]])
        await until(lambda: counted("caravan_agent_failures_total", step="sweep") > 1)
        assert counted("caravan_agent_swept_submissions_total") == 2
        backend.keeps = ""
        await until(lambda: not site.submissions)


class Items(dict[str, Watched]):
    """Counts how often all were gone through."""

    gone_through = 0

    def values(self) -> Any:
        self.gone_through += 1
        return super().values()


async def test_what_does_not_change_is_not_even_gone_through_until_progress_is_due(
    broker: Dispatch, site: FakeSite
) -> None:
    hourly = QUICK.model_copy(update={"full_pass_seconds": 3600, "progress_seconds": 3600})
    lease = Lease(site=broker.site, epoch=1, ttl_seconds=30, adapter="fake", settings={}, accelerators={})
    tenure, items = Tenure(lease, float("inf"), hourly), Items()
    tenure.synced, tenure.items = True, items
    observer = Observer(tenure, FakeBackend(site), 0, AgentMetrics(Metrics()))

    def commit() -> Watched:
        attempt = broker.place("#fake run=5000")
        reference = site.stage(broker.attempts[attempt].submission)
        site.release(reference)
        items[attempt] = Watched(attempt, Desired.RUN, reference=reference)
        return items[attempt]

    first = commit()
    for _ in range(5):
        await observer.iteration()
    assert (first.stand, items.gone_through) == (Stand.RELEASED, 1)
    second = commit()
    observer.look(str(second.reference))
    for _ in range(5):
        await observer.iteration()
    assert (second.stand, items.gone_through) == (Stand.RELEASED, 2)
