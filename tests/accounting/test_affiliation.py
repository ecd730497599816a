"""Whom an enterprise is affiliated with: itself, and whom it declares by id or by unified social credit code."""

from typing import Any

import pytest
from sqlalchemy import update

from caravan.contracts import events
from caravan.contracts.jobs import Outcome
from caravan.contracts.parties import Organization, Provider, credit_code_check
from services.accounting.redemptions.models import LineShareRow
from services.accounting.reimbursements.models import DueShareRow
from services.accounting.vouchers.affiliation import affiliates
from services.accounting.vouchers.models import VoucherRow
from tests.accounting.programmes_cases import ENTERPRISE, asked, key, office, published
from tests.accounting.test_redemptions import ahead, charged, issued, standing
from tests.accounting.test_settlements import subsidies
from tests.accounting.volume import MONTH, close
from tests.accounting.world import T0, World
from tests.support import ok, pointers, refused


def coded(body: str) -> str:
    return body + credit_code_check(body)


OWN, OTHER = coded("91610131MA6TXXXX0"), coded("91610131MA6TYYYY0")


async def know(world: World, organization: str | None = None, provider: str | None = None) -> None:
    """Let the catalog tell of the codes of the world's organization and provider."""
    last = {one["type"]: one["data"] for one in world.catalog.events}
    buyer = last[events.ORGANIZATION] | {"credit_code": organization, "version": 2}
    world.catalog.say(events.ORGANIZATION, world.organization, Organization.model_validate(buyer))
    seller = last[events.PROVIDER] | {"credit_code": provider, "version": 2}
    world.catalog.say(events.PROVIDER, world.provider, Provider.model_validate(seller))
    await world.deliver()


@pytest.mark.parametrize(
    ("codes", "declared", "affiliated"),
    [
        ({}, [], False),
        ({"organization": OWN, "provider": OTHER}, [], False),
        ({"provider": OTHER}, [OWN], False),
        ({"organization": OWN, "provider": OWN}, [], True),
        ({"provider": OTHER}, [OTHER], True),
        ({}, ["provider"], True),
    ],
)
async def test_a_programme_pays_nothing_for_what_an_affiliated_enterprise_sells(
    sold: World, codes: dict[str, str], declared: list[str], affiliated: bool
) -> None:
    await know(sold, **codes)
    voucher = await issued(sold, "1000.00", eligibility={"unaffiliated": True})
    named = [sold.provider if one == "provider" else one for one in declared]
    await sold.db.write(lambda tx: tx.execute(update(VoucherRow).values(affiliates=named)))
    job, _ = await charged(sold, ahead=ahead(sold, "10.00"))
    pays = "0.00" if affiliated else "3.00"
    assert await standing(sold, voucher) == (pays, pays)
    await close(sold)
    assert await subsidies(job) == [("10.00", None if affiliated else "3.00")]
    assert await standing(sold, voucher) == (pays, pays)


@pytest.mark.parametrize("mode", ["deducted", "reimbursed"])
async def test_what_was_judged_before_rates_were_kept_is_judged_anew(sold: World, mode: str) -> None:
    voucher = await issued(sold, "1000.00", eligibility={"unaffiliated": True}, mode=mode)
    first, run = await charged(sold)
    await close(sold)
    await sold.db.write(lambda tx: [tx.execute(update(of).values(rate=None)) for of in (LineShareRow, DueShareRow)])
    first.end(run, Outcome.SITE)
    await sold.deliver()
    await close(sold, MONTH * 3600)
    after = ok(await office(sold).get(f"/vouchers/{voucher}"))
    assert (after["pledged"], after["redeemed"]) == ("0.00", "0.00")


@pytest.mark.parametrize("mode", ["deducted", "reimbursed"])
async def test_what_was_paid_before_they_got_the_same_code_is_given_back_with_its_line(sold: World, mode: str) -> None:
    voucher = await issued(sold, "1000.00", eligibility={"unaffiliated": True}, mode=mode)
    first, run = await charged(sold)
    await close(sold)
    before = ok(await office(sold).get(f"/vouchers/{voucher}"))
    assert before["pledged"] == "3.00"
    await know(sold, organization=OWN, provider=OWN)
    first.end(run, Outcome.SITE)
    await charged(sold)
    await sold.deliver()
    await close(sold, MONTH * 3600)
    after = ok(await office(sold).get(f"/vouchers/{voucher}"))
    assert (after["pledged"], after["redeemed"]) == ("0.00", "0.00")


async def test_who_is_declared_by_id_is_so_under_each_id_of_its_code(world: World) -> None:
    await know(world, provider=OTHER)
    other = Organization(id=f"org_{7:032x}", name="转售方", credit_code=OTHER, version=1, created_at=T0)
    world.catalog.say(events.ORGANIZATION, other.id, other)
    await world.deliver()
    found = await world.db.read(lambda tx: affiliates(tx, world.organization, [world.provider]))
    assert found == {world.organization, world.provider, other.id}


async def test_who_would_buy_of_itself_alone_may_not_apply(spring: World) -> None:
    rules = {"suppliers": [spring.provider], "unaffiliated": True}
    programme = await published(spring, eligibility=rules)
    question = {"organization": spring.organization, "enterprise": ENTERPRISE}

    async def unmet() -> list[Any]:
        (answer,) = ok(await spring.member.post("/eligibility", question))["items"]
        return [one["rule"] for one in answer["unmet"]]

    assert await unmet() == []
    await know(spring, organization=OWN, provider=OWN)
    assert await unmet() == ["suppliers"]
    refused(await spring.admin.post("/voucher-applications", asked(spring, programme), key("a")), 422, "not_eligible")


@pytest.mark.parametrize("wrong", ["prv_1", "91610131MA6TXXXX00", f"prv_{9:032x}", ""])
async def test_an_affiliate_is_a_party_that_is_known_here_or_a_code_that_is_right(spring: World, wrong: str) -> None:
    programme = await published(spring)
    wanted = asked(spring, programme, enterprise=ENTERPRISE | {"affiliates": [OTHER, wrong]})
    answer = await spring.admin.post("/voucher-applications", wanted, key("a"))
    assert answer.status_code == 422 and pointers(answer.json()) == ["/enterprise/affiliates/1"]
