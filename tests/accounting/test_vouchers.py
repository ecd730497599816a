"""Issuing vouchers through HTTP: what they are, and that pools and yearly caps hold whoever issues at once."""

import asyncio
from collections import Counter
from datetime import UTC, datetime

import pytest
from sqlalchemy import insert, update
from sqlalchemy.orm import Session

from caravan.kernel import ids
from caravan.kernel.database import affected
from caravan.kernel.local_days import zone_named
from services.accounting.vouchers.evidence import APPLICATIONS
from services.accounting.vouchers.issuing import expiry
from tests.accounting.programmes_cases import (
    ENTERPRISE,
    PASSES,
    Hands,
    applied,
    asked,
    committed,
    issued,
    key,
    office,
    published,
    reviewed,
)
from tests.accounting.world import World
from tests.support import Json, ok, pointers, refused


async def approved(world: World, programme: Json, amount: str, count: int = 1) -> list[str]:
    """Applications that may be issued, as if caps had left room for all of them."""
    one = await applied(world, programme, amount)

    def make(tx: Session) -> list[str]:
        first = update(APPLICATIONS).where(APPLICATIONS.c.id == one["id"]).values(state="approved")
        made = tx.execute(first.returning(APPLICATIONS)).one()._asdict()
        alike = [made | {"id": ids.new("vap")} for _ in range(count - 1)]
        tx.execute(insert(APPLICATIONS), alike)
        return [one["id"], *(other["id"] for other in alike)]

    return await world.db.write(make)


async def test_a_voucher_is_what_was_applied_for_as_reviewed_and_commits_the_years_pool(spring: World) -> None:
    pools = [{"year": 2026, "amount": "1500.00"}, {"year": 2027, "amount": "9.00"}]
    named = [{"kind": "awarded_project", "use": "filed_model", "rate": 3000}]
    programme = await published(spring, pools=pools, valid_months=6, rates=named)
    enterprise = ENTERPRISE | {"kinds": ["awarded_project"], "affiliates": [spring.provider]}
    made = await applied(spring, programme, "1000.00", enterprise=enterprise, use="filed_model")
    await reviewed(spring, made, PASSES, PASSES)
    path = f"/voucher-applications/{made['id']}"
    voucher = ok(await office(spring).post(f"{path}/issue"))
    assert voucher == {
        "id": voucher["id"], "application": made["id"], "programme": programme["id"], "amount": "1000.00",
        "pledged": "0.00", "redeemed": "0.00", "released": "0.00", "clawed_back": "0.00",
        "organization": spring.organization, "year": 2026, "use": "filed_model", "kinds": ["awarded_project"],
        "affiliates": [spring.provider], "state": "issued",
        "issued_at": "2026-03-31T04:00:00Z", "expires_at": "2026-09-30T16:00:00Z", "revocation": None,
    }  # fmt: skip
    assert await committed(spring, programme) == {2026: "1000.00", 2027: "0.00"}
    shown = ok(await spring.member.get(path))
    assert (shown["state"], shown["voucher"]) == ("issued", voucher["id"])
    assert ok(await office(spring).post(f"{path}/issue")) == voucher, "a repeat issues nothing"
    assert await committed(spring, programme) == {2026: "1000.00", 2027: "0.00"}
    auditor = spring.service.person("auditor", "platform:admin")
    (entry,) = ok(await auditor.get("/audit", entity=voucher["id"]))["items"]
    assert (entry["action"], entry["subject"]) == ("issue_voucher", "office")


async def test_the_organization_the_office_and_finance_read_a_voucher(spring: World) -> None:
    programme, other = await published(spring), await published(spring)
    first, second = await issued(spring, programme), await issued(spring, other)
    path = f"/vouchers/{first['id']}"
    for person in (spring.admin, spring.member, office(spring), spring.finance):
        assert ok(await person.get("/vouchers"))["items"] == [second, first]
        assert ok(await person.get("/vouchers", programme=programme["id"]))["items"] == [first]
        assert ok(await person.get("/vouchers", organization=spring.organization))["items"] == [second, first]
        assert ok(await person.get("/vouchers", organization=ids.new("org")))["items"] == []
        assert ok(await person.get(path)) == first
    stranger = spring.service.person("stranger", f"org/{ids.new('org')}:admin")
    assert ok(await stranger.get("/vouchers"))["items"] == []
    assert ok(await stranger.get("/vouchers", organization=spring.organization))["items"] == []
    refused(await stranger.get(path), 404, "not_found")
    refused(await spring.seller.get(path), 404, "not_found")


async def test_a_pool_is_never_passed_however_many_are_issued_at_once(spring: World) -> None:
    programme = await published(spring, pools=[{"year": 2026, "amount": "375.00"}])
    made = await approved(spring, programme, "10.00", 100)
    answers = await asyncio.gather(*(office(spring).post(f"/voucher-applications/{one}/issue") for one in made))
    assert Counter(answer.status_code for answer in answers) == {200: 37, 409: 63}
    for answer in answers:
        if answer.status_code == 409:
            problem = refused(answer, 409, "pool_exhausted")
            assert (problem["year"], problem["left"]) == (2026, "5.00")
    assert await committed(spring, programme) == {2026: "370.00"}
    assert len(ok(await spring.finance.get("/vouchers", limit=200))["items"]) == 37


async def test_an_enterprise_is_never_issued_more_in_a_year_than_its_cap(spring: World) -> None:
    programme = await published(spring, caps={"issued_in_year": "375.00"})
    made = await approved(spring, programme, "10.00", 100)
    answers = await asyncio.gather(*(office(spring).post(f"/voucher-applications/{one}/issue") for one in made))
    assert Counter(answer.status_code for answer in answers) == {200: 37, 409: 63}
    for answer in answers:
        if answer.status_code == 409:
            problem = refused(answer, 409, "voucher_cap")
            assert (problem["year"], problem["most"]) == (2026, "5.00")
    assert await committed(spring, programme) == {2026: "370.00"}


async def test_the_year_is_that_of_the_issue_in_the_platforms_zone(spring: World, hands: Hands) -> None:
    pools = [{"year": 2026, "amount": "10.00"}, {"year": 2027, "amount": "20.00"}]
    programme = await published(spring, pools=pools, caps={"issued_in_year": "10.00"})
    first, second, third = await approved(spring, programme, "10.00", 3)
    hands.at = datetime(2026, 12, 31, 15, 59, 59, tzinfo=UTC)
    assert ok(await office(spring).post(f"/voucher-applications/{first}/issue"))["year"] == 2026
    refused(await office(spring).post(f"/voucher-applications/{second}/issue"), 409, "voucher_cap")
    hands.at = datetime(2026, 12, 31, 16, tzinfo=UTC)
    assert ok(await office(spring).post(f"/voucher-applications/{second}/issue"))["year"] == 2027
    hands.at = datetime(2028, 1, 1, tzinfo=UTC)
    problem = refused(await office(spring).post(f"/voucher-applications/{third}/issue"), 409, "pool_exhausted")
    assert (problem["year"], problem["left"]) == (2028, "0.00")


async def test_once_it_has_a_voucher_an_enterprise_may_apply_for_more_and_less_is_left_in_the_year(
    spring: World,
) -> None:
    programme = await published(
        spring, caps={"voucher": "500.00", "first_voucher": "200.00", "issued_in_year": "600.00"}
    )
    await issued(spring, programme, "200.00")
    question = {"organization": spring.organization, "enterprise": ENTERPRISE}

    async def limit() -> tuple[str, str]:
        (answer,) = ok(await spring.member.post("/eligibility", question))["items"]
        return answer["limit"]["cap"], answer["limit"]["most"]

    assert await limit() == ("issued_in_year", "400.00")
    await issued(spring, programme, "350.00")
    assert await limit() == ("issued_in_year", "50.00")


async def test_of_applications_kept_before_with_one_contract_one_is_issued(spring: World) -> None:
    programme = await published(spring, caps={"contract": 3000})
    first, second, other = [
        await reviewed(
            spring,
            await applied(spring, programme, "100.00", contract={"number": one, "amount": "1000.00"}),
            PASSES,
            PASSES,
        )
        for one in ("XA-17", "XA-18", "XA-19")
    ]
    repeats = {"contract_key": "XA-17", "contract_repeats": first["id"]}
    same = update(APPLICATIONS).where(APPLICATIONS.c.id == second["id"]).values(repeats)
    await spring.db.write(lambda tx: affected(tx, same))
    body = asked(spring, programme, "100.00", contract={"number": "xa-17", "amount": "1000.00"})
    taken = refused(await spring.admin.post("/voucher-applications", body, key("a")), 409, "already_exists")
    assert taken["existing"] == first["id"]
    voucher = ok(await office(spring).post(f"/voucher-applications/{second['id']}/issue"))
    taken = refused(await office(spring).post(f"/voucher-applications/{first['id']}/issue"), 409, "already_exists")
    assert taken["existing"] == voucher["id"]
    assert ok(await office(spring).post(f"/voucher-applications/{second['id']}/issue")) == voucher
    ok(await office(spring).post(f"/voucher-applications/{other['id']}/issue"))
    assert await committed(spring, programme) == {2026: "200.00"}


async def test_a_pool_is_never_set_below_what_is_committed_of_it(spring: World) -> None:
    programme = await published(spring)
    await issued(spring, programme, "1000.00")
    path = f"/programmes/{programme['id']}/pools"
    for pools, pointer in (
        ([{"year": 2027, "amount": "1.00"}, {"year": 2026, "amount": "999.99"}], "/pools/1/amount"),
        ([{"year": 2027, "amount": "1.00"}], "/pools"),
    ):
        problem = refused(await office(spring).put(path, {"pools": pools}, 2), 422, "invalid")
        assert pointers(problem) == [pointer]
        assert "1000.00" in problem["errors"][0]["detail"]
    ok(await office(spring).put(path, {"pools": [{"year": 2026, "amount": "1000.00"}]}, 2))
    assert await committed(spring, programme) == {2026: "1000.00"}


@pytest.mark.parametrize(
    ("at", "months", "ends"),
    [
        (datetime(2026, 1, 31, 4, tzinfo=UTC), 1, datetime(2026, 2, 28, 16, tzinfo=UTC)),
        (datetime(2026, 3, 30, 16, 30, 5, 7, tzinfo=UTC), 12, datetime(2027, 3, 31, 16, tzinfo=UTC)),
        (datetime(2026, 3, 30, 15, 59, 59, tzinfo=UTC), 12, datetime(2027, 3, 30, 16, tzinfo=UTC)),
        (datetime(2024, 2, 29, 4, tzinfo=UTC), 12, datetime(2025, 2, 28, 16, tzinfo=UTC)),
    ],
)
def test_a_voucher_is_good_to_the_end_of_the_day_so_many_months_later(
    at: datetime, months: int, ends: datetime
) -> None:
    assert expiry(at, months, zone_named("Asia/Shanghai")) == ends
