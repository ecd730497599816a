"""Holidays and working weekends: published, kept by price lists of then, and missed."""

from datetime import UTC, date, datetime

import pytest
from chinese_calendar import is_holiday

from caravan.kernel.settings import Settings
from services.catalog.app import create_app
from services.catalog.calendars.library import known_years
from services.catalog.calendars.service import CalendarService
from tests.catalog.test_price_lists import PEAK, VOLUME, windowed
from tests.catalog.world import a_centre, events_of, tariff
from tests.support import Json, Person, Running, ok, pointers, refused, running

NEXT: Json = {
    "year": 2027,
    "holidays": {"2027-02-06": "春节", "2027-01-01": "元旦"},
    "working_weekends": {"2027-02-14": "春节"},
}


def test_the_library_has_each_day_as_it_says_itself() -> None:
    for year in known_years():
        day = date(year.year, 1, 1)
        while day.year == year.year:
            free = day in year.holidays or (day.weekday() >= 5 and day not in year.working_weekends)
            assert free == is_holiday(day), day
            day = date.fromordinal(day.toordinal() + 1)


async def test_years_are_there_as_far_as_the_library_knows_them(settings: Settings) -> None:
    async with running(create_app(settings)) as catalog:
        of_2026 = ok(await catalog.person("stranger").get("/calendars/2026"))
    assert of_2026["revision"] == 1
    assert of_2026["holidays"]["2026-02-17"] == "春节"
    assert of_2026["working_weekends"]["2026-02-14"] == "春节"
    async with running(create_app(settings)) as again:
        assert ok(await again.person("stranger").get("/calendars/2026")) == of_2026


async def test_a_published_year_makes_new_revisions_of_lists_with_windows_and_leaves_the_old(
    catalog: Running, operator: Person, broker: Person
) -> None:
    centre = await a_centre(catalog, operator)
    site = (await centre.site())["id"]
    plain, gone, by_window = [(await centre.offering(site))["id"] for _ in range(3)]

    async def lists(offering: str) -> list[Json]:
        items: list[Json] = ok(await centre.admin.get(f"/offerings/{offering}/price-lists"))["items"]
        return items

    for offering, tariffs in ((plain, [tariff("a")]), (gone, windowed(PEAK)), (by_window, windowed(PEAK))):
        draft = {"tariffs": tariffs, "volume_discounts": VOLUME}
        ok(await centre.admin.post(f"/offerings/{offering}/price-lists", draft), 201)
    ok(await centre.admin.post(f"/offerings/{gone}/archive"))
    (before,) = await lists(by_window)
    assert before["calendar"][-1]["year"] == 2026
    assert (await lists(plain))[0]["calendar"] == []

    made = ok(await operator.post("/calendars", NEXT), 201)
    assert (made["revision"], list(made["holidays"])) == (1, ["2027-01-01", "2027-02-06"])
    after, old = await lists(by_window)
    assert old == before
    assert after["calendar"] == [*before["calendar"], {k: made[k] for k in ("year", "holidays", "working_weekends")}]
    assert (after["tariffs"], after["revision"]) == (before["tariffs"], 2)
    assert after["volume_discounts"] == before["volume_discounts"] == VOLUME
    assert [len(await lists(offering)) for offering in (plain, gone)] == [1, 1]
    (event,) = await events_of(broker, after["id"], 1)
    assert event["data"] == after

    assert ok(await operator.post("/calendars", NEXT), 201) == made, "the same again changes nothing"
    assert len(await lists(by_window)) == 2
    ok(await operator.post("/calendars", {"year": 2019}), 201)
    assert len(await lists(by_window)) == 2, "no tariff of it is for a year that was long over"
    moved = NEXT | {"holidays": {"2027-01-01": "元旦"}}
    assert ok(await operator.post("/calendars", moved), 201)["revision"] == 2
    assert (await lists(by_window))[0]["calendar"][-1]["holidays"] == {"2027-01-01": "元旦"}
    audited = ok(await operator.get("/audit", entity="2027"))["items"]
    assert [(one["action"], one["subject"]) for one in audited] == [("publish_calendar", "operator")] * 2


async def test_a_list_holds_all_published_years_from_its_earliest_tariff_on_however_long_they_are_over(
    catalog: Running, operator: Person
) -> None:
    """A correction may price by it what was used then."""
    centre = await a_centre(catalog, operator)
    offering = await centre.offering((await centre.site())["id"])
    path = f"/offerings/{offering['id']}/price-lists"
    for year in (2018, 2019):
        ok(await operator.post("/calendars", {"year": year}), 201)
    in_2019 = [windowed(PEAK)[0] | {"starts_at": "2018-12-31T16:00:00Z"}]
    published = [one["year"] for one in ok(await operator.get("/calendars"))["items"]]
    made = ok(await centre.admin.post(path, {"tariffs": in_2019}), 201)
    assert [one["year"] for one in made["calendar"]] == sorted({*published} - {2018})
    for year, revision in ((2018, 1), (2019, 2)):
        ok(await operator.post("/calendars", {"year": year, "holidays": {f"{year}-01-01": "元旦"}}), 201)
        assert ok(await centre.admin.get(path))["items"][0]["revision"] == revision


@pytest.mark.parametrize(
    "change",
    [
        {"holidays": {"2026-12-31": "元旦"}},
        {"working_weekends": {"2027-02-15": "春节"}},
        {"working_weekends": {"2027-02-06": "春节"}},
    ],
    ids=["of another year", "a Monday", "both"],
)
async def test_a_day_that_can_not_be_is_refused(catalog: Running, operator: Person, change: Json) -> None:
    problem = refused(await operator.post("/calendars", NEXT | change), 422, "invalid")
    assert [one["code"] for one in problem["errors"]] == ["calendar_day"]


async def test_an_administrator_publishes_and_nobody_else(catalog: Running, operator: Person, stranger: Person) -> None:
    centre = await a_centre(catalog, operator)
    for person in (stranger, centre.admin):
        refused(await person.post("/calendars", NEXT), 404, "not_found")
    refused(await stranger.get("/calendars/2027"), 404, "not_found")
    refused(await stranger.get("/calendars/3000000000"), 422, "invalid")
    years = [one["year"] for one in ok(await stranger.get("/calendars"))["items"]]
    assert years == sorted(years, reverse=True)


@pytest.mark.parametrize(
    ("now", "missing"),
    [((2026, 11, 30), 0), ((2026, 12, 1), 1), ((2027, 1, 1), 1), ((2027, 12, 31), 2)],
)
async def test_a_year_that_nobody_published_alarms_from_1_december(
    settings: Settings, now: tuple[int, int, int], missing: int
) -> None:
    async with running(create_app(settings, now=lambda: datetime(*now, tzinfo=UTC))) as catalog:
        await catalog.app.provided[CalendarService].look()
        metrics = (await catalog.http.get("/metrics")).text
        assert f"caravan_calendar_years_missing {missing}.0" in metrics


@pytest.mark.parametrize("year", [1999, 2201, 2**31, 2**63])
async def test_a_year_that_no_calendar_can_be_of_is_refused(catalog: Running, stranger: Person, year: int) -> None:
    assert pointers(refused(await stranger.get(f"/calendars/{year}"), 422, "invalid")) == ["path/year"]
