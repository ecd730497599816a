"""What the broker knows to be wrong with stated usage comes with its reason: set aside, never billed by itself."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from caravan.contracts.anomalies import AnomalyReason
from caravan.kernel import ids
from services.accounting.anomalies.watching import WAITED, list_waiting
from tests.accounting.months import Hand
from tests.accounting.test_anomalies import held, listed, parked_at, seconds, settle
from tests.accounting.world import Job, World, hour_of
from tests.support import refused


@pytest.fixture
def now(hand: Hand) -> Hand:
    return hand


@pytest.mark.parametrize(("decision", "charged"), [("accept", 20), ("discard", 10)])
async def test_it_is_listed_with_its_reason_and_the_settlement_waits_for_a_person(
    world: World, decision: str, charged: int
) -> None:
    job, run = await held(world), ids.new("run")
    job.place()
    job.use(run, 0, 10)
    job.doubt(run, 0, 20, revision=2)
    job.end(run)
    job.settle({run: {hour_of(0): 1}})
    await world.deliver()
    (anomaly,) = await listed(world)
    assert (anomaly["reason"], anomaly["state"]) == ("after_end", "open")
    assert (anomaly["provider"], anomaly["site"]) == (world.provider, world.site)
    assert (await seconds(job), (await job.read())["status"] == "settled") == (10, False)
    await settle(world, anomaly, decision)
    await world.deliver()
    assert (await seconds(job), (await job.read())["status"]) == (charged, "settled")
    await world.consistent()


async def test_an_hour_without_a_second_waits_for_a_person_too(world: World) -> None:
    job, run = await held(world), ids.new("run")
    job.place()
    job.doubt(run, 0, 0, AnomalyReason.ENDED_BEFORE_START)
    job.end(run)
    job.settle({run: {}})
    await world.deliver()
    (anomaly,) = await listed(world, reason="ended_before_start")
    assert (await job.read())["status"] != "settled"
    await settle(world, anomaly, "accept")
    await world.deliver()
    assert ((await job.read())["status"], await job.lines()) == ("settled", [])
    await world.consistent()


@pytest.mark.parametrize("apart", [False, True])
async def test_a_later_revision_makes_it_needless_and_a_feed_that_begins_anew_doesnt_bring_it_back(
    world: World, apart: bool
) -> None:
    job, run = await held(world), ids.new("run")
    job.place()
    job.use(run, 0, 10)
    job.doubt(run, 0, 20, revision=2)
    if apart:
        await world.deliver()
    job.use(run, 0, 15, revision=3)
    await world.deliver()
    said = list(world.broker.events)
    assert [one["state"] for one in await listed(world)] == ["superseded"]
    world.broker.events += [event | {"id": ids.new("evt")} for event in said]
    await world.deliver()
    assert ([one["state"] for one in await listed(world)], await seconds(job)) == (["superseded"], 15)


@pytest.mark.parametrize("decision", ["accept", "discard"])
async def test_what_was_settled_stays_so_when_it_comes_again(world: World, decision: str) -> None:
    job, run = await held(world), ids.new("run")
    job.place()
    job.doubt(run, 0, 20)
    await world.deliver()
    (anomaly,) = await listed(world)
    await settle(world, anomaly, decision)
    job.doubt(run, 0, 20)
    await world.deliver()
    assert await listed(world, state="open") == []
    assert await seconds(job) == (20 if decision == "accept" else 0)


async def test_it_is_listed_without_its_attempt_and_with_what_speaks_against_it_once_that_comes(world: World) -> None:
    job, run = await held(world), ids.new("run")
    job.doubt(run, 0, 20)
    await world.deliver()
    parked = await world.db.read(parked_at)
    await world.db.write(list_waiting, 0, parked + WAITED + timedelta(seconds=1))
    assert [one["reason"] for one in await listed(world)] == ["no_attempt"]
    job.place()
    await world.deliver()
    assert [one["reason"] for one in await listed(world, state="open")] == ["after_end"]


def after_its_end(job: Job, run: str) -> None:
    job.doubt(run, 0, 20, identity="qin:1:1")


def in_the_future(job: Job, run: str) -> None:
    job.use(run, 30 * 365 * 86_400, 30 * 365 * 86_400 + 20, identity="qin:1:1")


@pytest.mark.parametrize(("say", "apart"), [(after_its_end, True), (in_the_future, False), (in_the_future, True)])
async def test_what_is_set_aside_has_its_identity_too_and_no_other_run_is_billed_by_it(
    world: World, say: Callable[[Job, str], None], apart: bool
) -> None:
    jobs, first, second = [await held(world), await held(world)], ids.new("run"), ids.new("run")
    jobs[0].place()
    jobs[1].place()
    say(jobs[0], first)
    jobs[0].end(first)
    if apart:
        await world.deliver()
    jobs[1].use(second, 0, 20, identity="qin:1:1")
    jobs[1].end(second)
    await world.deliver()
    other, own = await listed(world)
    assert (other["reason"], other["usage"]["run"]) == ("identity_taken", second)
    await settle(world, own, "accept")
    await world.deliver()
    assert [await seconds(job) for job in jobs] == [20, 0]
    assert [one["id"] for one in await listed(world, state="open")] == [other["id"]]
    await settle(world, other, "accept")
    await world.deliver()
    assert [await seconds(job) for job in jobs] == [20, 20], "there were two allocations"
    await world.consistent()


@pytest.mark.parametrize(("decision", "first_said"), [("accept", True), ("discard", True), ("discard", False)])
async def test_who_accepts_what_another_run_is_billed_by_is_told_which_and_asked_again(
    world: World, decision: str, first_said: bool
) -> None:
    """In one page what may be billed by itself goes ahead, whichever was said first."""
    job, first, second = await held(world), ids.new("run"), ids.new("run")
    job.place()
    if first_said:
        job.use(first, 0, 20, identity="qin:1:1")
    job.doubt(second, 0, 10, identity="qin:1:1")
    job.doubt(second, 3600, 3610, identity="qin:1:1")
    if not first_said:
        job.use(first, 0, 20, identity="qin:1:1")
    job.use(second, 7200, 7210, identity="qin:1:1")
    await world.deliver()
    found = await listed(world)
    assert [one["reason"] for one in found].count("identity_taken") == 1, "what wasn't doubted isn't billed by itself"
    anomaly = next(one for one in found if one["reason"] == "after_end")
    body = {"decision": "accept", "words": "the site says so"}
    problem = refused(await world.finance.post(f"/anomalies/{anomaly['id']}/settle", body), 409, "identity_taken")
    assert problem["run"] == first
    (again,) = [one for one in await listed(world, state="open") if one["id"] == anomaly["id"]]
    assert again["reason"] == "identity_taken"
    await settle(world, again, decision)
    await world.deliver()
    assert await seconds(job) == (30 if decision == "accept" else 20)
    await world.consistent()
