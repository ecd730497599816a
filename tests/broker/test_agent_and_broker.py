"""An agent with the real broker, over its API, on both engines: what the double promises, the broker keeps."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from caravan.contracts.books import BooksReport
from caravan.contracts.dispatch import LeaseRequest, Report
from caravan.contracts.jobs import Job, JobState, Outcome
from caravan.contracts.problems import LeaseLost, LeaseTaken, NoLogYet
from caravan.kernel import clock
from caravan.kernel.local_days import midnight
from services.broker.adapters.fake import FakeSite, HandClock, adapter
from services.broker.agent import Agent
from tests.broker.agents import QUICK, START, running
from tests.broker.real_broker import World, a_broker

CALM = QUICK.model_copy(
    update={
        "work_wait_seconds": 2,
        "observe_seconds": 0.05,
        "full_pass_seconds": 0.1,
        "sweep_seconds": 0.3,
        "retry_seconds": 0.05,
    }
)
"""Leaves the broker time to answer."""


@pytest.fixture
async def world(tmp_path: Path, migrated: Callable[[str], str], site: FakeSite) -> AsyncIterator[World]:
    async with a_broker(tmp_path, migrated("broker"), site.name) as world:
        yield world
        assert (await world.follow()).wrong == []


def an_agent(world: World) -> Agent:
    return Agent(world.site.id, world.agent_api(), {"fake": adapter}, "fake", settings=CALM)


async def until(true: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    deadline = clock.monotonic() + seconds
    while not await true():
        assert clock.monotonic() < deadline, "it didn't become so"
        await asyncio.sleep(0.02)


async def test_a_days_books_are_told_once_the_day_is_over_and_by_one_agent_alone(
    world: World, site: FakeSite, time: HandClock
) -> None:
    today = clock.from_seconds(midnight(ZoneInfo("Asia/Shanghai"), clock.to_seconds(clock.now())))
    time.advance((today - timedelta(hours=6) - START).total_seconds())
    job = await world.submit("#fake run=5400")

    async def over() -> bool:
        return job.id in (await world.follow()).settled

    async def told() -> bool:
        return bool((await world.follow()).books)

    async with running(an_agent(world)):
        await until(lambda: running_now(world, job))
        time.advance(6000)
        await until(over)
        assert (await world.follow()).books == []
        time.advance(6 * 3600)
        await until(told)
    await world.end_lease()
    async with running(second := an_agent(world)):
        await until(lambda: acts(second))
        api, epoch = world.agent_api(), second.epoch
        assert epoch is not None
        assert (await api.get_wanted_books(world.site.id, epoch)).day is None
        (page,) = (await world.follow()).books
        again = BooksReport(epoch=epoch, **page.model_dump(exclude={"site"}))
        assert (await api.report_books(world.site.id, again)).day is None
        with pytest.raises(LeaseLost):
            await api.report_books(world.site.id, again.model_copy(update={"epoch": epoch - 1}))
    (page,) = (await world.follow()).books
    (run,) = page.runs
    ((start, end, cpus), *_) = world.told.spans(job.id)
    assert (page.start, page.end, page.last, page.keeps_all) == (today - timedelta(days=1), today, True, True)
    assert (run.start, run.end, run.cpus) == (start, world.told.spans(job.id)[-1][1], cpus)
    assert {run.identity} == {record.backend_identity for record in world.told.usage.values()}
    assert end <= today


async def running_now(world: World, job: Job) -> bool:
    return (await world.member.get_job(job.id)).state is JobState.RUNNING


async def acts(agent: Agent) -> bool:
    return agent.epoch is not None


async def test_a_job_runs_to_its_end_and_settles_with_its_usage(world: World, site: FakeSite, time: HandClock) -> None:
    job = await world.submit("#fake run=5400 exit=3")

    async def is_in(state: JobState) -> bool:
        return (await world.member.get_job(job.id)).state is state

    async def settled() -> bool:
        return job.id in (await world.follow()).settled

    async with running(an_agent(world)):
        await until(lambda: is_in(JobState.RUNNING))
        time.advance(6000)
        await until(lambda: is_in(JobState.FAILED))
        await until(settled)

        async def complete() -> bool:
            progress = (await world.follow()).progress
            return progress is not None and progress.complete_through == START + timedelta(seconds=6000)

        await until(complete)
    (task,) = await world.tasks(job)
    assert (task.outcome, task.exit_code, task.ended_at) == (Outcome.USER, 3, START + timedelta(seconds=5400))
    edge = START + timedelta(hours=1)
    assert world.told.spans(job.id) == [(START, edge, 1), (edge, START + timedelta(seconds=5400), 1)]
    (run,) = world.told.settled[job.id].runs
    assert list(run.hours.values()) == [1, 1]
    assert world.told.finals[run.run].outcome is Outcome.USER
    assert site.submissions == {}


async def test_an_array_with_a_cancelled_rest(world: World, site: FakeSite, time: HandClock) -> None:
    job = await world.submit("#fake run=10", indices=(0, 1, 2, 5), max_parallel=2)

    async def two_running() -> bool:
        return (await world.member.get_job(job.id)).counts.get(JobState.RUNNING) == 2

    async def settled() -> bool:
        return job.id in (await world.follow()).settled

    async with running(an_agent(world)):
        await until(two_running)
        time.advance(10)
        await until(two_running)
        time.advance(4)
        await world.member.cancel_job(job.id)
        await until(settled)
    outcomes = [task.outcome for task in await world.tasks(job)]
    assert outcomes == [Outcome.SUCCEEDED, Outcome.SUCCEEDED, Outcome.CANCELLED, Outcome.CANCELLED]
    seconds = [int((end - start).total_seconds()) for start, end, _ in world.told.spans(job.id)]
    assert sorted(seconds) == [4, 4, 10, 10]


async def test_what_the_backend_rejects_fails_with_its_words(world: World, site: FakeSite) -> None:
    job = await world.submit("#fake bogus=1")

    async def over() -> bool:
        return (await world.member.get_job(job.id)).state.final

    async with running(an_agent(world)):
        await until(over)
    stood = await world.member.get_job(job.id)
    assert stood.state is JobState.FAILED
    assert "bogus" in stood.detail


async def test_agents_that_take_turns_run_each_job_once(world: World, site: FakeSite, time: HandClock) -> None:
    jobs = [await world.submit(f"#fake run={seconds}") for seconds in (3000, 4000, 5000, 8000)]

    async def all_settled() -> bool:
        time.advance(500)
        return {job.id for job in jobs} <= (await world.follow()).settled.keys()

    first, second = an_agent(world), an_agent(world)
    async with running(first, second):
        for _ in range(5):
            epoch = first.epoch or second.epoch or 0
            await world.end_lease()

            async def moved(epoch: int = epoch) -> bool:
                return max(first.epoch or 0, second.epoch or 0) > epoch

            await until(moved)
            time.advance(1500)
        await until(all_settled)
    assert len(site.starts) == len({reference.rpartition("-")[0] for reference, _ in site.starts}) == 4
    assert sorted(reference for reference, _ in site.starts) == sorted(
        [str(attempt.reference) for job in jobs for attempt in await world.attempts(job)]
    )
    for job, seconds in zip(jobs, (3000, 4000, 5000, 8000), strict=True):
        spans = world.told.spans(job.id)
        assert sum(int((end - start).total_seconds()) for start, end, _ in spans) == seconds


async def test_a_lease_is_held_by_one(world: World) -> None:
    api = world.agent_api()
    mine = LeaseRequest(holder="one", descriptor=adapter.descriptor)
    lease = await api.take_lease(world.site.id, mine)
    with pytest.raises(LeaseTaken):
        await api.take_lease(world.site.id, LeaseRequest(holder="two", descriptor=adapter.descriptor))
    renewed = await api.take_lease(world.site.id, mine.model_copy(update={"epoch": lease.epoch}))
    assert renewed == lease
    await world.end_lease()
    taken = await api.take_lease(world.site.id, LeaseRequest(holder="two", descriptor=adapter.descriptor))
    assert taken.epoch > lease.epoch
    with pytest.raises(LeaseLost):
        await api.report(world.site.id, Report(epoch=lease.epoch, items=()))
    with pytest.raises(LeaseLost):
        await api.get_work(world.site.id, lease.epoch, 0, 0)


async def test_output_is_read_through_the_broker(world: World, site: FakeSite, time: HandClock) -> None:
    job = await world.submit("#fake run=50 print=hello")

    async def runs() -> bool:
        return (await world.member.get_job(job.id)).state is JobState.RUNNING

    async with running(an_agent(world)):
        await until(runs)
        chunk = await world.member.read_job_log(job.id)
        assert (chunk.text, chunk.complete) == ("hello [0]\n", False)
        time.advance(100)

        async def over() -> bool:
            return (await world.member.get_job(job.id)).state.final

        await until(over)
        assert (await world.member.read_job_log(job.id)).complete
        site.submissions.clear()
        site.forgotten.clear()
        with pytest.raises(NoLogYet):
            await world.member.read_job_log(job.id)
