import pytest

from caravan.contracts.offerings import SiteState
from tests.catalog.world import ASCEND, H100, Centre, a_centre, a_report, report, tariff, with_cards
from tests.support import Json, Person, Running, ok, pointers, refused, until


async def names(person: Person, **query: object) -> list[str]:
    return [found["offering"]["name"] for found in ok(await person.get("/offerings", **query))["items"]]


@pytest.fixture
async def centre(catalog: Running, operator: Person) -> Centre:
    return await a_centre(catalog, operator, "西部（西咸新区）超算中心")


async def market(centre: Centre) -> Json:
    """Three offerings on two sites; returns the sites."""
    west = await centre.site(region="西安")
    south = await centre.site(region="汉中", name="南区")
    await centre.on_sale(west["id"], "0.30", name="通用队列", description="双路 CPU，适合 CFD 与气象")
    await centre.on_sale(west["id"], "0.50", name="训练集群", **with_cards(ASCEND))
    await centre.on_sale(
        south["id"],
        "0.10",
        name="H100 pool 100%_off",
        tier="cloud",
        **{k: v for k, v in with_cards(H100).items() if k != "tier"},
    )
    return [west, south]


QUESTIONS = [
    ("昇腾", ["训练集群"]),
    ("华为 910b", ["训练集群"]),
    ("ASCEND 910B3", ["训练集群"]),
    ("ａｓｃｅｎｄ９１０Ｂ３", ["训练集群"]),
    ("气象", ["通用队列"]),
    ("cfd", ["通用队列"]),
    ("队列 昇腾", []),
    ("西咸新区", ["通用队列", "训练集群", "H100 pool 100%_off"]),
    ("汉中 h100", ["H100 pool 100%_off"]),
    ("英伟达", ["H100 pool 100%_off"]),
    ("100%_", ["H100 pool 100%_off"]),
    ("%", ["H100 pool 100%_off"]),
    ("\\", []),
    ("寒武纪", []),
    ("  ", ["通用队列", "训练集群", "H100 pool 100%_off"]),
]


async def test_text_is_found_in_chinese_and_in_any_width_or_case(centre: Centre, stranger: Person) -> None:
    await market(centre)
    for text, found in QUESTIONS:
        assert await names(stranger, text=text) == found, text


async def test_filters_narrow_the_search(centre: Centre, stranger: Person) -> None:
    west, _ = await market(centre)
    assert await names(stranger, tier="hpc") == ["通用队列"]
    assert await names(stranger, tier=["hpc", "cloud"]) == ["通用队列", "H100 pool 100%_off"]
    assert await names(stranger, accelerator=ASCEND) == ["训练集群"]
    assert await names(stranger, region="汉中") == ["H100 pool 100%_off"]
    assert await names(stranger, site=west["id"]) == ["通用队列", "训练集群"]
    assert await names(stranger, provider=centre.id, text="训练") == ["训练集群"]
    assert await names(stranger, provider="prv_" + "0" * 32) == []
    assert await names(stranger, state="paused") == []


async def test_each_hit_says_where_at_what_price_and_how_its_site_is(
    catalog: Running, centre: Centre, stranger: Person
) -> None:
    site = await centre.site()
    reported = a_report(site["id"], SiteState.DEGRADED, detail="slurmdbd at db1.centre can't be asked")
    await report(catalog, reported)
    offering = await centre.on_sale(site["id"], "0.36")
    (plain,) = ok(await stranger.get("/offerings"))["items"]
    assert plain["offering"] == offering
    assert (plain["provider_name"], plain["region"], plain["price"]) == ("西部（西咸新区）超算中心", "西安", None)
    health = reported.model_dump(mode="json")["health"]
    assert plain["site_health"] == health | {"detail": SiteState.DEGRADED.words}, "its own words are for the centre"
    assert plain["price_list"]["revision"] == 1
    (priced,) = ok(await stranger.get("/offerings", cpus=8, hours=10))["items"]
    assert priced == plain | {"price": "28.80"}


async def test_the_price_is_that_of_all_components_now(centre: Centre, stranger: Person) -> None:
    site = await centre.site()
    offering = await centre.offering(site["id"], **with_cards(H100))
    prices = {
        "cpu_core_hour": "0.1",
        "memory_gib_hour": "0.01",
        "accelerator_hour": "20",
        "node_hour": "3",
        "job": "0.5",
    }
    tariffs = [
        tariff("old", -7200, -3600, {"job": "99"}),
        tariff("now", -3600, 3600, prices),
        tariff("new", 3600, None, {"job": "98"}),
    ]
    ok(await centre.admin.post(f"/offerings/{offering['id']}/price-lists", {"tariffs": tariffs}), 201)
    ok(await centre.admin.post(f"/offerings/{offering['id']}/activate"))
    (found,) = ok(await stranger.get("/offerings", cpus=4, memory_mib=2048, accelerators=2, hours=3))["items"]
    # 4 x 3 x 0.1 + 2 x 3 x 0.01 + 2 x 3 x 20 + 1 x 3 x 3 + 0.5
    assert found["price"] == "130.76"


async def test_the_cheapest_comes_first_and_what_has_no_price_now_last(centre: Centre, stranger: Person) -> None:
    site = await centre.site()
    for name, price in (("dear", "3"), ("cheap", "1"), ("middle", "2"), ("cheap too", "1")):
        await centre.on_sale(site["id"], price, name=name)
    unpriced = await centre.on_sale(site["id"], "0.01", name="unpriced")
    ending = {"tariffs": [tariff("ending", -60, 2, {"cpu_core_hour": "0.01"}), tariff("later", 3600)]}
    ok(await centre.admin.post(f"/offerings/{unpriced['id']}/price-lists", ending), 201)

    async def ended() -> bool:
        return await names(stranger, cpus=1) == ["cheap", "cheap too", "middle", "dear", "unpriced"]

    await until(ended)
    assert await names(stranger, cpus=2, max_price="4.00") == ["cheap", "cheap too", "middle"]
    assert await names(stranger, max_price="0.99") == []


async def test_an_offering_that_cannot_hold_the_shape_is_not_found(centre: Centre, stranger: Person) -> None:
    await market(centre)
    assert await names(stranger, accelerators=8) == ["H100 pool 100%_off", "训练集群"]
    assert await names(stranger, accelerators=9) == []
    assert await names(stranger, cpus=65) == []
    assert await names(stranger, memory_mib=262145) == []
    assert await names(stranger, hours=25) == []


async def test_pages_by_price_keep_the_prices_of_the_first_page(centre: Centre, stranger: Person) -> None:
    site = await centre.site()
    made = [await centre.on_sale(site["id"], price, name=price) for price in ("5", "3", "1", "4", "2")]
    first = ok(await stranger.get("/offerings", cpus=1, limit=2))
    await centre.priced(made[0]["id"], cpu_core_hour="0.5")  # now the cheapest; in this listing still 5
    await centre.priced(made[2]["id"], cpu_core_hour="9")
    prices = [found["price"] for found in first["items"]]
    cursor = first["next"]
    while cursor is not None:
        page = ok(await stranger.get("/offerings", cpus=1, limit=2, cursor=cursor))
        prices += [found["price"] for found in page["items"]]
        cursor = page["next"]
    assert prices == ["1.00", "2.00", "3.00", "4.00", "5.00"]
    assert await names(stranger, cpus=1) == ["5", "2", "3", "4", "1"]


async def test_a_cursor_belongs_to_its_search_and_caller(catalog: Running, centre: Centre, stranger: Person) -> None:
    await market(centre)
    for query in ({}, {"cpus": 1}):
        cursor = ok(await stranger.get("/offerings", limit=1, **query))["next"]
        for person, other in (
            (stranger, {"hours": 2}),
            (stranger, {"tier": "hpc"}),
            (catalog.person("another"), query),
        ):
            answer = await person.get("/offerings", limit=1, cursor=cursor, **other)
            assert pointers(refused(answer, 422, "invalid")) == ["query/cursor"]


async def test_what_is_not_on_sale_is_found_by_its_provider_and_the_platform_only(
    catalog: Running, centre: Centre, operator: Person, stranger: Person
) -> None:
    rival = await a_centre(catalog, operator)
    site = await centre.site()
    await centre.offering(site["id"], name="draft")
    paused = await centre.on_sale(site["id"], name="paused")
    ok(await centre.admin.post(f"/offerings/{paused['id']}/pause"))
    await centre.on_sale(site["id"], name="active")
    for person in (centre.admin, operator):
        assert await names(person) == ["draft", "paused", "active"]
        assert await names(person, state="paused") == ["paused"]
    for person in (rival.admin, stranger):
        assert await names(person) == ["active"]
        assert await names(person, cpus=1) == ["active"]
    ok(await operator.post(f"/providers/{centre.id}/suspend"))
    assert await names(stranger) == []


WRONG_QUERIES: list[tuple[Json, str]] = [
    ({"tier": "quantum"}, "query/tier/0"),
    ({"cpus": 0}, "query/cpus"),
    ({"hours": "1.5"}, "query/hours"),
    ({"max_price": "12"}, "query/max_price"),
    ({"max_price": "-1.00"}, "query/max_price"),
    ({"limit": 201}, "query/limit"),
    ({"accelerator": "h100"}, "query/accelerator"),
    ({"cursor": "made-up"}, "query/cursor"),
    ({"text": "a\0b"}, "query/text"),
]


async def test_a_wrong_query_is_refused_by_name(stranger: Person) -> None:
    for query, where in WRONG_QUERIES:
        assert pointers(refused(await stranger.get("/offerings", **query), 422, "invalid")) == [where]
