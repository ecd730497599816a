"""Brings jobs' stored lines up to their facts, and moves the money that differs.

What is new costs what it changes: the lines of its own seconds. Only where it moves the second in which a hold is used up, where an
ended attempt has a minimum charge, or where a price correction concerns the job, the whole job is computed anew.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy.orm import Session

from caravan.contracts.funds import HoldAnswer, HoldRequest
from caravan.kernel import steps
from caravan.kernel.clock import to_seconds
from caravan.kernel.prepared import Fetched
from services.accounting.charging import changes, due
from services.accounting.charging.book import Book, Books
from services.accounting.charging.changes import Change
from services.accounting.charging.charged import Charged, charged, corrected, every, is_corrected
from services.accounting.charging.due import Due
from services.accounting.charging.lines import Key, PeriodSpan, Portion, Record, parted, quantities
from services.accounting.funds import holds, settling
from services.accounting.funds.many import Capture, capture_many, find_many
from services.accounting.ledger.charges import Charge, charge_many
from services.accounting.periods import service as periods
from services.accounting.usage import records


def put_hold(tx: Session, job: str, request: HoldRequest, at: datetime) -> HoldAnswer:
    """Decide a hold revision; where the old amount was the limit of what was charged, charge by the new one. Raises HoldOutdated."""
    answer = holds.put(tx, job, request, at)
    hold = holds.find(tx, job)
    if hold is not None and hold.overrun_from is not None:
        recharge(tx, hold, at)
    return answer


def charge(tx: Session, marks: Sequence[Due], at: datetime) -> None:
    """Bring what is due into the lines, and settle the jobs that have nothing due then. `marks`: of each run all or none."""
    for _ in range(sum(one.hour != settling.END for one in marks)):
        steps.reach_now("charge")
    change(tx, changes.of(tx, marks), at)
    due.done(tx, marks)
    jobs = dict.fromkeys(one.job for one in marks)
    left = due.left(tx, jobs)
    settling.settle(tx, [job for job in jobs if job not in left], at)


class _Wanted(NamedTuple):
    """What totals the lines of a job are to have."""

    hold: Fetched
    book: Book
    totals: Mapping[Key, int]


def change(tx: Session, changed: Mapping[str, Change], at: datetime) -> None:
    """By job. Each has a hold where some of its records have changed."""
    found = find_many(tx, changed)
    anew = [hold for hold in found.values() if hold.minimum]
    whole = {hold.job for hold in anew}
    real = {job: one for job, one in changed.items() if one.after and job not in whole}
    calendar = Calendar(tx, (record for one in real.values() for record in (*one.before, *one.after)))
    books, wanted = Books(tx, real, calendar.closed), []
    for job, one in real.items():
        hold, book = found[job], books[job]
        differences = None if _is_corrected(hold, one) else _differences(hold, calendar, one)
        if differences is None or hold.captured + book.cost_of(differences) > hold.amount:
            anew.append(hold)
        else:
            wanted.append(_Wanted(hold, book, book.totals(differences)))
    capture_many(tx, _write(tx, books, wanted, at), at)
    for hold in anew:
        recharge(tx, hold, at)


def _is_corrected(hold: Fetched, change: Change) -> bool:
    """Whether a price correction concerns the job, as its lines are or as they are to be."""
    return hold.corrected is not None or any(is_corrected(record) for record in (*change.before, *change.after))


def _differences(hold: Fetched, calendar: "Calendar", change: Change) -> Counter[Key] | None:
    """Of the quantities of lines. None: the second in which the hold is used up may move."""
    was, now = calendar.portions(change.before), calendar.portions(change.after)
    if hold.overrun_from is not None:
        (within_was, was), (within_now, now) = parted(was, hold.overrun_from), parted(now, hold.overrun_from)
        if Counter(within_was) != Counter(within_now):
            return None
    differences = quantities(now)
    differences.subtract(quantities(was))
    return differences


def recharge(tx: Session, hold: Fetched, at: datetime, description: str = "") -> None:
    """Compute a job's lines from all its facts, also those that are due: its hold is the limit, or was, or has changed; or it has a
    minimum charge; or prices were corrected.

    `description`: why, for the ledger.
    """
    marks = due.of_job(tx, hold.job)
    changes.of(tx, marks)
    due.done(tx, marks)
    due.mark(tx, [due.a_look_at(hold.job)] if marks else [])
    facts = records.of_job(tx, hold.job)
    calendar = Calendar(tx, facts)
    comes_to = calendar.charged(facts, hold.amount)
    wanted = quantities(comes_to.portions)
    if comes_to.overrun_from != hold.overrun_from:
        holds.mark_overrun(tx, hold.job, comes_to.overrun_from)
    books = Books(tx, [hold.job], calendar.closed)
    book = books[hold.job]
    _write(tx, books, [_Wanted(hold, book, {key: wanted[key] for key in {*wanted, *book.keys()}})], at, description)
    capture_many(tx, [Capture(hold, comes_to.captured - hold.captured)], at)
    holds.correct(tx, hold.job, comes_to.corrected, at)


class Calendar:
    """The periods that some records lie in; usage is stored with those that it needs."""

    def __init__(self, tx: Session, some: Iterable[Record]) -> None:
        spans = [span for record in some for span in record.spans]
        first = min((to_seconds(span.start) for span in spans), default=0)
        last = max((to_seconds(span.end) for span in spans), default=0)
        located = periods.known(tx, first, last) if spans else []
        self.closed = {part.period: part.closed for part in located}
        self._parts = [PeriodSpan(part.period, part.start, part.end) for part in located]

    def portions(self, some: Iterable[Record]) -> list[Portion]:
        """The portions of records by the prices that hold now, cut at the edges of periods."""
        return every(corrected(some), self._parts)

    def charged(self, facts: Sequence[Record], hold_amount: int) -> Charged:
        """What a job comes to, of which `facts` are all records."""
        return charged(facts, self._parts, hold_amount)


def _write(tx: Session, books: Books, wanted: Sequence[_Wanted], at: datetime, description: str = "") -> list[Capture]:
    """Give the lines these totals, and post to the ledger what the organizations bear more or less by it; gives that, too."""
    charges, captures = [], []
    for hold, book, totals in wanted:
        moved: Counter[str] = Counter()
        for key, quantity in totals.items():
            amount = book.set(key, quantity)
            if key.billed:
                moved[key.seller] += amount
        charges += [
            Charge(hold.organization, seller, amount, hold.job, description) for seller, amount in sorted(moved.items())
        ]
        captures.append(Capture(hold, sum(moved.values())))
    books.write()
    charge_many(tx, charges, at)
    return captures
