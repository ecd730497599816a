"""Holding lines against the facts that they are made of: each job computed anew, whole, as if nothing had been charged yet."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Final

from sqlalchemy import select, union
from sqlalchemy.orm import Session

from caravan.kernel.money import Money
from services.accounting.charging import due
from services.accounting.charging.book import LINES, key_of
from services.accounting.charging.lines import Key, quantities
from services.accounting.charging.service import Calendar, amounts
from services.accounting.funds.many import holds_of
from services.accounting.usage import records
from services.accounting.usage.records import RUNS

BATCH: Final = 200
"""How many jobs are computed at once."""


def verify(tx: Session) -> Iterator[tuple[str, str]]:
    """(job, what is wrong) of all jobs."""
    jobs: Collection[str] = ("",)
    while jobs := next_jobs(tx, max(jobs)):
        yield from wrong(tx, jobs)


def next_jobs(tx: Session, after: str) -> list[str]:
    """The next of all jobs that have runs or lines; empty: there are no more."""
    ids = (
        select(column).where(column > after).distinct().order_by(column).limit(BATCH).subquery()
        for column in (RUNS.c.job, LINES.c.job)
    )
    both = union(*(select(found.c.job) for found in ids)).subquery()
    return list(tx.scalars(select(both.c.job).order_by(both.c.job).limit(BATCH)))


def wrong(tx: Session, jobs: Collection[str]) -> Iterator[tuple[str, str]]:
    """(job, what is wrong) where the lines of one of `jobs` haven't the quantities that its usage comes to, within its hold.

    What is due of a job isn't in its lines yet: such jobs are left out.
    """
    waiting = due.left(tx, jobs)
    charged = [job for job in jobs if job not in waiting]
    facts, held = records.of_jobs(tx, charged), holds_of(tx, charged)
    calendar = Calendar(tx, (record for own in facts.values() for record in own))
    stored: defaultdict[str, dict[Key, tuple[str, int]]] = defaultdict(dict)
    for row in tx.execute(select(LINES).where(LINES.c.job.in_(charged)).order_by(LINES.c.id)):
        key, of_job = key_of(row), stored[row.job]
        of_job[key] = (row.id, row.quantity + of_job.get(key, ("", 0))[1])
    for job, own in facts.items():
        comes_to = calendar.charged(own, amounts(held.get(job, ()))).values()
        right = quantities(portion for one in comes_to for portion in one.portions)
        for key in sorted({*right, *stored[job]}):
            line, quantity = stored[job].get(key, ("no line", 0))
            if quantity != right[key]:
                yield (
                    job,
                    f"{line} of {_words(key)}: {_cost(key, quantity)}, and its usage comes to {_cost(key, right[key])}",
                )


def _words(key: Key) -> str:
    return " ".join(filter(None, (key.component, key.accelerator, key.tariff, key.window, key.bearer, key.reason)))


def _cost(key: Key, quantity: int) -> str:
    return f"{quantity} ({Money(key.amount(quantity))})"
