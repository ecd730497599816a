"""What a run would cost, explained before anything runs."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.catalog.world import ASCEND, Centre, a_centre, with_cards
from tests.support import Json, Person, Running, ok, pointers, refused

START = "2027-03-05T13:00:00Z"
"""A Friday, 21:00 in Shanghai."""
TARIFF: Json = {
    "name": "2027",
    "starts_at": "2026-12-31T16:00:00Z",
    "ends_at": "2027-12-31T16:00:00Z",
    "prices": {"accelerator_hour": "8.00", "cpu_core_hour": "0.10"},
    "windows": [
        {
            "name": "peak",
            "days": ["monday", "tuesday", "wednesday", "thursday", "friday", "working_weekend"],
            "times": [{"starts": "18:00", "ends": "22:00"}],
            "prices": {"accelerator_hour": "12.00"},
        }
    ],
}


@pytest.fixture
async def centre(catalog: Running, operator: Person) -> Centre:
    return await a_centre(catalog, operator)


async def cards(centre: Centre, **changes: Any) -> Json:
    offering = await centre.offering((await centre.site())["id"], **with_cards(ASCEND), **changes)
    draft = {"tariffs": [TARIFF]}
    ok(await centre.admin.post(f"/offerings/{offering['id']}/price-lists", draft), 201)
    return offering


def question(offering: Json, **changes: Any) -> Json:
    shape = {"cpus": 16, "memory_mib": 1024, "accelerators": 8}
    return {"offering": offering["id"], "shape": shape, "start": START, "seconds": 3 * 3600} | changes


async def test_a_run_is_priced_day_by_day_before_it_runs(centre: Centre) -> None:
    offering = await cards(centre)
    found = ok(await centre.admin.post("/price-explanations", question(offering)))
    priced = [(p["component"], p["rate"]["window"], p["arithmetic"]["amount"]) for p in found["prices"]]
    assert priced == [
        ("cpu_core_hour", "peak", "1.60"),
        ("cpu_core_hour", "flat", "3.20"),
        ("accelerator_hour", "peak", "96.00"),
        ("accelerator_hour", "flat", "128.00"),
    ]
    assert (found["total"], found["end"], found["revision"]) == ("228.80", "2027-03-05T16:00:00Z", 1)
    assert found["free"] == ["memory_gib_hour", "node_hour", "job"]
    (step,) = found["prices"][3]["steps"]
    assert (step["run"], step["first"], step["reason"]) == (None, "2027-03-05", "unpublished")
    assert step["words"]["zh"] == (
        "2027-03-05（星期五；价目表发布时 2027 年的节假日安排尚未公布，只按星期几计价），22:00 至 24:00："
        "2 小时 = 7200 秒；8 卡 x 7200 秒 = 57600 卡秒"
    )
    assert found["prices"][3]["words"]["en"] == (
        "accelerator-hours (Ascend 910B3), tariff 2027, window flat: 57600 x 8.00 / 3600 = 128.00"
    )
    assert found["words"] == {
        "zh": "2027-03-05 21:00 起 3 小时（Asia/Shanghai），按价目表第 1 版：共 228.80；不收费：内存 GiB 时、节点时、按作业收取",
        "en": "3 h from 2027-03-05 21:00 (Asia/Shanghai), by price list revision 1: 228.80; "
        "free: memory GiB-hours, node-hours, per job",
    }


async def test_what_a_run_costs_less_than_the_minimum_charge_is_explained_and_in_the_total(centre: Centre) -> None:
    """The example of docs/prices.md."""
    offering = await cards(centre)
    some = {"name": "2027", "starts_at": TARIFF["starts_at"], "prices": {"accelerator_hour": "8.00", "job": "0.30"}}
    path = f"/offerings/{offering['id']}/price-lists"
    ok(await centre.admin.post(path, {"tariffs": [some | {"minimum_charge": "2.00"}]}), 201)
    asked = question(offering, shape={"cpus": 1, "accelerators": 1}, seconds=360)
    found = ok(await centre.admin.post("/price-explanations", asked))
    assert [(p["component"], p["arithmetic"]["amount"]) for p in found["prices"]] == [
        ("accelerator_hour", "0.80"), ("job", "0.30"), ("minimum_charge", "0.90"),
    ]  # fmt: skip
    assert (found["total"], found["notional"], found["free"]) == ("2.00", "0.00", ["cpu_core_hour", "node_hour"])
    assert found["words"]["en"].endswith(": 2.00; free: core-hours, node-hours")
    (step,) = found["prices"][-1]["steps"]
    assert step["words"]["zh"] == (
        "2027-03-05（星期五），21:05:59：这次尝试的最后一个计费秒；最低收费 2.00 - 这次尝试各秒的费用 0.80 - 按作业收取的 0.30 = 0.90"
    )
    enough = ok(await centre.admin.post("/price-explanations", asked | {"seconds": 3600}))
    assert (enough["total"], [p["component"] for p in enough["prices"]]) == ("8.30", ["accelerator_hour", "job"])


async def test_the_newest_price_list_counts(centre: Centre) -> None:
    offering = await cards(centre)
    dearer = TARIFF | {"windows": [], "prices": {"job": "5"}}
    ok(await centre.admin.post(f"/offerings/{offering['id']}/price-lists", {"tariffs": [dearer]}), 201)
    found = ok(await centre.admin.post("/price-explanations", question(offering)))
    assert (found["total"], found["revision"]) == ("5.00", 2)


async def test_a_time_that_no_tariff_covers_is_refused_and_named(centre: Centre) -> None:
    offering = await cards(centre)
    late = question(offering, start="2027-12-31T15:59:00Z", seconds=120)
    problem = refused(await centre.admin.post("/price-explanations", late), 422, "not_priced")
    assert problem["uncovered"] == [{"start": "2027-12-31T16:00:00Z", "end": "2027-12-31T16:01:00Z"}]
    assert problem["title_zh"] == "该时间没有价格"
    bare = await centre.offering((await centre.site())["id"])
    shape = {"cpus": 1}
    problem = refused(await centre.admin.post("/price-explanations", question(bare, shape=shape)), 422, "not_priced")
    assert problem["uncovered"] == [{"start": START, "end": "2027-03-05T16:00:00Z"}]


async def test_a_draft_is_explained_to_its_centre_only(centre: Centre, stranger: Person) -> None:
    offering = await cards(centre)
    problem = refused(await stranger.post("/price-explanations", question(offering)), 422, "unknown_reference")
    assert pointers(problem) == ["/offering"]


async def test_a_question_that_is_none_is_refused_by_the_name_of_what_is_wrong(centre: Centre) -> None:
    site = (await centre.site())["id"]
    plain = await centre.offering(site)
    ok(await centre.admin.post(f"/offerings/{plain['id']}/price-lists", {"tariffs": [TARIFF]}), 201)
    for changes, pointer in (
        ({}, "/shape/accelerators"),
        ({"shape": {"cpus": 1}, "seconds": 0}, "/seconds"),
        ({"shape": {"cpus": 1}, "seconds": 366 * 86400 + 1}, "/seconds"),
        ({"shape": {"cpus": 1}, "start": "9999-12-31T23:59:59Z"}, "/start"),
        ({"shape": {"nodes": 0, "cpus": 1}}, "/shape/nodes"),
    ):
        problem = refused(await centre.admin.post("/price-explanations", question(plain, **changes)), 422, "invalid")
        assert pointers(problem) == [pointer]


async def test_a_year_is_told_within_bounds_and_to_the_second(centre: Centre) -> None:
    offering = await cards(centre)
    year = question(offering, start="2026-12-31T16:00:00Z", seconds=365 * 86400)
    found = ok(await centre.admin.post("/price-explanations", year))
    whole = {p["rate"]["window"]: p for p in found["prices"] if p["component"] == "accelerator_hour"}
    assert sum(p["seconds"] for p in whole.values()) == 365 * 86400
    begins = datetime(2027, 1, 1, tzinfo=UTC)
    workdays = sum((begins + timedelta(days=n)).weekday() < 5 for n in range(365))
    assert whole["peak"]["seconds"] == workdays * 4 * 3600
    assert len(whole["peak"]["steps"]) == 40
    assert sum(s["days"] for s in whole["peak"]["steps"]) + whole["peak"]["more"]["days"] == workdays
