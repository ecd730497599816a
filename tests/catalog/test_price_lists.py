import pytest
from pydantic import ValidationError

from caravan.contracts.prices import DaySpan, PriceListDraft
from tests.catalog.world import a_centre, events_of, tariff
from tests.support import Json, Person, Running, ok, pointers, refused


async def test_price_lists_are_numbered_revisions_that_never_change(
    catalog: Running, operator: Person, broker: Person
) -> None:
    centre = await a_centre(catalog, operator)
    site = await centre.site()
    first, second = await centre.offering(site["id"]), await centre.offering(site["id"])
    lists = [await centre.priced(first["id"], cpu_core_hour=price) for price in ("0.1", "0.200", "123456789.123456")]
    other = await centre.priced(second["id"], job="1")
    assert [one["revision"] for one in lists] == [1, 2, 3]
    assert other["revision"] == 1
    assert [one["tariffs"][0]["prices"]["cpu_core_hour"] for one in lists] == ["0.1", "0.200", "123456789.123456"]
    path = f"/offerings/{first['id']}/price-lists"
    page = ok(await centre.admin.get(path, limit=2))
    rest = ok(await centre.admin.get(path, limit=2, cursor=page["next"]))
    assert page["items"] + rest["items"] == lists[::-1]
    assert ok(await centre.admin.get(f"/price-lists/{lists[0]['id']}")) == lists[0]
    (event,) = await events_of(broker, lists[1]["id"], 1)
    assert (event["type"], event["data"]) == ("price_list.changed", lists[1])


async def test_tariffs_are_stored_in_the_order_of_time(catalog: Running, operator: Person) -> None:
    centre = await a_centre(catalog, operator)
    offering = await centre.offering((await centre.site())["id"])
    tariffs = [tariff("late", 60), tariff("early", -60, 0), tariff("middle", 0, 60)]
    made = ok(await centre.admin.post(f"/offerings/{offering['id']}/price-lists", {"tariffs": tariffs}), 201)
    assert [one["name"] for one in made["tariffs"]] == ["early", "middle", "late"]


PEAK: Json = {"name": "peak", "times": [{"starts": "08:30", "ends": "11:30"}], "prices": {"cpu_core_hour": "2"}}
VOLUME: Json = {"cpu_core_hour": [{"above": 1000, "percent_off": "5"}, {"above": 5000, "percent_off": "12.5"}]}
EVENING = PEAK | {"name": "evening", "times": [{"starts": "11:00", "ends": "22:00"}]}


def windowed(*windows: Json) -> list[Json]:
    return [tariff("a") | {"windows": windows}]


async def test_a_tariff_has_windows_by_the_clocks_of_its_lists_zone(catalog: Running, operator: Person) -> None:
    centre = await a_centre(catalog, operator)
    offering = await centre.offering((await centre.site())["id"])
    path = f"/offerings/{offering['id']}/price-lists"
    at_home = ok(await centre.admin.post(path, {"tariffs": windowed(PEAK)}), 201)
    assert at_home["zone"] == "Asia/Shanghai"
    assert at_home["tariffs"][0]["windows"][0]["days"][:2] == ["monday", "tuesday"]
    afar = ok(await centre.admin.post(path, {"zone": "Asia/Urumqi", "tariffs": windowed(PEAK)}), 201)
    assert ok(await centre.admin.get(f"/price-lists/{afar['id']}")) == afar
    problem = refused(await centre.admin.post(path, {"zone": "Xi'an", "tariffs": windowed(PEAK)}), 422, "invalid")
    assert [(e["pointer"], e["code"]) for e in problem["errors"]] == [("/zone", "zone")]


@pytest.mark.parametrize(
    "zone", ["localtime", "posixrules", "right/Asia/Shanghai", "posix/UTC", "Asia", "../UTC", "\0"]
)
def test_a_zone_that_means_another_time_on_another_machine_is_refused(zone: str) -> None:
    with pytest.raises(ValidationError, match="Give a name of the IANA database"):
        PriceListDraft.model_validate({"zone": zone, "tariffs": windowed(PEAK)})


def test_windows_that_overlap_are_told_with_when() -> None:
    with pytest.raises(ValidationError, match="peak and evening overlap on monday from 11:00 to 11:30"):
        PriceListDraft.model_validate({"tariffs": windowed(PEAK, EVENING)})
    noon = PEAK | {
        "name": "noon",
        "times": [{"starts": "12:00", "ends": "12:01"}, {"starts": "22:00", "ends": "24:00"}],
    }
    with pytest.raises(ValidationError, match="evening and noon overlap on monday from 12:00 to 12:01"):
        PriceListDraft.model_validate({"tariffs": windowed(noon, EVENING)})
    twice = PEAK | {"times": [{"starts": "08:30", "ends": "11:30"}, {"starts": "08:00", "ends": "12:00"}]}
    with pytest.raises(ValidationError, match="peak and peak overlap on monday from 08:30 to 11:30"):
        PriceListDraft.model_validate({"tariffs": windowed(twice)})
    nights = EVENING | {"days": ["saturday"]}
    PriceListDraft.model_validate({"tariffs": windowed(PEAK | {"days": ["friday", "sunday"]}, nights)})


@pytest.mark.parametrize(
    ("ends", "advice"), [("00:00", "the end of a day is 24:00"), ("07:00", "23:00 to 24:00 and 00:00 to 07:00")]
)
def test_how_a_span_up_to_or_over_midnight_is_written_is_said(ends: str, advice: str) -> None:
    with pytest.raises(ValidationError, match=advice):
        DaySpan(starts="23:00", ends=ends)


async def test_volume_discounts_are_a_part_of_the_revision(catalog: Running, operator: Person, broker: Person) -> None:
    centre = await a_centre(catalog, operator)
    path = f"/offerings/{(await centre.offering((await centre.site())['id']))['id']}/price-lists"
    made = ok(await centre.admin.post(path, {"tariffs": [tariff("a")], "volume_discounts": VOLUME}), 201)
    assert made["volume_discounts"] == VOLUME
    assert ok(await centre.admin.get(f"/price-lists/{made['id']}")) == made
    (event,) = await events_of(broker, made["id"], 1)
    assert event["data"]["volume_discounts"] == VOLUME
    falling = {"cpu_core_hour": VOLUME["cpu_core_hour"][::-1]}
    problem = refused(
        await centre.admin.post(path, {"tariffs": [tariff("a")], "volume_discounts": falling}), 422, "invalid"
    )
    assert [(e["pointer"], e["code"]) for e in problem["errors"]] == [
        ("/volume_discounts/cpu_core_hour", "volume_tiers")
    ]
    of_minimum = {"minimum_charge": [{"above": 0, "percent_off": "100"}]}
    problem = refused(
        await centre.admin.post(path, {"tariffs": [tariff("a")], "volume_discounts": of_minimum}), 422, "invalid"
    )
    assert pointers(problem) == ["/volume_discounts/minimum_charge"]
    assert len(ok(await centre.admin.get(path))["items"]) == 1


FAULTS: list[tuple[list[Json], str, str]] = [
    ([tariff("a", -60, 10), tariff("b", 0)], "", "tariffs_overlap"),
    ([tariff("a"), tariff("b", 60)], "", "tariffs_overlap"),
    ([tariff("a", 0), tariff("b", 0)], "", "tariffs_overlap"),
    ([tariff("a", 0, 60), tariff("a", 60)], "", "tariff_name"),
    ([tariff("a", 60, 60)], "/tariffs/0", "span"),
    ([tariff("none")], "/tariffs/0/name", "tariff_name"),
    ([tariff("a", prices={"cpu_core_hour": 1})], "/tariffs/0/prices/cpu_core_hour", "unit_price"),
    ([tariff("a", prices={"cpu_core_hour": "-1"})], "/tariffs/0/prices/cpu_core_hour", "unit_price"),
    ([tariff("a", prices={"cpu_core_hour": "0.1234567"})], "/tariffs/0/prices/cpu_core_hour", "unit_price"),
    ([tariff("a", prices={"gpu": "1"})], "/tariffs/0/prices/gpu", "enum"),
    ([tariff("a", prices={"minimum_charge": "1"})], "/tariffs/0/prices/minimum_charge", "component"),
    (windowed(PEAK | {"prices": {"minimum_charge": "1"}}), "/tariffs/0/windows/0/prices/minimum_charge", "component"),
    ([tariff("a") | {"minimum_charge": "0.00"}], "/tariffs/0/minimum_charge", "minimum_charge"),
    ([tariff("a") | {"minimum_charge": 1}], "/tariffs/0/minimum_charge", "money"),
    ([tariff("a") | {"minimum_charge": "10000000000000.01"}], "/tariffs/0/minimum_charge", "minimum_charge"),
    ([tariff("夜间")], "/tariffs/0/name", "string_pattern_mismatch"),
    ([tariff("a") | {"starts_at": "2026-01-01T00:00:00.5Z"}], "/tariffs/0/starts_at", "whole_second"),
    ([tariff("a") | {"starts_at": "2026-01-01T00:00:00"}], "/tariffs/0/starts_at", "timezone_aware"),
    ([tariff("a") | {"starts_at": 1764000000}], "/tariffs/0/starts_at", "datetime_type"),
    ([tariff("a") | {"starts_at": "1764000000000"}], "/tariffs/0/starts_at", "datetime_type"),
    ([tariff("a") | {"starts_at": "1.5e9"}], "/tariffs/0/starts_at", "datetime_type"),
    ([], "/tariffs", "too_short"),
    (windowed(PEAK, EVENING), "/tariffs/0", "windows_overlap"),
    (windowed(PEAK, PEAK), "/tariffs/0", "window_name"),
    (windowed(PEAK | {"name": "flat"}), "/tariffs/0/windows/0/name", "window_name"),
    (windowed(PEAK | {"days": ["someday"]}), "/tariffs/0/windows/0/days/0", "enum"),
    (windowed(PEAK | {"times": [{"starts": "23:00", "ends": "07:00"}]}), "/tariffs/0/windows/0/times/0", "day_span"),
    (
        windowed(PEAK | {"times": [{"starts": "8:00", "ends": "24:01"}]}),
        "/tariffs/0/windows/0/times/0/starts",
        "string_pattern_mismatch",
    ),
]


async def test_a_price_list_with_a_fault_is_refused_at_its_place(catalog: Running, operator: Person) -> None:
    centre = await a_centre(catalog, operator)
    offering = await centre.offering((await centre.site())["id"])
    path = f"/offerings/{offering['id']}/price-lists"
    for tariffs, where, code in FAULTS:
        problem = refused(await centre.admin.post(path, {"tariffs": tariffs}), 422, "invalid")
        assert (where, code) in [(e["pointer"], e["code"]) for e in problem["errors"]]
    assert ok(await centre.admin.get(path))["items"] == []


async def test_a_time_of_day_that_is_none_is_refused_in_words(catalog: Running, operator: Person) -> None:
    centre = await a_centre(catalog, operator)
    path = f"/offerings/{(await centre.offering((await centre.site())['id']))['id']}/price-lists"
    for ends in ("25:00", "9:00", "09:00:30", "24:01"):
        window = PEAK | {"times": [{"starts": "08:00", "ends": ends}]}
        problem = refused(await centre.admin.post(path, {"tariffs": windowed(window)}), 422, "invalid")
        assert "from 00:00 to 24:00" in problem["errors"][0]["detail"]


async def test_only_its_provider_prices_an_offering_and_none_that_is_archived(
    catalog: Running, operator: Person, stranger: Person
) -> None:
    centre, rival = await a_centre(catalog, operator), await a_centre(catalog, operator)
    offering = await centre.offering((await centre.site())["id"])
    price_list = await centre.priced(offering["id"], job="1")
    path, body = f"/offerings/{offering['id']}/price-lists", {"tariffs": [tariff("a")]}
    for person in (rival.admin, stranger, operator):
        refused(await person.post(path, body), 404, "not_found")
    for person in (rival.admin, stranger):
        refused(await person.get(f"/price-lists/{price_list['id']}"), 404, "not_found")
    ok(await centre.admin.post(f"/offerings/{offering['id']}/archive"))
    refused(await centre.admin.post(path, body), 409, "wrong_state")
    for person in (rival.admin, stranger):  # what is no draft any more stays readable: bills refer to it
        assert ok(await person.get(f"/price-lists/{price_list['id']}")) == price_list
    assert pointers(refused(await centre.admin.get("/price-lists/prl_1"), 422, "invalid")) == ["path/price_list"]


async def test_what_is_on_sale_always_has_a_price(catalog: Running, operator: Person) -> None:
    centre = await a_centre(catalog, operator)
    offering = await centre.on_sale((await centre.site())["id"])
    path = f"/offerings/{offering['id']}/price-lists"
    later = {"tariffs": [tariff("later", 60)]}
    problem = refused(await centre.admin.post(path, later), 422, "invalid")
    assert [(e["pointer"], e["code"]) for e in problem["errors"]] == [("/tariffs", "price_list_not_covering")]
    ok(await centre.admin.post(path, {"tariffs": [tariff("now", -60, 60), *later["tariffs"]]}), 201)
    ok(await centre.admin.post(f"/offerings/{offering['id']}/pause"))
    ok(await centre.admin.post(path, later), 201)
