"""How vouchers end: revoked by the office, or because their time is over; and what waits for the office."""

import asyncio
from datetime import UTC, datetime, timedelta

from sqlalchemy import update

from caravan.kernel import ids
from caravan.kernel.database import affected
from services.accounting.vouchers import ending
from services.accounting.vouchers.eligible import VOUCHERS
from tests.accounting.programmes_cases import (
    ENTERPRISE,
    PASSES,
    Hands,
    applied,
    committed,
    issued,
    office,
    published,
    reviewed,
)
from tests.accounting.world import World
from tests.support import Json, ok, refused

REASON = {"reason": "企业已迁出辖区"}


async def look(world: World, hands: Hands) -> int:
    """What the loop does. Gives how many have expired."""
    return await world.db.write(ending.expire, hands.at)


async def metrics(world: World) -> str:
    return (await world.service.http.get("/metrics")).text


async def test_a_revoked_voucher_says_why_and_its_pool_has_again_what_was_committed(spring: World) -> None:
    programme = await published(spring)
    kept, voucher = await issued(spring, programme, "100.00"), await issued(spring, programme, "1000.00")
    assert await committed(spring, programme) == {2026: "1100.00"}
    path = f"/vouchers/{voucher['id']}"
    gone = ok(await office(spring).post(f"{path}/revoke", REASON))
    revocation = {**REASON, "revoked_by": "office", "revoked_at": "2026-03-31T04:00:00Z"}
    assert gone == voucher | {"state": "revoked", "released": "1000.00", "revocation": revocation}
    assert ok(await spring.member.get(path)) == gone
    assert ok(await spring.member.get(f"/vouchers/{kept['id']}")) == kept
    assert await committed(spring, programme) == {2026: "100.00"}
    again = refused(await office(spring).post(f"{path}/revoke", REASON), 409, "wrong_state")
    assert again["state"] == "revoked"
    assert await committed(spring, programme) == {2026: "100.00"}
    auditor = spring.service.person("auditor", "platform:admin")
    audited = ok(await auditor.get("/audit", entity=voucher["id"]))["items"]
    assert [one["action"] for one in audited] == ["revoke_voucher", "issue_voucher"]


async def test_what_is_pledged_of_a_voucher_stays_committed_when_it_ends_and_counts_in_its_year(spring: World) -> None:
    programme = await published(spring, caps={"issued_in_year": "1000.00"})
    voucher = await issued(spring, programme, "1000.00")
    pledge = update(VOUCHERS).where(VOUCHERS.c.id == voucher["id"]).values(pledged=300_00, redeemed=100_00)
    await spring.db.write(lambda tx: affected(tx, pledge))
    gone = ok(await office(spring).post(f"/vouchers/{voucher['id']}/revoke", REASON))
    assert (gone["amount"], gone["pledged"], gone["redeemed"]) == ("1000.00", "300.00", "100.00")
    assert await committed(spring, programme) == {2026: "300.00"}
    question = {"organization": spring.organization, "enterprise": ENTERPRISE}
    (answer,) = ok(await spring.member.post("/eligibility", question))["items"]
    assert answer["limit"]["most"] == "700.00"


async def test_a_voucher_that_is_revoked_twice_at_once_gives_back_once(spring: World) -> None:
    programme = await published(spring)
    await issued(spring, programme, "1000.00")
    path = f"/vouchers/{(await issued(spring, programme, '1000.00'))['id']}/revoke"
    answers = await asyncio.gather(*(office(spring).post(path, REASON) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200, *[409] * 7]
    assert await committed(spring, programme) == {2026: "1000.00"}


async def test_only_the_office_revokes(spring: World) -> None:
    path = f"/vouchers/{(await issued(spring, await published(spring)))['id']}/revoke"
    for person in (spring.admin, spring.finance, spring.service.person("a", "platform:admin")):
        refused(await person.post(path, REASON), 404, "not_found")
    refused(await office(spring).post(path, {"reason": ""}), 422, "invalid")
    refused(await office(spring).post(f"/vouchers/{ids.new('vou')}/revoke", REASON), 404, "not_found")


async def test_a_voucher_expires_at_its_second_and_gives_back_to_the_pool_of_its_own_year(
    spring: World, hands: Hands
) -> None:
    pools = [{"year": 2026, "amount": "2000.00"}, {"year": 2027, "amount": "500.00"}]
    programme = await published(spring, pools=pools, ends_at="2029-01-01T00:00:00+08:00")
    voucher = await issued(spring, programme, "1000.00")
    hands.at = datetime(2027, 1, 31, tzinfo=UTC)
    later = await issued(spring, programme, "500.00")
    hands.at = datetime.fromisoformat(voucher["expires_at"]) - timedelta(microseconds=1)
    assert await look(spring, hands) == 0
    hands.at = datetime.fromisoformat(voucher["expires_at"])
    assert await look(spring, hands) == 1
    assert await look(spring, hands) == 0
    assert ok(await spring.member.get(f"/vouchers/{voucher['id']}")) == voucher | {
        "state": "expired",
        "released": "1000.00",
    }
    assert ok(await spring.member.get(f"/vouchers/{later['id']}"))["state"] == "issued"
    assert await committed(spring, programme) == {2026: "0.00", 2027: "500.00"}
    refused(await office(spring).post(f"/vouchers/{voucher['id']}/revoke", REASON), 409, "wrong_state")


async def test_what_ended_counts_no_longer_in_what_an_enterprise_is_issued_in_a_year(spring: World) -> None:
    programme = await published(spring, caps={"issued_in_year": "1000.00", "first_voucher": "700.00"})
    voucher = await issued(spring, programme, "700.00")
    question = {"organization": spring.organization, "enterprise": ENTERPRISE}

    async def most() -> Json:
        (answer,) = ok(await spring.member.post("/eligibility", question))["items"]
        return answer["limit"]["most"]

    assert await most() == "300.00"
    ok(await office(spring).post(f"/vouchers/{voucher['id']}/revoke", REASON))
    assert await most() == "1000.00", "and the next one isn't the first"


async def test_the_loop_ends_all_that_are_over_and_counts_what_waits_for_the_office(
    spring: World, hands: Hands
) -> None:
    programme = await published(spring)
    voucher = await issued(spring, programme)
    await reviewed(spring, await applied(spring, programme), PASSES)
    await applied(spring, programme)
    await applied(spring, programme)
    hands.at = datetime(2028, 1, 1, tzinfo=UTC)
    loop = spring.service.app.provided[ending.Expiring]
    assert await loop.iteration() == ending.LOOK_SECONDS
    assert ok(await spring.member.get(f"/vouchers/{voucher['id']}"))["state"] == "expired"
    shown = await metrics(spring)
    assert 'caravan_voucher_applications_waiting{state="applied"} 2.0' in shown
    assert 'caravan_voucher_applications_waiting{state="under_review"} 1.0' in shown
    assert 'caravan_voucher_applications_waiting{state="approved"} 0.0' in shown
