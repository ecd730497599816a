"""Amounts of lines beside their quantities: one that isn't the once-rounded price of a total is named, with its job."""

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from caravan.contracts.statements import LineKind
from caravan.kernel.database import Database
from services.accounting.charging import verify
from services.accounting.charging.models import LineRow
from tests.accounting.books import AT, DECEMBER, identifier, line, period_at

Wrong = list[tuple[str, str]]


def changed(tx: Session, number: int, fen: int) -> None:
    """Make the amount of a line as much more."""
    of = LineRow.id == identifier("lin", number)
    tx.execute(update(LineRow).where(of).values(amount=LineRow.amount + fen))


def all_wrong(tx: Session) -> Wrong:
    return list(verify.verify(tx))


def job(number: int) -> str:
    return identifier("job", number)


async def test_lines_and_what_corrects_them_come_to_the_once_rounded_price_together(db: Database) -> None:
    """50 core-seconds at 0.35 an hour are 0.49 fen, 100 are 0.97."""

    def written(tx: Session) -> None:
        november, december = period_at(tx, AT), period_at(tx, DECEMBER)
        line(tx, 1, november, 50)
        line(tx, 2, december, 50, job=job(1), corrects=november)
        line(tx, 3, december, 50, job=job(1))
        line(tx, 4, november, 50)

    await db.write(written)
    assert await db.read(all_wrong) == [
        (job(1), "100 of cpu_core_hour come to 0.00, and should to 0.01"),
    ]
    await db.write(changed, 2, 1)
    assert await db.read(all_wrong) == []
    await db.write(changed, 3, -1)
    assert await db.read(all_wrong) == [(job(1), "50 of cpu_core_hour come to -0.01, and should to 0.00")]
    assert await db.read(lambda tx: list(verify.of_jobs(tx, [job(4)]))) == []
    assert len(await db.read(lambda tx: list(verify.of_jobs(tx, [job(4), job(1)])))) == 1


@pytest.mark.parametrize("batch", [1, 2, 5])
async def test_each_job_is_looked_at_once_in_batches_of_any_size(
    db: Database, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In their order, whatever lines they have. A volume discount is of no job, and of no price."""
    monkeypatch.setattr(verify, "BATCH", batch)

    def written(tx: Session) -> None:
        period = period_at(tx, AT)
        line(tx, 9, period, 3600)
        discount = {"job": "", "unit_price": "", "kind": LineKind.VOLUME_DISCOUNT.value}
        tx.execute(update(LineRow).where(LineRow.id == identifier("lin", 9)).values(discount))
        for number in (4, 2, 5, 3, 1):
            line(tx, number, period, 3600 * (6 - number), tariff=f"tariff {6 - number}")
            changed(tx, number, 1)

    await db.write(written)
    assert [who for who, _ in await db.read(all_wrong)] == [job(number) for number in range(1, 6)]
