"""Brings jobs' stored lines up to their facts, and moves the money that differs.

What is new costs what it changes: the lines of its own seconds. Only where it moves the second in which a hold is used up, where an
ended attempt has a minimum charge, where a price correction concerns the job, or where a reseller sells only a part of it, the whole
job is computed anew.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
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
from services.accounting.charging.charged import (
    Charged,
    by_buyers,
    corrected,
    every,
    is_corrected,
    minimum_charges,
)
from services.accounting.charging.due import Due
from services.accounting.charging.lines import Key, PeriodSpan, Portion, Record, by_buyer, parted, quantities
from services.accounting.charging.minimum import Minima
from services.accounting.funds import holds, settling
from services.accounting.funds.many import Capture, capture_many, holds_of
from services.accounting.ledger.charges import Charge, charge_many
from services.accounting.periods import service as periods
from services.accounting.redemptions import service as redemptions
from services.accounting.usage import records


def put_hold(tx: Session, job: str, request: HoldRequest, at: datetime) -> HoldAnswer:
    """Decide a hold revision; where the old amount was the limit of what was charged, charge by the new one. Raises HoldOutdated."""
    answer = holds.put(tx, job, request, at)
    held = holds.of_job(tx, job)
    if held and held[0].overrun_from is not None:
        recharge(tx, held, at)
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
    """What totals the lines of a job are to have, of those that a hold is for."""

    hold: Fetched
    book: Book
    totals: Mapping[Key, int]


def change(tx: Session, changed: Mapping[str, Change], at: datetime) -> None:
    """By job. Each has its holds where some of its records have changed."""
    found = holds_of(tx, changed)
    parts = records.sold_in_part(tx, [job for job, held in found.items() if len(held) > 1])
    anew = [held for job, held in found.items() if held[0].minimum or job in parts]
    whole = {held[0].job for held in anew}
    real = {job: one for job, one in changed.items() if one.after and job not in whole}
    calendar = Calendar(tx, (record for one in real.values() for record in (*one.before, *one.after)))
    books, wanted = Books(tx, real, calendar.closed), []
    for job, one in real.items():
        held, book = found[job], books[job]
        differences = None if _is_corrected(held, one) else _differences(held, calendar, one)
        if differences is None or any(
            hold.captured + book.cost_of(more) > hold.amount for hold, more in zip(held, differences, strict=True)
        ):
            anew.append(held)
        else:
            wanted += [_Wanted(hold, book, book.totals(more)) for hold, more in zip(held, differences, strict=True)]
    capture_many(tx, _write(tx, books, wanted, at), at)
    for held in anew:
        recharge(tx, held, at)


def _is_corrected(held: Sequence[Fetched], change: Change) -> bool:
    """Whether a price correction concerns the job, as its lines are or as they are to be."""
    records = (*change.before, *change.after)
    return any(hold.corrected is not None for hold in held) or any(
        is_corrected(record) for own in by_buyer(records).values() for record in own
    )


def _differences(held: Sequence[Fetched], calendar: "Calendar", change: Change) -> list[Counter[Key]] | None:
    """Of the quantities of lines, for each hold. None: the second in which one is used up may move."""
    before, after = by_buyer(change.before), by_buyer(change.after)
    used_up, found = held[0].overrun_from, []
    for hold in held:
        was, now = (calendar.portions(some.get(hold.organization, ())) for some in (before, after))
        if used_up is not None:
            (within_was, was), (within_now, now) = parted(was, used_up), parted(now, used_up)
            if Counter(within_was) != Counter(within_now):
                return None
        differences = quantities(now)
        differences.subtract(quantities(was))
        found.append(differences)
    return found


def recharge(tx: Session, held: Sequence[Fetched], at: datetime, description: str = "") -> None:
    """Compute a job's lines from all its facts, also those that are due: a hold is the limit, or was, or has changed; or it has a minimum
    charge; or prices were corrected; or a reseller sells only a part of it.

    `held`: all its holds (`holds.of_job`). `description`: why, for the ledger.
    """
    own = held[0]
    marks = due.of_job(tx, own.job)
    changes.of(tx, marks)
    due.done(tx, marks)
    due.mark(tx, [due.a_look_at(own.job)] if marks else [])
    facts = records.of_job(tx, own.job)
    calendar = Calendar(tx, facts)
    comes_to = calendar.charged(facts, amounts(held))
    overrun_from = min((one.overrun_from for one in comes_to.values() if one.overrun_from is not None), default=None)
    if overrun_from != own.overrun_from:
        holds.mark_overrun(tx, own.job, overrun_from)
    books = Books(tx, [own.job], calendar.closed)
    book, wanted = books[own.job], []
    nothing = Charged([], 0, None, None)
    for hold in held:
        totals = quantities(comes_to.get(hold.organization, nothing).portions)
        keys = {*totals, *book.keys_of(hold.organization)}
        wanted.append(_Wanted(hold, book, {key: totals[key] for key in keys}))
    _write(tx, books, wanted, at, description)
    bought = {hold.organization: comes_to.get(hold.organization, nothing) for hold in held}
    capture_many(tx, [Capture(hold, bought[hold.organization].captured - hold.captured) for hold in held], at)
    for hold in holds.of_job(tx, own.job):
        holds.correct(tx, hold, bought[hold.organization].corrected, at)


def amounts(held: Iterable[Fetched]) -> dict[str, int]:
    """Of a job's holds, by organization, in fen."""
    return {hold.organization: hold.amount for hold in held}


class Calendar:
    """The periods that some records lie in; usage is stored with those that it needs."""

    def __init__(self, tx: Session, some: Iterable[Record]) -> None:
        edges = [to_seconds(edge) for record in some for span in record.spans for edge in (span.start, span.end)]
        located = periods.known(tx, min(edges), max(edges)) if edges else []
        self.closed = {part.period: part.closed for part in located}
        self._parts = [PeriodSpan(part.period, part.start, part.end) for part in located]

    def portions(self, some: Iterable[Record]) -> list[Portion]:
        """The portions of records by the prices that hold now, cut at the edges of periods."""
        return every(corrected(some), self._parts)

    def charged(self, facts: Sequence[Record], holds: Mapping[str, int]) -> dict[str, Charged]:
        """What a job comes to, of which `facts` are all records, for each who buys (`charged.by_buyers`)."""
        return by_buyers(facts, self._parts, holds)

    def minimum_charges(self, facts: Sequence[Record]) -> dict[str, Minima]:
        """What top-ups of its attempts are made of, for each who buys (`charged.minimum_charges`)."""
        return minimum_charges(facts, self._parts)


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
    _redeem(tx, books, {hold.job for hold, _, _ in wanted}, at)
    return captures


def _redeem(tx: Session, books: Books, jobs: Collection[str], at: datetime) -> None:
    """Let vouchers pay their part of what the jobs come to now."""
    for job, row in redemptions.of_jobs(tx, jobs).items():
        holds.add_grants(tx, row.organization, redemptions.redeem(tx, row, books[job].amounts(), at))
