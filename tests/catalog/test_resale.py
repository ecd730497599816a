"""Resale: who may have an agreement with whom, whose prices an offering has for whom, and who sees them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from caravan.kernel.clock import floor_hour
from caravan.kernel.runtime import Runtime
from services.catalog.prices.models import PriceListRow
from services.catalog.resale.models import ResaleAgreementRow
from tests.catalog.world import Centre, a_centre, events_of, tariff
from tests.support import Json, Person, Running, ok, pointers, refused


def hour(count: int) -> str:
    """A whole hour, counted from the one that runs now."""
    return (floor_hour(datetime.now(UTC)) + timedelta(hours=count)).isoformat().replace("+00:00", "Z")


@dataclass
class Market:
    """A centre sells an offering at 9.00, to the district at 5.00; the district has members, and another organization is nobody's."""

    catalog: Running
    operator: Person
    centre: Centre
    offering: Json
    district: str
    project: str
    members: list[str]
    other: str

    async def agree(self, *members: str, **changes: Any) -> Json:
        return ok(await self.operator.post("/resale-agreements", self.draft(*members, **changes)), 201)

    def draft(self, *members: str, **changes: Any) -> Json:
        members = members or tuple(self.members)
        terms = {"reseller": self.district, "project": self.project, "starts_at": hour(0)}
        return terms | {"members": list(members)} | changes

    def boss(self, organization: str) -> Person:
        return self.catalog.person(f"boss-of-{organization}", f"org/{organization}:admin")

    async def resell(self, *tariffs: Json) -> Json:
        draft = {"reseller": self.district, "tariffs": list(tariffs)}
        return ok(await self.boss(self.district).post(self.lists, draft), 201)

    @property
    def lists(self) -> str:
        return f"/offerings/{self.offering['id']}/price-lists"

    async def seen(self, person: Person, **query: Any) -> list[str]:
        return [one["id"] for one in ok(await person.get(self.lists, **query))["items"]]

    async def price(self, person: Person, **query: Any) -> tuple[str | None, str | None]:
        """What a search says that an hour of a core costs, and who sells it."""
        (found,) = ok(await person.get("/offerings", cpus=1, **query))["items"]
        (plain,) = ok(await person.get("/offerings", **query))["items"]
        assert plain["price_list"] == found["price_list"]
        assert (found["price_list"]["reseller"] is None) == (found["reseller_name"] is None)
        return found["price"], found["reseller_name"]


@pytest.fixture
async def market(catalog: Running, operator: Person) -> Market:
    centre = await a_centre(catalog, operator)
    offering = await centre.on_sale((await centre.site())["id"], "9")
    district, *others = [
        ok(await operator.post("/organizations", {"name": name}), 201)["id"] for name in ("航天基地", "甲", "乙", "丙")
    ]
    boss = catalog.person("boss", f"org/{district}:admin")
    project = ok(await boss.post("/projects", {"organization": district, "name": "转售"}), 201)["id"]
    made = Market(catalog, operator, centre, offering, district, project, others[:2], others[2])
    wholesale = tariff("district", prices={"cpu_core_hour": "5"}) | {"buyers": {"organizations": [district]}}
    draft = {"tariffs": [tariff("now", prices={"cpu_core_hour": "9"}), wholesale]}
    ok(await centre.admin.post(made.lists, draft), 201)
    return made


async def test_an_agreement_is_seen_by_who_is_in_it_and_a_member_does_not_learn_of_the_others(
    market: Market, broker: Person, stranger: Person
) -> None:
    agreement = await market.agree()
    path = f"/resale-agreements/{agreement['id']}"
    one, other = market.members
    for person, members in (
        (market.operator, [one, other]),
        (broker, [one, other]),
        (market.boss(market.district), [one, other]),
        (market.boss(one), [one]),
        (market.catalog.person("m", f"org/{other}:member"), [other]),
    ):
        if person is not broker:
            assert ok(await person.get(path)) == agreement | {"members": members}
            assert ok(await person.get("/resale-agreements"))["items"] == [agreement | {"members": members}]
    for person in (market.boss(market.other), market.centre.admin, stranger):
        refused(await person.get(path), 404, "not_found")
    assert ok(await market.boss(market.other).get("/resale-agreements"))["items"] == []
    (event,) = await events_of(broker, agreement["id"], 1)
    assert (event["type"], event["data"]) == ("resale_agreement.changed", agreement)


async def test_only_the_platforms_administrator_agrees_and_ends(market: Market) -> None:
    agreement = await market.agree(ends_at=hour(5))
    for person in (market.boss(market.district), market.boss(market.members[0]), market.centre.admin):
        refused(await person.post("/resale-agreements", market.draft(market.other)), 404, "not_found")
        refused(await person.post(f"/resale-agreements/{agreement['id']}/end", {"ends_at": hour(2)}), 404, "not_found")


async def test_parties_exist_and_the_project_is_the_resellers(market: Market) -> None:
    nobody, elsewhere = "org_" + "0" * 32, "prj_" + "0" * 32
    theirs = {"organization": market.other, "name": "p"}
    project = ok(await market.boss(market.other).post("/projects", theirs), 201)["id"]
    for draft, code, pointer in (
        (market.draft(market.other, nobody), "unknown_reference", "/members/1"),
        (market.draft(market.other) | {"reseller": nobody}, "unknown_reference", "/reseller"),
        (market.draft(project=elsewhere), "unknown_reference", "/project"),
        (market.draft(project=project), "invalid", "/project"),
        (market.draft(market.other, market.other), "invalid", "/members"),
        (market.draft(starts_at=hour(-1)), "invalid", "/starts_at"),
        (market.draft(starts_at=hour(1).replace(":00Z", ":30Z")), "invalid", "/starts_at"),
        (market.draft(starts_at=hour(2), ends_at=hour(2)), "invalid", ""),
        (market.draft(market.district), "invalid", ""),
    ):
        assert pointers(refused(await market.operator.post("/resale-agreements", draft), 422, code)) == [pointer], draft
    refused(await market.operator.post("/resale-agreements", market.draft(members=[])), 422, "invalid")


async def test_at_no_second_has_anybody_two_resellers_or_is_reseller_and_member(market: Market) -> None:
    one, two = market.members
    boss = market.boss(market.other)
    project = ok(await boss.post("/projects", {"organization": market.other, "name": "p"}), 201)["id"]
    theirs = {"reseller": market.other, "project": project}
    first = await market.agree(one, starts_at=hour(2), ends_at=hour(4))

    async def in_the_way(pointer: str, *members: str, **changes: Any) -> None:
        problem = refused(
            await market.operator.post("/resale-agreements", market.draft(*members, **changes)), 409, "resale_conflict"
        )
        assert (pointers(problem), problem["existing"]) == ([pointer], first["id"])

    await in_the_way("/members/1", two, one, **theirs, starts_at=hour(3))
    await in_the_way("/members/0", one, **theirs, starts_at=hour(1), ends_at=hour(3))
    await in_the_way("/members/0", one, starts_at=hour(3), ends_at=hour(4))
    await in_the_way("/members/0", market.district, **theirs, starts_at=hour(3))
    one_project = ok(await market.boss(one).post("/projects", {"organization": one, "name": "p"}), 201)["id"]
    await in_the_way("/reseller", two, reseller=one, project=one_project, starts_at=hour(3))
    await market.agree(one, **theirs, starts_at=hour(4))
    earlier = await market.agree(one, starts_at=hour(0), ends_at=hour(1))
    await market.agree(two)  # the same reseller may have others at the same time

    end = f"/resale-agreements/{earlier['id']}/end"
    ok(await market.operator.post(end, {"ends_at": hour(2)}))
    problem = refused(await market.operator.post(end, {"ends_at": hour(3)}), 409, "resale_conflict")
    assert (pointers(problem), problem["existing"]) == (["/ends_at"], first["id"])


async def test_an_end_is_set_for_an_hour_to_come_until_it_has_come(market: Market, broker: Person) -> None:
    agreement = await market.agree()
    path = f"/resale-agreements/{agreement['id']}/end"
    for wrong in (hour(0), hour(1).replace(":00Z", ":01Z")):
        problem = refused(await market.operator.post(path, {"ends_at": wrong}), 422, "invalid")
        assert pointers(problem) == ["/ends_at"]
    ended = ok(await market.operator.post(path, {"ends_at": hour(3)}))
    assert ended == agreement | {"ends_at": hour(3), "version": 2}
    assert ok(await market.operator.post(path, {"ends_at": hour(3)})) == ended
    assert ok(await market.operator.post(path, {"ends_at": hour(5)}))["version"] == 3
    *_, event = await events_of(broker, agreement["id"], 3)
    assert event["data"]["ends_at"] == hour(5)
    actions = [one["action"] for one in ok(await market.operator.get("/audit"))["items"]]
    assert actions.count("end_resale_agreement") == 2 and "create_resale_agreement" in actions
    await over(market, agreement["id"])
    refused(await market.operator.post(path, {"ends_at": hour(9)}), 422, "invalid")
    await market.agree(market.members[0])


async def test_an_agreement_that_has_not_begun_is_cancelled_by_an_end_at_its_start(market: Market) -> None:
    agreement = await market.agree(starts_at=hour(2))
    path = f"/resale-agreements/{agreement['id']}/end"
    refused(await market.operator.post(path, {"ends_at": hour(1)}), 422, "invalid")
    cancelled = ok(await market.operator.post(path, {"ends_at": hour(2)}))
    assert cancelled == agreement | {"ends_at": hour(2), "version": 2}
    assert ok(await market.boss(market.members[0]).get("/resale-agreements"))["items"] != [], "it can still be seen"
    draft = {"reseller": market.district, "tariffs": [tariff("all", prices={"cpu_core_hour": "7"})]}
    refused(await market.boss(market.district).post(market.lists, draft), 422, "unknown_reference")
    other = await market.agree(starts_at=hour(1))
    problem = refused(await market.operator.post(path, {"ends_at": hour(5)}), 409, "resale_conflict")
    assert problem["existing"] == other["id"]
    begun = f"/resale-agreements/{(await market.agree(market.other))['id']}/end"
    refused(await market.operator.post(begun, {"ends_at": hour(0)}), 422, "invalid")


async def test_one_that_was_cancelled_stands_in_nobodys_way(market: Market) -> None:
    first = await market.agree(starts_at=hour(2))
    ok(await market.operator.post(f"/resale-agreements/{first['id']}/end", {"ends_at": hour(2)}))
    second = await market.agree(starts_at=hour(2))
    own = (await market.resell(tariff("all", -3600 * 9, prices={"cpu_core_hour": "7"})))["id"]
    await made(market, own, 1)
    begun = floor_hour(datetime.now(UTC))

    def write(tx: Session) -> None:
        row = ResaleAgreementRow
        tx.execute(update(row).where(row.id == first["id"]).values(starts_at=begun, ends_at=begun))
        tx.execute(update(row).where(row.id == second["id"]).values(starts_at=begun))

    await market.catalog.app.provided[Runtime].db.write(write)
    member = market.boss(market.members[0])
    assert await market.price(member) == ("7.00", "航天基地")
    assert own in await market.seen(member)


async def over(market: Market, agreement: str) -> None:
    """As if it had begun two hours ago and ended as this one began."""
    begun, ended = (floor_hour(datetime.now(UTC)) - timedelta(hours=hours) for hours in (2, 0))

    def write(tx: Session) -> None:
        row = ResaleAgreementRow
        tx.execute(update(row).where(row.id == agreement).values(starts_at=begun, ends_at=ended))

    await market.catalog.app.provided[Runtime].db.write(write)


async def made(market: Market, price_list: str, hours: int) -> None:
    """As if it had been published so many hours before this one began."""
    at = floor_hour(datetime.now(UTC)) - timedelta(hours=hours)

    def write(tx: Session) -> None:
        tx.execute(update(PriceListRow).where(PriceListRow.id == price_list).values(created_at=at))

    await market.catalog.app.provided[Runtime].db.write(write)


async def test_a_reseller_publishes_lists_of_its_own_and_nobody_else_does(market: Market, broker: Person) -> None:
    draft = {"reseller": market.district, "tariffs": [tariff("all", prices={"cpu_core_hour": "7"})]}
    boss = market.boss(market.district)
    problem = refused(await boss.post(market.lists, draft), 422, "unknown_reference")
    assert pointers(problem) == ["/reseller"], "there is no agreement yet"
    agreement = await market.agree()
    for person in (market.boss(market.members[0]), market.centre.admin):
        problem = refused(await person.post(market.lists, draft), 422, "unknown_reference")
        assert pointers(problem) == ["/reseller"]
    refused(await boss.post(market.lists, draft | {"reseller": None}), 404, "not_found")
    member = market.catalog.person("m", f"org/{market.district}:member")
    refused(await member.post(market.lists, draft), 404, "not_found")

    first = ok(await boss.post(market.lists, draft), 201)
    assert (first["reseller"], first["revision"]) == (market.district, 1)
    second = ok(await boss.post(market.lists, draft), 201)
    assert second["revision"] == 2
    third = await market.centre.priced(market.offering["id"], cpu_core_hour="9")
    assert (third["reseller"], third["revision"]) == (None, 3)
    (event,) = await events_of(broker, second["id"], 1)
    assert event["data"] == second
    await over(market, agreement["id"])
    refused(await boss.post(market.lists, draft), 422, "unknown_reference")


async def test_a_reseller_may_publish_what_is_not_sold_yet_and_names_buyers_that_exist(market: Market) -> None:
    await market.agree()
    await market.resell(tariff("later", 3600))
    nobody = {"organizations": ["org_" + "0" * 32]}
    draft = {"reseller": market.district, "tariffs": [tariff("all") | {"buyers": nobody}]}
    problem = refused(await market.boss(market.district).post(market.lists, draft), 422, "unknown_reference")
    assert pointers(problem) == ["/tariffs/0/buyers/organizations/0"]


async def test_members_buy_at_the_resellers_prices_and_others_at_the_centres(market: Market, stranger: Person) -> None:
    one, _ = market.members
    member, district, other = map(market.boss, (one, market.district, market.other))
    assert await market.price(member) == ("9.00", None)
    await market.agree()
    assert await market.price(member) == ("9.00", None)
    await market.resell(tariff("all", prices={"cpu_core_hour": "7"}))
    assert await market.price(member) == ("7.00", "航天基地")
    assert await market.price(market.operator, organization=one) == ("7.00", "航天基地")
    for person, price in ((district, "5.00"), (other, "9.00"), (stranger, "9.00"), (market.centre.admin, "9.00")):
        assert await market.price(person) == (price, None)
    question = {
        "offering": market.offering["id"],
        "shape": {"cpus": 1},
        "start": datetime.now(UTC).replace(microsecond=0).isoformat(),
        "seconds": 3600,
    }
    for person, total in ((member, "7.00"), (district, "5.00"), (other, "9.00")):
        assert ok(await person.post("/price-explanations", question))["total"] == total
    await market.resell(tariff("ended", -3600, -1800))
    assert await market.price(member) == ("9.00", None), "the reseller has stopped selling it"
    assert ok(await member.post("/price-explanations", question))["total"] == "9.00"


async def test_who_is_in_several_organizations_that_buy_from_resellers_names_one(market: Market) -> None:
    await market.agree()
    await market.resell(tariff("all", prices={"cpu_core_hour": "7"}))
    one, two = market.members
    both, either = (
        market.catalog.person("x", *(f"org/{org}:member" for org in orgs)) for orgs in ((one, two), (one, market.other))
    )
    question = {"offering": market.offering["id"], "shape": {"cpus": 1}, "start": hour(0), "seconds": 3600}
    for answer, pointer in (
        (await both.get("/offerings"), "query/organization"),
        (await both.get("/offerings", cpus=1), "query/organization"),
        (await both.post("/price-explanations", question), "/organization"),
    ):
        problem = refused(answer, 422, "invalid")
        assert pointers(problem) == [pointer] and "name the one" in problem["errors"][0]["detail"]
    assert await market.price(both, organization=two) == ("7.00", "航天基地")
    assert ok(await both.post("/price-explanations", question | {"organization": one}))["total"] == "7.00"
    assert await market.price(either) == ("9.00", None), "one of theirs buys at the provider's prices"


async def test_a_list_for_another_member_sells_all_the_same(market: Market) -> None:
    await market.agree()
    one, other = market.members
    await market.resell(tariff("deal", prices={"cpu_core_hour": "6"}) | {"buyers": {"organizations": [other]}})
    assert await market.price(market.boss(other)) == ("6.00", "航天基地")
    assert await market.price(market.boss(one)) == (None, "航天基地")
    assert other not in str(ok(await market.boss(one).get(market.lists)))


async def test_nobody_but_the_reseller_its_members_and_the_platform_sees_its_lists(
    market: Market, broker: Person, stranger: Person
) -> None:
    agreement = await market.agree()
    *_, before = await market.seen(market.operator)
    (centres,) = (await market.seen(market.operator))[:-1]
    for one in (before, centres):
        await made(market, one, 1)
    own = (await market.resell(tariff("all", prices={"cpu_core_hour": "7"})))["id"]
    since = (await market.centre.priced(market.offering["id"], cpu_core_hour="9"))["id"]
    one, _ = market.members
    member, both = market.boss(one), market.catalog.person("both", f"org/{one}:member", f"org/{market.other}:member")
    for person, expected in (
        (market.operator, [since, own, centres, before]),
        (broker, [since, own, centres, before]),
        (market.boss(market.district), [since, own, centres, before]),
        (member, [own, centres, before]),
        (both, [since, own, centres, before]),
        (market.boss(market.other), [since, centres, before]),
        (market.centre.admin, [since, centres, before]),
        (stranger, [since, centres, before]),
    ):
        assert await market.seen(person) == expected
        assert await market.seen(person, limit=1) == expected[:1]
        assert await market.seen(person, reseller=market.district) == [own] * (own in expected)
        for price_list in (since, own, centres, before):
            answer = await person.get(f"/price-lists/{price_list}")
            if price_list in expected:
                assert ok(answer)["id"] == price_list
            else:
                refused(answer, 404, "not_found")
    await over(market, agreement["id"])
    assert await market.seen(member) == [since, centres, before], "it was published after the member had left"
    await made(market, own, 1)
    assert set(await market.seen(member)) == {since, own, centres, before}


async def test_an_agreement_that_follows_on_another_shows_nothing_that_was_published_meanwhile(market: Market) -> None:
    first = await market.agree()
    own = (await market.resell(tariff("all", prices={"cpu_core_hour": "7"})))["id"]
    meanwhile, before = (one["id"] for one in ok(await market.centre.admin.get(market.lists))["items"])
    await made(market, own, 1)
    await made(market, meanwhile, 1)
    await made(market, before, 3)
    await over(market, first["id"])
    member = market.boss(market.members[0])
    assert set(await market.seen(member)) == {own, meanwhile, before}
    await market.agree()
    assert set(await market.seen(member)) == {own, before}


async def test_calendar_and_modes_come_into_a_resellers_lists_too(market: Market) -> None:
    await market.agree()
    peak = {"name": "peak", "times": [{"starts": "08:00", "ends": "09:00"}], "prices": {"cpu_core_hour": "8"}}
    own = await market.resell(tariff("all", prices={"cpu_core_hour": "7"}) | {"windows": [peak]})
    assert own["calendar"]
    mode = {"mode": "notional", "starts_at": hour(3)}
    ok(await market.operator.post(f"/sites/{market.offering['site']}/modes", mode), 201)
    year = {"year": 2199, "holidays": {"2199-01-01": "元旦"}}
    ok(await market.operator.post("/calendars", year), 201)
    last, moded, first = ok(await market.operator.get(market.lists, reseller=market.district))["items"]
    assert (first, moded["modes"], last["modes"]) == (own, [mode], [mode])
    assert last["calendar"][-1]["year"] == 2199
    assert [one["revision"] for one in (first, moded, last)] == [1, 2, 3]
    centres = ok(await market.centre.admin.get(market.lists))["items"]
    assert [one["revision"] for one in centres] == [3, 2, 1]
