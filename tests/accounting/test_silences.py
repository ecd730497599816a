"""A site that states no more usage while something may run there is listed, and no longer when it speaks again."""

from datetime import timedelta

import pytest

from caravan.kernel import ids
from services.accounting.silences.service import SilenceService
from tests.accounting.months import Hand, iso
from tests.accounting.world import Job, World
from tests.support import Json, Running, ok, refused

SILENT = timedelta(hours=2)


@pytest.fixture
def now(hand: Hand) -> Hand:
    return hand


@pytest.fixture
async def world(accounting: Running, hand: Hand) -> World:
    """The facts come at the time that `hand` shows."""
    world = World(accounting, now=hand)
    await world.open()
    return world


async def silences(world: World, **filters: str) -> list[Json]:
    """After one more look."""
    await world.service.app.provided[SilenceService].iteration()
    return list(ok(await world.finance.get("/silences", **filters))["items"])


async def started(world: World, told: int) -> Job:
    """Placed and running at a site whose usage is complete up to `told`."""
    job = world.job()
    await world.deposit("100.00")
    await job.hold("50.00")
    job.place()
    world.progress(told, 1)
    await world.deliver()
    return job


async def test_a_site_is_silent_from_when_it_last_spoke_until_it_speaks_again(world: World, hand: Hand) -> None:
    began = hand.time
    await started(world, 3600)
    hand.time = began + SILENT
    assert await silences(world) == []
    hand.time += timedelta(seconds=1)
    (silence,) = await silences(world)
    assert (silence["site"], silence["provider"]) == (world.site, world.provider)
    assert (silence["since"], silence["found_at"], silence["until"]) == (iso(began), iso(hand.time), None)
    assert await silences(world) == [silence]
    assert "caravan_sites_silent 1.0" in await world.metrics()
    hand.time += SILENT
    world.progress(7200, 2)
    await world.deliver()
    spoke = hand.time
    hand.time += timedelta(seconds=20)
    assert await silences(world, lasting="true") == []
    assert await silences(world, lasting="false", site=world.site) == [silence | {"until": iso(spoke)}]
    assert "caravan_sites_silent 0.0" in await world.metrics()
    hand.time = spoke + SILENT + timedelta(seconds=1)
    again, first = await silences(world)
    assert (again["since"], again["until"], first["id"]) == (iso(spoke), None, silence["id"])


async def test_a_site_that_spoke_and_was_silent_between_two_looks_has_two_silences(world: World, hand: Hand) -> None:
    await started(world, 3600)
    hand.time += SILENT + timedelta(seconds=1)
    (first,) = await silences(world)
    world.progress(7200, 2)
    await world.deliver()
    spoke = hand.time
    hand.time += SILENT + timedelta(seconds=1)
    again, ended = await silences(world)
    assert ended == first | {"until": iso(spoke)}
    assert (again["since"], again["until"]) == (iso(spoke), None)


@pytest.mark.parametrize("over", ["its attempt ended", "its job settled"])
async def test_a_site_with_nothing_left_to_state_may_be_silent(world: World, hand: Hand, over: str) -> None:
    job = await started(world, 3600)
    hand.time += SILENT + timedelta(seconds=1)
    (silence,) = await silences(world)
    if over == "its attempt ended":
        job.end_attempt()
    else:
        job.settle({})
    await world.deliver()
    assert await silences(world) == [silence | {"until": iso(hand.time)}]
    hand.time += SILENT
    assert await silences(world, lasting="true") == []


async def test_a_site_that_never_spoke_is_silent_from_its_first_attempt_on(world: World, hand: Hand) -> None:
    job, began = world.job(), hand.time
    job.place()
    await world.deliver()
    hand.time += SILENT + timedelta(seconds=1)
    (silence,) = await silences(world)
    assert silence["since"] == iso(began)


async def test_sellers_see_the_silences_of_their_own_sites(world: World, hand: Hand) -> None:
    await started(world, 3600)
    hand.time += SILENT + timedelta(seconds=1)
    (silence,) = await silences(world)
    assert ok(await world.seller.get("/silences"))["items"] == [silence]
    other = world.service.person("other", f"provider/{ids.new('prv')}:admin")
    assert ok(await other.get("/silences"))["items"] == []
    refused(await world.admin.get("/silences"), 404, "not_found")
