"""What an enterprise may apply for beside what it has and has applied for, as it is told and as it is refused."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from caravan.kernel import ids
from caravan.kernel.money import Money
from tests.accounting.programmes_cases import (
    ENTERPRISE,
    PASSES,
    applied,
    asked,
    issued,
    key,
    office,
    published,
    reviewed,
)
from tests.accounting.test_voucher_reviews import FAILS, reviewer
from tests.accounting.world import World
from tests.support import Json, ok, refused


async def told(world: World, programme: Json) -> tuple[str, str]:
    """What `eligibility` says of it: by which cap, and the most."""
    question = {"organization": world.organization, "enterprise": ENTERPRISE}
    items = ok(await world.member.post("/eligibility", question))["items"]
    (limit,) = [one["limit"] for one in items if one["programme"] == programme["id"]]
    return limit["cap"], limit["most"]


async def above(world: World, programme: Json, amount: str) -> Json:
    body = asked(world, programme, amount)
    return refused(await world.admin.post("/voucher-applications", body, key(ids.new("req"))), 422, "above_cap")


async def test_what_is_applied_for_is_of_the_year_until_it_is_withdrawn_or_refused(spring: World) -> None:
    programme, other = await published(spring, caps={"issued_in_year": "500.00"}), await published(spring)
    await applied(spring, other, "100.00")
    first = await applied(spring, programme, "300.00")
    assert await told(spring, programme) == ("issued_in_year", "200.00")
    problem = await above(spring, programme, "200.01")
    assert (problem["cap"], problem["most"]) == ("issued_in_year", "200.00")
    assert problem["words"] == {
        "zh": "扣除已发放和正在申请的，本年度还可申请 200.00 元",
        "en": "Less what is issued and applied for, it may apply in this year for 200.00 CNY",
    }
    second = await applied(spring, programme, "200.00")
    problem = await above(spring, programme, "0.01")
    assert problem["most"] == "0.00"
    assert problem["detail"].endswith(
        ": withdraw what else is applied for; what is issued counts until the year is over"
    )
    ok(await spring.admin.post(f"/voucher-applications/{first['id']}/withdraw"))
    assert await told(spring, programme) == ("issued_in_year", "300.00")
    approved = await reviewed(spring, second, PASSES, PASSES)
    assert await told(spring, programme) == ("issued_in_year", "300.00")
    version = {"If-Match": f'"{approved["version"]}"'}
    ok(await reviewer(spring, "third").post(f"/voucher-applications/{second['id']}/review", FAILS, version))
    assert await told(spring, programme) == ("issued_in_year", "500.00")
    voucher = await issued(spring, programme, "400.00")
    assert await told(spring, programme) == ("issued_in_year", "100.00"), "what is issued counts once"
    ok(await office(spring).post(f"/vouchers/{voucher['id']}/revoke", {"reason": "已迁出"}))
    await applied(spring, programme, "500.00")


async def test_what_others_apply_for_takes_nothing_of_ones_year(spring: World) -> None:
    programme = await published(spring, caps={"issued_in_year": "500.00"})
    await applied(spring, programme, "500.00")
    other = ids.new("org")
    spring.know_organization(other, ids.new("prj"))
    await spring.deliver()
    admin = spring.service.person("other", f"org/{other}:admin")
    body = asked(spring, programme, "500.00", organization=other)
    ok(await admin.post("/voucher-applications", body, key("other")), 201)


@pytest.mark.parametrize(
    ("terms", "cap", "most"),
    [
        ({"caps": {"voucher": "500.00"}}, "voucher", "500.00"),
        ({"caps": {"voucher": "500.00", "first_voucher": "200.00"}}, "first_voucher", "200.00"),
        ({"caps": {"issued_in_year": "300.00"}}, "issued_in_year", "290.00"),
        ({"pools": [{"year": 2026, "amount": "20.00"}]}, "pool", "20.00"),
        ({"pools": [{"year": 2027, "amount": "20.00"}]}, "pool", "0.00"),
    ],
)
async def test_what_may_be_applied_for_is_what_eligibility_says(
    spring: World, terms: dict[str, Any], cap: str, most: str
) -> None:
    programme = await published(spring, **terms)
    if cap == "issued_in_year":
        await applied(spring, programme, "10.00")
    assert await told(spring, programme) == (cap, most)
    problem = await above(spring, programme, str(Money.parse(most) + Money(1)))
    assert (problem["cap"], problem["most"]) == (cap, most)
    if most != "0.00":
        await applied(spring, programme, most)


async def test_applications_at_once_ask_for_no_more_than_the_year_leaves(spring: World) -> None:
    programme = await published(spring, caps={"issued_in_year": "35.00"})
    body = asked(spring, programme, "10.00")
    answers = await asyncio.gather(
        *(spring.admin.post("/voucher-applications", body, key(str(number))) for number in range(8))
    )
    assert Counter(answer.status_code for answer in answers) == {201: 3, 422: 5}
    assert await told(spring, programme) == ("issued_in_year", "5.00")
