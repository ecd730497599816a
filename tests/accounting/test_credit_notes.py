"""Credit notes: what finance gives back of a sealed statement, numbered, never more than is left of a line."""

import sqlite3
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from caravan.contracts.jobs import Outcome
from caravan.kernel import ids
from services.accounting.credit_notes.left import Billed, left, part_in
from services.accounting.ledger.verify import verify
from tests.accounting.volume import MONTH, close, sound, use
from tests.accounting.volume import given as discounts
from tests.accounting.world import World
from tests.support import Json, ok, refused

KEY: Final = "Idempotency-Key"


async def billed(world: World, core_hours: int = 4) -> tuple[Json, Json]:
    """A month with one job, closed: the organization's statement, and the line of its core-hours."""
    job, _ = await use(world, core_hours)
    period = await close(world)
    found = ok(await world.member.get("/statements", period=period))["items"]
    (line,) = [one for one in await job.lines() if one["component"] == "cpu_core_hour"]
    return found[0], line


def draft(statement: Json, line: Json, amount: str) -> Json:
    return {"statement": statement["id"], "line": line["id"], "amount": amount, "reason": "机房断电"}


async def issue(world: World, wanted: Json, key: str | None = None) -> Json:
    return ok(await world.finance.post("/credit-notes", wanted, {KEY: key or ids.new("evt")}), 201)


async def too_much(world: World, wanted: Json) -> tuple[str, str]:
    """Where the refusal points, and what it says."""
    answer = await world.finance.post("/credit-notes", wanted, {KEY: ids.new("evt")})
    (error,) = refused(answer, 422, "invalid")["errors"]
    return error["pointer"], error["detail"]


async def test_a_note_gives_back_and_leaves_the_statement_as_it_is(sold: World) -> None:
    statement, line = await billed(sold)
    before = await sold.funds()
    note = await issue(sold, draft(statement, line, "44.00"))
    assert {
        name: note[name] for name in ("number", "statement_number", "amount", "tax", "organization", "provider")
    } == {
        "number": "CN-2027-000001",
        "statement_number": statement["number"],
        "amount": "44.00",
        "tax": "2.49",  # 44.00 x 6 / 106
        "organization": sold.organization,
        "provider": sold.provider,
    }
    after = await sold.funds()
    assert (before["charged"], after["charged"]) == ("144.00", "100.00")
    (entry,) = ok(await sold.finance.get("/ledger/entries", kind="credit_note"))["items"]
    assert (entry["reference"], {p["account"].partition(":")[0]: p["amount"] for p in entry["postings"]}) == (
        note["id"],
        {"prepaid": "-44.00", "payable": "44.00"},
    )
    assert ok(await sold.member.get(f"/statements/{statement['id']}")) == statement
    await sound(sold)


async def test_no_more_is_given_back_than_is_left_of_the_line(sold: World) -> None:
    statement, line = await billed(sold)
    assert await too_much(sold, draft(statement, line, "144.01")) == (
        "/amount",
        "Give at most 144.00, which is left of the line",
    )
    first = await issue(sold, draft(statement, line, "100.00"))
    assert await too_much(sold, draft(statement, line, "44.01")) == (
        "/amount",
        "Give at most 44.00, which is left of the line",
    )
    second = await issue(sold, draft(statement, line, "44.00"))
    assert [note["number"] for note in (first, second)] == ["CN-2027-000001", "CN-2027-000002"]
    assert await too_much(sold, draft(statement, line, "0.01")) == ("/line", "Nothing is left of this line")
    assert await too_much(sold, draft(statement, line, "0.00")) == ("/amount", "Give an amount above zero")
    taxes = [note["tax"] for note in (first, second)]
    assert (taxes, statement["tax"]) == (["5.66", "2.49"], "8.15")
    await sound(sold)


async def test_what_a_correction_has_taken_back_is_not_left(sold: World) -> None:
    job, run = await use(sold, 4)
    period = await close(sold)
    (statement,) = ok(await sold.member.get("/statements", period=period))["items"]
    (line,) = [one for one in await job.lines() if one["component"] == "cpu_core_hour"]
    job.use(run, 0, 3600, cpus=1, revision=2)
    await sold.deliver()
    assert await too_much(sold, draft(statement, line, "36.01")) == (
        "/amount",
        "Give at most 36.00, which is left of the line",
    )
    await issue(sold, draft(statement, line, "36.00"))
    await close(sold, MONTH * 3600)


async def test_no_more_is_given_back_than_the_statement_asked_for(sold: World) -> None:
    statement, line = await billed(sold, 9)
    assert (statement["gross"], line["amount"]) == ("295.20", "324.00")
    assert (await too_much(sold, draft(statement, line, "295.21")))[1].startswith("Give at most 295.20")
    (discount,) = await discounts(sold)
    assert await too_much(sold, draft(statement, discount, "0.01")) == ("/line", "Nothing is left of this line")


async def test_what_the_provider_bears_can_not_be_given_back(sold: World) -> None:
    job, _ = await use(sold, 4, outcome=Outcome.SITE)
    period = await close(sold)
    statement = next(
        one
        for one in ok(await sold.finance.get("/statements", period=period))["items"]
        if one["party"] == "organization"
    )
    line = next(one for one in await job.lines() if one["component"] == "cpu_core_hour")
    assert await too_much(sold, draft(statement, line, "0.01")) == ("/line", "Nothing is left of this line")


async def test_the_line_must_stand_on_an_organizations_statement(sold: World) -> None:
    statement, line = await billed(sold)
    (provider,) = ok(await sold.seller.get("/statements"))["items"]
    for wanted, pointer in (
        (draft(provider, line, "1.00"), "/statement"),
        (draft({"id": ids.new("stm")}, line, "1.00"), "/statement"),
        (draft(statement, {"id": ids.new("lin")}, "1.00"), "/line"),
    ):
        answer = await sold.finance.post("/credit-notes", wanted, {KEY: ids.new("evt")})
        assert [error["pointer"] for error in refused(answer, 422, "unknown_reference")["errors"]] == [pointer]
    job, _ = await use(sold, 1, MONTH)
    await close(sold, MONTH * 3600)
    other = (await job.lines())[0]
    answer = await sold.finance.post("/credit-notes", draft(statement, other, "1.00"), {KEY: ids.new("evt")})
    refused(answer, 422, "unknown_reference")


async def test_a_repeat_of_the_key_issues_no_second_note(sold: World) -> None:
    statement, line = await billed(sold)
    wanted = draft(statement, line, "1.00")
    assert await issue(sold, wanted, "k") == await issue(sold, wanted, "k")
    assert len(ok(await sold.finance.get("/credit-notes"))["items"]) == 1


async def test_a_fen_is_given_back_with_no_tax_in_it(sold: World) -> None:
    statement, line = await billed(sold)
    note = await issue(sold, draft(statement, line, "0.01"))
    assert (note["amount"], note["tax"]) == ("0.01", "0.00")
    assert ok(await sold.member.get(f"/credit-notes/{note['id']}")) == note


async def test_both_parties_read_a_note_and_no_others(sold: World) -> None:
    statement, line = await billed(sold)
    notes = [await issue(sold, draft(statement, line, amount)) for amount in ("1.00", "2.00")]
    stranger = sold.service.person("stranger", f"org/{ids.new('org')}:admin", f"provider/{ids.new('prv')}:admin")
    for person in (sold.finance, sold.member, sold.seller):
        assert ok(await person.get("/credit-notes", statement=statement["id"]))["items"] == notes[::-1]
        assert ok(await person.get(f"/credit-notes/{notes[0]['id']}")) == notes[0]
    assert ok(await stranger.get("/credit-notes"))["items"] == []
    refused(await stranger.get(f"/credit-notes/{notes[0]['id']}"), 404, "not_found")
    for person in (sold.admin, sold.seller):
        refused(await person.post("/credit-notes", draft(statement, line, "1.00"), {KEY: "x"}), 404, "not_found")
    page = ok(await sold.member.get("/credit-notes", limit=1))
    rest = ok(await sold.member.get("/credit-notes", limit=1, cursor=page["next"]))
    assert page["items"] + rest["items"] == notes[::-1]
    audited = ok(await sold.service.person("operator", "platform:admin").get("/audit", entity=notes[0]["id"]))["items"]
    assert [(one["action"], one["subject"]) for one in audited] == [("issue_credit_note", "finance")]


@pytest.mark.parametrize(
    "change", ["UPDATE credit_notes SET amount = 1", "DELETE FROM credit_notes"], ids=["changed", "deleted"]
)
async def test_a_note_never_changes(sold: World, change: str) -> None:
    statement, line = await billed(sold)
    await issue(sold, draft(statement, line, "44.00"))

    def write(tx: Session) -> None:
        tx.execute(text(change))

    with pytest.raises((DBAPIError, sqlite3.IntegrityError)):
        await sold.db.write(write)
    await sound(sold)


async def test_a_note_that_is_gone_or_was_posted_otherwise_is_found(sold: World) -> None:
    statement, line = await billed(sold)
    await issue(sold, draft(statement, line, "44.00"))

    def write(tx: Session) -> set[tuple[str, str]]:
        for name in tx.scalars(text(TRIGGERS[sold.db.sqlite])).all():
            tx.execute(text(f"DROP TRIGGER {name}" + ("" if sold.db.sqlite else " ON credit_notes")))
        tx.execute(text("UPDATE credit_notes SET amount = 20000"))
        changed = {(one.check, one.detail.partition(",")[0]) for one in verify(tx)}
        tx.execute(text("DELETE FROM credit_notes"))
        return changed | {(one.check, one.detail) for one in verify(tx)}

    found = await sold.db.write(write)
    for words in (
        "it gives back 200.00",
        "200.00 was given back of it",
        "there is no such credit note",
        "a credit note was posted that is not there",
    ):
        assert ("credit note", words) in found


TRIGGERS: Final = {
    True: "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'credit_notes'",
    False: "SELECT tgname FROM pg_trigger WHERE tgrelid = 'credit_notes'::regclass AND NOT tgisinternal",
}

fen = st.integers(0, 10**9)


@settings(max_examples=100)
@given(fen, fen, fen, fen, fen, fen)
def test_what_is_left_passes_none_of_its_bounds(a: int, b: int, c: int, d: int, e: int, f: int) -> None:
    found = left(Billed(a, b), Billed(c, d), Billed(e, f))
    assert found >= 0
    assert found == 0 or found <= min(a - b, c - d, e - f)


@given(st.integers(1, 10**9), st.integers(0, 1300), st.data())
def test_notes_of_all_of_a_line_give_all_of_its_tax_back(amount: int, rate: int, data: st.DataObject) -> None:
    tax, noted, given_back = amount * rate // 11_300, 0, 0
    while noted < amount:
        more = data.draw(st.integers(max(1, (amount - noted) // 3), amount - noted))
        part = part_in(Billed(amount, noted), tax, more)
        assert part >= 0
        noted, given_back = noted + more, given_back + part
    assert given_back == tax
