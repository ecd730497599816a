"""Sites that don't bill yet, through the feeds and HTTP: what is priced and shown moves no money, and the hour that changes it is kept."""

from caravan.contracts.jobs import Outcome
from caravan.kernel import ids
from services.accounting.ledger.verify import verify_ledger
from tests.accounting.test_charging import amounts, close
from tests.accounting.world import Job, World, hour_of, mode, tariff
from tests.support import Json, ok


async def placed(world: World, hold: str, *modes: tuple[str, int]) -> Job:
    """A job at 36.00 a core-hour, on a site with these modes."""
    prices, job = ids.new("prl"), world.job()
    world.know_prices(
        prices, 2, tariff("day", None, None, cpu_core_hour="36"), modes=tuple(mode(*one) for one in modes)
    )
    assert (await job.hold(hold))["granted"]
    job.place(price_list=prices)
    return job


async def entries(world: World) -> list[Json]:
    return list(ok(await world.finance.get("/ledger/entries", organization=world.organization))["items"])


async def test_what_is_notional_is_priced_and_shown_without_money_and_without_a_hold(world: World) -> None:
    job, run = await placed(world, "0.00", ("notional", -3600)), ids.new("run")
    job.use(run, 0, 40, cpus=2)
    job.end(run)
    job.settle({run: {hour_of(0): 1}})
    await world.deliver()
    (line,) = [one for one in await job.lines() if one["component"] == "cpu_core_hour"]
    assert (line["bearer"], line["reason"], line["quantity"], line["amount"]) == ("nobody", "notional", 80, "0.80")
    hold = await job.read()
    assert (hold["amount"], hold["captured"], hold["status"]) == ("0.00", "0.00", "settled")
    assert await entries(world) == []
    explained = ok(await world.member.get(f"/jobs/{job.id}/explanation"))
    assert (explained["charged"], explained["borne_by_provider"], explained["notional"]) == ("0.00", "0.00", "0.80")
    by_day = ok(await world.member.get(f"/lines/{line['id']}/explanation"))
    assert (by_day["mode"], by_day["words"]["zh"]) == (
        "notional",
        "核时，费率 day，试行计价、不收费：80 x 36.00 / 3600 = 0.80",
    )
    await world.consistent()


async def test_what_is_tracked_has_its_seconds_in_lines_and_no_price(world: World) -> None:
    job = await placed(world, "0.00", ("tracked", 0))
    job.use(ids.new("run"), 0, 40, cpus=2)
    await world.deliver()
    lines = {one["component"]: (one["reason"], one["quantity"], one["unit_price"]) for one in await job.lines()}
    assert lines == {
        "cpu_core_hour": ("tracked", 80, "0"),
        "node_hour": ("tracked", 40, "0"),
        "job": ("tracked", 1, "0"),
    }
    await world.consistent()


async def test_a_run_over_the_hour_in_which_its_site_begins_to_bill_pays_from_then_on(world: World) -> None:
    await world.deposit("10.00")
    job, run = await placed(world, "1.00", ("notional", -3600), ("billed", 3600)), ids.new("run")
    job.use(run, 3540, 3600)
    job.use(run, 3600, 3640, began=3540)
    await world.deliver()
    assert amounts(await job.lines()) == {("day", "notional"): "0.60", ("day", None): "0.40"}
    assert (await job.read())["captured"] == "0.40"
    assert [one["kind"] for one in await entries(world)] == ["charge", "deposit"]
    await world.consistent()

    job.end(run, Outcome.SITE)
    await world.deliver()
    assert amounts(await job.lines()) == {("day", "notional"): "0.60", ("day", "site_fault"): "0.40"}
    assert (await job.read())["captured"] == "0.00"
    await world.consistent()


async def test_a_hold_is_used_up_by_billed_time_alone(world: World) -> None:
    await world.deposit("10.00")
    job, run = await placed(world, "0.10", ("notional", 0), ("billed", 60), ("tracked", 90)), ids.new("run")
    job.use(run, 0, 120)
    await world.deliver()
    assert amounts(await job.lines()) == {
        ("day", "notional"): "0.60", ("day", None): "0.10", ("day", "overrun"): "0.20", ("day", "tracked"): "0.00",
    }  # fmt: skip
    assert (await job.read())["captured"] == "0.10"
    job.use(run, 0, 65, revision=2)
    await world.deliver()
    assert amounts(await job.lines()) == {("day", "notional"): "0.60", ("day", None): "0.05"}
    await world.consistent()


async def test_a_statement_shows_what_was_not_billed_apart(world: World) -> None:
    await world.deposit("10.00")
    job = await placed(world, "1.00", ("notional", 0), ("billed", 60))
    job.use(ids.new("run"), 0, 80)
    await world.deliver()
    await close(world, 0)
    issued = ok(await world.finance.get("/statements"))["items"]
    assert {one["party"]: (one["gross"], one["borne_by_provider"], one["notional"]) for one in issued} == {
        "organization": ("0.20", "0.00", "0.60"),
        "provider": ("0.20", "0.00", "0.60"),
    }
    paper = (await world.finance.get(f"/statements/{issued[0]['id']}/csv")).text
    assert [row.split(",")[14:16] for row in paper.splitlines() if ",0.60," in row] == [["nobody", "notional"]]
    assert (await verify_ledger(world.db)).ok
    await world.consistent()
