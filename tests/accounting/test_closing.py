"""When periods close, what late usage becomes, and who may close them."""

import asyncio
from datetime import timedelta

import pytest

from caravan.kernel import ids
from caravan.kernel.database import Database
from caravan.kernel.pages import Listing
from caravan.kernel.tokens import Caller
from services.accounting.periods import closing, service
from tests.accounting.books import DECEMBER, NOVEMBER, OTHER_SITE, period_at, progress
from tests.accounting.months import APRIL, GRACE, Finance, Hand, core_lines, iso, used
from tests.accounting.world import World, at, tariff
from tests.support import Running, ok, refused


@pytest.fixture
def now(hand: Hand) -> Hand:
    return hand


@pytest.fixture
def books(world: World) -> Finance:
    return Finance(world)


async def test_closing_waits_for_every_site_that_told_its_progress(world: World, books: Finance, hand: Hand) -> None:
    await books.cut(at(3600))
    world.progress(3599, 1)
    await world.deliver()
    await world.db.write(progress, OTHER_SITE, at(3600))
    assert (await books.close())["state"] == "closing"
    waiting = await books.settle()
    assert (waiting["state"], waiting["waiting_for"]) == ("closing", [world.site])
    world.progress(3600, 2)
    await world.deliver()
    closed = await books.settle()
    assert (closed["state"], closed["waiting_for"], closed["late_sites"]) == ("closed", [], [])
    assert closed["closed_at"] == iso(hand.time)


async def test_closing_waits_for_a_site_that_was_given_a_job_and_never_told_its_progress(
    world: World, books: Finance
) -> None:
    await books.cut(at(3600))
    world.job().place()
    await world.deliver()
    await books.close()
    waiting = await books.settle()
    assert (waiting["state"], waiting["waiting_for"]) == ("closing", [world.site])
    world.progress(3600, 1)
    await world.deliver()
    assert (await books.settle())["state"] == "closed"


async def test_an_older_progress_does_not_turn_back_a_newer(world: World, books: Finance) -> None:
    await books.cut(at(3600))
    world.progress(3600, 5)
    world.progress(10, 4)
    await world.deliver()
    await books.close()
    assert (await books.settle())["state"] == "closed"


async def test_the_grace_ends_to_the_second_and_late_sites_are_named(world: World, books: Finance, hand: Hand) -> None:
    await used(world, 0, 60)
    await books.cut(at(3600))
    world.progress(600, 1)
    await world.deliver()
    hand.time = at(10_000)
    await books.close()
    hand.time = at(10_000) + GRACE - timedelta(seconds=1)
    assert (await books.settle())["state"] == "closing"
    hand.time = at(10_000) + GRACE
    closed = await books.settle()
    assert (closed["state"], closed["late_sites"]) == ("closed", [world.site])
    statements = ok(await world.finance.get("/statements", period=closed["id"]))["items"]
    assert [statement["late_sites"] for statement in statements] == [[world.site], [world.site]]


async def test_a_period_does_not_close_before_it_is_over(world: World, books: Finance, hand: Hand) -> None:
    await books.close()
    hand.time = APRIL - timedelta(seconds=1)
    assert (await books.settle())["state"] == "closing"
    hand.time = APRIL
    assert (await books.settle())["state"] == "closed"


async def test_the_grace_of_a_period_closed_early_runs_from_its_end(world: World, books: Finance, hand: Hand) -> None:
    await books.close()
    world.progress(600, 1)
    await world.deliver()
    hand.time = APRIL + GRACE - timedelta(seconds=1)
    assert (await books.settle())["state"] == "closing"
    hand.time = APRIL + GRACE
    assert (await books.settle())["state"] == "closed"


async def test_a_closing_period_still_takes_the_usage_that_it_waits_for(world: World, books: Finance) -> None:
    await books.cut(at(3600))
    world.progress(0, 1)
    await world.deliver()
    await books.close()
    await used(world, 0, 60)
    (line,) = await core_lines(world)
    assert (line["period"], line["corrects"]) == ((await books.march())["id"], None)


async def test_closing_waits_for_facts_that_are_parked(world: World, books: Finance, hand: Hand) -> None:
    await books.cut(at(3600))
    await world.deposit("100.00")
    job, unknown = world.job(), ids.new("prl")
    await job.hold("50.00")
    job.place(price_list=unknown)
    job.use(ids.new("run"), 0, 60)
    world.progress(3600, 1)
    await world.deliver()
    assert await world.parked()
    await books.close()
    waiting = await books.settle()
    assert (waiting["state"], waiting["waiting_for"], waiting["parked_facts"]) == ("closing", [], await world.parked())
    world.know_prices(unknown, 2, tariff("day", None, None, cpu_core_hour="36.00"))
    await world.deliver()
    march = await books.settle()
    assert march["state"] == "closed"
    assert [line["corrects"] for line in await core_lines(world, period=march["id"])] == [None]


async def test_late_usage_becomes_an_adjustment_in_the_open_period(world: World, books: Finance) -> None:
    world.progress(3600, 1)
    await used(world, 0, 60)
    await books.cut(at(3600))
    await books.close()
    closed = await books.settle()
    before = ok(await world.finance.get("/statements", period=closed["id"]))["items"]
    await used(world, 100, 130)
    march, rest = await books.periods()
    (late,) = await core_lines(world, period=rest["id"])
    assert (late["corrects"], late["quantity"], late["amount"]) == (march["id"], 30, "0.30")
    assert ok(await world.finance.get("/statements", period=closed["id"]))["items"] == before
    assert march == closed


async def test_adjustments_go_behind_all_that_is_closing_or_closed(db: Database) -> None:
    october, _, december = [
        await db.write(period_at, moment) for moment in (NOVEMBER - timedelta(days=1), NOVEMBER, DECEMBER)
    ]
    await db.write(closing._start, october, DECEMBER, GRACE)
    november = await db.read(service.find, await db.write(service.open_period))
    assert november.name == "2026-11"
    await db.write(closing._start, december, DECEMBER, GRACE)
    january = await db.read(service.find, await db.write(service.open_period))
    assert january.name == "2027-01"


async def test_adjustments_go_to_the_month_after_also_when_nothing_was_needed_of_it_yet(db: Database) -> None:
    november, _ = [await db.write(period_at, moment) for moment in (NOVEMBER, DECEMBER + timedelta(days=40))]
    await db.write(closing._start, november, DECEMBER, GRACE)
    december = await db.read(service.find, await db.write(service.open_period))
    assert december.name == "2026-12"


async def test_close_is_answered_again_and_changes_nothing(world: World, books: Finance) -> None:
    march = await books.march()
    path, key = f"/periods/{march['id']}/close", {"Idempotency-Key": "close-1"}
    first = await world.finance.post(path, headers=key)
    assert first.headers["ETag"] == '"2"'
    assert ok(await world.finance.post(path))["version"] == 2
    assert (await world.finance.post(path, headers=key)).content == first.content


async def test_two_processes_close_a_period_once(world: World, books: Finance, hand: Hand) -> None:
    world.progress(3600, 1)
    await used(world, 0, 60)
    await books.cut(at(3600))
    march = await books.march()
    await world.db.write(closing._start, march["id"], hand.time, GRACE)
    done = await asyncio.gather(*(world.db.write(closing.finish, march["id"], hand.time) for _ in range(4)))
    assert sorted(done) == [False, False, False, True]
    assert len(ok(await world.finance.get("/statements"))["items"]) == 2


async def test_a_site_that_is_given_a_job_after_the_period_was_found_due_is_waited_for(
    world: World, books: Finance, hand: Hand
) -> None:
    world.progress(3600, 1)
    await world.deliver()
    await books.cut(at(3600))
    march = (await books.march())["id"]
    await world.db.write(closing._start, march, hand.time, GRACE)
    assert await world.db.read(closing._closings, hand.time) == (1, [march])
    await world.db.write(service.expect_progress, OTHER_SITE, world.provider, at(0))
    assert not await world.db.write(closing.finish, march, hand.time)
    await world.db.write(progress, OTHER_SITE, at(3600))
    assert await world.db.write(closing.finish, march, hand.time)


async def test_cut_and_close_are_in_the_audit_log(accounting: Running, world: World, books: Finance) -> None:
    await books.cut(at(3600))
    march = await books.close()
    operator = accounting.person("operator", "platform:admin")
    entries = ok(await operator.get("/audit", entity=march["id"]))["items"]
    assert [(entry["action"], entry["subject"]) for entry in entries] == [
        ("close_period", "finance"),
        ("cut_period", "finance"),
    ]


async def test_only_finance_cuts_and_closes_and_everybody_reads(
    accounting: Running, world: World, books: Finance
) -> None:
    march = await books.march()
    for person in (world.member, world.admin, world.seller, accounting.person("operator", "platform:admin")):
        assert ok(await person.get(f"/periods/{march['id']}"))["name"] == "2026-03"
        refused(await person.post(f"/periods/{march['id']}/close"), 404, "not_found")
        refused(await person.post(f"/periods/{march['id']}/cut", {"at": iso(at(1))}), 404, "not_found")
    refused(await world.finance.get(f"/periods/{ids.new('per')}"), 404, "not_found")
    refused(await world.finance.post(f"/periods/{ids.new('per')}/close"), 404, "not_found")


async def test_a_cursor_from_beyond_all_time_is_a_place_in_the_list_too(db: Database) -> None:
    period = await db.write(period_at, NOVEMBER)
    for key, found in ((2**63 - 1, [period]), (-(2**63), [])):
        page = await db.read(
            closing._periods, Caller("anyone", frozenset()), Listing(limit=1, after=(key,), _binding=b"")
        )
        assert [one.id for one in page] == found


async def test_periods_come_in_pages_the_latest_first(world: World, books: Finance) -> None:
    await books.cut(at(3600))
    first = ok(await world.finance.get("/periods", limit=1))
    second = ok(await world.finance.get("/periods", limit=1, cursor=first["next"]))
    assert [page["items"][0]["name"] for page in (first, second)] == ["2026-03b", "2026-03"]
    assert second["next"] is None
