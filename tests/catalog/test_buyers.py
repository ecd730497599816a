"""Prices for some: who is shown which, and what the search says that they come to."""

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from caravan.cli import show
from caravan.contracts.offerings import OfferingPrice
from tests.catalog.world import Centre, a_centre, events_of, tariff
from tests.support import Json, Person, Running, ok, pointers, refused


@dataclass
class Market:
    """An offering whose core-hour is 9.00; 8.00 for universities; 7.00 and with another QOS 8.50 for two organizations by name."""

    centre: Centre
    offering: Json
    price_list: Json
    named: str
    also_named: str
    university: str

    async def publish(self, *tariffs: Json) -> Json:
        path = f"/offerings/{self.offering['id']}/price-lists"
        return ok(await self.centre.admin.post(path, {"tariffs": list(tariffs)}), 201)


@pytest.fixture
async def market(catalog: Running, operator: Person) -> Market:
    centre = await a_centre(catalog, operator)
    named, also_named, university = [
        ok(await operator.post("/organizations", {"name": name, "price_class": price_class}), 201)["id"]
        for name, price_class in (("甲", None), ("乙", None), ("丙大学", "高校"))
    ]
    target = {"target": {"partition": "normal", "qos": "normal"}, "choices": {"qos": ["normal", "high"]}}
    offering = await centre.on_sale((await centre.site())["id"], "9", **target)
    made = Market(centre, offering, {}, named, also_named, university)
    by_name = {"buyers": {"organizations": [named, also_named]}}
    made.price_list = await made.publish(
        tariff("all", prices={"cpu_core_hour": "9"}),
        tariff("class", prices={"cpu_core_hour": "8"}) | {"buyers": {"classes": ["高校"]}},
        tariff("deal", prices={"cpu_core_hour": "7"}) | by_name,
        tariff("deal-high", prices={"cpu_core_hour": "8.5"}) | by_name | {"options": {"qos": ["high"]}},
    )
    return made


def named(price_list: Json) -> list[str]:
    return sorted(one["name"] for one in price_list["tariffs"])


async def test_only_the_platforms_administrator_classes_an_organization(
    catalog: Running, operator: Person, broker: Person, market: Market
) -> None:
    path = f"/organizations/{market.named}"
    admin = catalog.person("boss", f"org/{market.named}:admin")
    refused(await admin.put(path, {"name": "甲", "price_class": "高校"}, version=1), 404, "not_found")
    ok(await operator.put(path, {"name": "甲", "price_class": "高校"}, version=1))
    assert ok(await admin.get(path))["price_class"] == "高校"
    *_, event = await events_of(broker, market.named, 2)
    assert event["data"]["price_class"] == "高校"
    changes = ok(await operator.get("/audit"))["items"]
    assert any(change["action"] == "update_organization" for change in changes)


async def test_prices_for_an_organization_by_name_are_shown_to_it_the_centre_and_the_platform_alone(
    catalog: Running, operator: Person, broker: Person, stranger: Person, market: Market
) -> None:
    member = catalog.person("m", f"org/{market.named}:member")
    student = catalog.person("s", f"org/{market.university}:member")
    rival = (await a_centre(catalog, operator, "another")).admin
    everything = ["all", "class", "deal", "deal-high"]
    seen = [
        (market.centre.admin, everything),
        (operator, everything),
        (broker, everything),
        (member, everything),
        (student, ["all", "class"]),
        (rival, ["all", "class"]),
        (stranger, ["all", "class"]),
    ]
    for person, expected in seen:
        one = ok(await person.get(f"/price-lists/{market.price_list['id']}"))
        newest = ok(await person.get(f"/offerings/{market.offering['id']}/price-lists"))["items"][0]
        (found,) = ok(await person.get("/offerings"))["items"]
        (priced,) = ok(await person.get("/offerings", cpus=1))["items"]
        assert one == newest == found["price_list"] == priced["price_list"]
        assert named(one) == expected
        if person is member:
            assert market.also_named not in str(one), "one doesn't learn who else has its price"
        elif expected != everything:
            assert market.named not in str(one)
        else:
            assert one == market.price_list


async def test_a_list_for_others_alone_is_shown_empty(catalog: Running, stranger: Person, market: Market) -> None:
    deal = await market.publish(tariff("deal") | {"buyers": {"organizations": [market.named]}})
    assert ok(await stranger.get(f"/price-lists/{deal['id']}")) == deal | {"tariffs": []}
    (found,) = ok(await stranger.get("/offerings", cpus=1))["items"]
    assert (found["price"], found["price_list"]["tariffs"]) == (None, [])
    assert show.prices(OfferingPrice.model_validate(found), datetime.now(UTC)) == "no price now"
    member = catalog.person("m", f"org/{market.named}:member")
    (found,) = ok(await member.get("/offerings", cpus=1))["items"]
    assert found["price"] == "0.36"


async def test_a_search_prices_for_the_callers_organization(
    catalog: Running, operator: Person, stranger: Person, market: Market
) -> None:
    member = catalog.person("m", f"org/{market.named}:member")
    student = catalog.person("s", f"org/{market.university}:member")
    both = catalog.person("b", f"org/{market.named}:member", f"org/{market.university}:admin")
    asked = [
        (stranger, {}, "9.00"),
        (member, {}, "7.00"),
        (student, {}, "8.00"),
        (both, {}, "9.00"),
        (both, {"organization": market.named}, "7.00"),
        (both, {"organization": market.university}, "8.00"),
        (operator, {}, "9.00"),
        (operator, {"organization": market.university}, "8.00"),
        (catalog.person("x", "org/gone:member"), {}, "9.00"),
    ]
    for person, query, price in asked:
        (found,) = ok(await person.get("/offerings", cpus=1, **query))["items"]
        assert found["price"] == price
        words = show.prices(OfferingPrice.model_validate(found), datetime.now(UTC))
        assert words == f"{price[:1]} per cpu-core-hour"
        assert ok(await person.get("/offerings", cpus=1, max_price=price, **query))["items"] == [found]
    (found,) = ok(await member.get("/offerings", cpus=1))["items"]
    assert found["buyer"] == {"organization": market.named, "price_class": None, "options": {}}
    for other in (market.university, "org_" + "0" * 32):
        problem = refused(await member.get("/offerings", organization=other), 422, "unknown_reference")
        assert pointers(problem) == ["query/organization"]


async def test_a_search_prices_a_job_that_chooses_nothing(catalog: Running, market: Market) -> None:
    site, target = market.offering["site"], {"target": {"qos": "high"}}
    offering = await market.centre.on_sale(site, "9", name="high", **target)
    tariffs = [tariff("all"), tariff("dear", prices={"cpu_core_hour": "10"}) | {"options": {"qos": ["high"]}}]
    path = f"/offerings/{offering['id']}/price-lists"
    ok(await market.centre.admin.post(path, {"tariffs": tariffs}), 201)
    (found,) = ok(await catalog.person("x").get("/offerings", cpus=1, text="high"))["items"]
    assert (found["price"], found["buyer"]["options"]) == ("10.00", {"qos": "high"})


async def test_tariffs_for_who_is_not_there_or_what_no_job_has_are_refused(market: Market) -> None:
    path = f"/offerings/{market.offering['id']}/price-lists"
    nobody = "org_" + "0" * 32
    faults: list[tuple[Json, str, str, str]] = [
        ({"buyers": {"organizations": [market.named, nobody]}}, "buyers/organizations/1", "unknown_reference", "unknown"),
        ({"options": {"qos": ["high", "hihg"]}}, "options/qos/1", "invalid", "option"),
        ({"options": {"queue": ["high"]}}, "options/queue/0", "invalid", "option"),
        ({"options": {"qos": []}}, "options/qos", "invalid", "too_short"),
        ({"buyers": {}}, "buyers", "invalid", "buyers"),
    ]  # fmt: skip
    for fault, where, problem_code, code in faults:
        answer = await market.centre.admin.post(path, {"tariffs": [tariff("all") | fault]})
        problem = refused(answer, 422, problem_code)
        assert [(e["pointer"], e["code"]) for e in problem["errors"]] == [(f"/tariffs/0/{where}", code)]
        assert nobody not in str(problem) and "hihg" not in str(problem)


async def test_a_price_is_explained_to_each_by_its_own_tariffs(
    catalog: Running, operator: Person, stranger: Person, market: Market
) -> None:
    start = datetime.now(UTC).replace(microsecond=0).isoformat()
    question = {"offering": market.offering["id"], "shape": {"cpus": 1}, "start": start, "seconds": 3600}

    async def told(person: Person, **more: object) -> tuple[str, str]:
        found = ok(await person.post("/price-explanations", question | more))
        (price,) = found["prices"]
        return price["rate"]["tariff"], found["total"]

    member = catalog.person("named", f"org/{market.named}:member")
    both = catalog.person("both", f"org/{market.named}:member", f"org/{market.university}:member")
    assert await told(member) == ("deal", "7.00")
    assert await told(member, options={"qos": "high"}) == ("deal-high", "8.50")
    assert await told(both) == ("all", "9.00")
    assert await told(both, organization=market.university) == ("class", "8.00")
    assert await told(operator, organization=market.also_named) == ("deal", "7.00")
    assert await told(stranger) == ("all", "9.00")
    problem = refused(
        await stranger.post("/price-explanations", question | {"organization": market.named}), 422, "unknown_reference"
    )
    assert pointers(problem) == ["/organization"]
    for options in ({"qos": "other"}, {"partition": "normal"}):
        problem = refused(await member.post("/price-explanations", question | {"options": options}), 422, "invalid")
        assert pointers(problem) == [f"/options/{next(iter(options))}"]
