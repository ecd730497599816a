"""Runs by a centre's own books: kept once, never charged, summed with what was metered."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from caravan.contracts.imports import By
from caravan.kernel import clock, ids
from services.accounting.imports.sums import Calendar
from tests.accounting.world import World, at
from tests.support import Json, Person, ok, pointers, refused

DAYS = {"by": "day", "from": "2026-03-10", "to": "2026-03-12"}
MIDNIGHT = 8 * 3600
"""From T0, in Shanghai."""


def run(identity: str = "qin:1:1", start: int = 0, end: int = 100, **changed: Any) -> Json:
    shape = {"account": "alloys", "user": "li", "nodes": 1, "cpus": 2, "memory_mib": 0, "accelerators": {}}
    return {"identity": identity, "start": at(start).isoformat(), "end": at(end).isoformat(), **shape, **changed}


async def known(world: World) -> World:
    """Its site has told accounting of itself."""
    world.progress(0, 1)
    await world.deliver()
    return world


async def put(world: World, *runs: Json, by: Person | None = None) -> Json:
    return ok(await (by or world.finance).post("/imported-usage", {"site": world.site, "runs": runs}))


async def sums(world: World, caller: Person | None = None, **query: Any) -> list[tuple[Any, ...]]:
    asked: dict[str, Any] = DAYS | {"component": "cpu_core_hour"} | query
    items = ok(await (caller or world.finance).get("/usage", **asked))["items"]
    return [(one["span"], one["organization"], one["account"], one["quantity"]) for one in items]


async def test_the_same_again_changes_nothing_and_another_content_replaces(world: World) -> None:
    await known(world)
    both = [run("qin:1:1"), run("qin:2:1", accelerators={"gpu:h100": 4})]
    assert await put(world, *both) == {"imported": 2, "changed": 0, "unchanged": 0}
    assert await put(world, *both) == {"imported": 0, "changed": 0, "unchanged": 2}
    assert await put(world, run("qin:1:1", end=200)) == {"imported": 0, "changed": 1, "unchanged": 0}
    assert await sums(world) == [("2026-03-10", None, "alloys", 600)]


async def test_a_run_that_is_there_twice_in_a_batch_is_kept_once(world: World) -> None:
    await known(world)
    assert await put(world, run(), run(), run(end=50)) == {"imported": 1, "changed": 1, "unchanged": 1}
    assert await sums(world) == [("2026-03-10", None, "alloys", 100)]


async def test_days_are_split_at_midnight_of_the_zone(world: World) -> None:
    await known(world)
    await put(world, run(start=MIDNIGHT - 10, end=MIDNIGHT + 20))
    assert await sums(world) == [("2026-03-10", None, "alloys", 20), ("2026-03-11", None, "alloys", 40)]
    assert await sums(world, zone="UTC") == [("2026-03-10", None, "alloys", 60)]
    assert await sums(world, by="month") == [("2026-03", None, "alloys", 60)]
    assert await sums(world, to="2026-03-11") == [("2026-03-10", None, "alloys", 20)]


async def test_metered_usage_is_summed_for_who_used_it_without_the_imported_of_the_same_run(world: World) -> None:
    """In whichever order the two come."""
    await known(world)
    job = world.job()
    await put(world, run("qin:1:1"), run("qin:3:1"))
    await world.deposit("100.00")
    await job.hold("10.00")
    job.place()
    job.use(ids.new("run"), MIDNIGHT - 10, MIDNIGHT, identity="qin:1:1")
    late = ids.new("run")
    job.end(late)
    job.use(late, 0, 5, identity="qin:2:1")
    await world.deliver()
    await put(world, run("qin:2:1"))
    assert await sums(world) == [("2026-03-10", None, "alloys", 200), ("2026-03-10", world.organization, None, 15)]


async def test_of_metered_usage_that_is_set_aside_whole_the_imported_run_counts(world: World) -> None:
    await known(world)
    job = world.job()
    await world.deposit("100.00")
    await job.hold("10.00")
    job.place()
    job.doubt(ids.new("run"), 0, 10, identity="qin:1:1")
    await put(world, run("qin:1:1"))
    before = await sums(world)
    await world.deliver()
    assert await sums(world) == before


async def test_an_identity_at_another_site_is_another_run(world: World) -> None:
    job = world.job()
    await world.deposit("100.00")
    await job.hold("10.00")
    job.place()
    job.use(ids.new("run"), 0, 10, identity="qin:1:1")
    await world.deliver()
    world.site = ids.new("sit")
    await known(world)
    await put(world, run())
    assert await sums(world, site=world.site) == [("2026-03-10", None, "alloys", 200)]
    assert len(await sums(world)) == 2


async def test_mapped_runs_count_for_their_organization_and_cost_nothing(world: World) -> None:
    await known(world)
    mapped: Json = {"organization": world.organization, "project": world.project}
    await put(world, run(**mapped), run("qin:2:1"))
    assert await sums(world, world.member) == [("2026-03-10", world.organization, None, 200)]
    assert await sums(world, world.seller) == await sums(world)
    assert (await world.funds())["charged"] == "0.00"


async def test_every_component_is_summed_in_its_seconds(world: World) -> None:
    await known(world)
    await put(world, run(nodes=3, memory_mib=5, accelerators={"gpu": 1, "gpu:h100": 6}))
    items = ok(await world.finance.get("/usage", **DAYS))["items"]
    assert {one["component"]: one["quantity"] for one in items} == {
        "cpu_core_hour": 200,
        "memory_gib_hour": 500,
        "node_hour": 300,
        "accelerator_hour": 700,
    }


async def test_who_may_import(world: World) -> None:
    await known(world)
    await put(world, run(), by=world.seller)
    body = {"site": world.site, "runs": [run()]}
    other = world.service.person("other", f"provider/{ids.new('prv')}:admin")
    assert pointers(refused(await other.post("/imported-usage", body), 422, "unknown_reference")) == ["/site"]
    refused(await world.member.post("/imported-usage", body), 404, "not_found")
    assert await sums(world, other) == []


async def test_what_is_not_known_here_is_refused(world: World) -> None:
    await known(world)
    mapped: Json = {"organization": world.organization, "project": ids.new("prj")}
    body = {"site": world.site, "runs": [run(**mapped)]}
    assert pointers(refused(await world.finance.post("/imported-usage", body), 422, "unknown_reference")) == ["/runs"]
    assert await sums(world) == []
    body = {"site": world.site, "runs": [run(organization=world.organization)]}
    refused(await world.finance.post("/imported-usage", body), 422, "invalid")
    body = {"site": world.site, "runs": [run(start=1, end=0)]}
    refused(await world.finance.post("/imported-usage", body), 422, "invalid")


async def test_a_span_or_zone_that_is_none_is_refused_by_name(world: World) -> None:
    for wrong, at_fault in (
        ({"zone": "Mars"}, "query/zone"),
        ({"to": "2026-03-10"}, "query/to"),
        ({"to": "2029-03-10"}, "query/to"),
    ):
        assert pointers(refused(await world.finance.get("/usage", **(DAYS | wrong)), 422, "invalid")) == [at_fault]


@given(
    zone=st.sampled_from(["Asia/Shanghai", "Asia/Kolkata", "Europe/Berlin", "America/Havana", "Africa/Cairo", "UTC"]),
    first=st.dates(date(1990, 1, 1), date(2030, 1, 1)),
    days=st.integers(1, 70),
    start=st.integers(-(10**6), 7 * 10**6),
    length=st.integers(0, 10**6),
    by=st.sampled_from(By),
)
def test_every_second_falls_in_the_day_that_its_clock_shows(
    zone: str, first: date, days: int, start: int, length: int, by: By
) -> None:
    calendar = Calendar(by, ZoneInfo(zone), first, first + timedelta(days=days))
    began = clock.to_seconds(datetime(first.year, first.month, first.day, tzinfo=UTC)) + start
    end = began + length
    split = list(calendar.split(began, end))
    assert sum(seconds for _, seconds in split) == max(0, min(end, calendar.end) - max(began, calendar.start))
    second = max(began, calendar.start)
    for name, seconds in split:
        for one in (second, second + seconds - 1):
            assert clock.from_seconds(one).astimezone(ZoneInfo(zone)).date().isoformat().startswith(name)
        second += seconds
