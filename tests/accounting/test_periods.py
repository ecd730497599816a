"""Where seconds lie, and how periods are cut."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caravan.kernel import clock
from caravan.kernel.database import Database
from services.accounting.periods import service
from services.accounting.periods.months import month_of, part_name
from tests.accounting.books import AT, DECEMBER, NOVEMBER, period_at
from tests.accounting.months import APRIL, MARCH, Finance, Hand, core_lines, iso, used
from tests.accounting.world import World, at
from tests.support import ok, pointers, refused


@pytest.fixture
def now(hand: Hand) -> Hand:
    return hand


@pytest.fixture
def books(world: World) -> Finance:
    return Finance(world)


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
