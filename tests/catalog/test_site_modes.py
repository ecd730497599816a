"""Modes of sites: set for an hour to come, kept by price lists of then, and shown."""

from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from caravan.contracts.modes import SiteMode
from caravan.kernel.clock import floor_hour
from caravan.kernel.runtime import Runtime
from services.catalog.prices.lists import remode
from services.catalog.sites.dated import modes_of
from services.catalog.sites.models import SiteModeRow
from tests.catalog.world import a_centre, events_of
from tests.support import Json, Person, Running, ok, pointers, refused

HOUR = timedelta(hours=1)


def in_hours(count: int) -> str:
    """A whole hour from now, as the API writes it."""
    return (floor_hour(datetime.now(UTC)) + count * HOUR).isoformat().replace("+00:00", "Z")


async def since(catalog: Running, site: str, mode: SiteMode, hours: int) -> None:
    """As if it had been published when it was still to come."""

    def write(tx: Session) -> None:
        tx.add(SiteModeRow(site=site, starts_at=floor_hour(datetime.now(UTC)) - hours * HOUR, mode=mode.value))
        tx.flush()
        remode(tx, site, modes_of(tx, site))

    await catalog.app.provided[Runtime].db.write(write)


async def lists(person: Person, offering: str) -> list[Json]:
    items: list[Json] = ok(await person.get(f"/offerings/{offering}/price-lists"))["items"]
    return items


async def test_a_published_mode_makes_new_revisions_of_the_sites_lists_and_of_no_others(
    catalog: Running, operator: Person, broker: Person
) -> None:
    centre = await a_centre(catalog, operator)
    site, elsewhere = [(await centre.site())["id"] for _ in range(2)]
    here, gone, there = [(await centre.offering(where))["id"] for where in (site, site, elsewhere)]
    for offering in (here, gone, there):
        await centre.priced(offering, cpu_core_hour="0.36")
    ok(await centre.admin.post(f"/offerings/{gone}/archive"))
    (before,) = await lists(centre.admin, here)
    assert before["modes"] == []
    path, begins = f"/sites/{site}/modes", {"mode": "notional", "starts_at": in_hours(3)}

    assert ok(await operator.post(path, begins), 201) == begins
    after, old = await lists(centre.admin, here)
    assert old == before
    assert (after["tariffs"], after["revision"], after["modes"]) == (before["tariffs"], 2, [begins])
    assert [len(await lists(centre.admin, offering)) for offering in (gone, there)] == [1, 1]
    (event,) = await events_of(broker, after["id"], 1)
    assert event["data"] == after

    assert ok(await operator.post(path, begins), 201) == begins, "the same again changes nothing"
    assert len(await lists(centre.admin, here)) == 2
    published = await centre.priced(here, cpu_core_hour="0.40")
    assert published["modes"] == [begins], "a price list that comes later has them, too"
    bills = {"mode": "billed", "starts_at": in_hours(5)}
    ok(await operator.post(path, bills), 201)
    assert (await lists(centre.admin, here))[0]["modes"] == [begins, bills]
    first = ok(await centre.admin.get(path, limit=1))
    rest = ok(await centre.admin.get(path, limit=1, cursor=first["next"]))
    assert (first["items"], rest["items"], rest["next"]) == ([bills], [begins], None)

    ok(await operator.post(path, begins | {"mode": "billed"}), 201)
    assert (await lists(centre.admin, here))[0]["modes"] == [], "replaced before it began, so that all is billed"
    audited = ok(await operator.get("/audit", entity=site))["items"]
    assert [(one["action"], one["subject"], one["data"]["mode"]) for one in audited] == [
        ("publish_site_mode", "operator", mode) for mode in ("billed", "billed", "notional")
    ]


async def test_a_mode_starts_with_the_next_hour_unless_it_is_said_otherwise(catalog: Running, operator: Person) -> None:
    centre = await a_centre(catalog, operator)
    path = f"/sites/{(await centre.site())['id']}/modes"
    earliest = in_hours(1)
    made = ok(await operator.post(path, {"mode": "tracked"}), 201)
    assert made["starts_at"] in (earliest, in_hours(1))


async def test_a_mode_starts_at_no_other_time_than_an_hour_to_come(catalog: Running, operator: Person) -> None:
    centre = await a_centre(catalog, operator)
    path = f"/sites/{(await centre.site())['id']}/modes"
    for starts_at, code in ((in_hours(0), "past"), ("2100-01-01T08:30:00Z", "whole_hour")):
        problem = refused(await operator.post(path, {"mode": "tracked", "starts_at": starts_at}), 422, "invalid")
        assert [(one["pointer"], one["code"]) for one in problem["errors"]] == [("/starts_at", code)]
    assert pointers(refused(await operator.post(path, {"mode": "free"}), 422, "invalid")) == ["/mode"]


async def test_the_platform_decides_and_who_sees_the_site_reads(
    catalog: Running, operator: Person, stranger: Person
) -> None:
    centre = await a_centre(catalog, operator)
    path = f"/sites/{(await centre.site())['id']}/modes"
    for person in (stranger, centre.admin):
        refused(await person.post(path, {"mode": "tracked"}), 404, "not_found")
    refused(await operator.post("/sites/sit_" + "0" * 32 + "/modes", {"mode": "tracked"}), 404, "not_found")
    ok(await operator.post(path, {"mode": "tracked"}), 201)
    assert len(ok(await stranger.get(path))["items"]) == 1
    ok(await operator.post(f"/providers/{centre.id}/suspend"))
    refused(await stranger.get(path), 404, "not_found")
    assert len(ok(await centre.admin.get(path))["items"]) == 1


async def test_the_mode_of_now_is_shown_of_a_site_and_to_who_looks_for_offerings(
    catalog: Running, operator: Person, stranger: Person, broker: Person
) -> None:
    centre = await a_centre(catalog, operator)
    site = await centre.site()
    assert site["mode"] == "billed"
    other, offering = await centre.site(), await centre.on_sale(site["id"])
    await since(catalog, site["id"], SiteMode.TRACKED, 2)
    ok(await operator.post(f"/sites/{site['id']}/modes", {"mode": "billed", "starts_at": in_hours(2)}), 201)

    async def found() -> Json:
        (one,) = ok(await stranger.get("/offerings", site=site["id"], cpus=2, hours=1))["items"]
        return {name: one[name] for name in ("site_mode", "unbilled", "price")}

    assert await found() == {"site_mode": "tracked", "unbilled": SiteMode.TRACKED.words, "price": "0.00"}
    assert ok(await stranger.get(f"/sites/{site['id']}"))["mode"] == "tracked"
    await since(catalog, site["id"], SiteMode.NOTIONAL, 1)
    assert await found() == {"site_mode": "notional", "unbilled": SiteMode.NOTIONAL.words, "price": "0.72"}
    shown = {one["id"]: one["mode"] for one in ok(await stranger.get("/sites", provider=centre.id))["items"]}
    assert shown == {site["id"]: "notional", other["id"]: "billed"}
    await since(catalog, site["id"], SiteMode.BILLED, 0)
    assert await found() == {"site_mode": "billed", "unbilled": None, "price": "0.72"}
    assert offering["site"] == site["id"]
    (event,) = await events_of(broker, site["id"], 1)
    assert event["data"]["mode"] is None, "what changes with the hour is in no event"
