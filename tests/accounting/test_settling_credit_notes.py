"""What a credit note makes of the floors and caps of claims: settled by the next close, though nothing was used in its period."""

from datetime import timedelta
from typing import Any

import pytest

from services.accounting.vouchers import ending
from tests.accounting.programmes_cases import key, office
from tests.accounting.test_redemptions import charged, funds, issued, settle, standing
from tests.accounting.test_reimbursement_dues import due, reimbursed
from tests.accounting.test_settlements import settlements, subsidies
from tests.accounting.test_voucher_states import give_back
from tests.accounting.volume import LATER, MONTH, close, sound
from tests.accounting.world import Job, World
from tests.support import Json, ok


async def march(world: World) -> tuple[str, Job]:
    """Two jobs of 10.00, each settled: their period, closed, and one that a voucher pays the whole share of."""
    jobs = []
    for _ in range(2):
        job, run = await charged(world)
        settle(job, run)
        await world.deliver()
        jobs.append(job)
    period = await close(world)
    (whole, *_) = [job for job in jobs if ("10.00", "3.00") in await subsidies(job)]
    return period, whole


async def statements(world: World, period: str) -> list[Json]:
    return list(ok(await world.member.get("/statements", period=period))["items"])


@pytest.mark.parametrize(
    ("terms", "amount", "after_note", "after_close"),
    [
        ({"floor": "5.00"}, "5.00", "4.50", "0.00"),
        ({"floor": "4.50"}, "5.00", "4.50", "4.50"),
        ({"caps": {"claim": "4.00"}}, "10.00", "1.00", "3.00"),
    ],
)
async def test_the_next_close_brings_a_claim_up_that_a_credit_note_has_changed(
    sold: World, terms: dict[str, Any], amount: str, after_note: str, after_close: str
) -> None:
    voucher = await issued(sold, "1000.00", settles="year", **terms)
    period, job = await march(sold)
    await give_back(sold, period, job, amount)
    assert await standing(sold, voucher) == (after_note, after_note)
    april = await close(sold, MONTH * 3600)
    assert await standing(sold, voucher) == (after_close, after_close)
    assert await funds(sold, "granted") == [after_close]
    changed = after_close != after_note
    assert len(await settlements(sold, voucher)) == 2 + changed
    assert len(await statements(sold, april)) == changed
    assert await statements(sold, await close(sold, 2 * MONTH * 3600)) == [], "once"


async def test_a_credit_note_gives_back_no_more_than_a_close_has_left_of_the_claim(sold: World) -> None:
    voucher = await issued(sold, "1000.00", settles="year", floor="5.00")
    period, job = await march(sold)
    assert (await give_back(sold, period, job, "5.00"))["subsidy"] == "1.50"
    await close(sold, MONTH * 3600)
    assert (await give_back(sold, period, job, "5.00"))["subsidy"] == "0.00"
    assert await funds(sold, "granted", "charged") == ["0.00", "10.00"]
    await close(sold, 2 * MONTH * 3600)
    assert await standing(sold, voucher) == ("0.00", "0.00")


async def test_nor_does_it_of_what_a_programme_reimburses(sold: World) -> None:
    voucher = await reimbursed(sold, "1000.00", settles="year", floor="5.00")
    job, _ = await charged(sold)
    period = await close(sold)
    await give_back(sold, period, job, "5.00")
    await close(sold, MONTH * 3600)
    await give_back(sold, period, job, "5.00")
    assert sorted(await due(sold, voucher)) == [
        ("-2.50", "0.00", "-2.50"),
        ("-2.50", "0.00", "0.00"),
        ("0.00", "0.00", "-2.50"),
        ("5.00", "5.00", "0.00"),
    ]
    assert await standing(sold, voucher) == ("0.00", "0.00")


async def test_what_is_taken_back_stands_on_a_statement_of_its_own_where_nothing_was_used(sold: World) -> None:
    voucher = await issued(sold, "1000.00", settles="year", floor="5.00")
    period, job = await march(sold)
    await give_back(sold, period, job, "5.00")
    back = {"amount": "0.50", "reason": "材料不实"}
    ok(await office(sold).post(f"/vouchers/{voucher}/claw-back", back, key("back")))
    (found,) = await statements(sold, await close(sold, MONTH * 3600))
    assert (found["gross"], found["line_count"], found["due"]) == ("0.00", 0, "4.50")
    assert found["party_name"] == "Qinling Materials"
    (redemption,) = found["redemptions"]
    assert (redemption["on_lines"], redemption["earlier"]) == ("0.00", "-4.50")
    csv = (await sold.member.get(f"/statements/{found['id']}/csv")).text
    assert len(csv.splitlines()) == 1
    assert await funds(sold, "granted", "charged") == ["0.00", "15.00"]
    await sound(sold)


async def test_a_voucher_that_has_expired_is_not_released_before_that(sold: World) -> None:
    voucher = await issued(sold, "4.00", settles="year")
    period, job = await march(sold)
    assert await sold.db.write(ending.expire, LATER + timedelta(days=1)) == 1
    await give_back(sold, period, job, "10.00")
    assert await sold.db.write(ending.release) == 0
    await close(sold, MONTH * 3600)
    assert await standing(sold, voucher) == ("3.00", "3.00")
    assert await sold.db.write(ending.release) == 1
