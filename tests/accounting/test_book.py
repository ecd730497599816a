"""Lines as they are stored when totals change: in place while their period is open, by one adjustment when it is closed."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from caravan.contracts.prices import Component
from caravan.contracts.statements import BearerKind
from caravan.kernel.database import Database
from services.accounting.charging.book import LINES, Book, Books
from services.accounting.charging.lines import Key
from services.accounting.periods.models import PeriodRow
from tests.accounting.books import AT, DECEMBER, ORG, OTHER_ORG, PRV, identifier, period_at

JOB, OTHER = identifier("job", 1), identifier("job", 2)


@pytest.fixture
async def november(db: Database) -> str:
    return await db.write(period_at, AT)


def key(period: str, **changes: Any) -> Key:
    """Core-hours at 0.35."""
    return Key(
        period=period,
        organization=ORG,
        provider=PRV,
        project=identifier("prj", 1),
        price_list=identifier("prl", 1),
        price_list_revision=1,
        component=Component.CPU_CORE_HOUR,
        accelerator="",
        tariff="base",
        window="all",
        unit_price=Decimal("0.35"),
        bearer=BearerKind.ORGANIZATION,
        reason="",
    )._replace(**changes)


def end(tx: Session, period: str) -> None:
    """Close it."""
    for state in ("closing", "closed"):
        tx.execute(update(PeriodRow).where(PeriodRow.id == period).values(state=state))


def stored(tx: Session) -> list[tuple[str, str, str, int, int]]:
    """Of each line its job, period, the one that it corrects, quantity and amount, in the order in which they were made."""
    columns = (LINES.c.job, LINES.c.period, LINES.c.corrects, LINES.c.quantity, LINES.c.amount)
    return [tuple(row) for row in tx.execute(select(*columns).order_by(LINES.c.job, LINES.c.id))]


def on(job: str, do: Callable[[Book], Any]) -> Callable[[Session], Any]:
    """A unit that does something to the book of the job, which is opened beside another one, and writes both."""

    def unit(tx: Session) -> Any:
        books = Books(tx, [OTHER, job], {})
        found = do(books[job])
        books.write()
        return found

    return unit


def totalled(key: Key, total: int, job: str = JOB) -> Callable[[Session], int]:
    return on(job, lambda book: book.set(key, total))


async def test_a_line_is_made_changed_and_removed_alone(db: Database, november: str) -> None:
    mine, peak = key(november), key(november, window="peak")
    assert await db.write(totalled(mine, 7200)) == 70
    assert await db.write(totalled(peak, 3600)) == 35
    assert await db.write(totalled(mine, 3600, OTHER)) == 35
    assert await db.write(totalled(mine, 10800)) == 35
    assert await db.write(totalled(mine, 10800)) == 0
    assert await db.read(stored) == [
        (JOB, november, "", 10800, 105), (JOB, november, "", 3600, 35), (OTHER, november, "", 3600, 35),
    ]  # fmt: skip
    assert await db.write(totalled(mine, 0)) == -105
    assert await db.read(stored) == [(JOB, november, "", 3600, 35), (OTHER, november, "", 3600, 35)]
    assert await db.write(totalled(key(november, window="off"), 0)) == 0
    assert len(await db.read(stored)) == 2


async def test_a_line_stands_by_its_key(db: Database, november: str) -> None:
    given = key(november, accelerator="acc_1", bearer=BearerKind.PROVIDER, reason="overrun", reseller=OTHER_ORG)
    given = given._replace(attempt=identifier("att", 1), unit_price=Decimal("0.000001"))
    await db.write(totalled(given, 7))

    def found(book: Book) -> tuple[list[Key], list[Key], int]:
        return book.keys_of(ORG), book.keys_of(OTHER_ORG), book.total(given)

    assert await db.write(on(JOB, found)) == ([given], [], 7)
    row = await db.read(lambda tx: tx.execute(select(LINES)).one())
    assert (row.kind, row.unit_price, row.tax, row.basis) == ("usage", "0.000001", None, None)


async def test_what_differs_is_costed_of_what_is_billed_and_changes(db: Database, november: str) -> None:
    billed, borne = key(november), key(november, bearer=BearerKind.PROVIDER, reason="overrun")
    await db.write(totalled(billed, 50))

    def costs(book: Book) -> list[tuple[int, dict[Key, int]]]:
        asked = ({billed: 50}, {billed: -50}, {billed: 0}, {borne: 3600}, {billed: 3550, borne: 3600})
        return [(book.cost_of(one), book.totals(one)) for one in asked]

    assert await db.write(on(JOB, costs)) == [
        (1, {billed: 100}),
        (0, {billed: 0}),
        (0, {}),
        (0, {borne: 3600}),
        (35, {billed: 3600, borne: 3600}),
    ]
    assert await db.write(on(JOB, lambda book: book.cost_of({billed: -50}))) == 0
    await db.write(totalled(billed, 3600))
    assert await db.write(on(JOB, lambda book: book.cost_of({billed: -1800}))) == -17


async def test_a_closed_periods_line_stays_and_one_adjustment_makes_the_sum_the_once_rounded_price(
    db: Database, november: str
) -> None:
    december = await db.write(period_at, DECEMBER)
    mine, later = key(november), key(december)
    await db.write(totalled(mine, 50))
    await db.write(end, november)
    sealed, other = (JOB, november, "", 50, 0), (JOB, december, "", 50, 0)
    assert await db.write(totalled(mine, 100)) == 1, "0.49 fen are 0, and 0.97 are 1"
    assert await db.read(stored) == [sealed, (JOB, december, november, 50, 1)]
    assert await db.write(totalled(mine, 154)) == 0
    assert await db.write(totalled(later, 50)) == 0
    assert await db.read(stored) == [sealed, (JOB, december, november, 104, 1), other]
    assert await db.write(totalled(mine, 160)) == 1
    assert await db.write(totalled(mine, 50)) == -2
    assert await db.read(stored) == [sealed, other]
    assert await db.write(totalled(mine, 0)) == 0
    assert await db.read(stored) == [sealed, other, (JOB, december, november, -50, 0)]


async def test_an_adjustment_that_was_sealed_too_is_corrected_by_the_next(db: Database, november: str) -> None:
    december = await db.write(period_at, DECEMBER)
    mine = key(november)
    for total, period in ((3600, november), (7200, december)):
        await db.write(totalled(mine, total))
        await db.write(end, period)
    both = [key(period, window=period) for period in (november, december)]

    def change(book: Book) -> list[int]:
        return [book.set(mine, 3700), *(book.set(one, 3600) for one in both)]

    assert await db.write(on(JOB, change)) == [-34, 35, 35]
    *sealed, late, in_november, in_december = await db.read(stored)
    assert sealed == [(JOB, november, "", 3600, 35), (JOB, december, november, 3600, 35)]
    january = late[1]
    assert january not in {november, december}
    assert late[2:] == (november, -3500, -34)
    assert in_november == (JOB, january, november, 3600, 35)
    assert in_december == (JOB, january, december, 3600, 35)
    assert await db.write(on(JOB, lambda book: book.total(mine))) == 3700
    still_open = {mine: -34, both[0]: 35, both[1]: 35}
    assert await db.write(on(JOB, lambda book: dict(book.amounts()))) == still_open, "what was sealed doesn't count"
