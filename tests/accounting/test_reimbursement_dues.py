"""What closed periods make due of vouchers whose programme reimburses: beside those that deduct, over corrections, notes and clawbacks."""

from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from caravan.contracts.jobs import Outcome
from caravan.contracts.vouchers import ClawbackDraft
from caravan.kernel import ids
from caravan.kernel.money import Money
from services.accounting.reimbursements.dues import DUES
from services.accounting.reimbursements.models import DueRow, DueShareRow
from services.accounting.reimbursements.verify import verify
from services.accounting.vouchers import ending
from services.accounting.vouchers.models import VoucherRow
from tests.accounting.programmes_cases import key, office
from tests.accounting.test_redemptions import charged, funds, issued, settle, standing
from tests.accounting.test_settlements import subsidies
from tests.accounting.volume import LATER, MONTH, close
from tests.accounting.world import Job, World
from tests.support import ok, pointers, refused

PROVINCE: dict[str, Any] = {"issuer": {"name": "省科技厅", "level": "province"}, "rates": [{"rate": 2000}]}


async def reimbursed(world: World, amount: str, **terms: Any) -> str:
    """A voucher of a programme that pays 50 % back."""
    return await issued(world, amount, **{"mode": "reimbursed", "rates": [{"rate": 5000}]} | terms)


async def due(world: World, voucher: str) -> list[tuple[str, str, str]]:
    """As each came: what was claimed, what is due on lines, and for earlier ones."""
    query = select(DUES).where(DUES.c.voucher == voucher).order_by(DUES.c.period)
    rows = await world.db.read(lambda tx: tx.execute(query).all())
    assert await world.db.read(lambda tx: list(verify(tx))) == []
    return [(str(Money(row.claimed)), str(Money(row.on_lines)), str(Money(row.earlier))) for row in rows]


async def april(world: World, seconds: int = 1000) -> Job:
    """A job of April, charged."""
    job = world.job()
    await job.hold("50.00")
    job.place()
    job.use(ids.new("run"), MONTH * 3600, MONTH * 3600 + seconds)
    await world.deliver()
    return job


async def test_what_a_programme_reimburses_is_due_as_the_period_closes_and_is_no_money_of_the_statement(
    sold: World,
) -> None:
    voucher = await reimbursed(sold, "1000.00")
    job, run = await charged(sold, 999)
    settle(job, run)
    await sold.deliver()
    period = await close(sold)
    assert await due(sold, voucher) == [("5.00", "5.00", "0.00")]
    assert await standing(sold, voucher) == ("5.00", "0.00")
    assert await subsidies(job) == [("9.99", None)]
    assert await funds(sold, "granted", "charged", "available") == ["0.00", "9.99", "4990.01"]
    (mine,) = ok(await sold.member.get("/statements", period=period))["items"]
    assert (mine["redemptions"], mine["due"]) == ([], "9.99")


@pytest.mark.parametrize(
    ("terms", "dues"),
    [
        ({}, []),
        (PROVINCE, []),
        (PROVINCE | {"stacks_to": 4000}, [("1.00", "1.00", "0.00")]),
    ],
)
async def test_what_a_deducted_voucher_pays_comes_first_and_counts_in_what_stacks(
    sold: World, terms: dict[str, Any], dues: list[tuple[str, str, str]]
) -> None:
    city = await issued(sold, "1000.00", stacks_to=10000)
    voucher = await reimbursed(sold, "1000.00", **terms)
    job, _ = await charged(sold)
    await close(sold)
    assert await subsidies(job) == [("10.00", "3.00")]
    assert await due(sold, voucher) == dues
    assert await standing(sold, city) == ("3.00", "3.00")


async def test_floor_and_caps_and_corrections_go_by_the_span_as_they_do_for_those_that_deduct(sold: World) -> None:
    voucher = await reimbursed(sold, "8.00", floor="6.00", settles="year")
    first, run = await charged(sold)
    await close(sold)
    assert await due(sold, voucher) == [("5.00", "0.00", "0.00")]
    await april(sold)
    await close(sold, MONTH * 3600)
    assert await due(sold, voucher) == [("5.00", "0.00", "0.00"), ("5.00", "5.00", "3.00")]
    first.end(run, Outcome.SITE)
    await sold.deliver()
    await close(sold, 2 * MONTH * 3600)
    assert (await due(sold, voucher))[2:] == [("-5.00", "-5.00", "-3.00")]
    assert await standing(sold, voucher) == ("0.00", "0.00")


async def test_a_credit_note_makes_less_due_and_gives_the_organization_all_of_its_own(sold: World) -> None:
    voucher = await reimbursed(sold, "1000.00")
    job, _ = await charged(sold)
    period = await close(sold)
    (line,) = [one for one in await job.lines() if one["amount"] != "0.00"]
    (statement,) = ok(await sold.member.get("/statements", period=period))["items"]
    for amount in ("3.33", "6.67"):
        draft = {"statement": statement["id"], "line": line["id"], "amount": amount, "reason": "机房断电"}
        note = ok(await sold.finance.post("/credit-notes", draft, key(ids.new("evt"))), 201)
        assert note["subsidy"] is None
    assert await due(sold, voucher) == [
        ("-1.67", "0.00", "-1.67"),
        ("-3.33", "0.00", "-3.33"),
        ("5.00", "5.00", "0.00"),
    ]
    assert await standing(sold, voucher) == ("0.00", "0.00")
    assert await funds(sold, "charged", "available") == ["0.00", "5000.00"]


async def test_what_is_clawed_back_is_not_due_and_not_taken_again_with_what_is_given_back(sold: World) -> None:
    voucher = await reimbursed(sold, "5.00")
    job, run = await charged(sold)
    await close(sold)
    path, own = f"/vouchers/{voucher}/claw-back", office(sold)
    most = ClawbackDraft(amount=Money(501), reason="材料不实")
    assert pointers(refused(await own.post(path, most, key("most")), 422, "invalid")) == ["/amount"]
    some = ClawbackDraft(amount=Money(120), reason="材料不实")
    found = ok(await own.post(path, some, key("some")))
    assert [found[name] for name in ("pledged", "redeemed", "released", "clawed_back")] == [
        "3.80", "0.00", "1.20", "1.20",
    ]  # fmt: skip
    assert await funds(sold, "granted", "available") == ["0.00", "4990.00"]
    job.end(run, Outcome.SITE)
    await april(sold)
    statement = await close(sold, MONTH * 3600)
    assert await standing(sold, voucher) == ("3.80", "0.00")
    (mine,) = ok(await sold.member.get("/statements", period=statement))["items"]
    assert mine["redemptions"] == []


async def test_one_that_expires_keeps_what_its_jobs_make_due_and_lets_go_of_the_rest(sold: World) -> None:
    voucher = await reimbursed(sold, "1000.00")
    job, run = await charged(sold)
    await sold.db.write(lambda tx: tx.execute(update(VoucherRow).values(state="expired")))
    settle(job, run)
    await sold.deliver()
    assert await sold.db.write(ending.release, voucher) == 0
    await close(sold)
    assert await sold.db.write(ending.release, voucher) == 1
    found = ok(await office(sold).get(f"/vouchers/{voucher}"))
    assert (found["pledged"], found["released"]) == ("5.00", "995.00")


async def test_revocation_leaves_what_earlier_closes_made_due(sold: World) -> None:
    voucher = await reimbursed(sold, "1000.00", settles="year")
    await charged(sold)
    await close(sold)
    await sold.db.write(lambda tx: tx.execute(update(VoucherRow).values(state="revoked", revoked_at=LATER)))
    await april(sold)
    await close(sold, MONTH * 3600)
    assert await due(sold, voucher) == [("5.00", "5.00", "0.00")]


async def test_totals_and_lines_that_are_not_what_is_due_are_found(sold: World) -> None:
    voucher = await reimbursed(sold, "1000.00")
    job, _ = await charged(sold)
    await close(sold)

    def spoil(tx: Session) -> list[tuple[str, str]]:
        tx.execute(update(DueShareRow).values(paid=DueShareRow.paid + 1))
        tx.execute(update(DueRow).values(earlier=1))
        return list(verify(tx))

    (line,) = (one["id"] for one in await job.lines() if one["amount"] != "0.00")
    assert await sold.db.write(spoil) == [
        (voucher, "pledged and redeemed are (500, 0) fen, and should be (501, 0)"),
        (line, "501 fen of 500 are due of it, beside 0 fen of subsidy, and it is for 1000"),
    ]
