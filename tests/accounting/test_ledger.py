"""Posting, balances, seals, the proof of the books, and who reads them."""

import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, text
from sqlalchemy.orm import Session

from caravan.contracts.reconciliations import Finding
from caravan.kernel import ids, leases
from caravan.kernel.database import Database
from services.accounting.charging import verify as charging
from services.accounting.ledger import sealing, service
from services.accounting.ledger.models import Balance
from services.accounting.ledger.reading import trial_balance
from services.accounting.ledger.verify import verify, verify_ledger
from tests.accounting.books import AT, ORG, OTHER_ORG, OTHER_PRV, PRV, identifier, line, party_copies, period_at
from tests.accounting.world import World
from tests.support import Running, ok, refused

TAMPER = {
    "sqlite": ("DROP TRIGGER {0}_update", "DROP TRIGGER {0}_delete"),
    "postgresql": ("ALTER TABLE {0} DISABLE TRIGGER ALL",),
}
"""How someone with rights over the schema gets past the guards."""


def deposit(tx: Session, amount: int, organization: str = ORG) -> str:
    return service.deposit(tx, organization=organization, amount_fen=amount, reference="dep", at=AT)


def charge(tx: Session, delta: int, organization: str = ORG, provider: str = PRV) -> str | None:
    return service.charge(tx, organization=organization, seller=provider, delta_fen=delta, reference="job", at=AT)


def balances(tx: Session) -> dict[str, str]:
    return {account.account: str(account.balance) for account in trial_balance(tx).accounts}


async def findings(db: Database) -> list[Finding]:
    """But for lines without usage, which the tests of the books alone don't write."""
    return [finding for finding in await db.read(lambda tx: list(verify(tx))) if finding.check != "usage"]


async def test_charges_take_prepaid_then_receivable_and_deposits_pay_back(db: Database) -> None:
    await db.write(deposit, 1000)
    await db.write(charge, 1300)
    assert await db.read(balances) == {
        "bank": "10.00",
        f"payable:{PRV}": "-13.00",
        f"prepaid:{ORG}": "0.00",
        f"receivable:{ORG}": "3.00",
    }
    await db.write(deposit, 500)
    await db.write(charge, -100)
    assert await db.read(balances) == {
        "bank": "15.00",
        f"payable:{PRV}": "-12.00",
        f"prepaid:{ORG}": "-3.00",
        f"receivable:{ORG}": "0.00",
    }
    assert await findings_of_money(db) == []


async def findings_of_money(db: Database) -> list[Finding]:
    """Findings but for charges without lines, which the tests of the ledger alone don't write."""
    return [finding for finding in await findings(db) if finding.check != "charge"]


async def test_no_change_posts_nothing(db: Database) -> None:
    assert await db.write(charge, 0) is None
    assert (await db.read(trial_balance)).accounts == ()


async def test_a_unit_that_fails_leaves_no_entry_and_no_balance(db: Database) -> None:
    def fail(tx: Session) -> None:
        deposit(tx, 100)
        raise LookupError

    with pytest.raises(LookupError):
        await db.write(fail)
    assert (await verify_ledger(db)).entries == 0
    assert (await db.read(trial_balance)).accounts == ()


Fact = tuple[str, int, int]
FACTS = st.lists(st.tuples(st.sampled_from("dc"), st.integers(-(10**6), 10**6), st.integers(0, 1)), max_size=12)


@pytest.fixture
async def proved(db: Database) -> AsyncIterator[Database]:
    """The books, which must be proved at the end."""
    yield db
    assert await findings_of_money(db) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(facts=FACTS)
async def test_any_facts_leave_what_deposits_less_charges_say(proved: Database, facts: list[Fact]) -> None:
    """Deposits, charges and reversals of two organizations in any order, against a model, on the database."""
    organizations = (ids.new("org"), ids.new("org"))

    def apply(tx: Session) -> None:
        nets = [0, 0]
        for kind, amount, who in facts:
            if kind == "d" and amount > 0:
                deposit(tx, amount, organizations[who])
                nets[who] += amount
            elif kind == "c":
                charge(tx, amount, organizations[who])
                nets[who] -= amount
        kept = {account.account: account.balance.fen for account in trial_balance(tx).accounts}
        assert sum(kept.values()) == 0
        for organization, net in zip(organizations, nets, strict=True):
            assert service.net(tx, organization) == net
            assert -kept.get(f"prepaid:{organization}", 0) == max(net, 0)
            assert kept.get(f"receivable:{organization}", 0) == max(-net, 0)

    await proved.write(apply)


async def test_seals_chain_over_entries_in_order_and_only_what_waits(db: Database) -> None:
    for amount in (100, 200, 300):
        await db.write(deposit, amount)
    assert await db.write(sealing.seal, "me") == 3
    assert await db.write(sealing.seal, "me") == 0
    await db.write(deposit, 400)
    assert await db.read(sealing.any_unsealed)
    assert await sealing.Sealer(db, "me").iteration() == sealing.PAUSE_SECONDS
    report = await verify_ledger(db)
    assert report.ok
    assert (report.entries, report.seals, report.unsealed) == (4, 4, 0)


async def test_only_the_lease_holder_seals(db: Database) -> None:
    await db.write(deposit, 100)
    await db.write(leases.acquire, sealing.LEASE, "another", sealing.LEASE_TTL)
    assert await db.write(sealing.seal, "me") == 0
    assert (await verify_ledger(db)).unsealed == 1


async def test_the_seal_is_what_its_docstring_says(db: Database) -> None:
    entry = await db.write(deposit, 100)
    await db.write(sealing.seal, "me")
    canonical = (
        f'{{"at":{int(AT.timestamp()) * 1_000_000},"description":"","id":"{entry}","kind":"deposit",'
        f'"organization":"{ORG}","postings":[["bank",100],["prepaid:{ORG}",-100]],"reference":"dep"}}'
    )
    sealed = await db.read(lambda tx: tx.execute(text("SELECT hash FROM ledger_seals")).scalar_one())
    assert sealed == hashlib.sha256(b"0" * 64 + canonical.encode()).hexdigest()


def tampering(engine: str, table: str, statement: str, **values: Any) -> Callable[[Session], None]:
    def tamper(tx: Session) -> None:
        for guard in TAMPER[engine]:
            tx.execute(text(guard.format(table)))
        tx.execute(text(statement), values)

    return tamper


@pytest.mark.parametrize(
    ("table", "statement", "checks"),
    [
        ("ledger_entries", "UPDATE ledger_entries SET reference = 'other' WHERE id = :entry", {"seal"}),
        (
            "ledger_postings",
            "UPDATE ledger_postings SET account = 'bank-2' WHERE account = 'bank'",
            {"seal", "balance"},
        ),
        ("ledger_postings", "UPDATE ledger_postings SET amount = amount + 1 WHERE account = 'bank'", {"entry", "seal"}),
        ("ledger_seals", "DELETE FROM ledger_seals WHERE sequence = 2", {"seal"}),
        ("ledger_seals", "UPDATE ledger_seals SET hash = 'x' WHERE sequence = 3", {"seal"}),
    ],
)
async def test_what_was_changed_behind_the_guards_is_found(
    db: Database, database_engine: str, table: str, statement: str, checks: set[str]
) -> None:
    entries = [await db.write(deposit, amount) for amount in (100, 200, 300)]
    await db.write(sealing.seal, "me")
    assert await findings(db) == []
    await db.write(tampering(database_engine, table, statement, entry=entries[0]))
    assert checks <= {finding.check for finding in await findings(db)}


async def test_a_balance_that_drifted_is_found(db: Database) -> None:
    await db.write(deposit, 100)
    await db.write(lambda tx: tx.execute(text("UPDATE ledger_balances SET debit = debit + 1 WHERE account = 'bank'")))
    assert {finding.check for finding in await findings(db)} == {"balance", "trial balance"}


async def test_prepaid_below_zero_is_refused_by_the_database(db: Database) -> None:
    def overdraw(tx: Session) -> None:
        tx.execute(insert(Balance).values(account=f"prepaid:{ORG}", debit=1, credit=0))

    with pytest.raises(Exception, match="ck_ledger_balances_prepaid"):
        await db.write(overdraw)


async def test_lines_that_are_not_what_was_posted_are_found(db: Database) -> None:
    def write(tx: Session) -> None:
        party_copies(tx)
        period = period_at(tx, AT)
        line(tx, 1, period, 3600)
        line(tx, 2, period, 7200, provider=OTHER_PRV, bearer="provider", reason="site_fault")

    await db.write(write)
    assert await findings(db) == []
    await db.write(charge, 7)
    found = await findings(db)
    assert [(finding.check, finding.detail) for finding in found] == [("charge", "lines give 0.35, postings 0.42")]


@pytest.mark.parametrize(("quantity", "price"), [(1800, "0.18"), (7200, "0.70")])
@pytest.mark.parametrize("batch", [1, 2])
async def test_a_line_whose_amount_is_not_the_price_of_its_quantity_is_found(
    db: Database, monkeypatch: pytest.MonkeyPatch, batch: int, quantity: int, price: str
) -> None:
    monkeypatch.setattr(charging, "BATCH", batch)

    def write(tx: Session) -> None:
        party_copies(tx)
        for number in (1, 2, 3):
            line(tx, number, period_at(tx, AT), 3600)

    await db.write(write)
    assert await findings(db) == []
    wrong = [{"quantity": quantity, "of_job": identifier("job", number)} for number in (2, 3)]
    changed = text("UPDATE lines SET quantity = :quantity WHERE job = :of_job")
    await db.write(lambda tx: tx.execute(changed, wrong))
    found = [(one.check, one.subject, one.detail) for one in await findings(db)]
    detail = f"{quantity} of cpu_core_hour come to 0.35, and should to {price}"
    assert found == [("line", one["of_job"], detail) for one in wrong]


# Who reads the books


async def test_finance_lists_entries_newest_first_by_account_and_kind(accounting: Running, world: World) -> None:
    first = await world.deposit("5.00")
    second = await world.deposit("7.00")
    entries = ok(await world.finance.get("/ledger/entries"))["items"]
    assert [entry["reference"] for entry in entries] == [second["id"], first["id"]]
    assert entries[0]["postings"] == [
        {"account": "bank", "amount": "7.00"},
        {"account": f"prepaid:{world.organization}", "amount": "-7.00"},
    ]
    by_account = ok(await world.finance.get("/ledger/entries", account="bank", limit=1))
    assert [entry["reference"] for entry in by_account["items"]] == [second["id"]]
    rest = ok(await world.finance.get("/ledger/entries", account="bank", limit=1, cursor=by_account["next"]))
    assert [entry["reference"] for entry in rest["items"]] == [first["id"]]
    assert rest["next"] is None
    assert ok(await world.finance.get("/ledger/entries", kind="charge"))["items"] == []
    assert ok(await world.finance.get("/ledger/entries", account="payable:x"))["items"] == []


async def test_a_member_reads_the_entries_of_its_own_organization_only(accounting: Running, world: World) -> None:
    await world.deposit("5.00")
    stranger = accounting.person("stranger", f"org/{OTHER_ORG}:member")
    assert len(ok(await world.member.get("/ledger/entries"))["items"]) == 1
    for filters in ({}, {"organization": world.organization}, {"account": "bank"}):
        assert ok(await stranger.get("/ledger/entries", **filters))["items"] == []
    refused(await world.member.get("/ledger/trial-balance"), 404, "not_found")
    refused(await world.seller.get("/ledger/entries"), 404, "not_found")


async def test_the_trial_balance_sums_to_zero(accounting: Running, world: World) -> None:
    await world.deposit("5.00")
    balance = ok(await world.finance.get("/ledger/trial-balance"))
    assert balance["sum"] == "0.00"
    assert balance["accounts"] == [
        {"account": "bank", "debit": "5.00", "credit": "0.00", "balance": "5.00"},
        {"account": f"prepaid:{world.organization}", "debit": "0.00", "credit": "5.00", "balance": "-5.00"},
    ]
