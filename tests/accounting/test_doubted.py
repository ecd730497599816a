"""What the broker knows to be wrong with stated usage comes with its reason: set aside, never billed by itself."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from caravan.contracts.anomalies import AnomalyReason
from caravan.kernel import ids
from caravan.kernel.settings import Settings
from services.accounting.anomalies.watching import WAITED, list_waiting
from services.accounting.app import create_app
from tests.accounting.months import Hand
from tests.accounting.test_anomalies import held, listed, parked_at, seconds, settle
from tests.accounting.world import World, hour_of
from tests.support import Running, running


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
async def accounting(settings: Settings, hand: Hand) -> AsyncIterator[Running]:
    async with running(create_app(settings, now=hand)) as service:
        yield service


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
