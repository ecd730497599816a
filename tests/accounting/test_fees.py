"""Fee agreements, and the fee that a close takes by them."""

from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, event, select, text
from sqlalchemy.orm import Session

from caravan.contracts.credit_notes import CreditNoteDraft
from caravan.contracts.fees import FeeAgreementDraft
from caravan.contracts.funds import DepositDraft
from caravan.kernel import ids
from caravan.kernel.database import Database
from caravan.kernel.money import Money
from caravan.kernel.runtime import Runtime
from services.accounting.credit_notes.service import issue
from services.accounting.fees.arithmetic import Share, due_of, fee_of, paid
from services.accounting.fees.paying import split
from services.accounting.fees.service import make
from services.accounting.funds.service import record
from services.accounting.ledger.reading import trial_balance
from services.accounting.statements.models import StatementRow
from tests.accounting.books import (
    AT,
    DECEMBER,
    NOVEMBER,
    ORG,
    OTHER_ORG,
    OTHER_PRV,
    PRV,
    identifier,
    line,
    party_copies,
    period_at,
    proof,
)
from tests.accounting.months import iso
from tests.accounting.test_tax_rules import JANUARY, close, rule, statement
from tests.support import Json, Person, Running, ok, pointers, refused

FEN = st.integers(-(10**12), 10**12)
RATES = st.integers(0, 10_000)
FLOORS = st.integers(0, 10**9)
OTHER_PRJ = identifier("prj", 2)

# How much


@given(FEN, RATES, FLOORS)
def test_a_fee_is_the_agreed_part_between_the_floor_and_the_gross(gross: int, rate: int, floor: int) -> None:
    fee = fee_of(gross, rate, floor)
    if gross <= 0:
        assert fee == fee_of(gross, rate, 0) == -fee_of(-gross, rate, 0)
    else:
        assert min(floor, gross) <= fee <= gross
    if gross > floor and fee != floor:
        assert abs(fee - Fraction(gross * rate, 10_000)) <= Fraction(1, 2)


@given(FEN, st.integers(0, 10**6), RATES, FLOORS)
def test_who_sells_more_is_paid_no_less(gross: int, more: int, rate: int, floor: int) -> None:
    """But for the floor, which comes with the first fen."""
    before, after = (amount - fee_of(amount, rate, 0) for amount in (gross, gross + more))
    assert before <= after
    assert fee_of(gross, rate, floor) <= fee_of(gross + more, rate, floor)


@pytest.mark.parametrize(
    ("gross", "fee"), [(100_000, 5_000), (2_000, 500), (500, 500), (499, 499), (1, 1), (0, 0), (-2_000, -100)]
)
def test_five_percent_and_at_least_five_yuan(gross: int, fee: int) -> None:
    assert fee_of(gross, 500, 500) == fee


# At the close


def agreed(tx: Session, rate: int, floor: int = 0, **changes: Any) -> None:
    values = {"provider": PRV, "rate": rate, "floor": str(Money(floor)), "starts_at": NOVEMBER, **changes}
    make(tx, FeeAgreementDraft.model_validate(values), "finance", AT)


def platform_is_taxed(tx: Session, rate: int = 600) -> None:
    own = {"seller": "platform", "category": "platform_service"}
    rule(tx, "taxed", rate, NOVEMBER - timedelta(days=365), **own)


def balances(tx: Session) -> dict[str, str]:
    return {one.account: str(one.balance) for one in trial_balance(tx).accounts}


async def test_a_fee_is_taken_with_its_own_tax_and_stands_on_the_providers_statement(db: Database) -> None:
    def write(tx: Session) -> tuple[Json, Json, Json]:
        party_copies(tx)
        platform_is_taxed(tx)
        agreed(tx, 500, 100)
        period = period_at(tx, AT)
        line(tx, 1, period, 3600 * 1000)  # 350.00
        line(tx, 2, period, 3600 * 10, bearer="provider", reason="site_fault")
        line(tx, 3, period, 3600 * 10, provider=OTHER_PRV)
        close(tx, period)
        return statement(tx, period, PRV), statement(tx, period, OTHER_PRV), statement(tx, period, ORG)

    mine, others, buyers = await db.write(write)
    assert {name: mine["fee"][name] for name in ("rate", "floor", "amount", "net", "tax", "tax_rate")} == {
        "rate": 500,
        "floor": "1.00",
        "amount": "17.50",
        "net": "16.51",
        "tax": "0.99",
        "tax_rate": 600,
    }
    assert (mine["gross"], mine["payout"]) == ("350.00", "332.50")
    assert (others["fee"], others["payout"]) == (None, "3.50")
    assert (buyers["fee"], buyers["payout"]) == (None, None)
    kept = await db.read(balances)
    del kept[f"receivable:{ORG}"]
    assert kept == {
        "output_tax": "-0.99",
        f"payable:{PRV}": "-332.50",
        f"payable:{OTHER_PRV}": "-3.50",
        "platform_fee": "-16.51",
    }
    assert await db.read(proof) == []


async def test_what_a_correction_takes_back_takes_its_fee_back_with_it(db: Database) -> None:
    """By the agreement and the tax of the period in which it stands. An agreement that has ended makes no fee."""

    def write(tx: Session) -> list[Any]:
        party_copies(tx)
        platform_is_taxed(tx)
        agreed(tx, 500, 10_000, ends_at=DECEMBER)
        agreed(tx, 1000, 10_000, starts_at=DECEMBER, ends_at=JANUARY)
        periods = [period_at(tx, moment) for moment in (AT, DECEMBER, JANUARY)]
        line(tx, 1, periods[0], 3600 * 100)  # 35.00: less than the floor
        close(tx, periods[0])
        line(tx, 2, periods[1], -3600 * 20, corrects=periods[0])  # -7.00
        close(tx, periods[1])
        line(tx, 3, periods[2], 3600 * 100)
        close(tx, periods[2])
        found = [statement(tx, period, PRV) for period in periods]
        return [(one["fee"] and one["fee"]["amount"], one["payout"]) for one in found]

    assert await db.write(write) == [("35.00", "0.00"), ("-0.70", "-6.30"), (None, "35.00")]
    assert await db.read(proof) == []


async def test_a_close_waits_for_a_rule_of_the_platforms_tax(db: Database) -> None:
    def write(tx: Session) -> str:
        party_copies(tx)
        own = {"seller": "platform", "category": "platform_service", "ends_at": DECEMBER - timedelta(seconds=1)}
        rule(tx, "exempt", None, NOVEMBER, **own)
        agreed(tx, 500)
        period = period_at(tx, AT)
        line(tx, 1, period, 3600 * 100)
        return period

    period = await db.write(write)
    with pytest.raises(LookupError, match="platform"):
        await db.write(close, period)
    await db.write(platform_is_taxed)
    await db.write(close, period)


@pytest.mark.parametrize(
    ("tamper", "findings"),
    [
        ("UPDATE ledger_entries SET reference = 'stm_x' WHERE kind = 'fee'", ["PRV-2026-000001", "stm_x"]),
        ("UPDATE fee_agreements SET rate = 400", ["PRV-2026-000001"]),
        ("UPDATE supply_taxes SET rate = 0 WHERE seller = 'platform'", ["PRV-2026-000001"]),
    ],
)
async def test_the_proof_of_the_books_covers_fees(
    db: Database, database_engine: str, tamper: str, findings: list[str]
) -> None:
    def write(tx: Session) -> None:
        party_copies(tx)
        platform_is_taxed(tx)
        agreed(tx, 500)
        period = period_at(tx, AT)
        line(tx, 1, period, 3600 * 100)
        close(tx, period)

    await db.write(write)
    assert await db.read(proof) == []
    unguarded = {
        "sqlite": "DROP TRIGGER ledger_entries_update",
        "postgresql": "ALTER TABLE ledger_entries DISABLE TRIGGER ALL",
    }
    await db.write(lambda tx: tx.execute(text(unguarded[database_engine])))
    await db.write(lambda tx: tx.execute(text(tamper)))
    found = await db.read(proof)
    assert [one.subject for one in found if one.check == "fee"] == findings


# Due when paid


GROSSES = st.lists(st.integers(-(10**6), 10**9), min_size=1, max_size=8)


@given(GROSSES, st.integers(0, 10**10), st.integers(0, 10**9))
def test_money_pays_the_oldest_statements_first_and_more_of_it_never_less(
    grosses: list[int], money: int, more: int
) -> None:
    parts = paid(grosses, money)
    given = money + sum(-gross for gross in grosses if gross < 0)
    assert sum(parts) == min(given, sum(gross for gross in grosses if gross > 0))
    for place, (part, gross) in enumerate(zip(parts, grosses, strict=True)):
        assert 0 <= part <= max(gross, 0)
        assert part == max(gross, 0) or not any(parts[place + 1 :])
    assert all(before <= after for before, after in zip(parts, paid(grosses, money + more), strict=True))
    assert all(before <= after for before, after in zip(parts, paid([*grosses, -more], money), strict=False))


@st.composite
def shares_of(draw: st.DrawFn) -> list[Share]:
    found = []
    for gross in draw(st.lists(st.integers(1, 10**9), min_size=1, max_size=6)):
        found.append(Share(draw(st.integers(1, 10**9)), draw(st.integers(0, gross) | st.just(gross)), gross))
    return found


@given(shares_of(), st.integers(0, 10**10), st.data())
def test_a_fee_is_due_as_far_as_what_it_was_taken_of_is_paid(
    shares: list[Share], fee: int, data: st.DataObject
) -> None:
    due = due_of(fee, shares)
    part = sum(Fraction(one.weight * one.paid, one.gross) for one in shares) / sum(one.weight for one in shares)
    assert due <= fee * part < due + 1
    assert due_of(-fee, shares) == -fee
    assert due_of(fee, [one._replace(paid=one.gross) for one in shares]) == fee
    place = data.draw(st.integers(0, len(shares) - 1))
    one = shares[place]
    further = one._replace(paid=data.draw(st.integers(one.paid, one.gross)))
    assert due <= due_of(fee, [*shares[:place], further, *shares[place + 1 :]])


@given(st.integers(0, 10**10), st.integers(0, 10**6), RATES)
def test_net_and_tax_of_what_is_due_only_grow(due: int, more: int, rate: int) -> None:
    before, after = split(due, rate), split(due + more, rate)
    assert sum(before) == due and before[0] <= after[0] and before[1] <= after[1]


def pay(tx: Session, fen: int, organization: str = ORG) -> None:
    draft = DepositDraft(organization=organization, amount=Money(fen), reference=ids.new("dep"))
    record(tx, draft, "finance", AT)


async def waiting(db: Database) -> list[str]:
    """Two periods' statements for two organizations, their fees due when paid; gives the periods."""

    def write(tx: Session) -> list[str]:
        party_copies(tx)
        platform_is_taxed(tx)
        agreed(tx, 500, due="when_paid")
        periods = [period_at(tx, AT), period_at(tx, DECEMBER)]
        line(tx, 1, periods[0], 3600 * 1000)  # 350.00
        line(tx, 2, periods[0], 3600 * 100, organization=OTHER_ORG, project=OTHER_PRJ)  # 35.00
        line(tx, 3, periods[0], 3600 * 1000, provider=OTHER_PRV)  # 350.00 of the first, without a fee
        close(tx, periods[0])
        line(tx, 4, periods[1], 3600 * 2000)  # 700.00
        close(tx, periods[1])
        return periods

    return await db.write(write)


async def due(db: Database) -> tuple[str, str, str, str]:
    """Of the first provider: its payable, what is kept and not due, the fee and the tax that are."""
    kept = await db.read(balances)
    # lines that are written by hand have no holds
    assert [one for one in await db.read(proof) if one.check != "funds"] == []
    payable, deferred = (kept.get(f"{account}:{PRV}", "0.00") for account in ("payable", "fee_deferred"))
    return payable, deferred, kept.get("platform_fee", "0.00"), kept.get("output_tax", "0.00")


async def test_a_fee_is_due_as_organizations_pay_the_oldest_statement_first(db: Database) -> None:
    periods = await waiting(db)
    first = await db.read(statement, periods[0], PRV)
    assert (first["fee"]["due"], first["fee"]["amount"], first["payout"]) == ("when_paid", "19.25", "365.75")
    assert await due(db) == ("-1030.75", "-54.25", "0.00", "0.00")
    await db.write(pay, 35_000)  # half of the first organization's first statement, so of what each provider has on it
    assert await due(db) == ("-1030.75", "-45.50", "-8.25", "-0.50")
    await db.write(pay, 3_500, OTHER_ORG)
    assert await due(db) == ("-1030.75", "-43.75", "-9.91", "-0.59")
    await db.write(pay, 35_000 + 70_000 - 1)
    assert await due(db) == ("-1030.75", "-0.01", "-51.17", "-3.07")
    await db.write(pay, 100_000)
    assert await due(db) == ("-1030.75", "0.00", "-51.18", "-3.07")


async def test_who_has_paid_is_not_asked_again_for_a_fee_that_waits_for_others(db: Database) -> None:
    await waiting(db)
    await db.write(pay, 3_500, OTHER_ORG)
    asked: list[str] = []

    def keep(connection: object, cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    event.listen(Engine, "before_cursor_execute", keep)
    try:
        await db.write(pay, 3_500, OTHER_ORG)
        assert not any("FROM statements" in statement for statement in asked)
        await db.write(pay, 1)
        assert any("FROM statements" in statement for statement in asked)
    finally:
        event.remove(Engine, "before_cursor_execute", keep)


@pytest.mark.parametrize("before", [False, True])
async def test_in_whatever_order_and_amounts_money_comes_the_same_is_due_in_the_end(db: Database, before: bool) -> None:
    """Also what came before the close."""
    if before:
        await db.write(pay, 60_000)
        await db.write(pay, 5_000, OTHER_ORG)
        await waiting(db)
    else:
        await waiting(db)
        for fen in (1, 20_000, 39_000, 999):
            await db.write(pay, fen)
        await db.write(pay, 5_000, OTHER_ORG)
    # 600.00 of 700.00 of the first statement: 15.00 of 17.50, and 1.75
    assert await due(db) == ("-1030.75", "-37.50", "-15.80", "-0.95")


async def test_what_a_credit_note_or_a_statement_gives_back_counts_as_paid(db: Database) -> None:
    periods = await waiting(db)

    def give_back(tx: Session) -> None:
        own = (StatementRow.period == periods[0]) & (StatementRow.party_id == ORG)
        stated = tx.execute(select(StatementRow.id).where(own)).scalar_one()
        draft = {"statement": stated, "line": identifier("lin", 1), "amount": "350.00", "reason": "x"}
        issue(tx, CreditNoteDraft.model_validate(draft), "finance", AT)

    await db.write(give_back)
    assert await due(db) == ("-680.75", "-45.50", "-8.25", "-0.50")

    def correct(tx: Session) -> None:
        later = period_at(tx, JANUARY)
        line(tx, 5, later, -3600 * 1000, provider=OTHER_PRV, corrects=periods[0])
        close(tx, later)

    await db.write(correct)
    assert await due(db) == ("-680.75", "-36.75", "-16.51", "-0.99")


async def test_what_comes_back_of_a_fee_is_due_at_once(db: Database) -> None:
    periods = await waiting(db)

    def correct(tx: Session) -> str:
        later = period_at(tx, JANUARY)
        line(tx, 5, later, -3600 * 100, corrects=periods[0])
        close(tx, later)
        return str(statement(tx, later, PRV)["fee"]["amount"])

    assert await db.write(correct) == "-1.75"
    # 35.00 less are owed, which pay for the first statement: 0.87 of 17.50
    assert await due(db) == ("-997.50", "-53.38", "0.83", "0.05")


@pytest.mark.parametrize(
    "tamper",
    [
        "UPDATE funds SET deposited = 36000",
        "UPDATE ledger_postings SET amount = -874 WHERE account = 'platform_fee'",
    ],
)
async def test_the_proof_of_the_books_covers_what_is_due(db: Database, database_engine: str, tamper: str) -> None:
    await waiting(db)
    await db.write(pay, 35_000)
    unguarded = {
        "sqlite": "DROP TRIGGER ledger_postings_update",
        "postgresql": "ALTER TABLE ledger_postings DISABLE TRIGGER ALL",
    }
    await db.write(lambda tx: tx.execute(text(unguarded[database_engine])))
    await db.write(lambda tx: tx.execute(text(tamper)))
    assert "PRV-2026-000001" in [one.subject for one in await db.read(proof) if one.check == "fee"]


# Who agrees and who reads

AGREEMENT = {"provider": PRV, "rate": 500, "floor": "100.00", "starts_at": iso(DECEMBER)}


@pytest.fixture
async def known(accounting: Running) -> Database:
    books: Database = accounting.app.provided[Runtime].db
    await books.write(party_copies)
    return books


async def test_finance_agrees_and_a_provider_reads_its_own(accounting: Running, known: Database) -> None:
    finance = accounting.person("finance", "platform:finance")
    refused(await finance.post("/fee-agreements", AGREEMENT), 409, "tax_rule_missing")
    await known.write(platform_is_taxed)
    mine = ok(await finance.post("/fee-agreements", AGREEMENT), 201)
    assert mine == AGREEMENT | {
        "due": "at_close",
        "id": mine["id"],
        "ends_at": None,
        "made_at": mine["made_at"],
        "made_by": "finance",
    }
    others = ok(await finance.post("/fee-agreements", AGREEMENT | {"provider": OTHER_PRV}), 201)
    assert ok(await finance.get("/fee-agreements"))["items"] == [others, mine]
    assert ok(await finance.get("/fee-agreements", provider=PRV))["items"] == [mine]
    seller = accounting.person("seller", f"provider/{PRV}:admin")
    assert ok(await seller.get("/fee-agreements"))["items"] == [mine]
    assert ok(await seller.get("/fee-agreements", provider=OTHER_PRV))["items"] == []
    first = ok(await finance.get("/fee-agreements", limit=1))
    assert ok(await finance.get("/fee-agreements", limit=1, cursor=first["next"]))["items"] == [mine]
    refused(await seller.post("/fee-agreements", AGREEMENT), 404, "not_found")
    refused(await accounting.person("member", f"org/{ORG}:admin").get("/fee-agreements"), 404, "not_found")
    (entry,) = ok(await accounting.person("operator", "platform:admin").get("/audit", entity=mine["id"]))["items"]
    assert (entry["action"], entry["subject"]) == ("make_fee_agreement", "finance")


async def test_an_agreement_that_never_could_hold_is_refused(
    accounting: Running, finance: Person, known: Database
) -> None:
    def write(tx: Session) -> None:
        platform_is_taxed(tx)
        close(tx, period_at(tx, AT))

    await known.write(write)
    for wrong, pointer in (
        ({"rate": 10_001}, "/rate"),
        ({"floor": "-0.01"}, "/floor"),
        ({"ends_at": iso(DECEMBER)}, "/ends_at"),
    ):
        assert pointers(refused(await finance.post("/fee-agreements", AGREEMENT | wrong), 422, "invalid")) == [pointer]
    stranger = {"provider": "prv_" + "9" * 32}
    assert pointers(refused(await finance.post("/fee-agreements", AGREEMENT | stranger), 422, "unknown_reference"))
    problem = refused(await finance.post("/fee-agreements", AGREEMENT | {"starts_at": iso(AT)}), 409, "period_frozen")
    assert problem["earliest"] == iso(DECEMBER)
