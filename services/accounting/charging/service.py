"""Brings a job's stored lines up to its facts, and moves the money that differs.

A fact costs what it changes: the lines of its own seconds. Only where it moves the second in which the hold is used up, the whole job is
computed anew.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from caravan.contracts.funds import HoldAnswer, HoldRequest
from caravan.kernel.clock import to_seconds
from caravan.kernel.prepared import Fetched
from services.accounting.charging.book import Book
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
from services.accounting.funds import holds
from services.accounting.ledger import service as ledger
from services.accounting.periods import service as periods
from services.accounting.usage import records

LookUp = Callable[[Session, int, int], list[periods.Located]]
"""`periods.locate` or `periods.known`."""


def put_hold(tx: Session, job: str, request: HoldRequest, at: datetime) -> HoldAnswer:
    """Decide a hold revision; where the old amount was the limit of what was charged, charge by the new one. Raises HoldOutdated."""
    answer = holds.put(tx, job, request, at)
    hold = holds.find(tx, job)
    if hold is not None and hold.overrun_from is not None:
        recharge(tx, job, at)
    return answer


def change(tx: Session, job: str, before: Sequence[Record], after: Sequence[Record], at: datetime) -> None:
    """Some of the job's records were `before` and are `after` now (stored already). Raises NotHereYet while the job has no hold."""
    hold, calendar = _hold(tx, job), Calendar(tx, [*before, *after], periods.locate)
    was, now = calendar.portions(before), calendar.portions(after)
    moved = False
    if hold.overrun_from is not None:
        (within_was, was), (within_now, now) = parted(was, hold.overrun_from), parted(now, hold.overrun_from)
        moved = Counter(within_was) != Counter(within_now)
    differences = quantities(now)
    differences.subtract(quantities(was))
    book = Book(tx, job, calendar.closed)
    if moved or hold.captured + book.cost_of(differences) > hold.amount:
        recharge(tx, job, at)
    else:
        _write(tx, hold, book, book.totals(differences), at)


def recharge(tx: Session, job: str, at: datetime) -> None:
    """Compute the job's lines from all its facts: its hold is the limit, or was, or has changed."""
    hold, facts = _hold(tx, job), records.of_job(tx, job)
    calendar = Calendar(tx, facts)
    borne = assigned(calendar.portions(facts), hold.amount)
    used_up, wanted = overrun_from(borne), quantities(borne)
    if used_up != hold.overrun_from:
        holds.mark_overrun(tx, job, used_up)
    book = Book(tx, job, calendar.closed)
    _write(tx, hold, book, {key: wanted[key] for key in {*wanted, *book.keys()}}, at)


class Calendar:
    """The periods that some records lie in. Usage that is new may need some that are not made yet: then `look_up` makes them."""

    def __init__(self, tx: Session, some: Iterable[Record], look_up: LookUp = periods.known) -> None:
        spans = [span for record in some for span in record.spans]
        first = min((to_seconds(span.start) for span in spans), default=0)
        last = max((to_seconds(span.end) for span in spans), default=0)
        located = look_up(tx, first, last) if spans else []
        self.closed = {part.period: part.closed for part in located}
        self._parts = [PeriodSpan(part.period, part.start, part.end) for part in located]

    def portions(self, some: Iterable[Record]) -> list[Portion]:
        """The portions of records, cut at the edges of periods."""
        return [portion for record in some for portion in portions(record, self._parts)]


def _hold(tx: Session, job: str) -> Fetched:
    hold = holds.find(tx, job)
    if hold is None:
        raise records.NotHereYet(f"hold of {job}")
    return hold


def _write(tx: Session, hold: Fetched, book: Book, wanted: Mapping[Key, int], at: datetime) -> None:
    """Give the lines these totals; post to the ledger, and capture, what the organization bears more or less by it."""
    moved: Counter[str] = Counter()
    for key, quantity in wanted.items():
        amount = book.set(key, quantity)
        if key.billed:
            moved[key.provider] += amount
    book.write()
    for provider, amount in sorted(moved.items()):
        ledger.charge(
            tx, organization=hold.organization, provider=provider, delta_fen=amount, reference=hold.job, at=at
        )
    holds.capture(tx, hold, sum(moved.values()), at)
