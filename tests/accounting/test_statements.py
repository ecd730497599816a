"""Statements: the sum of their lines, numbered without gaps, sealed, and read by those they are about."""

import asyncio
import csv
import hashlib
import io
import sqlite3
from collections import Counter
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from caravan.contracts import events
from caravan.contracts.usage import JobNamed
from caravan.kernel import clock
from caravan.kernel.database import Database
from caravan.kernel.runtime import Runtime
from services.accounting.periods import closing, service
from services.accounting.statements import lines as statement_lines
from services.accounting.tax import verify as tax
from services.accounting.tax.spreading import tax_of
from services.accounting.usage.facts import Facts
from tests.accounting.books import (
    AT,
    DECEMBER,
    ORG,
    OTHER_ORG,
    OTHER_PRV,
    OTHER_SITE,
    PRV,
    SITE,
    identifier,
    job_name,
    line,
    party_copies,
    period_at,
    progress,
    proof,
)
from tests.accounting.test_histories import Undone
from tests.support import Json, Person, Running, ok, refused

LATER = DECEMBER + timedelta(days=400)


def close(tx: Session, period: str, now: datetime = LATER) -> None:
    """Close a period that is over, whatever its sites say."""
    closing._start(tx, period, now, timedelta())
    assert closing.finish(tx, period, now)


def rows(tx: Session, query: str = "SELECT * FROM statements ORDER BY number") -> list[dict[str, Any]]:
    return [dict(row._mapping) for row in tx.execute(text(query))]


@pytest.fixture
def books(accounting: Running) -> Database:
    runtime: Runtime = accounting.app.provided[Runtime]
    return runtime.db


async def november(books: Database) -> str:
    """November, closed: two organizations, two providers, a line that a provider bears, an adjustment downwards."""

    def write(tx: Session) -> str:
        party_copies(tx)
        earlier, period = period_at(tx, AT - timedelta(days=31)), period_at(tx, AT)
        for number, name in ((1, "风洞"), (2, "=HYPERLINK(1)"), (3, "＝SUM(1)")):
            job_name(tx, number, name)
        line(tx, 1, period, 3600 * 100)  # 35.00
        line(tx, 2, period, 3600 * 10, provider=OTHER_PRV)  # 3.50
        line(tx, 3, period, 3600, provider=OTHER_PRV, bearer="provider", reason="site_fault")  # 0.35
        line(tx, 4, period, 3600 * 4, organization=OTHER_ORG, project=identifier("prj", 2))  # 1.40
        line(tx, 5, period, -3600 * 2, corrects=earlier)  # -0.70
        progress(tx, SITE, AT)
        progress(tx, OTHER_SITE, AT, provider=OTHER_PRV)
        close(tx, period)
        return period

    return await books.write(write)


@pytest.fixture
async def period(books: Database) -> str:
    return await november(books)


async def statement_of(person: Person, party_id: str) -> Json:
    (statement,) = ok(await person.get("/statements", party_id=party_id))["items"]
    return statement


async def paper(person: Person, statement: Json) -> bytes:
    answer = await person.get(f"/statements/{statement['id']}/csv")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="{statement["number"]}.csv"'
    return answer.content


def table(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def owed(content: bytes) -> Decimal:
    """What the paper's rows come to, as a reader with a spreadsheet adds them up."""
    return sum(
        (Decimal(row["金额(元) Amount (CNY)"]) for row in table(content) if row["承担方 Bearer"] == "organization"),
        Decimal(0),
    )


# What is issued


async def test_a_statement_is_the_sum_of_its_lines(period: str, finance: Person) -> None:
    mine = await statement_of(finance, ORG)
    assert {name: mine[name] for name in ("gross", "tax", "net", "adjustments", "borne_by_provider")} == {
        "gross": "37.80",  # 35.00 - 0.70 from one seller, 3.50 from the other
        "net": "35.57",  # 34.30 / 1.06 = 32.36, 3.50 / 1.09 = 3.21
        "tax": "2.23",
        "adjustments": "-0.70",
        "borne_by_provider": "0.35",
    }
    assert (mine["party"], mine["party_name"], mine["period"], mine["period_name"]) == (
        "organization",
        "企业 1",
        period,
        "2026-11",
    )
    assert mine["line_count"] == 4
    assert mine["tax_rates"] == {PRV: 600, OTHER_PRV: 900}
    issued = ok(await finance.get("/statements"))["items"]
    gross = {
        party: sum(Decimal(statement["gross"]) for statement in issued if statement["party"] == party)
        for party in ("organization", "provider")
    }
    assert gross == {"organization": Decimal("39.20"), "provider": Decimal("39.20")}


async def test_parties_without_lines_get_no_statement(period: str, finance: Person) -> None:
    issued = ok(await finance.get("/statements"))["items"]
    assert sorted(statement["party_id"] for statement in issued) == [ORG, OTHER_ORG, PRV, OTHER_PRV]


async def test_late_sites_are_named_to_those_whom_they_concern(period: str, finance: Person) -> None:
    assert (await statement_of(finance, ORG))["late_sites"] == [SITE, OTHER_SITE]
    assert (await statement_of(finance, PRV))["late_sites"] == [SITE]
    assert (await statement_of(finance, OTHER_PRV))["late_sites"] == [OTHER_SITE]


async def test_the_paper_adds_up_to_the_statement_and_is_what_was_sealed(period: str, finance: Person) -> None:
    for statement in ok(await finance.get("/statements"))["items"]:
        content = await paper(finance, statement)
        assert str(owed(content)) == statement["gross"]
        assert len(table(content)) == statement["line_count"]
        assert hashlib.sha256(content).hexdigest() == statement["lines_sha256"]


async def test_the_paper_opens_in_excel_with_both_languages(period: str, finance: Person) -> None:
    content = await paper(finance, await statement_of(finance, ORG))
    assert content.startswith(b"\xef\xbb\xbf")
    assert content.count(b"\r\n") == content.count(b"\n") == 5
    first, second, *others = table(content)
    assert all(not name.isascii() and any(c.isascii() and c.isalpha() for c in name) for name in first)
    assert (first["作业名称 Job name"], first["企业名称 Organization name"]) == ("风洞", "企业 1")
    assert (first["数量 Quantity"], first["数量单位 Quantity unit"]) == ("360000", "核秒 core-seconds")
    assert (first["单价(元) Unit price (CNY)"], first["计价单位 Price per"]) == ("0.35", "核时 core-hour")
    for row in table(content):
        quantity, divisor = Decimal(row["数量 Quantity"]), Decimal(row["除数 Divisor"])
        amount = quantity / divisor * Decimal(row["单价(元) Unit price (CNY)"])
        assert str(amount.quantize(Decimal("0.01"), ROUND_HALF_UP)) == row["金额(元) Amount (CNY)"]
    assert [row["作业名称 Job name"] for row in (second, *others)] == ["'=HYPERLINK(1)", "'＝SUM(1)", ""]
    assert table(content)[-1]["更正账期 Corrects period"] == "2026-10"


async def test_the_paper_stays_the_same_when_a_party_is_renamed(books: Database, period: str, finance: Person) -> None:
    await books.write(lambda tx: tx.execute(text("UPDATE organizations SET name = 'renamed'")))
    mine = await statement_of(finance, ORG)
    assert hashlib.sha256(await paper(finance, mine)).hexdigest() == mine["lines_sha256"]


async def test_the_paper_stays_the_same_when_a_job_is_named_again(
    books: Database, period: str, finance: Person
) -> None:
    again = JobNamed(job=identifier("job", 1), name="renamed")
    await books.write(Facts(clock.now).store, [{"type": events.JOB_NAMED, "data": again.model_dump()}])
    mine = await statement_of(finance, ORG)
    assert hashlib.sha256(await paper(finance, mine)).hexdigest() == mine["lines_sha256"]


async def test_the_paper_is_the_same_in_whatever_batches_it_is_read(
    period: str, finance: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = await statement_of(finance, ORG)
    for batch in (1, 2, 3, 4):
        monkeypatch.setattr(statement_lines, "BATCH", batch)
        assert hashlib.sha256(await paper(finance, mine)).hexdigest() == mine["lines_sha256"]


async def test_lines_come_in_pages_in_the_papers_order(period: str, finance: Person) -> None:
    mine = await statement_of(finance, ORG)
    path, cursor, items = f"/statements/{mine['id']}/lines", None, []
    while True:
        page = ok(await finance.get(path, limit=2, **({"cursor": cursor} if cursor else {})))
        items += page["items"]
        if (cursor := page["next"]) is None:
            break
    assert [item["line"]["id"] for item in items] == [identifier("lin", number) for number in (1, 2, 3, 5)]
    assert [item["job_name"] for item in items] == ["风洞", "=HYPERLINK(1)", "＝SUM(1)", None]
    assert [row["行号 Line"] for row in table(await paper(finance, mine))] == [item["line"]["id"] for item in items]


# Numbers


async def test_numbers_are_gapless_within_their_kind_when_periods_close_at_once(db: Database) -> None:
    def write(tx: Session, number: int) -> str:
        period = period_at(tx, AT + timedelta(days=31 * number))
        line(tx, number, period, 3600)
        line(tx, 100 + number, period, 3600, organization=OTHER_ORG)
        return period

    await db.write(party_copies)
    periods = [await db.write(write, number) for number in range(1, 7)]
    await asyncio.gather(*(db.write(close, period) for period in periods))
    numbers = [row["number"] for row in await db.read(rows)]
    assert numbers == [
        *("ORG-2026-000001", "ORG-2026-000002"),
        *(f"ORG-2027-{number:06d}" for number in range(1, 11)),
        "PRV-2026-000001",
        *(f"PRV-2027-{number:06d}" for number in range(1, 6)),
    ]


async def test_a_close_that_fails_takes_no_number(db: Database) -> None:
    def write(tx: Session) -> str:
        party_copies(tx, rates={PRV: 600})
        period = period_at(tx, AT)
        line(tx, 1, period, 3600)
        line(tx, 2, period, 3600, provider=OTHER_PRV)
        return period

    period = await db.write(write)
    with pytest.raises(LookupError, match="is taxed is not known"):
        await db.write(close, period)
    assert await db.read(rows) == []
    await db.write(
        lambda tx: tx.execute(
            text(f"INSERT INTO providers (id, name, tax_rate, version) VALUES ('{OTHER_PRV}', 'late', 900, 1)")
        )  # now it came
    )
    await db.write(close, period)
    assert [row["number"] for row in await db.read(rows)] == ["ORG-2026-000001", "PRV-2026-000001", "PRV-2026-000002"]


# Any lines

RATES = {PRV: 600, OTHER_PRV: 900}
LINES = st.lists(
    st.tuples(
        st.sampled_from([ORG, OTHER_ORG]),
        st.sampled_from([PRV, OTHER_PRV]),
        st.integers(-(10**7), 10**7).filter(bool),
        st.sampled_from(["organization", "provider", "nobody"]),
    ),
    max_size=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(facts=LINES)
async def test_any_lines_come_to_statements_that_prove(db: Database, facts: list[tuple[str, str, int, str]]) -> None:
    def write(tx: Session) -> None:
        party_copies(tx)
        period, written = period_at(tx, AT), []
        for number, (organization, provider, quantity, bearer) in enumerate(facts, 1):
            written.append(
                line(tx, number, period, quantity, organization=organization, provider=provider, bearer=bearer)
            )
        close(tx, period, AT + timedelta(days=40))
        issued = rows(tx, f"SELECT * FROM statements WHERE period = '{period}'")
        assert {row["party_id"] for row in issued} == {o["organization"] for o in written} | {
            o["provider"] for o in written
        }
        for row in issued:
            mine = [o for o in written if row["party_id"] in (o["organization"], o["provider"])]
            assert row["line_count"] == len(mine)
            assert row["gross"] == sum(o["amount"] for o in mine if o["bearer"] == "organization")
            sold: Counter[tuple[str, str]] = Counter()
            for o in mine:
                sold[o["organization"], o["provider"]] += o["amount"] * (o["bearer"] == "organization")
            assert row["tax"] == sum(tax_of(gross, RATES[seller]) for (_, seller), gross in sold.items())
            assert row["borne_by_provider"] == sum(o["amount"] for o in mine if o["bearer"] == "provider")
            assert row["notional"] == sum(o["amount"] for o in mine if o["bearer"] == "nobody")
        assert list(tax.verify(tx)) == []
        raise Undone

    with pytest.raises(Undone):
        await db.write(write)


# Sealed


@pytest.fixture
async def sealed(db: Database) -> str:
    return await november(db)


@pytest.mark.parametrize(
    "statement", ["UPDATE statements SET gross = gross + 1", "DELETE FROM statements WHERE number LIKE 'ORG%'"]
)
async def test_a_statement_never_changes(db: Database, sealed: str, statement: str) -> None:
    with pytest.raises(IntegrityError, match="statements is append-only"):
        await db.write(lambda tx: tx.execute(text(statement)))


async def test_no_statement_is_added_to_a_closed_period(db: Database, sealed: str) -> None:
    columns = "party, period, period_name, starts_at, ends_at, gross, tax, adjustments, borne_by_provider, late_sites"
    rest = "names, line_count, issued_at, lines_sha256"
    added = (
        f"INSERT INTO statements (id, number, party_id, party_name, {columns}, {rest})"
        f" SELECT 'stm_x', 'ORG-2026-000009', 'org_x', 'x', {columns}, {rest} FROM statements WHERE number LIKE 'ORG%1'"
    )
    with pytest.raises(IntegrityError, match="statements are issued as a period closes"):
        await db.write(lambda tx: tx.execute(text(added)))


@pytest.mark.parametrize("recursive", ["ON", "OFF"])
@pytest.mark.parametrize("database_engine", ["sqlite"])
async def test_insert_or_replace_changes_no_statement(
    db: Database, database_engine: str, sealed: str, recursive: str
) -> None:
    connection = sqlite3.connect(str(db.url.database), isolation_level=None)
    connection.execute(f"PRAGMA recursive_triggers = {recursive}")
    before = list(connection.iterdump())
    with pytest.raises(sqlite3.IntegrityError, match="statements"):
        connection.execute("REPLACE INTO statements SELECT * FROM statements")
    assert list(connection.iterdump()) == before
    connection.close()


async def test_the_proof_of_the_books_covers_statements(db: Database, database_engine: str, sealed: str) -> None:
    assert await db.read(proof) == []
    disable = "DROP TRIGGER lines_update" if database_engine == "sqlite" else "ALTER TABLE lines DISABLE TRIGGER ALL"
    line_1 = f"UPDATE lines SET amount = amount + 100 WHERE id = '{identifier('lin', 1)}'"

    def tamper(tx: Session) -> None:
        tx.execute(text(disable))
        tx.execute(text(line_1))

    await db.write(tamper)
    found = await db.read(lambda tx: [(f.check, f.subject) for f in proof(tx)])
    # its gross, its sections and the hash of its lines
    numbers = [number for number in ("ORG-2026-000001", "PRV-2026-000001") for _ in range(3)]
    proofs = [("charge", f"{ORG} payable:{PRV}"), ("line", identifier("job", 1)), ("tax", identifier("lin", 1))]
    assert found == [*proofs, *(("statement", number) for number in numbers)]


async def test_the_proof_of_the_books_covers_the_tax(db: Database, database_engine: str, sealed: str) -> None:
    await db.write(lambda tx: tx.execute(text("UPDATE providers SET tax_rate = 1300")))
    assert await db.read(proof) == []
    unguarded = {
        "sqlite": "DROP TRIGGER statements_update",
        "postgresql": "ALTER TABLE statements DISABLE TRIGGER ALL",
    }

    def tamper(tx: Session) -> None:
        tx.execute(text(unguarded[database_engine]))
        tx.execute(text("UPDATE statements SET tax = tax + 1 WHERE number = 'ORG-2026-000001'"))

    await db.write(tamper)
    found = await db.read(lambda tx: [(f.check, f.subject) for f in proof(tx)])
    assert found == [("statement", "ORG-2026-000001")]


async def test_the_proof_of_the_books_misses_a_statement_that_is_gone(
    db: Database, database_engine: str, sealed: str
) -> None:
    unguarded = {
        "sqlite": "DROP TRIGGER statements_delete",
        "postgresql": "ALTER TABLE statements DISABLE TRIGGER ALL",
    }

    def tamper(tx: Session) -> None:
        tx.execute(text(unguarded[database_engine]))
        tx.execute(text("DELETE FROM statements WHERE number = 'PRV-2026-000002'"))

    await db.write(tamper)
    found = await db.read(lambda tx: [(f.check, f.subject) for f in proof(tx)])
    assert found == [("statement", "PRV-2026-000002")]


async def test_a_closed_period_is_the_same_after_later_facts(db: Database, sealed: str) -> None:
    before = await db.read(rows), await db.read(service.find, sealed)

    def later(tx: Session) -> None:
        line(tx, 50, period_at(tx, DECEMBER), 3600, corrects=sealed)
        line(tx, 51, period_at(tx, DECEMBER), 3600)

    await db.write(later)
    december = await db.write(period_at, DECEMBER)
    await db.write(close, december)
    after = await db.read(rows)
    assert [row for row in after if row["period"] == sealed] == before[0]
    assert await db.read(service.find, sealed) == before[1]
    assert {row["adjustments"] for row in after if row["period"] == december} == {35}


# Who reads them


async def test_a_party_reads_its_own_statements_only(accounting: Running, period: str, finance: Person) -> None:
    readers = {
        ORG: accounting.person("a", f"org/{ORG}:member"),
        OTHER_ORG: accounting.person("b", f"org/{OTHER_ORG}:admin"),
        PRV: accounting.person("c", f"provider/{PRV}:admin"),
        OTHER_PRV: accounting.person("d", f"provider/{OTHER_PRV}:admin"),
    }
    all_of_them = ok(await finance.get("/statements", period=period))["items"]
    for party_id, reader in readers.items():
        assert [s["party_id"] for s in ok(await reader.get("/statements"))["items"]] == [party_id]
        for statement in all_of_them:
            for path in ("", "/lines", "/csv"):
                answer = await reader.get(f"/statements/{statement['id']}{path}")
                assert answer.status_code == (200 if statement["party_id"] == party_id else 404)
        assert ok(await reader.get("/statements", party_id=ORG))["items"] == (
            [await statement_of(finance, ORG)] if party_id == ORG else []
        )


async def test_who_is_no_party_reads_none(accounting: Running, period: str, finance: Person) -> None:
    mine = await statement_of(finance, ORG)
    for permissions in ((), ("platform:admin",), (f"site/{SITE}:agent",), ("service:broker",)):
        stranger = accounting.person("stranger", *permissions)
        for path in ("/statements", *(f"/statements/{mine['id']}{rest}" for rest in ("", "/lines", "/csv"))):
            refused(await stranger.get(path), 404, "not_found")


async def test_a_statement_of_nobody_is_not_found(period: str, finance: Person) -> None:
    for path in ("", "/lines", "/csv"):
        refused(await finance.get(f"/statements/{identifier('stm', 1)}{path}"), 404, "not_found")


async def test_statements_come_in_pages_the_newest_first(period: str, finance: Person) -> None:
    seen, cursor = [], None
    while True:
        page = ok(await finance.get("/statements", limit=3, **({"cursor": cursor} if cursor else {})))
        seen += [statement["id"] for statement in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert len(seen) == 4
    assert seen == sorted(seen, reverse=True)
