"""Runs that made room for another job, where the offering says that the organization bears them: from the broker's facts to money."""

import pytest

from caravan.contracts.jobs import Outcome
from caravan.contracts.offerings import PreemptedBearer
from caravan.contracts.usage import Resale
from caravan.kernel import ids
from tests.accounting.test_anomalies import listed
from tests.accounting.test_charging import amounts, close, job_with_hold
from tests.accounting.test_contests import REASON
from tests.accounting.test_explaining import explained, line_of
from tests.accounting.test_resale import Sold, lines, sold
from tests.accounting.world import Job, World, hour_of
from tests.support import ok, refused

__all__ = ["sold"]
ORGANIZATION = PreemptedBearer.ORGANIZATION


async def preempted(world: World, by: PreemptedBearer, hold: str = "50.00", seconds: int = 40) -> tuple[Job, str]:
    """A job, of which one run was preempted."""
    job, run = await job_with_hold(world, hold, preempted_borne_by=by), ids.new("run")
    job.use(run, 0, seconds, index=0)
    await world.deliver()
    job.end(run, Outcome.PREEMPTED)
    await world.deliver()
    return job, run


@pytest.mark.parametrize("by", PreemptedBearer)
async def test_who_bears_what_was_preempted_is_as_the_attempt_was_placed(world: World, by: PreemptedBearer) -> None:
    job, run = await preempted(world, by)
    charged = by is ORGANIZATION
    assert amounts(await job.lines()) == {("day", None if charged else "preempted"): "0.40"}
    assert (await job.read())["captured"] == ("0.40" if charged else "0.00")
    (exported,) = ok(await world.finance.get("/exports/usage"))["usage"]
    assert (exported["outcome"], exported["preempted_borne_by"]) == ("preempted", by)
    job.settle({run: {hour_of(0): 1}})
    await world.deliver()
    assert (await job.read())["status"] == "settled"
    await world.consistent()


async def test_an_attempt_that_was_placed_before_it_was_told_is_the_providers(world: World) -> None:
    job, run = await job_with_hold(world), ids.new("run")
    del world.broker.events[-2]["data"]["preempted_borne_by"]
    job.use(run, 0, 40)
    job.end(run, Outcome.PREEMPTED)
    await world.deliver()
    assert amounts(await job.lines()) == {("day", "preempted"): "0.40"}


async def test_what_of_it_passes_the_hold_is_the_providers(world: World) -> None:
    job, _ = await preempted(world, ORGANIZATION, hold="0.30")
    assert amounts(await job.lines()) == {("day", None): "0.30", ("day", "overrun"): "0.10"}
    await world.consistent()


async def test_its_line_says_why_the_organization_bears_it(world: World) -> None:
    job, _ = await preempted(world, ORGANIZATION)
    said = await explained(world, await line_of(job))
    assert said["bearer"]["reason"] is None
    assert "抢占" in said["bearer"]["words"]["zh"] and "made room" in said["words"]["en"]
    fine, run = await job_with_hold(world, preempted_borne_by=ORGANIZATION), ids.new("run")
    fine.use(run, 0, 40)
    fine.end(run)
    await world.deliver()
    assert (await explained(world, await line_of(fine)))["bearer"]["words"]["en"] == "the organization bears it"


async def test_an_end_that_becomes_another_after_the_close_moves_it_by_adjustments_and_back(world: World) -> None:
    job, run = await preempted(world, ORGANIZATION)
    march = await close(world, 0)
    for outcome, captured in ((Outcome.SITE, "0.00"), (Outcome.PREEMPTED, "0.40"), (Outcome.DUPLICATE, "0.00")):
        job.end(run, outcome)
        await world.deliver()
        assert (await job.read())["captured"] == captured
        await world.consistent()
    late = [one for one in await job.lines() if one["corrects"] == march]
    assert {one["reason"] for one in late} == {None, "duplicate"}


async def test_a_provider_has_nothing_to_contest_in_what_it_does_not_bear(world: World) -> None:
    _, run = await preempted(world, ORGANIZATION)
    refused(await world.seller.post("/contests", {"run": run, "reason": REASON}), 409, "not_contestable")


@pytest.mark.parametrize("by", PreemptedBearer)
async def test_what_overlaps_with_it_waits_for_a_person_while_both_would_be_billed(
    world: World, by: PreemptedBearer
) -> None:
    job, run = await job_with_hold(world, preempted_borne_by=by), ids.new("run")
    first = ids.new("run")
    job.use(first, 0, 10, index=0)
    job.use(run, 5, 20, index=0)
    await world.deliver()
    job.end(first, Outcome.PREEMPTED)
    await world.deliver()
    job.use(ids.new("run"), 0, 8, index=0)
    await world.deliver()
    states = [one["state"] for one in await listed(world)]
    if by is ORGANIZATION:
        assert states == ["open", "open"]
        assert amounts(await job.lines()) == {("day", None): "0.10"}
    else:
        assert sorted(states) == ["open", "superseded"], "of the two that are billed, the later"
        assert amounts(await job.lines()) == {("day", None): "0.15", ("day", "preempted"): "0.10"}
    await world.consistent()


async def test_what_a_reseller_sold_of_it_is_charged_in_both_sets(sold: Sold) -> None:
    job = sold.world.job()
    assert (await sold.ask(job, "20.00", "10.00"))["granted"]
    resale = Resale(reseller=sold.reseller, project=sold.project, price_list=sold.world.price_list)
    job.place(sold.retail, resale=resale, preempted_borne_by=ORGANIZATION)
    run = ids.new("run")
    job.use(run, 0, 100)
    job.end(run, Outcome.PREEMPTED)
    await sold.world.deliver()
    assert {(bearer, seconds) for _, _, bearer, seconds in await lines(sold.world.finance, job)} == {
        ("organization", 100)
    }
    assert await sold.money() == {"member": ("2.00", "18.00"), "reseller": ("1.00", "9.00")}
    await sold.sound()
