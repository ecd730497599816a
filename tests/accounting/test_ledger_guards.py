"""The database itself refuses what would falsify the books, on both engines, whoever asks."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import asyncpg
import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from caravan.contracts.statements import EntryKind
from caravan.kernel import ids
from caravan.kernel.database import Database
from services.accounting.ledger import sealing, service
from services.accounting.ledger.models import Entry, EntryPosting, Seal
from services.accounting.ledger.postings import Posting
from services.accounting.ledger.verify import verify
from tests.accounting.books import AT, ORG, PRV, line, party_copies, period_at

APPEND_ONLY = ("ledger_entries", "ledger_postings", "ledger_seals", "statements")
CLOSED = "UPDATE periods SET state = 'closed' WHERE id = :period"


def add_posting(tx: Session, entry: str, number: int, account: str, amount: int) -> None:
    tx.execute(insert(EntryPosting).values(entry=entry, number=number, account=account, amount=amount))


def add_entry(tx: Session, entry: str, count: int) -> None:
    tx.execute(
        insert(Entry).values(
            id=entry,
            kind="deposit",
            at=AT,
            organization=ORG,
            reference="r",
            description="",
            posting_count=count,
        )
    )


def write(tx: Session, amounts: Sequence[int], count: int | None = None) -> str:
    """Postings of these amounts, then their entry."""
    entry = ids.new("ent")
    for number, amount in enumerate(amounts, start=1):
        add_posting(tx, entry, number, f"account-{number}", amount)
    add_entry(tx, entry, len(amounts) if count is None else count)
    return entry


def execute(statement: str, **parameters: Any) -> Callable[[Session], None]:
    def unit(tx: Session) -> None:
        tx.execute(text(statement), parameters)

    return unit


async def refused(db: Database, unit: Callable[[Session], object], words: str) -> None:
    """The unit fails with these words, and the database goes on."""
    with pytest.raises((IntegrityError, sqlite3.IntegrityError), match=words):  # the driver's own when a commit fails
        await db.write(unit)
    await db.write(write, [1, -1])


@pytest.fixture
async def entry(db: Database) -> str:
    """A sealed entry of two postings."""
    made = await db.write(write, [5, -5])

    def seal(tx: Session) -> None:
        tx.execute(insert(Seal).values(sequence=1, entry=made, hash="0" * 64, sealed_at=AT))

    await db.write(seal)
    return made


@pytest.mark.parametrize("amounts", [(5, -4), (1, 1), (0, 5, -5)], ids=str)
async def test_an_entry_that_does_not_sum_to_zero_is_refused(db: Database, amounts: Sequence[int]) -> None:
    with pytest.raises(IntegrityError):
        await db.write(write, amounts)


@pytest.mark.parametrize("amounts", [(), (5,)], ids=["empty", "one posting"])
async def test_an_entry_without_two_postings_is_refused(db: Database, amounts: Sequence[int]) -> None:
    await refused(db, lambda tx: write(tx, amounts, count=2), "at least two postings that sum to zero")


async def test_an_entry_with_fewer_postings_than_it_says_is_refused(db: Database) -> None:
    await refused(db, lambda tx: write(tx, (5, -5), count=3), "at least two postings that sum to zero")


async def test_the_service_cannot_post_what_does_not_balance(db: Database) -> None:
    def post(tx: Session) -> None:
        entry = (Posting("bank", 5), Posting("prepaid:x", -4))
        service.post(tx, kind=EntryKind.DEPOSIT, at=AT, organization=ORG, reference="r", entry=entry)

    await refused(db, post, "at least two postings that sum to zero")


async def test_a_posting_whose_entry_exists_is_refused(db: Database, entry: str) -> None:
    await refused(db, lambda tx: add_posting(tx, entry, 3, "bank", 7), "the entry is complete")


async def test_a_posting_without_an_entry_fails_at_commit(db: Database) -> None:
    await refused(db, lambda tx: add_posting(tx, ids.new("ent"), 1, "bank", 7), "(?i)foreign key")


@pytest.mark.parametrize("table", ["ledger_entries", "ledger_postings", "ledger_seals"])
async def test_what_is_posted_or_sealed_is_never_updated(db: Database, entry: str, table: str) -> None:
    column = {"ledger_entries": "reference", "ledger_postings": "account", "ledger_seals": "hash"}[table]
    await refused(db, execute(f"UPDATE {table} SET {column} = 'x'"), f"{table} is append-only")


@pytest.mark.parametrize("table", ["ledger_entries", "ledger_postings", "ledger_seals"])
async def test_what_is_posted_or_sealed_is_never_deleted(db: Database, entry: str, table: str) -> None:
    await refused(db, execute(f"DELETE FROM {table}"), f"{table} is append-only")


async def test_an_upsert_does_not_change_a_posting(db: Database, entry: str) -> None:
    statement = (
        "INSERT INTO ledger_postings VALUES (:entry, 1, 'bank', 9) ON CONFLICT (entry, number) DO UPDATE SET amount = 9"
    )
    await refused(db, execute(statement, entry=entry), "append-only|complete")


async def test_a_seal_out_of_order_is_refused(db: Database, entry: str) -> None:
    def seal(tx: Session) -> None:
        made = write(tx, [1, -1])
        tx.execute(insert(Seal).values(sequence=3, entry=made, hash="0" * 64, sealed_at=AT))

    await refused(db, seal, "seals follow each other")


REPLACES = (
    "INSERT OR REPLACE INTO ledger_entries VALUES ('{entry}', 'deposit', 0, NULL, 'changed', '', 2)",
    "INSERT OR REPLACE INTO ledger_postings VALUES ('{entry}', 1, 'bank', 9)",
    "INSERT OR REPLACE INTO ledger_seals VALUES (1, '{entry}', 'changed', 0)",
    "INSERT OR REPLACE INTO ledger_seals VALUES (2, '{entry}', 'changed', 0)",
    "REPLACE INTO ledger_entries SELECT * FROM ledger_entries",
    "UPDATE OR REPLACE ledger_seals SET sequence = 1",
)


@pytest.mark.parametrize("recursive", ["ON", "OFF"])
@pytest.mark.parametrize("database_engine", ["sqlite"])
async def test_insert_or_replace_changes_nothing(
    db: Database, database_engine: str, entry: str, recursive: str
) -> None:
    await db.write(write, [7, -7])
    connection = sqlite3.connect(str(db.url.database), isolation_level=None)
    connection.execute(f"PRAGMA recursive_triggers = {recursive}")
    before = list(connection.iterdump())
    for statement in REPLACES:
        with pytest.raises(sqlite3.IntegrityError, match=r"append-only|complete|follow"):
            connection.execute(statement.format(entry=entry))
    assert list(connection.iterdump()) == before
    connection.close()


@pytest.mark.parametrize("table", [*APPEND_ONLY, "lines", "periods"])
@pytest.mark.parametrize("database_engine", ["postgresql"])
async def test_truncate_is_refused(db: Database, database_engine: str, entry: str, table: str) -> None:
    await refused(db, execute(f"TRUNCATE {table} CASCADE"), "append-only")


@pytest.fixture
async def connections(accounting_url: str) -> AsyncIterator[tuple[asyncpg.Connection, asyncpg.Connection]]:
    first, second = await asyncpg.connect(accounting_url), await asyncpg.connect(accounting_url)
    yield first, second
    await first.close()
    await second.close()


POSTING = "INSERT INTO ledger_postings (entry, number, account, amount) VALUES ($1, $2, $3, $4)"
ENTRY = (
    "INSERT INTO ledger_entries (id, kind, at, organization, reference, description, posting_count)"
    " VALUES ($1, 'deposit', 0, NULL, 'r', '', 2)"
)


REFUSED_AT_COMMIT = {
    "read_committed": (asyncpg.RestrictViolationError, "the postings at commit are not those"),
    "serializable": ((asyncpg.ForeignKeyViolationError, asyncpg.SerializationError), "foreign key|serialize access"),
}


@pytest.mark.parametrize("isolation", REFUSED_AT_COMMIT)
@pytest.mark.parametrize("added", [[7], [7, -7]], ids=["unbalanced", "balanced"])
@pytest.mark.parametrize("database_engine", ["postgresql"])
async def test_a_posting_added_by_a_concurrent_transaction_is_refused_at_commit(
    db: Database,
    database_engine: str,
    connections: tuple[asyncpg.Connection, asyncpg.Connection],
    isolation: str,
    added: Sequence[int],
) -> None:
    owner, intruder = connections
    entry = ids.new("ent")
    owners, intruders = owner.transaction(isolation=isolation), intruder.transaction(isolation=isolation)
    await owners.start()
    await intruders.start()
    await owner.execute(POSTING, entry, 1, "bank", 5)
    await owner.execute(POSTING, entry, 2, "prepaid:x", -5)
    await owner.execute(ENTRY, entry)
    for number, amount in enumerate(added, start=3):
        await intruder.execute(POSTING, entry, number, f"bank-{number}", amount)  # the entry is not visible to it
    await owners.commit()
    error, words = REFUSED_AT_COMMIT[isolation]
    with pytest.raises(error, match=words):
        await intruders.commit()
    amounts = await owner.fetch("SELECT amount FROM ledger_postings WHERE entry = $1 ORDER BY number", entry)
    assert [row["amount"] for row in amounts] == [5, -5]


@pytest.mark.parametrize("database_engine", ["postgresql"])
async def test_a_posting_added_before_the_entry_commits_is_refused_too(
    db: Database, database_engine: str, connections: tuple[asyncpg.Connection, asyncpg.Connection]
) -> None:
    owner, intruder = connections
    entry = ids.new("ent")
    owners, intruders = owner.transaction(), intruder.transaction()
    await owners.start()
    await intruders.start()
    await owner.execute(POSTING, entry, 1, "bank", 5)
    await owner.execute(POSTING, entry, 2, "prepaid:x", -5)
    await owner.execute(ENTRY, entry)
    await intruder.execute(POSTING, entry, 3, "bank", 7)
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await intruders.commit()
    await owners.commit()
    assert await owner.fetchval("SELECT count(*) FROM ledger_postings") == 2


# Periods, and the lines that they seal


@pytest.fixture
async def closed(db: Database) -> dict[str, Any]:
    """A line in a closed period."""

    def make(tx: Session) -> dict[str, Any]:
        party_copies(tx)
        made = line(tx, 1, period_at(tx, AT), 3600)
        tx.execute(text(CLOSED), made)
        return made

    return await db.write(make)


@pytest.mark.parametrize(
    "change", ["state = 'open'", "name = 'x'", "ends_at = ends_at + 1000000", "version = version + 1"]
)
async def test_a_closed_period_is_never_changed(db: Database, closed: dict[str, Any], change: str) -> None:
    await refused(db, execute(f"UPDATE periods SET {change} WHERE id = :period", **closed), "the period is sealed")


async def test_a_closing_period_is_not_opened_again(db: Database) -> None:
    period = await db.write(period_at, AT)
    await db.write(execute("UPDATE periods SET state = 'closing' WHERE id = :period", period=period))
    for change in ("state = 'open'", "ends_at = ends_at - 1000000"):
        await refused(db, execute(f"UPDATE periods SET {change} WHERE id = :period", period=period), "sealed")


async def test_a_period_is_never_deleted(db: Database, closed: dict[str, Any]) -> None:
    await refused(db, execute("DELETE FROM periods WHERE id = :period", **closed), "never deleted|append-only")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE lines SET quantity = quantity + 1 WHERE id = :id",
        "UPDATE lines SET period = 'per_x' WHERE id = :id",
        "DELETE FROM lines WHERE id = :id",
    ],
)
async def test_a_line_of_a_closed_period_never_changes(db: Database, closed: dict[str, Any], statement: str) -> None:
    await refused(db, execute(statement, id=closed["id"]), "a closed period takes no change of its lines")


async def test_a_closed_period_takes_no_further_line(db: Database, closed: dict[str, Any]) -> None:
    await refused(db, lambda tx: line(tx, 2, closed["period"], 1), "a closed period takes no change of its lines")


async def test_a_line_does_not_move_into_a_closed_period(db: Database, closed: dict[str, Any]) -> None:
    other = await db.write(lambda tx: line(tx, 2, period_at(tx, AT.replace(year=2027)), 1))
    move = execute("UPDATE lines SET period = :period WHERE id = :id", period=closed["period"], id=other["id"])
    await refused(db, move, "a closed period takes no change of its lines")


@pytest.mark.parametrize("recursive", ["ON", "OFF"])
@pytest.mark.parametrize("database_engine", ["sqlite"])
async def test_insert_or_replace_changes_no_closed_period_and_no_line_of_it(
    db: Database, database_engine: str, closed: dict[str, Any], recursive: str
) -> None:
    await db.write(lambda tx: line(tx, 2, period_at(tx, AT.replace(year=2027)), 1))
    connection = sqlite3.connect(str(db.url.database), isolation_level=None)
    connection.execute(f"PRAGMA recursive_triggers = {recursive}")
    before = list(connection.iterdump())
    for statement in (
        "REPLACE INTO periods SELECT * FROM periods WHERE id = :period",
        "UPDATE OR REPLACE periods SET starts_at = (SELECT starts_at FROM periods WHERE id = :period) WHERE id <> :period",
        "REPLACE INTO lines SELECT * FROM lines WHERE id = :id",
        "UPDATE OR REPLACE lines SET id = :id WHERE id <> :id",
    ):
        with pytest.raises(sqlite3.IntegrityError, match=r"sealed|replaced|no change"):
            connection.execute(statement, {"period": closed["period"], "id": closed["id"]})
    assert list(connection.iterdump()) == before
    connection.close()


async def test_the_guards_let_the_service_post_and_seal(db: Database) -> None:
    def post(tx: Session) -> None:
        service.deposit(tx, organization=ORG, amount_fen=100, reference="d", at=AT)
        service.charge(tx, organization=ORG, seller=PRV, delta_fen=130, reference="j", at=AT)
        service.charge(tx, organization=ORG, seller=PRV, delta_fen=-130, reference="j", at=AT)

    await db.write(post)
    assert await db.write(sealing.seal, "me") == 3
    assert list(await db.read(lambda tx: list(verify(tx)))) == []
