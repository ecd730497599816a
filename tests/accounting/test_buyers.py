"""Prices for some, charged: by what an attempt was placed by, and by nothing that changed since."""

from typing import Any

from caravan.contracts import events
from caravan.contracts.parties import Organization
from caravan.contracts.prices import Buyers
from caravan.kernel import ids
from tests.accounting.world import T0, Job, World, tariff
from tests.support import Json, ok

CLASS = Buyers(classes=("高校",))
HIGH = {"qos": ("high",)}


async def sold_at(world: World) -> str:
    """A price list: 0.01 a core-second; from 10 to 20 s 0.02 at high QOS, for universities 0.005, for the organization by name free."""
    price_list = ids.new("prl")
    world.know_prices(
        price_list,
        2,
        tariff("day", None, None, cpu_core_hour="36.00"),
        tariff("high", 10, 20, cpu_core_hour="72.00").model_copy(update={"options": HIGH}),
        tariff("class", 10, 20, cpu_core_hour="18.00").model_copy(update={"buyers": CLASS}),
        tariff("deal", 10, 20, cpu_core_hour="0").model_copy(
            update={"buyers": Buyers(organizations=(world.organization,)), "options": HIGH}
        ),
    )
    return price_list


async def charged(world: World, job: Job, *, old: bool = False, **place: Any) -> dict[str, tuple[int, str]]:
    """Of 30 s of one core: tariff -> (quantity, amount)."""
    await job.hold("10.00")
    job.place(**place)
    if old:
        data: Json = world.broker.events[-2]["data"]
        del data["price_class"], data["options"]
    run = ids.new("run")
    job.use(run, 15, 30)
    job.use(run, 0, 30, revision=2)
    await world.deliver()
    await world.consistent()
    return {
        one["tariff"]: (one["quantity"], one["amount"])
        for one in await job.lines()
        if one["component"] == "cpu_core_hour"
    }


async def test_an_attempt_is_charged_by_the_class_and_options_that_it_was_placed_by(world: World) -> None:
    await world.deposit("100.00")
    price_list = await sold_at(world)
    for_all = {"day": (30, "0.30")}
    assert await charged(world, world.job(), price_list=price_list) == for_all
    assert await charged(world, world.job(), price_list=price_list, old=True) == for_all
    classed = {"day": (20, "0.20"), "class": (10, "0.05")}
    assert await charged(world, world.job(), price_list=price_list, price_class="高校") == classed
    high: dict[str, Any] = {"price_list": price_list, "options": {"qos": "high"}}
    assert await charged(world, world.job(), **high) == {"day": (20, "0.20"), "deal": (10, "0.00")}
    other, project = ids.new("org"), ids.new("prj")
    world.know_organization(other, project)
    await world.deliver()
    await world.deposit("100.00", other)
    assert await charged(world, world.job(other, project), **high) == {"day": (20, "0.20"), "high": (10, "0.20")}
    assert await charged(world, world.job(other, project), **high, price_class="高校") == classed


async def test_a_class_that_changes_changes_nothing_of_what_was_placed(world: World) -> None:
    await world.deposit("100.00")
    price_list, job, run = await sold_at(world), world.job(), ids.new("run")
    assert await charged(world, job, price_list=price_list) == {"day": (30, "0.30")}
    classed = Organization(id=world.organization, name="U", price_class="高校", version=2, created_at=T0)
    world.catalog.say(events.ORGANIZATION, world.organization, classed)
    await world.deliver()
    job.use(run, 0, 30)
    await world.deliver()
    (line,) = [one for one in await job.lines() if one["component"] == "cpu_core_hour"]
    assert (line["tariff"], line["amount"]) == ("day", "0.60")
    explained = ok(await world.member.get(f"/jobs/{job.id}/explanation"))
    assert explained["charged"] == "0.60"


async def test_the_export_has_what_an_attempts_prices_go_by(world: World) -> None:
    await world.deposit("100.00")
    price_list = await sold_at(world)
    await charged(world, world.job(), price_list=price_list, price_class="高校", options={"qos": "high"})
    export = ok(await world.finance.get("/exports/usage"))
    (usage,) = export["usage"]
    assert (usage["price_class"], usage["options"]) == ("高校", {"qos": "high"})
    (shown,) = export["price_lists"]
    assert shown["tariffs"][3]["buyers"] == {"organizations": [world.organization], "classes": []}
