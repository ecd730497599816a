"""Where seconds lie, how periods are cut, and when they close."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caravan.kernel import clock, ids
from caravan.kernel.database import Database
from caravan.kernel.settings import Settings
from services.accounting.app import create_app
from services.accounting.periods import closing, service
from services.accounting.periods.closing import PeriodService
from services.accounting.periods.months import month_of, part_name
from tests.accounting.books import AT, DECEMBER, NOVEMBER, OTHER_SITE, period_at, progress
from tests.accounting.world import T0, World, at, tariff
from tests.support import Json, Running, ok, pointers, refused, running

MARCH = datetime(2026, 2, 28, 16, tzinfo=UTC)
APRIL = datetime(2026, 3, 31, 16, tzinfo=UTC)
GRACE = timedelta(hours=72)


class Hand:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.time = at(7200)

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
async def accounting(settings: Settings, hand: Hand) -> AsyncIterator[Running]:
    async with running(create_app(settings, now=hand)) as service:
        yield service


class Finance:
    """What finance does with the period of March, in which the world's jobs run."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._person = world.finance

    async def periods(self) -> list[Json]:
        return list(reversed(ok(await self._person.get("/periods", limit=200))["items"]))

    async def march(self) -> Json:
        await self._world.db.write(period_at, T0)
        return next(period for period in await self.periods() if period["name"] == "2026-03")

    async def cut(self, moment: datetime) -> Json:
        march = await self.march()
        return ok(await self._person.post(f"/periods/{march['id']}/cut", {"at": moment.isoformat()}))

    async def close(self) -> Json:
        march = await self.march()
        return ok(await self._person.post(f"/periods/{march['id']}/close"))

    async def settle(self) -> Json:
        """Let the loop pass once; gives March as it is then."""
        periods: PeriodService = self._world.service.app.provided[PeriodService]
        await periods.iteration()
        return await self.march()


@pytest.fixture
def books(world: World) -> Finance:
    return Finance(world)


def iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


async def used(world: World, start: int, end: int) -> None:
    """A job that ran from `start` to `end` seconds after T0, charged."""
    job = world.job()
    await world.deposit("100.00")
    await job.hold("50.00")
    job.place()
    run = ids.new("run")
    job.use(run, start, end)
    job.end(run)
    await world.deliver()


async def core_lines(world: World, **filters: str) -> list[Json]:
    """The lines of core-seconds."""
    lines = ok(await world.finance.get("/lines", **filters))["items"]
    return [line for line in lines if line["component"] == "cpu_core_hour"]


# Where seconds lie


@pytest.mark.parametrize(
    ("part", "name"), [(1, "2026-11"), (2, "2026-11b"), (3, "2026-11c"), (26, "2026-11z"), (27, "2026-11aa")]
)
def test_parts_of_a_month_are_named_by_letters(part: int, name: str) -> None:
    assert part_name("2026-11", part) == name


@given(st.integers(0, 2**33), st.sampled_from(["Asia/Shanghai", "UTC", "Europe/Berlin", "America/St_Johns"]))
def test_a_second_lies_in_the_month_that_its_zone_says(second: int, name: str) -> None:
    zone = ZoneInfo(name)
    month = month_of(second, zone)
    assert month.start <= second < month.end
    assert month.name == f"{clock.from_seconds(second).astimezone(zone):%Y-%m}"
    assert month_of(month.end, zone).start == month.end


def seconds(moment: datetime) -> int:
    return clock.to_seconds(moment)


async def test_a_span_is_split_at_the_edges_of_months_in_the_platforms_zone(db: Database) -> None:
    start, end = seconds(NOVEMBER) - 3600, seconds(DECEMBER) + 1
    parts = await db.write(service.locate, start, end)
    assert [(part.start, part.end) for part in parts] == [
        (start, seconds(NOVEMBER)),
        (seconds(NOVEMBER), seconds(DECEMBER)),
        (seconds(DECEMBER), end),
    ]
    assert len({part.period for part in parts}) == 3
    assert await db.write(service.locate, start, end) == parts


async def test_a_second_before_an_edge_and_the_edge_lie_apart(db: Database) -> None:
    before = await db.write(service.locate, seconds(NOVEMBER) - 1, seconds(NOVEMBER))
    after = await db.write(service.locate, seconds(NOVEMBER), seconds(NOVEMBER) + 1)
    assert len(before) == len(after) == 1
    assert before[0].period != after[0].period


SPANS = st.tuples(st.integers(seconds(NOVEMBER), seconds(DECEMBER)), st.integers(1, 90 * 86400))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(span=SPANS, cut=st.integers(seconds(NOVEMBER), seconds(DECEMBER)))
async def test_the_parts_of_a_span_meet_and_cover_it_whatever_is_cut(
    db: Database, span: tuple[int, int], cut: int
) -> None:
    start, end = span[0], span[0] + span[1]
    moment = clock.from_seconds(cut)
    period = await db.write(period_at, moment)
    row = await db.read(service.find, period)
    if row.starts_at < moment:
        await db.write(service.cut, period, moment, None)
    parts = await db.write(service.locate, start, end)
    assert (parts[0].start, parts[-1].end) == (start, end)
    assert all(one.end == other.start and one.period != other.period for one, other in pairwise(parts))
    assert all(part.start < part.end for part in parts)


async def test_units_that_need_the_same_month_at_once_make_it_once(db: Database) -> None:
    made = await asyncio.gather(*(db.write(period_at, AT) for _ in range(8)))
    assert len(set(made)) == 1


async def test_another_zone_is_taken_only_before_there_are_periods(db: Database) -> None:
    await db.write(service.prepare, "Asia/Shanghai")
    await db.write(service.prepare, "UTC")
    assert await db.read(service.zone) == ZoneInfo("UTC")
    await db.write(period_at, AT)
    await db.write(service.prepare, "UTC")
    with pytest.raises(RuntimeError, match="CARAVAN_ZONE is Asia/Shanghai"):
        await db.write(service.prepare, "Asia/Shanghai")


async def test_the_loop_makes_the_current_period(world: World, hand: Hand) -> None:
    hand.time = datetime(2027, 5, 1, tzinfo=UTC)
    books = Finance(world)
    await books.settle()
    assert (await books.periods())[-1]["name"] == "2027-05"


# Cutting


async def test_a_cut_ends_the_period_and_begins_the_next(books: Finance) -> None:
    cut = await books.cut(at(3600))
    assert (cut["name"], cut["starts_at"], cut["ends_at"], cut["version"]) == ("2026-03", iso(MARCH), iso(at(3600)), 2)
    _, rest = await books.periods()
    assert (rest["name"], rest["starts_at"], rest["ends_at"], rest["state"]) == (
        "2026-03b",
        iso(at(3600)),
        iso(APRIL),
        "open",
    )


async def test_the_earliest_cut_is_the_second_after_the_latest_usage(world: World, books: Finance) -> None:
    await used(world, 0, 600)
    march = await books.march()
    path = f"/periods/{march['id']}/cut"
    for moment in (at(599), at(0), MARCH):
        problem = refused(await world.finance.post(path, {"at": iso(moment)}), 409, "period_cut_refused")
        assert problem["earliest"] == iso(at(600))
    assert ok(await world.finance.post(path, {"at": iso(at(600))}))["ends_at"] == iso(at(600))


async def test_a_cut_lies_inside_its_period(world: World, books: Finance) -> None:
    march = await books.march()
    path = f"/periods/{march['id']}/cut"
    for moment in (MARCH, APRIL, APRIL + timedelta(days=3), MARCH - timedelta(days=1)):
        problem = refused(await world.finance.post(path, {"at": iso(moment)}), 409, "period_cut_refused")
        assert problem["earliest"] == iso(MARCH + timedelta(seconds=1))
    assert ok(await world.finance.post(path, {"at": iso(MARCH + timedelta(seconds=1))}))["name"] == "2026-03"


async def test_a_period_may_be_cut_in_the_future(books: Finance) -> None:
    assert (await books.cut(APRIL - timedelta(seconds=1)))["ends_at"] == iso(APRIL - timedelta(seconds=1))


async def test_a_cut_is_on_a_whole_second(world: World, books: Finance) -> None:
    march = await books.march()
    wrong = await world.finance.post(f"/periods/{march['id']}/cut", {"at": "2026-03-10T09:00:00.5Z"})
    assert pointers(refused(wrong, 422, "invalid")) == ["/at"]


async def test_a_repeated_cut_changes_nothing(world: World, books: Finance) -> None:
    first = await books.cut(at(3600))
    assert await books.cut(at(3600)) == first
    assert len(await books.periods()) == 2
    key = {"Idempotency-Key": "cut-1"}
    march = await books.march()
    path = f"/periods/{march['id']}/cut"
    answer = await world.finance.post(path, {"at": iso(at(60))}, key)
    assert (await world.finance.post(path, {"at": iso(at(60))}, key)).content == answer.content
    refused(await world.finance.post(path, {"at": iso(at(30))}, key), 422, "idempotency_key_reused")


async def test_a_period_that_is_closing_is_not_cut(world: World, books: Finance) -> None:
    march = await books.close()
    problem = refused(
        await world.finance.post(f"/periods/{march['id']}/cut", {"at": iso(at(3600))}), 409, "wrong_state"
    )
    assert (problem["state"], problem["allowed"]) == ("closing", ["open"])


async def test_usage_on_both_sides_of_a_cut_is_billed_in_both_periods(world: World, books: Finance) -> None:
    await books.cut(at(100))
    await used(world, 0, 160)
    lines = await core_lines(world)
    march, rest = await books.periods()
    assert {line["period"]: line["quantity"] for line in lines} == {march["id"]: 100, rest["id"]: 60}


# Closing


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


async def test_an_older_progress_does_not_turn_back_a_newer(world: World, books: Finance) -> None:
    await books.cut(at(3600))
    await books.close()
    world.progress(3600, 5)
    world.progress(10, 4)
    await world.deliver()
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
    assert (await books.settle())["state"] == "closing"
    world.know_prices(unknown, 2, tariff("day", None, None, cpu_core_hour="36.00"))
    await world.deliver()
    march = await books.settle()
    assert march["state"] == "closed"
    assert [line["corrects"] for line in await core_lines(world, period=march["id"])] == [None]


async def test_late_usage_becomes_an_adjustment_in_the_open_period(world: World, books: Finance) -> None:
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
    november = await db.write(period_at, NOVEMBER)
    assert await db.write(service.open_period) == november
    december = await db.write(period_at, DECEMBER)
    assert await db.write(service.open_period) == november
    await db.write(closing._start, december, DECEMBER, GRACE)
    january = await db.read(service.find, await db.write(service.open_period))
    assert january.name == "2027-01"


async def test_close_is_answered_again_and_changes_nothing(world: World, books: Finance) -> None:
    march = await books.march()
    path, key = f"/periods/{march['id']}/close", {"Idempotency-Key": "close-1"}
    first = await world.finance.post(path, headers=key)
    assert first.headers["ETag"] == '"2"'
    assert ok(await world.finance.post(path))["version"] == 2
    assert (await world.finance.post(path, headers=key)).content == first.content


async def test_two_processes_close_a_period_once(world: World, books: Finance, hand: Hand) -> None:
    await used(world, 0, 60)
    await books.cut(at(3600))
    march = await books.march()
    await world.db.write(closing._start, march["id"], hand.time, GRACE)
    done = await asyncio.gather(*(world.db.write(closing.finish, march["id"], hand.time) for _ in range(4)))
    assert sorted(done) == [False, False, False, True]
    assert len(ok(await world.finance.get("/statements"))["items"]) == 2


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


async def test_periods_come_in_pages_the_latest_first(world: World, books: Finance) -> None:
    await books.cut(at(3600))
    first = ok(await world.finance.get("/periods", limit=1))
    second = ok(await world.finance.get("/periods", limit=1, cursor=first["next"]))
    assert [page["items"][0]["name"] for page in (first, second)] == ["2026-03b", "2026-03"]
    assert second["next"] is None
