"""Holding the amounts of lines against their quantities."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Final

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from caravan.kernel.money import Money
from services.accounting.charging.book import LINES, key_of
from services.accounting.charging.lines import Key

BATCH: Final = 1000


def verify(tx: Session) -> Iterator[tuple[str, str]]:
    """(job, what is wrong) where a line and what corrects it don't come to the once-rounded price of their quantity."""
    after = ""
    jobs = select(LINES.c.job).distinct().order_by(LINES.c.job).limit(BATCH)
    while found := tx.scalars(jobs.where(LINES.c.job > after)).all():
        yield from _wrong(tx, (LINES.c.job > after) & (LINES.c.job <= found[-1]))
        after = found[-1]


def of_jobs(tx: Session, jobs: Collection[str]) -> Iterator[tuple[str, str]]:
    """The same of some jobs."""
    yield from _wrong(tx, LINES.c.job.in_(jobs))


def _wrong(tx: Session, which: ColumnElement[bool]) -> Iterator[tuple[str, str]]:
    totals: dict[tuple[str, Key], tuple[int, int]] = defaultdict(lambda: (0, 0))
    for row in tx.execute(select(LINES).where(which)):
        quantity, amount = totals[row.job, key_of(row)]
        totals[row.job, key_of(row)] = quantity + row.quantity, amount + row.amount
    for (job, key), (quantity, amount) in sorted(totals.items(), key=lambda item: item[0][0]):
        if amount != key.amount(quantity):
            words = (
                f"{quantity} of {key.component} come to {Money(amount)}, and should to {Money(key.amount(quantity))}"
            )
            yield job, words
