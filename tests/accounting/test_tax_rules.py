"""Dated tax rules: who posts and reads them, what goes by them, and the tax that stands on statements, lines and papers."""

import asyncio
import csv
import hashlib
import io
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, select, text
from sqlalchemy.orm import Session

from caravan.contracts.tax import TaxRuleDraft
from caravan.kernel.clock import to_microseconds
from caravan.kernel.database import Database
from caravan.kernel.migrations import migrate, on_connection
from caravan.kernel.runtime import Runtime
from caravan.kernel.tokens import Caller
from services.accounting.periods import closing
from services.accounting.periods import service as periods
from services.accounting.statements import service as statements
from services.accounting.statements.models import StatementRow
from services.accounting.statements.service import StatementService, shown
from services.accounting.tax import verify as tax
from services.accounting.tax.service import post
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
from tests.support import Json, Person, Running, ok, pointers, refused

JANUARY = DECEMBER + timedelta(days=31)


def rule(tx: Session, treatment: str, rate: int | None, starts_at: datetime, **changes: Any) -> None:
    values = {"seller": PRV, "category": "compute_service", "treatment": treatment, "rate": rate}
    post(tx, TaxRuleDraft.model_validate({**values, "starts_at": starts_at, **changes}), "finance", AT)


def close(tx: Session, period: str) -> None:
    closing._start(tx, period, JANUARY + timedelta(days=400), timedelta())
    assert closing.finish(tx, period, JANUARY + timedelta(days=400))


def statement(tx: Session, period: str, party_id: str) -> Json:
    query = select(*StatementRow.__table__.c).where(StatementRow.period == period, StatementRow.party_id == party_id)
    return shown(tx.execute(query).one()).model_dump(mode="json")


def sections(tx: Session, period: str, party_id: str) -> list[tuple[Any, ...]]:
    names = ("counterparty", "treatment", "rate", "gross", "net", "tax")
    return [tuple(one[name] for name in names) for one in statement(tx, period, party_id)["sections"]]


# What goes by a rule


async def test_a_supply_goes_by_the_rule_of_the_last_second_of_its_period(db: Database) -> None:
    """The one that starts last; of two that start together the one posted last. One that has ended goes by nothing."""

    def write(tx: Session) -> list[list[tuple[Any, ...]]]:
        party_copies(tx)
        rule(tx, "taxed", 900, DECEMBER - timedelta(seconds=1))
        rule(tx, "taxed", 300, DECEMBER - timedelta(seconds=1))
        rule(tx, "exempt", None, DECEMBER, ends_at=JANUARY)
        rule(tx, "taxed", 1300, NOVEMBER - timedelta(days=90))
        rule(tx, "taxed", 0, NOVEMBER, seller=OTHER_PRV, ends_at=DECEMBER - timedelta(seconds=1))
        found = []
        for number, moment in enumerate((AT, DECEMBER, JANUARY), start=1):
            period = period_at(tx, moment)
            line(tx, number, period, 3600 * 100)
            line(tx, 10 + number, period, 3600 * 100, provider=OTHER_PRV)
            close(tx, period)
            found.append(sections(tx, period, ORG))
        return found

    assert await db.write(write) == [
        [(PRV, "taxed", 300, "35.00", "33.98", "1.02"), (OTHER_PRV, "taxed", 900, "35.00", "32.11", "2.89")],
        [(PRV, "exempt", 0, "35.00", "35.00", "0.00"), (OTHER_PRV, "taxed", 900, "35.00", "32.11", "2.89")],
        [(PRV, "taxed", 300, "35.00", "33.98", "1.02"), (OTHER_PRV, "taxed", 900, "35.00", "32.11", "2.89")],
    ]
    assert await db.read(proof) == []


async def test_a_correction_is_taxed_as_what_it_corrects_was(db: Database) -> None:
    """Also where nothing but the catalog's rate said how, and the catalog says otherwise by now."""

    def write(tx: Session) -> str:
        party_copies(tx)
        november, december = period_at(tx, AT), period_at(tx, DECEMBER)
        line(tx, 1, november, 3600 * 100)
        line(tx, 2, november, 3600 * 100, provider=OTHER_PRV)
        close(tx, november)
        rule(tx, "not_taxable", None, DECEMBER)
        tx.execute(text("UPDATE providers SET tax_rate = 1300"))
        for number, provider in ((3, PRV), (5, OTHER_PRV)):
            line(tx, number, december, 3600 * 10, provider=provider)
            line(tx, number + 1, december, -3600 * 20, provider=provider, corrects=november)
        close(tx, december)
        return december

    december = await db.write(write)
    assert await db.read(sections, december, ORG) == [
        (PRV, "not_taxable", 0, "3.50", "3.50", "0.00"),
        (PRV, "taxed", 600, "-7.00", "-6.60", "-0.40"),
        (OTHER_PRV, "taxed", 900, "-7.00", "-6.42", "-0.58"),
        (OTHER_PRV, "taxed", 1300, "3.50", "3.10", "0.40"),
    ]
    mine = await db.read(statement, december, ORG)
    assert (mine["gross"], mine["net"], mine["tax"]) == ("-7.00", "-6.42", "-0.58")
    assert mine["tax_rates"] == {PRV: 0, OTHER_PRV: 1300}
    assert await db.read(proof) == []


async def test_what_late_usage_first_bills_of_a_reseller_goes_by_the_rule_of_where_it_stands(db: Database) -> None:
    """No rule can hold in a closed period any more: without this the next would never close."""

    def write(tx: Session) -> str:
        party_copies(tx)
        november, december = period_at(tx, AT), period_at(tx, DECEMBER)
        close(tx, november)
        rule(tx, "taxed", 300, DECEMBER, seller=OTHER_ORG)
        line(tx, 1, december, 3600 * 100, reseller=OTHER_ORG, corrects=november)
        close(tx, december)
        return december

    december = await db.write(write)
    assert await db.read(sections, december, ORG) == [(OTHER_ORG, "taxed", 300, "35.00", "33.98", "1.02")]
    assert await db.read(proof) == []


async def test_periods_that_close_at_once_settle_what_both_correct_alike(db: Database) -> None:
    def write(tx: Session) -> list[str]:
        party_copies(tx)
        november, *later = (period_at(tx, moment) for moment in (AT, DECEMBER, JANUARY))
        close(tx, november)
        for number, period in enumerate(later, start=1):
            line(tx, number, period, -3600 * 20, corrects=november)
        return later

    later = await db.write(write)
    await asyncio.gather(*(db.write(close, period) for period in later))
    for period in later:
        assert await db.read(sections, period, ORG) == [(PRV, "taxed", 600, "-7.00", "-6.60", "-0.40")]
    assert await db.read(proof) == []


async def test_tax_is_taken_once_and_stands_alike_on_both_statements_lines_and_papers(
    accounting: Running, finance: Person
) -> None:
    """Three lines of 1.00 at 6%: 0.17 in all, where each by itself would have 0.06; what a provider bears has none."""
    books: Database = accounting.app.provided[Runtime].db

    def write(tx: Session) -> str:
        party_copies(tx)
        period = period_at(tx, AT)
        for number in (1, 2, 3):
            line(tx, number, period, 3600, unit_price="1")
        line(tx, 4, period, 3600, unit_price="1", bearer="provider", reason="site_fault")
        line(tx, 5, period, 3600, unit_price="1", organization=OTHER_ORG, project=identifier("prj", 2))
        return period

    period = await books.write(write)
    open_lines = ok(await finance.get("/lines", period=period))["items"]
    assert {(one["tax"], one["tax_treatment"], one["tax_rate"]) for one in open_lines} == {(None, None, None)}
    await books.write(close, period)
    lines = ok(await finance.get("/lines", period=period))["items"]
    assert [one["tax"] for one in lines] == ["0.06", "0.06", "0.05", None, "0.06"]
    assert [one["tax_rate"] for one in lines] == [600, 600, 600, None, 600]
    issued = {one["party_id"]: one for one in ok(await finance.get("/statements"))["items"]}
    section = {"treatment": "taxed", "rate": 600, "gross": "3.00", "net": "2.83", "tax": "0.17"}
    other = {"treatment": "taxed", "rate": 600, "gross": "1.00", "net": "0.94", "tax": "0.06"}
    seller = {"counterparty": PRV, "counterparty_name": "中心 1"}
    buyers = [{"counterparty": org, "counterparty_name": f"企业 {n}"} for n, org in ((1, ORG), (2, OTHER_ORG))]
    assert issued[ORG]["sections"] == [section | seller]
    assert issued[PRV]["sections"] == [section | buyers[0], other | buyers[1]]
    assert (issued[PRV]["net"], issued[PRV]["tax"]) == ("3.77", "0.23")
    content = (await finance.get(f"/statements/{issued[ORG]['id']}/csv")).content
    assert hashlib.sha256(content).hexdigest() == issued[ORG]["lines_sha256"]
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    columns = ("税务处理 Tax treatment", "税率 Tax rate", "税额(元) Tax (CNY)", "不含税金额(元) Net (CNY)")
    assert [tuple(row[name] for name in columns) for row in rows] == [
        ("征税 taxed", "6.00%", "0.06", "0.94"),
        ("征税 taxed", "6.00%", "0.06", "0.94"),
        ("征税 taxed", "6.00%", "0.05", "0.95"),
        ("", "", "", ""),
    ]


async def test_the_proof_of_the_books_covers_the_tax_of_each_line(db: Database, database_engine: str) -> None:
    """A fen moved from one line to another leaves every sum as it was."""

    def write(tx: Session) -> None:
        party_copies(tx)
        period = period_at(tx, AT)
        for number in (1, 2, 3):
            line(tx, number, period, 3600, unit_price="1")
        close(tx, period)

    await db.write(write)
    disable = "DROP TRIGGER lines_update" if database_engine == "sqlite" else "ALTER TABLE lines DISABLE TRIGGER ALL"

    def tamper(tx: Session) -> None:
        tx.execute(text(disable))
        for number, more in ((1, -1), (3, 1)):
            tx.execute(text(f"UPDATE lines SET tax = tax + {more} WHERE id = '{identifier('lin', number)}'"))

    assert await db.read(proof) == []
    await db.write(tamper)
    found = await db.read(lambda tx: [(one.check, one.subject) for one in proof(tx)])
    papers = [("statement", "ORG-2026-000001"), ("statement", "PRV-2026-000001")]
    assert found == [("tax", identifier("lin", 1)), ("tax", identifier("lin", 3)), *papers]


# What was issued before tax stood on lines

OLD_PAPER = (
    "\ufeff作业 Job,作业名称 Job name,企业 Organization,企业名称 Organization name,项目 Project,项目名称 Project name,"
    "算力中心 Provider,算力中心名称 Provider name,计费项 Component,加速器 Accelerator,价目表 Price list,价目表版本 Revision,"
    "费率 Tariff,时段 Window,承担方 Bearer,承担原因 Reason,单价(元) Unit price (CNY),计价单位 Price per,数量 Quantity,"
    "数量单位 Quantity unit,除数 Divisor,金额(元) Amount (CNY),更正账期 Corrects period,行号 Line\r\n"
    f"{identifier('job', 1)},,{ORG},企业 1,{identifier('prj', 1)},项目 1,{PRV},中心 1,cpu_core_hour,,{identifier('prl', 1)},1,"
    f"base,all,organization,,0.35,核时 core-hour,360000,核秒 core-seconds,3600,35.00,,{identifier('lin', 1)}\r\n"
).encode()
"""Of one line of 35.00."""


def issued_before(connection: Connection, rates: dict[str, int]) -> None:
    """November with one line and the statements that it came to, as they were written then."""
    period = {"id": identifier("per", 1), "name": "2026-11", "month": "2026-11", "part": 1, "late_sites": "[]"}
    period |= {"starts_at": to_microseconds(NOVEMBER), "ends_at": to_microseconds(DECEMBER), "version": 1}
    sold = {"period": period["id"], "organization": ORG, "provider": PRV, "project": identifier("prj", 1)}
    sold |= {"job": identifier("job", 1), "component": "cpu_core_hour", "price_list": identifier("prl", 1)}
    sold |= {"price_list_revision": 1, "tariff": "base", "pricing_window": "all", "bearer": "organization"}
    sold |= {"unit_price": "0.35", "quantity": 360000, "amount": 3500} | dict.fromkeys(
        ("accelerator", "reason", "corrects"), ""
    )
    names = {ORG: "企业 1", PRV: "中心 1", identifier("prj", 1): "项目 1"}
    document = {"period": period["id"], "period_name": "2026-11", "late_sites": "[]", "names": json.dumps(names)}
    document |= {"starts_at": period["starts_at"], "ends_at": period["ends_at"], "issued_at": period["ends_at"]}
    document |= {"gross": 3500, "tax": 198, "adjustments": 0, "borne_by_provider": 0, "line_count": 1}
    document |= {"lines_sha256": hashlib.sha256(OLD_PAPER).hexdigest(), "rates": json.dumps(rates)}

    def write(table: str, **values: Any) -> None:
        names = ", ".join(values)
        places = ", ".join(f":{name}" for name in values)
        connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({places})"), values)

    write("periods", **period, state="closing")
    write("lines", **sold, id=identifier("lin", 1))
    for number, (party, party_id) in enumerate((("organization", ORG), ("provider", PRV)), start=1):
        name = f"{party[:3].upper().replace('PRO', 'PRV')}-2026-000001"
        whose = {"party": party, "party_id": party_id, "party_name": names[party_id], "number": name}
        write("statements", **document, **whose, id=identifier("stm", number))
        write("statement_counters", kind=party, year=2026, last=1)
    connection.execute(text("UPDATE periods SET state = 'closed'"))


@pytest.mark.parametrize("rates", [{PRV: 600}, {}])
async def test_what_was_issued_before_stays_as_it_was_and_its_corrections_too(
    database_url: str, rates: dict[str, int]
) -> None:
    url = database_url
    await asyncio.to_thread(migrate, url, "accounting", "0008")
    await asyncio.to_thread(on_connection, url, lambda connection: issued_before(connection, rates))
    await asyncio.to_thread(migrate, url, "accounting")
    db = Database(url)
    await db.start()
    try:
        november = identifier("per", 1)
        old = StatementService(db)
        mine = await db.read(statement, november, ORG)
        assert (mine["gross"], mine["tax"], mine["sections"], mine["tax_rates"]) == ("35.00", "1.98", [], rates)
        caller = Caller(subject="finance", permissions=frozenset({"platform:finance"}))
        _, content = await old.csv(mine["id"], caller)
        assert b"".join([part async for part in content]) == OLD_PAPER
        assert await db.read(lambda tx: [*statements.verify(tx), *tax.verify(tx)]) == []

        def correct(tx: Session) -> str:
            periods.prepare(tx, "Asia/Shanghai")
            party_copies(tx, rates={PRV: 1300, OTHER_PRV: 900})
            december = period_at(tx, DECEMBER)
            line(tx, 2, december, -3600 * 10, corrects=november)
            close(tx, december)
            return december

        december = await db.write(correct)
        (section,) = await db.read(sections, december, ORG)
        assert section[2] == (600 if rates else 1300)
    finally:
        await db.stop()


# Who posts and reads them

RULE = {"seller": PRV, "category": "compute_service", "treatment": "taxed", "rate": 600, "starts_at": iso(DECEMBER)}


async def test_finance_posts_rules_and_sellers_read_their_own_and_the_platforms(
    accounting: Running, finance: Person
) -> None:
    books: Database = accounting.app.provided[Runtime].db
    await books.write(party_copies)
    mine = ok(await finance.post("/tax-rules", RULE), 201)
    assert mine == RULE | {"id": mine["id"], "ends_at": None, "posted_at": mine["posted_at"], "posted_by": "finance"}
    exempt = {"treatment": "exempt", "rate": None}
    others = ok(await finance.post("/tax-rules", RULE | exempt | {"seller": OTHER_PRV}), 201)
    own = {"seller": "platform", "category": "platform_service"}
    platforms = ok(await finance.post("/tax-rules", RULE | own), 201)
    assert ok(await finance.get("/tax-rules"))["items"] == [platforms, others, mine]
    assert ok(await finance.get("/tax-rules", seller=OTHER_PRV))["items"] == [others]
    seller = accounting.person("seller", f"provider/{PRV}:admin")
    assert ok(await seller.get("/tax-rules"))["items"] == [platforms, mine]
    assert ok(await seller.get("/tax-rules", seller=OTHER_PRV))["items"] == []
    first = ok(await finance.get("/tax-rules", limit=2))
    assert ok(await finance.get("/tax-rules", limit=2, cursor=first["next"]))["items"] == [mine]
    refused(await seller.post("/tax-rules", RULE), 404, "not_found")
    refused(await accounting.person("member", f"org/{ORG}:admin").get("/tax-rules"), 404, "not_found")
    auditor = accounting.person("operator", "platform:admin")
    (entry,) = ok(await auditor.get("/audit", entity=mine["id"]))["items"]
    assert (entry["action"], entry["subject"]) == ("post_tax_rule", "finance")


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"rate": None}, "/rate"),
        ({"treatment": "exempt"}, "/rate"),
        ({"treatment": "not_taxable", "rate": 0}, "/rate"),
        ({"rate": 10_001}, "/rate"),
        ({"seller": "platform"}, "/category"),
        ({"category": "platform_service"}, "/category"),
        ({"seller": "Centre"}, "/seller"),
        ({"ends_at": iso(DECEMBER)}, "/ends_at"),
    ],
)
async def test_a_rule_that_nothing_could_go_by_is_refused(
    accounting: Running, finance: Person, wrong: Json, pointer: str
) -> None:
    await accounting.app.provided[Runtime].db.write(party_copies)
    assert pointers(refused(await finance.post("/tax-rules", RULE | wrong), 422, "invalid")) == [pointer]


async def test_a_rule_of_a_seller_that_is_not_known_is_refused(accounting: Running, finance: Person) -> None:
    assert pointers(refused(await finance.post("/tax-rules", RULE), 422, "unknown_reference")) == ["/seller"]


async def test_no_rule_changes_what_a_closed_period_went_by(accounting: Running, finance: Person) -> None:
    books: Database = accounting.app.provided[Runtime].db

    def write(tx: Session) -> None:
        party_copies(tx)
        for moment in (AT - timedelta(days=31), AT):
            close(tx, period_at(tx, moment))

    await books.write(write)
    last = DECEMBER - timedelta(seconds=1)
    for starts_at, ends_at in ((last, None), (NOVEMBER, DECEMBER), (NOVEMBER - timedelta(days=31), NOVEMBER)):
        dates = {"starts_at": iso(starts_at), "ends_at": ends_at and iso(ends_at)}
        problem = refused(await finance.post("/tax-rules", RULE | dates), 409, "period_frozen")
        assert problem["earliest"] == iso(DECEMBER)
    for starts_at, ends_at in ((DECEMBER, None), (NOVEMBER, last)):
        dates = {"starts_at": iso(starts_at), "ends_at": ends_at and iso(ends_at)}
        ok(await finance.post("/tax-rules", RULE | dates), 201)
