"""What the fake is for: time in the tests' hands, faults on demand, and a site that several agents see alike."""

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.contracts.jobs import Outcome
from caravan.kernel import ids
from services.broker.adapters import fake
from services.broker.adapters.fake import FakeBackend, FakeSite, Fault, HandClock, register
from services.broker.adapters.port import OutcomeUnknown, Rejected, Seen, SiteContext, SiteRefused, Unavailable
from tests.contract.backends import Harness, Site


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def fake_site(clock: HandClock) -> FakeSite:
    return register(FakeSite(ids.new("sit"), clock=clock))


@pytest.fixture
def site(fake_site: FakeSite) -> Site:
    return Site(Harness(fake.adapter, SiteContext(site=fake_site.name, settings={})), FakeBackend(fake_site))


async def test_time_passes_only_by_hand(site: Site, clock: HandClock) -> None:
    reference = await site.start("#fake queue=5 run=10\n")
    assert (await site.seen(reference)).queued
    clock.advance(7)
    (run,) = (await site.seen(reference)).runs
    assert run.started_at == clock.at - timedelta(seconds=2)
    assert run.spans[0].end - run.spans[0].start == timedelta(seconds=2)
    clock.advance(100)
    (run,) = (await site.seen(reference)).runs
    assert run.ended_at == run.started_at + timedelta(seconds=10)
    assert run.outcome is Outcome.SUCCEEDED


async def test_each_index_plays_its_own_part(site: Site, clock: HandClock) -> None:
    script = "#fake run=2\n#fake[1] exit=3\n#fake[2] signal=9\n#fake[3] outcome=site\n#fake[4] memory=999999\n#fake[5] run=61\n"
    reference = await site.start(script, indices=range(6), walltime_seconds=60)
    clock.advance(60)
    runs = (await site.seen(reference)).runs
    assert [(run.outcome, run.exit_code, run.signal) for run in runs] == [
        (Outcome.SUCCEEDED, 0, None),
        (Outcome.USER, 3, None),
        (Outcome.USER, None, 9),
        (Outcome.SITE, None, None),
        (Outcome.LIMIT, None, 15),
        (Outcome.LIMIT, None, 15),
    ]


async def test_a_word_that_the_fake_does_not_know_is_rejected(site: Site) -> None:
    with pytest.raises(Rejected, match="jump=3"):
        await site.stage("#fake run=1 jump=3\n")


async def test_what_the_site_has_no_room_for_waits_in_the_order_of_release(site: Site, clock: HandClock) -> None:
    site.harness.context = SiteContext(site="small", settings={})
    small = FakeSite("small", clock=clock, nodes=1, cpus_per_node=2)
    backend = FakeBackend(small)
    first = Site(site.harness, backend)
    references = [await first.start("#fake run=10\n") for _ in range(3)]
    assert [(await first.seen(one)).queued for one in references] == [False, False, True]
    clock.advance(10)
    (run,) = (await first.seen(references[2])).runs
    assert run.started_at == clock.at


async def test_a_requeued_task_has_a_second_run_of_its_own(site: Site, clock: HandClock, fake_site: FakeSite) -> None:
    reference = await site.start("#fake run=10\n")
    clock.advance(3)
    fake_site.fail_node(reference, 0, requeue=True)
    clock.advance(10)
    first, second = (await site.seen(reference)).runs
    assert (first.outcome, second.outcome) == (Outcome.SITE, Outcome.SUCCEEDED)
    assert first.identity != second.identity
    planned = await site.start("#fake run=1 requeue=2\n")
    clock.advance(10)
    assert [run.outcome for run in (await site.seen(planned)).runs] == [Outcome.SITE, Outcome.SITE, Outcome.SUCCEEDED]


async def test_a_lost_answer_leaves_what_was_done(site: Site, fake_site: FakeSite) -> None:
    fake_site.faults.next("stage", Fault(after=OutcomeUnknown("lost")))
    with pytest.raises(OutcomeUnknown):
        await site.stage("#fake run=1\n")
    assert len(await site.backend.staged()) == 1


async def test_a_doubled_call_is_done_twice_and_a_refused_one_not_at_all(site: Site, fake_site: FakeSite) -> None:
    fake_site.faults.next("stage", Fault(times=2))
    fake_site.faults.next("stage", Fault(before=Unavailable("busy")))
    await site.stage("#fake run=1\n")
    with pytest.raises(Unavailable):
        await site.stage("#fake run=1\n")
    assert len(await site.backend.staged()) == 2


async def test_a_late_release_of_what_was_discarded_meanwhile_is_rejected(site: Site, fake_site: FakeSite) -> None:
    reference = await site.stage("#fake run=1\n")
    gate = asyncio.Event()
    fake_site.faults.next("release", Fault(gate=gate))
    late = asyncio.create_task(site.backend.release(reference))
    await asyncio.sleep(0)
    await site.backend.discard(reference)
    gate.set()
    with pytest.raises(Rejected):
        await late
    assert fake_site.starts == []


async def test_a_site_that_is_down_answers_nothing(site: Site, fake_site: FakeSite) -> None:
    fake_site.faults.down = True
    with pytest.raises(Unavailable):
        await site.backend.observe([])


async def test_books_may_be_held_open_after_the_end(site: Site, clock: HandClock, fake_site: FakeSite) -> None:
    fake_site.hold_books = True
    reference = await site.start("#fake run=1\n")
    clock.advance(5)
    assert not (await site.seen(reference)).runs[0].final
    fake_site.hold_books = False
    assert (await site.seen(reference)).runs[0].final


async def test_sites_of_one_name_are_one_site() -> None:
    name = ids.new("sit")
    context = SiteContext(site=ids.new("sit"), settings={"fake": name})
    async with fake.adapter.open(context) as one, fake.adapter.open(context) as another:
        harness = Harness(fake.adapter, context)
        reference = await one.stage(harness.submission("#fake run=1\n"))
        assert [staged.reference for staged in await another.staged()] == [reference]


async def test_a_site_can_be_refused_by_its_settings() -> None:
    with pytest.raises(SiteRefused, match="no licence"):
        async with fake.adapter.open(SiteContext(site="sit_1", settings={"refused": "no licence"})):
            pass
    with pytest.raises(SiteRefused, match="unknown"):
        async with fake.adapter.open(SiteContext(site="sit_1", settings={"unknown": 1})):
            pass


@given(
    steps=st.lists(st.floats(min_value=0, max_value=7), max_size=20),
    lengths=st.lists(st.integers(min_value=0, max_value=9), min_size=1, max_size=8),
    throttle=st.integers(min_value=1, max_value=4),
)
def test_what_was_played_does_not_depend_on_when_it_was_looked_at(
    steps: list[float], lengths: list[int], throttle: int
) -> None:
    def play(steps: list[float]) -> object:
        clock = HandClock()
        site = FakeSite(clock=clock, cpus_per_node=3, nodes=1)
        harness = Harness(fake.adapter, SiteContext(site="fake", settings={}))
        script = "".join(f"#fake[{index}] run={seconds}\n" for index, seconds in enumerate(lengths))
        submission = harness.submission(script, indices=range(len(lengths)), max_parallel=throttle)
        reference = site.stage(submission)
        site.release(reference)
        for step in steps:
            clock.advance(step)
            site.observe(reference)
            assert len(site.submissions[reference].running) <= min(3, throttle)
        clock.at = HandClock().at + timedelta(seconds=1000)
        seen = site.observe(reference)
        assert isinstance(seen, Seen)
        assert seen.ended
        return seen.runs

    assert play(steps) == play([])
