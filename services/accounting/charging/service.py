"""Brings jobs' stored lines up to their facts, and moves the money that differs.

What is new costs what it changes: the lines of its own seconds. Only where it moves the second in which a hold is used up, or where an
ended attempt has a minimum charge, the whole job is computed anew.
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
from services.accounting.charging.due import Due
from services.accounting.charging.lines import (
    Key,
    PeriodSpan,
    Portion,
    Record,
    assigned,
    overrun_from,
    parted,
    portions,
    quantities,
)
from services.accounting.charging.minimum import top_ups
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
        differences = _differences(hold, calendar.portions(one.before), calendar.portions(one.after))
        if differences is None or hold.captured + book.cost_of(differences) > hold.amount:
            anew.append(hold)
        else:
            wanted.append(_Wanted(hold, book, book.totals(differences)))
    _write(tx, books, wanted, at)
    for hold in anew:
        recharge(tx, hold, at)


def _differences(hold: Fetched, was: list[Portion], now: list[Portion]) -> Counter[Key] | None:
    """Of the quantities of lines. None: the second in which the hold is used up may move."""
    if hold.overrun_from is not None:
        (within_was, was), (within_now, now) = parted(was, hold.overrun_from), parted(now, hold.overrun_from)
        if Counter(within_was) != Counter(within_now):
            return None
    differences = quantities(now)
    differences.subtract(quantities(was))
    return differences


def borne(tx: Session, job: str, hold_amount: int) -> tuple["Calendar", list[Portion]]:
    """The periods of a job, and all its portions with their bearers."""
    facts = records.of_job(tx, job)
    calendar = Calendar(tx, facts)
    parts = [(record.terms, calendar.portions([record])) for record in facts]
    seconds = [portion for _, portions in parts for portion in portions]
    return calendar, assigned(seconds, hold_amount, top_ups(parts))


def recharge(tx: Session, hold: Fetched, at: datetime) -> None:
    """Compute a job's lines from all its facts, also those that are due: its hold is the limit, or was, or has changed; or it has a
    minimum charge."""
    marks = due.of_job(tx, hold.job)
    changes.of(tx, marks)
    due.done(tx, marks)
    due.mark(tx, [due.a_look_at(hold.job)] if marks else [])
    calendar, of_job = borne(tx, hold.job, hold.amount)
    used_up, wanted = overrun_from(of_job), quantities(of_job)
    if used_up != hold.overrun_from:
        holds.mark_overrun(tx, hold.job, used_up)
    books = Books(tx, [hold.job], calendar.closed)
    book = books[hold.job]
    _write(tx, books, [_Wanted(hold, book, {key: wanted[key] for key in {*wanted, *book.keys()}})], at)


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
        """The portions of records, cut at the edges of periods."""
        return [portion for record in some for portion in portions(record, self._parts)]


def _write(tx: Session, books: Books, wanted: Sequence[_Wanted], at: datetime) -> None:
    """Give the lines these totals; post to the ledger, and capture, what the organizations bear more or less by it."""
    charges, captures = [], []
    for hold, book, totals in wanted:
        moved: Counter[str] = Counter()
        for key, quantity in totals.items():
            amount = book.set(key, quantity)
            if key.billed:
                moved[key.provider] += amount
        charges += [Charge(hold.organization, provider, amount, hold.job) for provider, amount in sorted(moved.items())]
        captures.append(Capture(hold, sum(moved.values())))
    books.write()
    charge_many(tx, charges, at)
    capture_many(tx, captures, at)
