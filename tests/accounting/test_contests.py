"""Contests through HTTP: who may say what, and where the run's lines and the money go."""

from caravan.contracts.jobs import Outcome
from caravan.kernel import ids
from tests.accounting.test_charging import amounts, close, job_with_hold
from tests.accounting.world import Job, World, hour_of
from tests.support import Json, ok, refused

REASON = "断电是该企业的运维造成的"


async def lost(world: World, hold: str = "50.00") -> tuple[Job, str]:
    """A settled job with 40 core-seconds that the provider bears."""
    job, run = await job_with_hold(world, hold), ids.new("run")
    job.use(run, 0, 40)
    job.end(run, Outcome.LOST)
    job.settle({run: {hour_of(0): 1}})
    await world.deliver()
    assert amounts(await job.lines()) == {("day", "site_fault"): "0.40"}
    return job, run


async def contested(world: World, run: str) -> Json:
    return ok(await world.seller.post("/contests", {"run": run, "reason": REASON}), 201)


async def decided(world: World, contest: Json, decision: str) -> Json:
    body = {"decision": decision, "words": "节点日志如此"}
    found = ok(await world.finance.post(f"/contests/{contest['id']}/decide", body))
    await world.deliver()
    return found


async def test_an_upheld_contest_makes_the_organization_bear_the_run_and_both_read_why(world: World) -> None:
    job, run = await lost(world)
    opened = await contested(world, run)
    assert (opened["state"], opened["outcome"], opened["contested_by"]) == ("open", "lost", "seller")
    assert (await job.read())["captured"] == "0.00", "nothing moves before it is decided"
    found = await decided(world, opened, "uphold")
    assert (found["state"], found["decided_by"]) == ("upheld", "finance")
    assert amounts(await job.lines()) == {("day", None): "0.40"}
    assert (await job.read())["captured"] == "0.40"
    await world.consistent()
    for person in (world.member, world.seller, world.finance):
        assert ok(await person.get(f"/contests/{opened['id']}")) == found
        assert ok(await person.get("/contests", run=run))["items"] == [found]
    (exported,) = ok(await world.finance.get("/exports/usage"))["usage"]
    assert (exported["outcome"], exported["contest_upheld"]) == ("lost", True)
    auditor = world.service.person("admin", "platform:admin")
    audited = ok(await auditor.get("/audit", entity=opened["id"]))["items"]
    assert [(one["action"], one["subject"]) for one in audited] == [
        ("decide_contest", "finance"), ("contest_run", "seller"),
    ]  # fmt: skip


async def test_seconds_that_another_run_of_the_task_is_billed_for_are_not_upheld_unless_it_is_said(
    world: World,
) -> None:
    job, first, second = await job_with_hold(world, "50.00"), ids.new("run"), ids.new("run")
    job.use(first, 0, 40, index=0)
    job.end(first, Outcome.LOST)
    await world.deliver()
    job.use(second, 30, 50, index=0)
    job.end(second)
    await world.deliver()
    contest, words = await contested(world, first), "节点日志如此"
    body = {"decision": "uphold", "words": words}
    problem = refused(await world.finance.post(f"/contests/{contest['id']}/decide", body), 409, "contest_overlaps")
    assert problem["runs"] == [second]
    await world.deliver()
    assert amounts(await job.lines()) == {("day", "site_fault"): "0.40", ("day", None): "0.20"}
    ok(await world.finance.post(f"/contests/{contest['id']}/decide", body | {"overlap": True}))
    await world.deliver()
    assert amounts(await job.lines()) == {("day", None): "0.60"}
    await world.consistent()


async def test_a_contest_is_upheld_of_a_run_that_shares_no_second_with_one_that_is_billed(world: World) -> None:
    job, first, second, third = await job_with_hold(world, "50.00"), *(ids.new("run") for _ in range(3))
    job.use(first, 0, 40, index=0)
    job.end(first, Outcome.LOST)
    job.use(second, 0, 40, index=0)
    job.end(second, Outcome.DUPLICATE)
    await world.deliver()
    job.use(third, 40, 50, index=0)
    job.use(ids.new("run"), 0, 10, index=1)
    await world.deliver()
    await decided(world, await contested(world, first), "uphold")
    assert amounts(await job.lines()) == {("day", None): "0.60", ("day", "duplicate"): "0.40"}


async def test_what_the_hold_does_not_cover_of_an_upheld_run_stays_the_providers(world: World) -> None:
    job, run = await lost(world, "0.30")
    await decided(world, await contested(world, run), "uphold")
    assert amounts(await job.lines()) == {("day", None): "0.30", ("day", "overrun"): "0.10"}
    await world.consistent()


async def test_an_upheld_run_of_a_closed_period_is_moved_by_adjustments_and_stays_moved(world: World) -> None:
    job, run = await lost(world)
    march = await close(world, 0)
    sealed = await job.lines()
    await decided(world, await contested(world, run), "uphold")
    late = [one for one in await job.lines() if one["corrects"] and one["component"] == "cpu_core_hour"]
    assert {(one["corrects"], one["reason"], one["amount"]) for one in late} == {
        (march, "site_fault", "-0.40"), (march, None, "0.40"),
    }  # fmt: skip
    assert [one for one in await job.lines() if not one["corrects"]] == sealed
    job.end(run, Outcome.DUPLICATE)
    job.use(run, 0, 50, revision=2)
    await world.deliver()
    assert (await job.read())["captured"] == "0.50"
    await world.consistent()


async def test_a_dismissed_contest_moves_nothing_and_the_run_may_be_contested_again(world: World) -> None:
    job, run = await lost(world)
    opened = await contested(world, run)
    again = refused(await world.seller.post("/contests", {"run": run, "reason": REASON}), 409, "contest_open")
    assert again["contest"] == opened["id"]
    await decided(world, opened, "dismiss")
    assert amounts(await job.lines()) == {("day", "site_fault"): "0.40"}
    refused(
        await world.finance.post(f"/contests/{opened['id']}/decide", {"decision": "uphold", "words": "x"}),
        409,
        "contest_decided",
    )
    await decided(world, await contested(world, run), "uphold")
    refused(await world.seller.post("/contests", {"run": run, "reason": REASON}), 409, "not_contestable")


async def test_only_an_admin_of_the_provider_contests_what_it_bears_and_somebody_else_decides(world: World) -> None:
    job, run = await lost(world)
    fine = ids.new("run")
    job.use(fine, 0, 10)
    job.end(fine, Outcome.USER)
    await world.deliver()
    rival = world.service.person("rival", f"provider/{ids.new('prv')}:admin")
    for person in (world.member, world.finance):
        refused(await person.post("/contests", {"run": run, "reason": REASON}), 404, "not_found")
    refused(await rival.post("/contests", {"run": run, "reason": REASON}), 422, "unknown_reference")
    refused(await world.seller.post("/contests", {"run": fine, "reason": REASON}), 409, "not_contestable")
    opened = await contested(world, run)
    refused(await rival.get(f"/contests/{opened['id']}"), 404, "not_found")
    assert ok(await rival.get("/contests"))["items"] == []
    path, body = f"/contests/{opened['id']}/decide", {"decision": "uphold", "words": "x"}
    refused(await world.seller.post(path, body), 404, "not_found")
    both = world.service.person("seller", f"provider/{world.provider}:admin", "platform:finance")
    refused(await both.post(path, body), 409, "second_person_needed")
    refused(await world.finance.post(f"/contests/{ids.new('cts')}/decide", body), 404, "not_found")
