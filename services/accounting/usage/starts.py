"""Where a job's price falls, kept with its runs: each with the first second that it held, unless the provider bears it.

So a fact finds it by one look-up, however many runs the job has. The rule itself is `charging.lines.first_start`.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from sqlalchemy import bindparam, update
from sqlalchemy.orm import Session

from caravan.contracts.jobs import Outcome
from caravan.contracts.usage import Span
from caravan.kernel.clock import HOUR_SECONDS, to_seconds
from caravan.kernel.prepared import Prepared
from services.accounting.charging.lines import Record, Start, provider_bears, starting
from services.accounting.usage import records
from services.accounting.usage.records import RUNS, first_held, start_of

_KEEP: Final = Prepared(
    update(RUNS).where(RUNS.c.id == bindparam("its_run")).values(billable_from=bindparam("now_from"))
)


class Known(NamedTuple):
    """A run as it is stored."""

    id: str
    job: str
    outcome: Outcome | None
    billable_from: int | None


class Shift(NamedTuple):
    """The price of a job fell at `was`, and falls at `now`."""

    was: Start | None
    now: Start | None

    def told(
        self, tx: Session, before: Sequence[Record], after: Sequence[Record], of: str, hour: int | None
    ) -> tuple[list[Record], list[Record]]:
        """These with the price, and with the records that only it moves between. `of` and `hour` are whose these are; None: every hour."""
        others = [
            record
            for start in {self.was, self.now}
            if start is not None and (start.run != of or hour not in (None, start.hour))
            for record in records.of_hour(tx, start.run, start.hour)
        ]
        return (
            [starting(record, self.was) for record in (*before, *others)],
            [starting(record, self.now) for record in (*after, *others)],
        )


def after_usage(tx: Session, run: Known, hour: int, spans: Sequence[Span]) -> Shift | None:
    """The run holds these spans in this hour now (stored already). None: the price of its job falls where it did."""
    first = run.billable_from
    if provider_bears(run.outcome) is not None or (first is not None and first < hour):
        return None
    if spans:
        first = to_seconds(spans[0].start)
    elif first is not None and first < hour + HOUR_SECONDS:
        first = first_held(tx, run.id)
    return _move(tx, run, first)


def after_end(tx: Session, run: Known, outcome: Outcome) -> Shift | None:
    """The run ended so. None: the price of its job falls where it did."""
    first = run.billable_from
    if provider_bears(outcome) is not None:
        first = None
    elif provider_bears(run.outcome) is not None:
        first = first_held(tx, run.id)
    return _move(tx, run, first)


def _move(tx: Session, run: Known, second: int | None) -> Shift | None:
    if second == run.billable_from:
        return None
    was = start_of(tx, run.job)
    _KEEP.run(tx, its_run=run.id, now_from=second)
    now = start_of(tx, run.job)
    return Shift(was, now) if was != now else None
