"""An agent with a fake site and a broker's double: the common way, restarts, sites that can't be operated."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from caravan.contracts.dispatch import Commit, Committed, Desired, Report, Reported
from caravan.contracts.jobs import Outcome
from caravan.kernel import clock, ids
from services.broker.adapters.fake import FakeBackend, FakeSite, Fault, HandClock, adapter, register
from services.broker.adapters.port import NotSeen, OutcomeUnknown, Seen, SiteContext, Unavailable
from services.broker.agent import Agent, AgentSettings
from tests.broker.dispatch_double import Dispatch, DispatchApi, Placed, stated_all

QUICK = AgentSettings(
    work_wait_seconds=0.05, observe_seconds=0.005, full_pass_seconds=0.02, progress_seconds=0, sweep_seconds=0.02,
    orphan_seconds=0.05, inventory_seconds=0.1, retry_seconds=0.02, first_pause_seconds=0.002, longest_pause_seconds=0.01,
    batch_seconds=0.001,
)  # fmt: skip
START = datetime(2026, 1, 1, 10, 0, 0, tzinfo=UTC)


async def until(true: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for something that is to become so."""
    deadline = clock.monotonic() + seconds
    while not true():
        assert clock.monotonic() < deadline, "it didn't become so"
        await asyncio.sleep(0.002)


@pytest.fixture
def time() -> HandClock:
    return HandClock(START)


@pytest.fixture
def site(time: HandClock) -> FakeSite:
    return register(FakeSite(ids.new("own"), clock=time))


@pytest.fixture
def broker(site: FakeSite) -> Dispatch:
    broker = Dispatch(settings={"fake": site.name})
    broker.complete = lambda second: stated_all(broker, site, second)
    return broker


def an_agent(broker: Dispatch, settings: AgentSettings = QUICK) -> Agent:
    return Agent(broker.site, DispatchApi(broker), {"fake": adapter}, "fake", settings=settings)


@asynccontextmanager
async def running(*agents: Agent) -> AsyncIterator[None]:
    for agent in agents:
        agent.start()
    try:
        yield
    finally:
        for agent in agents:
            await agent.stop()


def closed(placed: Placed) -> bool:
    return placed.desired is Desired.NOTHING


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
    assert broker.wrong == []


async def test_a_site_without_jobs_states_that_nothing_was_used(broker: Dispatch, time: HandClock) -> None:
    async with running(an_agent(broker)):
        await until(lambda: broker.complete_through == START)
        time.advance(90)
        await until(lambda: broker.complete_through == START + timedelta(seconds=90))


async def test_a_look_just_at_the_edge_of_an_hour_states_no_more_than_is_stated(
    broker: Dispatch, site: FakeSite, time: HandClock
) -> None:
    placed = broker.attempts[broker.place("#fake run=9000")]
    async with running(an_agent(broker)):
        await until(lambda: placed.state == "running")
        time.advance(3600)
        await until(lambda: broker.complete_through == START + timedelta(hours=1))
        time.advance(900)
        (run,) = placed.runs.values()
        await asyncio.sleep(0.1)
        assert list(run.hours) == [START]
    assert broker.complete_through == START + timedelta(hours=1)
    assert broker.wrong == []


async def test_an_attempt_that_the_backend_does_not_show_is_unknown_and_holds_usage_back(
    broker: Dispatch, site: FakeSite, time: HandClock
) -> None:
    class Blind(FakeBackend):
        """Its books are out of sight while `blind`."""

        blind = False

        async def observe(self, references: Sequence[str]) -> Mapping[str, Seen | NotSeen]:
            found = await super().observe(references)
            return (
                {one: NotSeen(provably_gone=False, detail="no answer of its database") for one in found}
                if self.blind
                else found
            )

    class BlindAdapter:
        descriptor, grant = adapter.descriptor, adapter.grant
        backend = Blind(site)

        @asynccontextmanager
        async def open(self, context: SiteContext) -> AsyncIterator[Blind]:
            yield self.backend

    kept = BlindAdapter()
    placed = broker.attempts[broker.place("#fake run=100")]

    def agent() -> Agent:
        return Agent(broker.site, DispatchApi(broker), {"fake": kept}, "fake", settings=QUICK)

    async with running(agent()):
        await until(lambda: placed.state == "running")
        kept.backend.blind = True
        await until(lambda: placed.state == "unknown")
    before = broker.complete_through
    time.advance(60)
    broker.end_lease()
    async with running(agent()):
        await until(lambda: broker.epoch == 2)
        await asyncio.sleep(0.05)
        assert broker.complete_through == before
        kept.backend.blind = False
        time.advance(60)
        await until(lambda: closed(placed))
    assert placed.history[-2:] in (["unknown", "ended"], ["running", "ended"])
    assert broker.wrong == []


@pytest.mark.parametrize("method", ["release", "commit"])
async def test_what_is_still_being_started_is_not_swept(
    broker: Dispatch, site: FakeSite, time: HandClock, method: str
) -> None:
    gate = asyncio.Event()

    class Slow(DispatchApi):
        async def commit_submission(self, site: str, commit: Commit) -> Committed:
            if method == "commit":
                await gate.wait()
            return await super().commit_submission(site, commit)

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
    assert broker.wrong == []


@pytest.mark.parametrize("kind", ["attempt", "run", "usage", "final"])
async def test_what_the_broker_did_not_believe_is_told_again(
    broker: Dispatch, site: FakeSite, time: HandClock, kind: str
) -> None:
    class Doubtful(DispatchApi):
        """Doesn't believe the first items of a kind that stand for the end."""

        doubts = 2

        async def report(self, site: str, report: Report) -> Reported:
            doubted = {
                place: "doubtful"
                for place, item in enumerate(report.items)
                if self.doubts and item.type == kind and getattr(item, "state", "ended") == "ended"
            }
            if not doubted:
                return await super().report(site, report)
            self.doubts -= 1
            believed = tuple(item for place, item in enumerate(report.items) if place not in doubted)
            await super().report(site, report.model_copy(update={"items": believed, "usage_complete_through": None}))
            return Reported(applied=len(believed), rejected=doubted)

    placed = broker.attempts[broker.place("#fake run=60")]
    async with running(Agent(broker.site, Doubtful(broker), {"fake": adapter}, "fake", settings=QUICK)):
        await until(lambda: placed.state == "running")
        time.advance(60)
        await until(lambda: closed(placed))
        assert stated_all(broker, site, START + timedelta(days=1))


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
    assert broker.wrong == []


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
    assert broker.wrong == []


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
    assert broker.wrong == []


async def test_what_a_person_gave_up_does_not_run_on(broker: Dispatch, site: FakeSite, time: HandClock) -> None:
    placed = broker.attempts[attempt := broker.place("#fake run=500")]
    async with running(an_agent(broker)):
        await until(lambda: placed.state == "running")
        time.advance(5)
        broker.lose(attempt)
        await until(lambda: placed.forgotten)
        (submitted,) = site.forgotten.values()
    assert submitted.running == []


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
    assert broker.wrong == []


async def test_a_new_agent_goes_on_where_the_last_one_stopped(
    broker: Dispatch, site: FakeSite, time: HandClock
) -> None:
    placed = broker.attempts[broker.place("#fake run=9000")]
    async with running(an_agent(broker)):
        await until(lambda: placed.state == "running")
        time.advance(3700)
        (run,) = placed.runs.values()
        await until(lambda: bool(run.hours))
    before = run.hours[START]
    broker.end_lease()
    async with running(an_agent(broker)):
        await until(lambda: run.hours[START].revision == before.revision + 1)
        assert run.hours[START].spans == before.spans
        time.advance(9000)
        await until(lambda: closed(placed))
    assert run.seen.ended_at == START + timedelta(seconds=9000)
    assert len(run.hours) == 3
    assert site.starts == [(placed.reference, 0)]
    assert broker.wrong == []


async def test_books_that_stay_open_hold_back_the_end_and_change_by_revision(
    broker: Dispatch, site: FakeSite, time: HandClock
) -> None:
    site.hold_books = True
    placed = broker.attempts[broker.place("#fake run=60")]
    async with running(an_agent(broker)):
        await until(lambda: placed.state == "running")
        time.advance(60)
        await until(lambda: placed.state == "ended")
        (run,) = placed.runs.values()
        await asyncio.sleep(0.05)
        assert (run.final, run.hours) == (False, {})
        assert broker.complete_through == START
        site.hold_books = False
        await until(lambda: closed(placed))
    assert run.final
    assert broker.wrong == []


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
    assert broker.wrong == []


async def test_a_refused_site_says_why_and_is_tried_again(broker: Dispatch, site: FakeSite, time: HandClock) -> None:
    broker.settings = {"fake": site.name, "refused": "no isolation here"}
    placed = broker.attempts[broker.place("#fake run=1")]
    async with running(an_agent(broker)):
        await until(lambda: bool(broker.reports))
        assert (broker.reports[0].state, broker.reports[0].detail) == ("refused", "no isolation here")
        broker.settings = {"fake": site.name}
        await until(lambda: placed.state == "running")
    assert broker.reports[-1].state == "healthy"


async def test_an_adapter_that_is_not_installed_refuses_the_site(broker: Dispatch) -> None:
    broker.adapter = "slurm"
    async with running(an_agent(broker)):
        await until(lambda: bool(broker.reports))
    assert broker.reports[0].state == "refused"
    assert "slurm" in broker.reports[0].detail


async def test_a_backend_that_is_down_makes_the_site_degraded(broker: Dispatch, site: FakeSite) -> None:
    async with running(an_agent(broker)):
        await until(lambda: bool(broker.reports))
        site.faults.down = True
        await until(lambda: broker.reports[-1].state == "degraded")
        site.faults.down = False
        await until(lambda: broker.reports[-1].state == "healthy")


async def test_output_is_read(broker: Dispatch, site: FakeSite, time: HandClock) -> None:
    placed = broker.attempts[attempt := broker.place("#fake run=5 print=hello")]
    async with running(an_agent(broker)):
        await until(lambda: placed.state == "running")
        read = broker.read(attempt)
        await until(lambda: read in broker.answers)
        nothing = broker.read(attempt, stream="stderr")
        await until(lambda: nothing in broker.answers)
    answer = broker.answers[read]
    assert (answer.data, answer.size, answer.complete) == ("aGVsbG8gWzBdCg==", 10, False)
    assert broker.answers[nothing].data == ""


async def test_settings_that_change_open_the_backend_anew(broker: Dispatch, site: FakeSite, time: HandClock) -> None:
    broker.ttl_seconds = 1
    other = register(FakeSite(ids.new("own"), clock=time))
    async with running(an_agent(broker)):
        await until(lambda: bool(broker.reports))
        broker.settings = {"fake": other.name}
        placed = broker.attempts[broker.place("#fake queue=1")]
        await until(lambda: any(report.inventory == other.inventory() for report in broker.reports))
        assert placed.reference is not None


async def test_litter_of_an_unknown_attempt_is_swept_after_a_while(broker: Dispatch, site: FakeSite) -> None:
    placed = broker.attempts.pop(broker.place("#fake run=5"))
    site.stage(placed.submission)
    async with running(an_agent(broker)):
        await until(lambda: not site.submissions)
    assert site.starts == []
