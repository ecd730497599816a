"""Claiming what programmes reimburse: what may be filed when, and what becomes of it."""

import asyncio
from datetime import UTC, datetime

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.orm import Session

from caravan.contracts.jobs import Outcome
from caravan.contracts.problems import NothingDue
from caravan.contracts.reimbursements import ReimbursementDraft
from caravan.contracts.vouchers import ClawbackDraft
from caravan.kernel import ids
from caravan.kernel.money import Money
from services.accounting.reimbursements import filing
from services.accounting.reimbursements.reading import REIMBURSEMENTS
from tests.accounting.programmes_cases import key, office, published
from tests.accounting.test_redemptions import charged
from tests.accounting.test_reimbursement_dues import april, reimbursed
from tests.accounting.test_site_runs import plan, reads
from tests.accounting.volume import MONTH, close
from tests.accounting.world import World
from tests.support import Json, Person, ok, pointers, refused

JANUARY = "2025-12-31T16:00:00Z"


async def programme_of(world: World, voucher: str) -> str:
    return str(ok(await office(world).get(f"/vouchers/{voucher}"))["programme"])


async def reimbursable(world: World, who: Person | None = None) -> list[Json]:
    return list(ok(await (who or world.member).get(f"/reimbursable/{world.organization}"))["items"])


def draft(world: World, programme: str) -> Json:
    return {"organization": world.organization, "programme": programme}


async def filed(world: World, voucher: str) -> Json:
    body = draft(world, await programme_of(world, voucher))
    return ok(await world.admin.post("/reimbursements", body, key(ids.new("req"))), 201)


async def test_what_closed_periods_made_due_is_claimed_by_voucher_and_span_with_its_lines(sold: World) -> None:
    voucher = await reimbursed(sold, "1000.00", name="补助")
    job, _ = await charged(sold)
    (before,) = await reimbursable(sold)
    assert (before["amount"], before["spans"], before["waits"], before["waits_until"]) == ("0.00", [], "0.00", None)
    await close(sold)
    (now,) = await reimbursable(sold)
    span = {"voucher": voucher, "starts_at": JANUARY, "claimed": "5.00", "amount": "5.00"}
    assert {name: now[name] for name in ("programme_name", "amount", "spans", "pending")} == {
        "programme_name": "补助", "amount": "5.00", "spans": [span], "pending": None,
    }  # fmt: skip
    made = await filed(sold, voucher)
    assert {name: made[name] for name in ("state", "amount", "clawed_back", "spans", "version", "filed_by")} == {
        "state": "filed", "amount": "5.00", "clawed_back": "0.00", "spans": [span], "version": 1, "filed_by": "admin",
    }  # fmt: skip
    (line,) = ok(await sold.member.get(f"/reimbursements/{made['id']}/lines"))["items"]
    assert (line["line"]["job"], line["line"]["amount"], line["share"], line["pays"]) == (
        job.id,
        "10.00",
        "5.00",
        "5.00",
    )
    (after,) = await reimbursable(sold)
    assert (after["amount"], after["spans"], after["pending"]) == ("0.00", [], made["id"])
    for reader in (sold.member, office(sold), sold.finance):
        assert ok(await reader.get(f"/reimbursements/{made['id']}")) == made
        assert ok(await reader.get("/reimbursements", organization=sold.organization))["items"] == [made]
    assert ok(await office(sold).get("/reimbursements", state="paid"))["items"] == []


async def test_a_span_is_claimed_once_it_is_over_and_all_of_its_periods_are_closed(sold: World) -> None:
    voucher = await reimbursed(sold, "1000.00", settles="year")
    await charged(sold)
    await april(sold)
    await close(sold)
    body = draft(sold, await programme_of(sold, voucher))
    problem = refused(await sold.admin.post("/reimbursements", body, key("early")), 409, "nothing_due")
    assert {name: problem[name] for name in ("amount", "waits", "waits_until")} == {
        "amount": "0.00", "waits": "5.00", "waits_until": "2026-12-31T16:00:00Z",
    }  # fmt: skip
    (waits,) = await reimbursable(sold)
    assert (waits["amount"], waits["waits"], waits["waits_until"]) == ("0.00", "5.00", "2026-12-31T16:00:00Z")
    await close(sold, MONTH * 3600)
    assert (await filed(sold, voucher))["amount"] == "10.00"


async def test_nothing_is_claimed_while_the_span_goes_on_though_its_periods_are_closed(sold: World) -> None:
    """As of times that the service's clock isn't at: its loops make a period of each that it is."""
    voucher = await reimbursed(sold, "1000.00", settles="year")
    await charged(sold)
    await close(sold)
    wanted = ReimbursementDraft.model_validate(draft(sold, await programme_of(sold, voucher)))
    with pytest.raises(NothingDue):
        await sold.db.write(filing.file, wanted, "admin", datetime(2026, 12, 31, 15, 59, 59, tzinfo=UTC))
    made = await sold.db.write(filing.file, wanted, "admin", datetime(2026, 12, 31, 16, tzinfo=UTC))
    assert str(made.amount) == "5.00"


async def test_one_waits_at_a_time_and_what_is_withdrawn_is_filed_anew_with_what_came_since(sold: World) -> None:
    voucher = await reimbursed(sold, "1000.00")
    await charged(sold)
    await close(sold)
    body = draft(sold, await programme_of(sold, voucher))
    answers = await asyncio.gather(*(sold.admin.post("/reimbursements", body, key(f"k{n}")) for n in range(4)))
    (made,) = [one.json() for one in answers if one.status_code == 201]
    assert [one.json()["existing"] for one in answers if one.status_code == 409] == [made["id"]] * 3
    await april(sold)
    await close(sold, MONTH * 3600)
    refused(await sold.admin.post("/reimbursements", body, key("more")), 409, "already_exists")
    gone = ok(await sold.admin.post(f"/reimbursements/{made['id']}/withdraw"))
    assert (gone["state"], gone["amount"], gone["version"]) == ("withdrawn", "5.00", 2)
    assert ok(await sold.admin.post(f"/reimbursements/{made['id']}/withdraw")) == gone
    assert ok(await sold.member.get(f"/reimbursements/{made['id']}/lines"))["items"] == []
    again = await filed(sold, voucher)
    assert (again["amount"], len(again["spans"])) == ("10.00", 2)


async def test_the_same_key_files_once(sold: World) -> None:
    voucher = await reimbursed(sold, "1000.00")
    await charged(sold)
    await close(sold)
    body = draft(sold, await programme_of(sold, voucher))
    first = ok(await sold.admin.post("/reimbursements", body, key("one")), 201)
    assert ok(await sold.admin.post("/reimbursements", body, key("one")), 201) == first


async def test_a_correction_is_taken_off_what_is_filed_next_and_nothing_below_zero_is(sold: World) -> None:
    voucher = await reimbursed(sold, "1000.00")
    job, run = await charged(sold)
    await close(sold)
    await filed(sold, voucher)
    job.end(run, Outcome.SITE)
    await april(sold, 400)
    await close(sold, MONTH * 3600)
    (now,) = await reimbursable(sold)
    assert (now["amount"], [span["amount"] for span in now["spans"]]) == ("-3.00", ["-5.00", "2.00"])
    made = ok(await sold.member.get("/reimbursements"))["items"][0]
    ok(await sold.admin.post(f"/reimbursements/{made['id']}/withdraw"))
    (now,) = await reimbursable(sold)
    assert (now["amount"], [span["amount"] for span in now["spans"]]) == ("2.00", ["0.00", "2.00"])


async def test_what_is_clawed_back_is_set_off(sold: World) -> None:
    voucher = await reimbursed(sold, "1000.00")
    await charged(sold)
    await close(sold)
    some = ClawbackDraft(amount=Money(120), reason="材料不实")
    ok(await office(sold).post(f"/vouchers/{voucher}/claw-back", some, key("some")))
    (now,) = await reimbursable(sold)
    assert (now["amount"], now["clawed_back"]) == ("3.80", "1.20")
    made = await filed(sold, voucher)
    assert (made["amount"], made["clawed_back"]) == ("3.80", "1.20")
    (now,) = await reimbursable(sold)
    assert (now["amount"], now["clawed_back"]) == ("0.00", "0.00")
    ok(await sold.admin.post(f"/reimbursements/{made['id']}/withdraw"))
    assert (await filed(sold, voucher))["amount"] == "3.80"


async def test_who_may_file_and_what(sold: World) -> None:
    deducts = await published(sold)
    voucher = await reimbursed(sold, "1000.00")
    await charged(sold)
    await close(sold)
    body = draft(sold, await programme_of(sold, voucher))
    answer = await sold.admin.post("/reimbursements", body | {"programme": deducts["id"]}, key("a"))
    assert pointers(refused(answer, 422, "invalid")) == ["/programme"]
    answer = await sold.admin.post("/reimbursements", body | {"programme": ids.new("prg")}, key("b"))
    assert pointers(refused(answer, 422, "unknown_reference")) == ["/programme"]
    other = sold.service.person("other", f"org/{ids.new('org')}:admin")
    answer = await other.post("/reimbursements", body, key("c"))
    assert pointers(refused(answer, 422, "unknown_reference")) == ["/organization"]
    for person in (sold.member, sold.finance, office(sold)):
        refused(await person.post("/reimbursements", body, key("d")), 404, "not_found")
    made = await filed(sold, voucher)
    for path in ("", "/lines"):
        refused(await other.get(f"/reimbursements/{made['id']}{path}"), 404, "not_found")
    refused(await other.get(f"/reimbursable/{sold.organization}"), 404, "not_found")
    assert ok(await other.get("/reimbursements"))["items"] == []
    for person in (other, sold.member, office(sold)):
        refused(await person.post(f"/reimbursements/{made['id']}/withdraw"), 404, "not_found")


async def test_a_programmes_claims_are_listed_by_index(sold: World) -> None:
    voucher = await reimbursed(sold, "1000.00")
    await charged(sold)
    await close(sold)
    made = await filed(sold, voucher)
    other = await published(sold)

    def many(tx: Session) -> None:
        kept = tx.execute(select(REIMBURSEMENTS).where(REIMBURSEMENTS.c.id == made["id"])).one()._asdict()
        place = {"programme": other["id"], "state": "withdrawn"}
        tx.execute(insert(REIMBURSEMENTS), [kept | place | {"id": ids.new("rei")} for _ in range(2000)])
        tx.execute(text("ANALYZE"))

    await sold.db.write(many)
    with reads(("reimbursements",)) as queries:
        found = ok(await office(sold).get("/reimbursements", programme=made["programme"]))["items"]
    assert [one["id"] for one in found] == [made["id"]]
    told = await sold.db.read(plan, *queries[0])
    assert "ix_reimbursements_programme_id" in told and "TEMP B-TREE" not in told


@pytest.mark.parametrize("limit", [1, 2])
async def test_lines_come_page_by_page(sold: World, limit: int) -> None:
    voucher = await reimbursed(sold, "1000.00")
    jobs = {(await charged(sold))[0].id for _ in range(3)}
    await close(sold)
    path = f"/reimbursements/{(await filed(sold, voucher))['id']}/lines"
    page = ok(await sold.member.get(path, limit=limit))
    found = page["items"]
    while page["next"]:
        page = ok(await sold.member.get(path, limit=limit, cursor=page["next"]))
        found += page["items"]
    found = [one["line"]["job"] for one in found]
    assert (len(found), set(found)) == (3, jobs)
