"""What an agent tells the broker of runs and usage: all of it, in order, again where it was not believed, and what is complete."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from caravan.contracts.dispatch import Desired, Report, Reported, ReportItem, WorkItem
from caravan.contracts.jobs import Outcome, RunState
from caravan.contracts.usage import Span
from caravan.kernel import ids
from services.broker.adapters.fake import FakeBackend, FakeSite, HandClock
from services.broker.adapters.port import NotSeen, RunSeen, Seen
from services.broker.agent import Agent
from services.broker.agent.watched import Watched
from tests.broker.agents import QUICK, START, Only, an_agent, closed, running, until
from tests.broker.dispatch_double import Dispatch, DispatchApi, stated_all


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

    backend = Blind(site)
    placed = broker.attempts[broker.place("#fake run=100")]

    def agent() -> Agent:
        return Agent(broker.site, DispatchApi(broker), {"fake": Only(backend)}, "fake", settings=QUICK)

    async with running(agent()):
        await until(lambda: placed.state == "running")
        backend.blind = True
        await until(lambda: placed.state == "unknown")
    before = broker.complete_through
    time.advance(60)
    broker.end_lease()
    async with running(agent()):
        await until(lambda: broker.epoch == 2)
        await asyncio.sleep(0.05)
        assert broker.complete_through == before
        backend.blind = False
        time.advance(60)
        await until(lambda: closed(placed))
    assert placed.history[-2:] in (["unknown", "ended"], ["running", "ended"])


class Doubtful(DispatchApi):
    """A broker that doesn't believe `doubts` batches with items that `doubted` names."""

    doubts = 2

    @staticmethod
    def doubted(item: ReportItem) -> bool:
        raise NotImplementedError

    async def report(self, site: str, report: Report) -> Reported:
        doubted = {place for place, item in enumerate(report.items) if self.doubts and self.doubted(item)}
        if not doubted:
            return await super().report(site, report)
        self.doubts -= 1
        before = list(self.dispatch.wrong)
        places = [place for place in range(len(report.items)) if place not in doubted]
        believed = tuple(report.items[place] for place in places)
        rest = await super().report(site, report.model_copy(update={"items": believed, "usage_complete_through": None}))
        rejected = {places[place]: why for place, why in rest.rejected.items()}
        # what stands on what was doubted can't be believed either
        self.dispatch.wrong = before
        return Reported(applied=rest.applied, rejected=rejected | dict.fromkeys(doubted, "doubtful"))


@pytest.mark.parametrize("kind", ["attempt", "run", "usage", "final"])
async def test_what_the_broker_did_not_believe_is_told_again(
    broker: Dispatch, site: FakeSite, time: HandClock, kind: str
) -> None:
    class OfTheEnd(Doubtful):
        @staticmethod
        def doubted(item: ReportItem) -> bool:
            return item.type == kind and getattr(item, "state", "ended") == "ended"

    placed = broker.attempts[broker.place("#fake run=60")]
    async with running(an_agent(broker, api=OfTheEnd)):
        await until(lambda: placed.state == "running")
        time.advance(60)
        await until(lambda: closed(placed))
        assert stated_all(broker, site, START + timedelta(days=1))


async def test_what_was_not_believed_is_not_called_complete_by_the_next_batch(
    broker: Dispatch, site: FakeSite, time: HandClock
) -> None:
    class OfUsage(Doubtful):
        doubts = 1

        @staticmethod
        def doubted(item: ReportItem) -> bool:
            return item.type == "usage"

    one_by_one = QUICK.model_copy(update={"batch_items": 1, "full_pass_seconds": 0.2})
    placed = broker.attempts[broker.place("#fake run=9000")]
    async with running(an_agent(broker, one_by_one, OfUsage)):
        await until(lambda: placed.state == "running")
        time.advance(4000)
        await until(lambda: broker.complete_through == START + timedelta(hours=1))


def test_a_run_that_was_not_believed_holds_completeness_back_until_the_next_look() -> None:
    watched = Watched(ids.new("att"), Desired.RUN)
    end = START + timedelta(seconds=4000)
    span = Span(start=START, end=end, nodes=1, cpus=1, memory_mib=1)
    run = RunSeen(0, "one", RunState.RUNNING, START, None, None, None, None, "", (span,), final=False)
    seen = Seen("r", released=True, queued=False, ended=False, runs=(run,), seen_at=end)
    told = watched.saw(seen, timedelta(0))
    assert watched.complete_through(timedelta(0)) == START + timedelta(hours=1)
    for item in told:
        watched.retell(item)
    assert watched.complete_through(timedelta(0)) is None
    again = watched.saw(seen, timedelta(0))
    assert [item.type for item in again] == [item.type for item in told] == ["run", "usage", "attempt"]


def test_why_an_attempt_waits_is_told_when_it_is_another_reason() -> None:
    watched = Watched(ids.new("att"), Desired.RUN)
    queued = Seen("r", released=True, queued=True, ended=False, runs=(), seen_at=START, detail="Priority")
    later = replace(queued, seen_at=START + timedelta(seconds=1), detail="Resources")
    told = [item for seen in (queued, queued, later, later) for item in watched.saw(seen, timedelta(0))]
    assert [item.detail for item in told if item.type == "attempt"] == ["Priority", "Resources"]


def test_whatever_a_backend_says_can_be_told() -> None:
    run = RunSeen(0, "one", RunState.ENDED, START, START, Outcome.USER, 1, None, "a\0b" + "x" * 5000, (), final=True)
    seen = Seen("r", released=True, queued=False, ended=True, runs=(run,), seen_at=START, detail="\0")
    told = Watched(ids.new("att"), Desired.RUN).saw(seen, timedelta(0))
    assert [item.type for item in told] == ["run", "final", "attempt"]


@pytest.mark.parametrize("closed", [False, True])
def test_an_attempt_that_ended_without_a_run_that_the_broker_knows_is_gone_unless_that_is_final(closed: bool) -> None:
    """By its backend's last word the run may be none; the broker ends it."""
    attempt = ids.new("att")
    watched = Watched(attempt, Desired.NOTHING)
    watched.take(
        WorkItem(
            attempt=attempt, desired=Desired.NOTHING, reference="r", submission=None, observed=3,
            stated={"one": {}}, finals=("one",) if closed else (),
        )
    )  # fmt: skip
    other = RunSeen(1, "two", RunState.ENDED, START, START, Outcome.USER, 1, None, "", (), final=False)
    seen = Seen("r", released=True, queued=False, ended=True, runs=(other,), seen_at=START)
    open_still = watched.saw(seen, timedelta(0))
    assert [item.type for item in open_still] == (["run", "attempt"] if closed else ["run"])
    told = open_still + watched.saw(replace(seen, runs=(replace(other, final=True),)), timedelta(0))
    told += watched.saw(seen, timedelta(0))
    assert [item.state for item in told if item.type == "attempt"] == ["ended" if closed else "gone"]


async def test_what_the_backend_lost_ends_also_for_an_agent_that_never_saw_it_run(
    broker: Dispatch, site: FakeSite, time: HandClock
) -> None:
    placed = broker.attempts[broker.place("#fake run=9000", indices=(0, 1), max_parallel=2)]
    async with running(an_agent(broker)):
        await until(lambda: placed.state == "running" and len(placed.runs) == 2)
    site.submissions.clear()
    broker.end_lease()
    async with running(an_agent(broker)):
        await until(lambda: placed.forgotten)
    assert placed.state == "ended"


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


async def test_books_that_close_correct_when_a_run_ended_before_they_state_its_usage(
    broker: Dispatch, site: FakeSite, time: HandClock
) -> None:
    class Guessing(FakeBackend):
        """Says of a run whose books are open that it ended two seconds before it did."""

        async def observe(self, references: Sequence[str]) -> Mapping[str, Seen | NotSeen]:
            found = await super().observe(references)
            return {
                reference: replace(seen, runs=tuple(map(guessed, seen.runs))) if isinstance(seen, Seen) else seen
                for reference, seen in found.items()
            }

    def guessed(run: RunSeen) -> RunSeen:
        if run.final or run.ended_at is None:
            return run
        end = run.ended_at - timedelta(seconds=2)
        return replace(run, ended_at=end, spans=tuple(span.model_copy(update={"end": end}) for span in run.spans))

    site.hold_books = True
    placed = broker.attempts[broker.place("#fake run=60")]
    async with running(Agent(broker.site, DispatchApi(broker), {"fake": Only(Guessing(site))}, "fake", settings=QUICK)):
        await until(lambda: placed.state == "running")
        time.advance(60)
        await until(lambda: placed.state == "ended")
        (run,) = placed.runs.values()
        assert run.seen.ended_at == START + timedelta(seconds=58)
        site.hold_books = False
        await until(lambda: closed(placed))
    assert run.seen.ended_at == START + timedelta(seconds=60)
    assert run.spans() == [(START, START + timedelta(seconds=60), 1)]
