"""Lines as they are read: with all that is stored of them, by whom they concern, page by page."""

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from caravan.kernel.runtime import Runtime
from services.accounting.charging.models import LineRow
from tests.accounting.books import AT, ORG, OTHER_ORG, OTHER_PRV, PRV, identifier, line, period_at
from tests.support import Json, Person, Running, ok, refused

RESELLER, MEMBER = ORG, OTHER_ORG
FULL = {
    "accelerator": "acc_1",
    "window": "peak",
    "bearer": "provider",
    "reason": "overrun",
    "attempt": identifier("att", 1),
    "corrects": identifier("per", 9),
    "basis": 250,
    "tax": 0,
    "tax_treatment": "taxed",
    "tax_rate": 600,
}


def written(tx: Session) -> None:
    """A job that is resold at 1 and 2, two that two centres sell to one organization each, and what has all that a line can have."""
    period = period_at(tx, AT)
    line(tx, 1, period, 3600, job=identifier("job", 1))
    line(tx, 2, period, 3600, job=identifier("job", 1), organization=MEMBER, reseller=RESELLER)
    line(tx, 3, period, 3600)
    line(tx, 4, period, 3600, organization=MEMBER, provider=OTHER_PRV)
    line(tx, 5, period, 3600, **FULL)
    bare = dict.fromkeys(("project", "job", "tariff", "window", "unit_price"), "")
    tx.execute(update(LineRow).where(LineRow.id == identifier("lin", 4)).values(bare))


@pytest.fixture
async def lines(accounting: Running) -> Running:
    runtime: Runtime = accounting.app.provided[Runtime]
    await runtime.db.write(written)
    return accounting


async def read(person: Person, **filters: str) -> list[Json]:
    return list(ok(await person.get("/lines", **filters))["items"])


async def seen(person: Person, **filters: str) -> list[int]:
    return [int(one["id"][4:], 16) for one in await read(person, **filters)]


async def test_each_party_reads_what_it_buys_or_sells_and_a_centre_nothing_that_is_resold(lines: Running) -> None:
    sees = {
        "platform:finance": [1, 2, 3, 4, 5],
        f"org/{RESELLER}:member": [1, 2, 3, 5],
        f"org/{MEMBER}:admin": [2, 4],
        f"provider/{PRV}:admin": [1, 3, 5],
        f"provider/{OTHER_PRV}:admin": [4],
        f"org/{identifier('org', 3)}:admin": [],
    }
    assert {grant: await seen(lines.person("somebody", grant)) for grant in sees} == sees
    refused(await lines.person("nobody").get("/lines"), 404, "not_found")


@pytest.mark.usefixtures("lines")
async def test_lines_are_found_by_what_they_are_of_and_who_sold_them(finance: Person) -> None:
    (first, *_) = await read(finance)
    assert await seen(finance, job=identifier("job", 1)) == [1, 2]
    assert await seen(finance, organization=MEMBER) == [2, 4]
    assert await seen(finance, provider=PRV) == [1, 2, 3, 5]
    assert await seen(finance, provider=PRV, organization=MEMBER) == [2]
    assert await seen(finance, period=first["period"]) == [1, 2, 3, 4, 5]
    assert await seen(finance, period=identifier("per", 1)) == []
    assert [await seen(finance, seller=who) for who in (RESELLER, MEMBER, PRV, OTHER_PRV)] == [[2], [], [1, 3, 5], [4]]


@pytest.mark.usefixtures("lines")
async def test_pages_of_lines_follow_on_each_other(finance: Person) -> None:
    found: list[list[int]] = []
    page: Json = {"next": ""}
    while page["next"] is not None:
        page = ok(await finance.get("/lines", limit=2, **({"cursor": page["next"]} if found else {})))
        found.append([int(one["id"][4:], 16) for one in page["items"]])
    assert found == [[1, 2], [3, 4], [5]]


@pytest.mark.usefixtures("lines")
async def test_what_a_line_has_none_of_is_null(finance: Person) -> None:
    first, resold, _, bare, full = await read(finance)
    assert (first["seller"], resold["seller"], resold["provider"]) == (PRV, RESELLER, PRV)
    named = ("project", "job", "tariff", "window", "unit_price")
    absent = ("accelerator", "reason", "attempt", "corrects", "basis", "tax", "tax_treatment", "tax_rate")
    assert [first[name] for name in named] == [identifier("prj", 1), identifier("job", 1), "base", "all", "0.35"]
    assert {first[name] for name in absent} == {bare[name] for name in named} == {None}
    assert {name: full[name] for name in FULL} == FULL | {"basis": "2.50", "tax": "0.00"}
