"""What becomes of what was filed: evidence, two reviews, the payment, and what is set off after that."""

import csv
import io
from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import update
from sqlalchemy.orm import Session

from caravan.cli import reimbursements as cli
from caravan.contracts.jobs import Outcome
from caravan.contracts.reimbursements import Reimbursables, ReimbursedLine, Reimbursement
from caravan.contracts.vouchers import ClawbackDraft
from caravan.kernel import ids
from caravan.kernel.money import Money
from services.accounting.reimbursements.models import ReimbursementRow
from services.accounting.reimbursements.verify import verify
from tests.accounting.books import period_at
from tests.accounting.programmes_cases import PASSES, key, office
from tests.accounting.test_programme_payments import HALVES
from tests.accounting.test_redemptions import charged, funds, issued, standing
from tests.accounting.test_reimbursement_dues import april, reimbursed
from tests.accounting.test_reimbursements import filed, programme_of, reimbursable
from tests.accounting.test_voucher_states import give_back, states
from tests.accounting.volume import MONTH, close
from tests.accounting.world import World, at
from tests.support import Json, Person, ok, pointers, refused

FAILS = {"passed": False, "reason": "发票与账单不符", "rule": "evidence", "remedy": "补交付款回单"}
PAYMENT = {"reference": "XAFB-2026-0731", "paid_on": "2027-04-14"}


def path(made: Json, verb: str) -> str:
    return f"/reimbursements/{made['id']}/{verb}"


def reviewer(world: World, number: int) -> Person:
    return world.service.person(f"reviewer-{number}", "platform:programmes")


async def attached(world: World, made: Json, by: Person | None = None, name: str = "receipt.pdf") -> Json:
    ok(await (by or world.admin).upload(path(made, f"evidence/{name}"), b"%PDF"))
    return ok(await world.member.get(f"/reimbursements/{made['id']}"))


async def reviewed(world: World, made: Json, *reviews: Json) -> Json:
    """By one reviewer after the other."""
    for number, review in enumerate(reviews, start=1):
        version = {"If-Match": f'"{made["version"]}"'}
        made = ok(await reviewer(world, number).post(path(made, "review"), review, version))
    return made


async def paid(world: World, voucher: str) -> Json:
    """What was due, filed, passed and paid."""
    approved = await reviewed(world, await attached(world, await filed(world, voucher)), PASSES, PASSES)
    done = ok(await world.finance.post(path(approved, "pay"), PAYMENT, key(ids.new("req"))))
    assert await world.db.read(lambda tx: list(verify(tx))) == []
    return done


async def april_and_closed(world: World, seconds: int = 1000) -> None:
    await april(world, seconds)
    await close(world, MONTH * 3600)


async def test_two_persons_pass_it_and_finance_pays_it_without_an_entry(sold: World) -> None:
    voucher = await reimbursed(sold, "1000.00")
    await charged(sold)
    await close(sold)
    entries = len(ok(await sold.finance.get("/ledger/entries", limit=200))["items"])
    colleague = sold.service.person("colleague", f"org/{sold.organization}:admin", "platform:programmes")
    made = await attached(sold, await filed(sold, voucher), colleague)
    assert (made["version"], [one["name"] for one in made["evidence"]]) == (2, ["receipt.pdf"])
    once = await reviewed(sold, made, PASSES)
    assert (once["state"], once["payment"]) == ("under_review", None)
    refused(await sold.admin.upload(path(made, "evidence/late.pdf"), b"late"), 409, "wrong_state")
    refused(await sold.finance.post(path(made, "pay"), PAYMENT, key("early")), 409, "wrong_state")
    version = {"If-Match": f'"{once["version"]}"'}
    for person in (reviewer(sold, 1), colleague, sold.service.person("admin", "platform:programmes")):
        refused(await person.post(path(made, "review"), PASSES, version), 409, "same_reviewer")
    approved = ok(await reviewer(sold, 2).post(path(made, "review"), PASSES, version))
    assert (approved["state"], [one["stage"] for one in approved["reviews"]]) == ("approved", [1, 2])
    assert await standing(sold, voucher) == ("5.00", "0.00")
    done = ok(await sold.finance.post(path(made, "pay"), PAYMENT, key("pay")))
    assert (done["state"], done["payment"]) == (
        "paid", PAYMENT | {"paid_at": done["payment"]["paid_at"], "paid_by": "finance"},
    )  # fmt: skip
    assert ok(await sold.finance.post(path(made, "pay"), PAYMENT, key("pay"))) == done
    refused(await sold.finance.post(path(made, "pay"), PAYMENT, key("again")), 409, "wrong_state")
    refused(await sold.admin.post(path(made, "withdraw")), 409, "wrong_state")
    assert await standing(sold, voucher) == ("5.00", "5.00")
    assert len(ok(await sold.finance.get("/ledger/entries", limit=200))["items"]) == entries
    assert await funds(sold, "granted", "available") == ["0.00", "4990.00"]
    auditor = sold.service.person("auditor", "platform:admin")
    audited = ok(await auditor.get("/audit", entity=made["id"]))["items"]
    assert [one["action"] for one in audited] == [
        "pay_reimbursement", "review_reimbursement", "review_reimbursement", "store_reimbursement_evidence",
        "file_reimbursement",
    ]  # fmt: skip


@pytest.mark.parametrize("before", [(), (PASSES,)])
async def test_what_is_refused_names_what_would_satisfy_it_and_is_filed_anew(
    sold: World, before: tuple[Json, ...]
) -> None:
    voucher = await reimbursed(sold, "1000.00")
    await charged(sold)
    await close(sold)
    gone = await reviewed(sold, await attached(sold, await filed(sold, voucher)), *before, FAILS)
    last = gone["reviews"][-1]
    assert (gone["state"], last["rule"], last["remedy"]) == ("refused", "evidence", "补交付款回单")
    assert (await paid(sold, voucher))["amount"] == "5.00"
    assert await standing(sold, voucher) == ("5.00", "5.00")


async def test_none_passes_without_proof_of_payment_and_one_without_is_refused(sold: World) -> None:
    voucher = await reimbursed(sold, "1000.00")
    await charged(sold)
    await close(sold)
    made = await filed(sold, voucher)
    version = {"If-Match": '"1"'}
    refused(await reviewer(sold, 1).post(path(made, "review"), PASSES, version), 409, "evidence_needed")
    assert (await reviewed(sold, made, FAILS))["state"] == "refused"


async def test_it_is_reviewed_as_it_was_read_by_the_office_and_paid_by_finance(sold: World) -> None:
    voucher = await reimbursed(sold, "1000.00")
    await charged(sold)
    await close(sold)
    made = await attached(sold, await filed(sold, voucher))
    refused(await reviewer(sold, 1).post(path(made, "review"), PASSES, {"If-Match": '"1"'}), 412, "stale")
    version = {"If-Match": '"2"'}
    for person in (sold.admin, sold.member, sold.finance):
        refused(await person.post(path(made, "review"), PASSES, version), 404, "not_found")
    approved = await reviewed(sold, made, PASSES, PASSES)
    for person in (sold.admin, sold.member, office(sold)):
        refused(await person.post(path(made, "pay"), PAYMENT, key("x")), 404, "not_found")
    for day in ("1900-01-01", "2027-04-13", "2029-01-01"):
        answer = await sold.finance.post(path(approved, "pay"), PAYMENT | {"paid_on": day}, key(day))
        assert pointers(refused(answer, 422, "invalid")) == ["/paid_on"]


async def test_what_is_approved_is_not_withdrawn_but_refused_by_a_third_person_until_it_is_paid(sold: World) -> None:
    voucher = await reimbursed(sold, "1000.00")
    await charged(sold)
    await close(sold)
    made = await attached(sold, await filed(sold, voucher))
    approved = await reviewed(sold, made, PASSES, PASSES)
    refused(await sold.admin.post(path(made, "withdraw")), 409, "wrong_state")
    version = {"If-Match": f'"{approved["version"]}"'}
    refused(await reviewer(sold, 3).post(path(made, "review"), PASSES, version), 409, "wrong_state")
    refused(await reviewer(sold, 1).post(path(made, "review"), FAILS, version), 409, "same_reviewer")
    assert ok(await reviewer(sold, 3).post(path(made, "review"), FAILS, version))["state"] == "refused"
    refused(await sold.finance.post(path(made, "pay"), PAYMENT, key("late")), 409, "wrong_state")
    assert (await filed(sold, voucher))["amount"] == made["amount"]


async def test_evidence_is_for_the_organization_the_office_and_finance(sold: World) -> None:
    voucher = await reimbursed(sold, "1000.00")
    await charged(sold)
    await close(sold)
    made = await attached(sold, await filed(sold, voucher))
    other = sold.service.person("other", f"org/{ids.new('org')}:admin")
    file = path(made, "evidence/receipt.pdf")
    for reader in (sold.member, office(sold), sold.finance):
        assert (await reader.get(file)).content == b"%PDF"
    refused(await other.get(file), 404, "not_found")
    for person in (other, sold.member):
        refused(await person.upload(file, b"forged"), 404, "not_found")
    refused(await sold.member.get(path(made, "evidence/none.pdf")), 404, "not_found")


@pytest.mark.parametrize(("seconds", "due", "redeemed"), [(400, "-3.00", "2.00"), (1400, "2.00", "5.00")])
async def test_what_is_taken_back_after_the_payment_is_set_off(
    sold: World, seconds: int, due: str, redeemed: str
) -> None:
    voucher = await reimbursed(sold, "1000.00")
    job, run = await charged(sold)
    await close(sold)
    await paid(sold, voucher)
    job.end(run, Outcome.SITE)
    await april_and_closed(sold, seconds)
    (now,) = await reimbursable(sold)
    assert now["amount"] == due
    assert (await standing(sold, voucher))[1] == redeemed
    if due == "2.00":
        assert (await paid(sold, voucher))["amount"] == "2.00"
        assert await standing(sold, voucher) == ("7.00", "7.00")


async def test_what_is_clawed_back_of_what_was_paid_is_set_off_against_what_is_due_next(sold: World) -> None:
    voucher = await reimbursed(sold, "10.00")
    await charged(sold)
    await close(sold)
    await paid(sold, voucher)
    some = ClawbackDraft(amount=Money(120), reason="材料不实")
    ok(await office(sold).post(f"/vouchers/{voucher}/claw-back", some, key("some")))
    assert await standing(sold, voucher) == ("3.80", "3.80")
    (now,) = await reimbursable(sold)
    assert (now["amount"], now["clawed_back"]) == ("-1.20", "1.20")
    await april_and_closed(sold, 1400)
    done = await paid(sold, voucher)
    assert (done["amount"], done["clawed_back"]) == ("3.80", "1.20")
    assert await standing(sold, voucher) == ("8.80", "8.80")


async def test_a_voucher_that_was_paid_back_is_issued_again_as_soon_as_some_of_it_is_given_back(sold: World) -> None:
    voucher = await reimbursed(sold, "5.00")
    job, _ = await charged(sold)
    period = await close(sold)
    await paid(sold, voucher)
    assert await states(sold, voucher) == {"redeemed"}
    await give_back(sold, period, job, "2.00")
    assert await standing(sold, voucher) == ("4.00", "4.00")
    assert await states(sold, voucher) == {"issued"}


async def test_what_is_clawed_back_of_what_still_waits_is_set_off_against_what_is_due_by_another_voucher(
    sold: World,
) -> None:
    first = await reimbursed(sold, "5.00", settles="quarter")
    programme = ok(await office(sold).get(f"/programmes/{await programme_of(sold, first)}"))
    second = await issued(sold, "1000.00", programme=programme)
    await charged(sold)
    await close(sold)
    (await april(sold)).use(ids.new("run"), 2 * MONTH * 3600, 2 * MONTH * 3600 + 1000)
    await sold.deliver()
    await close(sold, MONTH * 3600)
    some = ClawbackDraft(amount=Money(120), reason="材料不实")
    ok(await office(sold).post(f"/vouchers/{second}/claw-back", some, key("some")))
    assert (await paid(sold, first))["amount"] == "3.80"
    assert [await standing(sold, one) for one in (first, second)] == [("5.00", "5.00"), ("3.80", "0.00")]
    await close(sold, 2 * MONTH * 3600)
    assert (await paid(sold, second))["amount"] == "10.00"
    assert await standing(sold, second) == ("8.80", "8.80")


async def test_funders_pay_each_its_part_as_over_all_that_is_paid_of_a_voucher(sold: World) -> None:
    voucher = await reimbursed(sold, "1000.00", funders=HALVES, settles="year")
    await charged(sold, 1001, "20.00")
    await close(sold)
    first = await paid(sold, voucher)
    await april_and_closed(sold, 1001)
    programme = first["programme"]
    path = f"/programmes/{programme}"
    own = ok(await office(sold).get(f"{path}/standing"))
    assert [(one["year"], one["redeemed"]) for one in own["items"]] == [(2026, "10.02")]
    assert own["pools"][0]["redeemed"] == "5.01"
    assert await exported(sold, path) == [("10.02", "5.01")]
    second = await paid(sold, voucher)
    assert [[part["amount"] for part in one["funders"]] for one in (first, second)] == [
        ["2.51", "2.50"],
        ["2.50", "2.51"],
    ]
    assert await exported(sold, path) == [("10.02", "10.02")]


async def test_the_command_shows_what_may_be_claimed_and_what_was_filed_with_its_lines(sold: World) -> None:
    voucher = await reimbursed(sold, "1000.00", name="补助")
    job, _ = await charged(sold)
    await close(sold)
    due = Reimbursables.model_validate(ok(await sold.member.get(f"/reimbursable/{sold.organization}")))
    done = Reimbursement.model_validate(await paid(sold, voucher))
    lines = ok(await sold.member.get(f"/reimbursements/{done.id}/lines"))["items"]
    shown = Console(width=250, file=io.StringIO(), record=True)
    shown.print(cli.reimbursable(due.items), cli.listed([done]), cli.detail(done))
    shown.print(cli.of_lines(ReimbursedLine.model_validate(one) for one in lines))
    text = shown.export_text()
    for cell in (
        "补助",
        "5.00",
        done.id,
        "paid, version",
        "XAFB-2026-0731",
        "市科技局",
        "receipt.pdf",
        "材料齐全",
        job.id,
    ):
        assert cell in text


async def exported(world: World, path: str) -> list[tuple[str, str]]:
    """What was claimed and paid in each span, by the programme's CSV."""
    content = (await office(world).get(f"{path}/export.csv")).content.decode("utf-8-sig")
    rows = csv.DictReader(io.StringIO(content, newline=""))
    return [(row["分摊额合计(元) Claimed (CNY)"], row["已补贴(元) Paid (CNY)"]) for row in rows]


async def test_a_claim_that_is_not_what_it_is_for_is_found(sold: World) -> None:
    voucher = await reimbursed(sold, "1000.00")
    await charged(sold)
    await close(sold)
    made = await filed(sold, voucher)

    def spoil(tx: Session, **values: Any) -> list[tuple[str, str]]:
        tx.execute(update(ReimbursementRow).values(values))
        return list(verify(tx))

    found = await sold.db.write(lambda tx: spoil(tx, amount=501))
    assert found == [
        (made["id"], "it is filed for 501 fen, its spans come to 500, its funders to 500, its dues to 500")
    ]
    found = await sold.db.write(lambda tx: spoil(tx, amount=500, state="refused"))
    assert found == [
        (made["id"], "it is refused for 500 fen, its spans come to 500, its funders to 500, its dues to 500")
    ]


async def repaid(world: World, amount: str, who: str = "", **changes: str) -> Any:
    """The answer to finance, who records it."""
    (now,) = await reimbursable(world)
    given = {"organization": who or now["organization"], "programme": now["programme"], "amount": amount}
    body = given | PAYMENT | {"reference": "XAFB-9"} | changes
    return await world.finance.post("/reimbursements/repay", body, key(ids.new("req")))


async def test_what_is_taken_back_after_the_payment_is_repaid_instead_and_not_set_off_again(sold: World) -> None:
    voucher = await reimbursed(sold, "5.00", funders=HALVES, settles="month")
    job, run = await charged(sold)
    await close(sold)
    await paid(sold, voucher)
    assert await states(sold, voucher) == {"redeemed"}
    back = {"amount": "1.01", "reason": "材料不实"}
    ok(await office(sold).post(f"/vouchers/{voucher}/claw-back", back, key("back")))
    job.end(run, Outcome.SITE)
    await april_and_closed(sold, 400)
    (now,) = await reimbursable(sold)
    assert (now["amount"], now["owed"]) == ("-4.01", "4.01")
    for wrong, pointer in (
        ({"amount": "4.00"}, "/amount"),
        ({"paid_on": "2029-01-01"}, "/paid_on"),
        ({"paid_on": "2027-04-13"}, "/paid_on"),
    ):
        answer = await repaid(sold, **({"amount": "4.01"} | wrong))
        assert pointers(refused(answer, 422, "invalid")) == [pointer]
    refused(await repaid(sold, "4.01", who=ids.new("org")), 422, "unknown_reference")
    body = {name: now[name] for name in ("organization", "programme")} | PAYMENT | {"amount": "4.01"}
    for person in (sold.admin, sold.member, office(sold)):
        refused(await person.post("/reimbursements/repay", body, key("x")), 404, "not_found")
    made = ok(await sold.finance.post("/reimbursements/repay", body, key("repay")), 201)
    assert ok(await sold.finance.post("/reimbursements/repay", body, key("repay")), 201) == made
    assert (made["state"], made["amount"], made["payment"]["reference"]) == ("repaid", "-4.01", PAYMENT["reference"])
    assert [one["amount"] for one in made["funders"]] == ["-2.00", "-2.01"]
    assert ok(await sold.member.get(f"/reimbursements/{made['id']}")) == made
    assert await standing(sold, voucher) == ("0.99", "0.99")
    assert list(await sold.db.read(lambda tx: list(verify(tx)))) == []
    (after,) = await reimbursable(sold)
    assert (after["amount"], after["owed"]) == ("0.00", "0.00")
    assert refused(await repaid(sold, "4.01"), 409, "nothing_owed")["amount"] == "0.00"
    assert await states(sold, voucher) == {"issued"}
    exported = (await office(sold).get(f"/programmes/{now['programme']}/export.csv")).content.decode("utf-8-sig")
    rows = csv.DictReader(io.StringIO(exported, newline=""))
    assert [row["已补贴(元) Paid (CNY)"] for row in rows] == ["0.00", "2.00"]
    later = sold.job()
    await later.hold("50.00")
    later.place()
    later.use(ids.new("run"), 2 * MONTH * 3600, 2 * MONTH * 3600 + 400)
    await sold.deliver()
    await close(sold, 2 * MONTH * 3600)
    assert await standing(sold, voucher) == ("2.99", "0.99"), "what was repaid isn't redeemed any more"


async def test_what_was_not_paid_is_not_repaid_and_nothing_is_while_a_claim_waits(sold: World) -> None:
    voucher = await reimbursed(sold, "1000.00", settles="month")
    await charged(sold)
    await close(sold)
    made = await filed(sold, voucher)
    ok(await office(sold).post(f"/vouchers/{voucher}/claw-back", {"amount": "2.00", "reason": "材料不实"}, key("b")))
    assert refused(await repaid(sold, "2.00"), 409, "already_exists")["existing"] == made["id"]
    ok(await sold.admin.post(path(made, "withdraw")))
    assert refused(await repaid(sold, "2.00"), 409, "nothing_owed")["amount"] == "3.00"


async def test_what_waits_until_its_span_is_over_is_set_off_against_what_is_repaid(sold: World) -> None:
    """The first quarter is paid and then taken back, less what the first month of the second makes due."""
    voucher = await reimbursed(sold, "1000.00", settles="quarter")
    await charged(sold)
    await close(sold)
    await paid(sold, voucher)
    ok(await office(sold).post(f"/vouchers/{voucher}/claw-back", {"amount": "5.00", "reason": "材料不实"}, key("b")))
    await april_and_closed(sold, 400)
    await sold.db.write(period_at, at(2 * MONTH * 3600))
    (now,) = await reimbursable(sold)
    assert (now["amount"], now["waits"], now["owed"]) == ("-5.00", "2.00", "3.00")
    made = ok(await repaid(sold, "3.00"), 201)
    assert [one["amount"] for one in made["spans"]] == ["2.00"]
    assert await standing(sold, voucher) == ("2.00", "2.00")
    assert list(await sold.db.read(lambda tx: list(verify(tx)))) == []
    (after,) = await reimbursable(sold)
    assert (after["amount"], after["waits"], after["owed"]) == ("0.00", "0.00", "0.00")
