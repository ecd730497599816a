"""Lines that a reseller sells: which statements they stand on, whose tax they have, and who sees them."""

from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from caravan.contracts.tax import PLATFORM
from caravan.kernel.database import Database
from caravan.kernel.runtime import Runtime
from services.accounting.ledger import service as ledger
from services.accounting.ledger.reading import trial_balance
from services.accounting.periods import closing
from tests.accounting.books import (
    AT,
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
from tests.accounting.test_fees import agreed, platform_is_taxed
from tests.accounting.test_statements import LATER, close, paper, table
from tests.accounting.test_tax_rules import rule
from tests.support import Json, Person, Running, ok, refused

RESELLER, MEMBER = ORG, OTHER_ORG
RULE = {
    "seller": RESELLER,
    "category": "compute_service",
    "treatment": "taxed",
    "rate": 300,
    "starts_at": "2026-01-01T00:00:00Z",
}


@pytest.fixture
def books(accounting: Running) -> Database:
    runtime: Runtime = accounting.app.provided[Runtime]
    return runtime.db


def resold(tx: Session, number: int, period: str, quantity: int, price: str) -> None:
    """One job's time as the reseller buys it at 0.35 a core-hour, and as it sells it."""
    line(tx, 2 * number, period, quantity, job=identifier("job", number))
    retail = {"unit_price": price, "price_list": identifier("prl", 2), "reseller": RESELLER}
    buyer = {"organization": MEMBER, "project": identifier("prj", 2)}
    line(tx, 2 * number + 1, period, quantity, job=identifier("job", number), **retail, **buyer)


async def closed(books: Database, finance: Person) -> str:
    """November: 100 core-hours resold at 0.50, ten that the reseller uses itself, and four that its member buys of another centre."""

    def write(tx: Session) -> str:
        party_copies(tx)
        period = period_at(tx, AT)
        resold(tx, 1, period, 360_000, "0.50")
        line(tx, 10, period, 36_000)
        line(tx, 11, period, 14_400, organization=MEMBER, project=identifier("prj", 2), provider=OTHER_PRV)
        return period

    period = await books.write(write)
    ok(await finance.post("/tax-rules", RULE), 201)
    await books.write(close, period)
    return period


@pytest.fixture
async def period(books: Database, finance: Person) -> str:
    return await closed(books, finance)


async def issued(finance: Person) -> dict[tuple[str, str], Json]:
    return {(one["party"], one["party_id"]): one for one in ok(await finance.get("/statements"))["items"]}


def sections(statement: Json) -> list[tuple[str | int, ...]]:
    names = ("counterparty", "rate", "gross", "tax")
    return [tuple(section[name] for name in names) for section in statement["sections"]]


@pytest.mark.usefixtures("period")
async def test_each_seller_has_a_statement_of_what_it_sold_and_each_buyer_one_of_what_it_bought(
    finance: Person,
) -> None:
    found = await issued(finance)
    assert {key: sections(one) for key, one in found.items()} == {
        ("organization", MEMBER): [(RESELLER, 300, "50.00", "1.46"), (OTHER_PRV, 900, "1.40", "0.12")],
        ("organization", RESELLER): [(PRV, 600, "38.50", "2.18")],
        ("provider", PRV): [(RESELLER, 600, "38.50", "2.18")],
        ("provider", OTHER_PRV): [(MEMBER, 900, "1.40", "0.12")],
        ("reseller", RESELLER): [(MEMBER, 300, "50.00", "1.46")],
    }
    sold = found["reseller", RESELLER]
    assert (sold["number"], sold["payout"], sold["fee"]) == ("RSL-2026-000001", "50.00", None)
    assert sold["tax_rates"] == {RESELLER: 300}


@pytest.mark.usefixtures("period")
async def test_a_providers_paper_names_the_reseller_and_never_who_it_sells_to(finance: Person) -> None:
    statements = await issued(finance)
    papers = {key: (await paper(finance, one)).decode() for key, one in statements.items()}
    without = {("provider", PRV), ("organization", RESELLER)}
    assert {key for key, content in papers.items() if MEMBER not in content and "企业 2" not in content} == without
    bought = await paper(finance, statements["organization", MEMBER])
    named = {(row["行号 Line"], row["销售方 Seller"], row["销售方名称 Seller name"]) for row in table(bought)}
    assert named == {(identifier("lin", 3), RESELLER, "企业 1"), (identifier("lin", 11), OTHER_PRV, "中心 2")}


@pytest.mark.usefixtures("period")
async def test_parties_see_the_lines_that_they_buy_or_sell(accounting: Running, finance: Person) -> None:
    async def seen(person: Person, **filters: str) -> list[int]:
        return [int(one["id"][4:], 16) for one in ok(await person.get("/lines", **filters))["items"]]

    reseller, member = (accounting.person(who, f"org/{org}:member") for who, org in (("r", RESELLER), ("m", MEMBER)))
    provider = accounting.person("p", f"provider/{PRV}:admin")
    assert await seen(finance) == [2, 3, 10, 11]
    assert await seen(member) == [3, 11]
    assert await seen(reseller) == [2, 3, 10]
    assert await seen(provider) == [2, 10]
    assert [await seen(finance, seller=who) for who in (RESELLER, PRV, OTHER_PRV)] == [[3], [2, 10], [11]]
    assert await seen(finance, provider=PRV) == [2, 3, 10]
    sellers = {one["id"]: (one["provider"], one["seller"]) for one in ok(await finance.get("/lines"))["items"]}
    assert sellers[identifier("lin", 3)] == (PRV, RESELLER)
    assert sellers[identifier("lin", 2)] == (PRV, PRV)
    statements = await issued(finance)
    refused(await member.get(f"/statements/{statements['reseller', RESELLER]['id']}"), 404, "not_found")
    ok(await reseller.get(f"/statements/{statements['reseller', RESELLER]['id']}"))


@pytest.mark.usefixtures("period")
async def test_what_is_bought_is_owed_to_who_sold_it_and_the_books_prove_it(books: Database) -> None:
    balances = {one.account: str(one.balance) for one in (await books.read(trial_balance)).accounts}
    assert balances == {
        f"payable:{PRV}": "-38.50",
        f"payable:{OTHER_PRV}": "-1.40",
        f"payable:{RESELLER}": "-50.00",
        f"receivable:{RESELLER}": "38.50",
        f"receivable:{MEMBER}": "51.40",
    }
    assert [one for one in await books.read(proof) if one.check != "funds"] == []

    def pay_the_provider(tx: Session) -> None:
        for seller, fen in ((RESELLER, -5000), (PRV, 5000)):
            ledger.charge(tx, organization=MEMBER, seller=seller, delta_fen=fen, reference="job", at=AT)

    await books.write(pay_the_provider)
    assert {one.check for one in await books.read(proof)} - {"funds"} == {"charge"}


async def test_a_reseller_without_a_tax_rule_keeps_the_period_from_closing(books: Database) -> None:
    def write(tx: Session) -> str:
        party_copies(tx)
        period = period_at(tx, AT)
        resold(tx, 1, period, 360_000, "0.50")
        return period

    period = await books.write(write)
    with pytest.raises(LookupError, match=RESELLER):
        await books.write(close, period)


async def test_a_closing_period_names_the_sellers_whose_tax_it_waits_for(
    accounting: Running, books: Database, finance: Person
) -> None:
    def write(tx: Session) -> str:
        party_copies(tx)
        rule(tx, "exempt", None, NOVEMBER, seller=PLATFORM, category="platform_service", ends_at=AT)
        agreed(tx, 500)
        period = period_at(tx, AT)
        resold(tx, 1, period, 360_000, "0.50")
        return period

    async def untaxed(person: Person) -> list[str]:
        found = ok(await person.get(f"/periods/{period}"))
        assert [one["untaxed"] for one in ok(await person.get("/periods"))["items"] if one["id"] == period] == [
            found["untaxed"]
        ]
        return [*found["untaxed"]]

    period = await books.write(write)
    assert await untaxed(finance) == []
    await books.write(closing._start, period, LATER, timedelta())
    assert await untaxed(finance) == [RESELLER, PLATFORM]
    assert await untaxed(accounting.person("m", f"org/{MEMBER}:admin")) == [], "nobody learns here who resells"
    ok(await finance.post("/tax-rules", RULE), 201)
    assert await untaxed(finance) == [PLATFORM]
    await books.write(platform_is_taxed)
    assert await untaxed(finance) == []


async def test_a_credit_note_of_a_resold_line_is_the_resellers(
    accounting: Running, books: Database, finance: Person, period: str
) -> None:
    bought = (await issued(finance))["organization", MEMBER]
    draft = {"statement": bought["id"], "line": identifier("lin", 3), "amount": "10.00", "reason": "停电"}
    note = ok(await finance.post("/credit-notes", draft, {"Idempotency-Key": "n"}), 201)
    assert (note["provider"], note["seller"], note["seller_name"]) == (PRV, RESELLER, "企业 1")
    for who, notes in (
        (f"org/{MEMBER}:member", [note]),
        (f"org/{RESELLER}:member", [note]),
        (f"provider/{PRV}:admin", []),
    ):
        assert ok(await accounting.person("x", who).get("/credit-notes"))["items"] == notes
    balances = {one.account: str(one.balance) for one in (await books.read(trial_balance)).accounts}
    assert (balances[f"payable:{RESELLER}"], balances[f"payable:{PRV}"]) == ("-40.00", "-38.50")
    assert [one for one in await books.read(proof) if one.check != "funds"] == []
