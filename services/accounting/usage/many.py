"""What is stored of many runs, read and kept by a few statements."""

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, FromClause, ScalarSelect, select, update
from sqlalchemy.orm import Session

from caravan.contracts.jobs import Outcome
from caravan.contracts.offerings import PreemptedBearer
from caravan.contracts.statements import BearerReason
from caravan.contracts.usage import Span
from caravan.kernel.bulk import ChangeMany, SelectMany
from caravan.kernel.clock import to_seconds
from services.accounting.charging.lines import Start, provider_bears
from services.accounting.usage.records import ATTEMPTS, RECORDS, RUNS

_RUN: Final = {"run": RUNS.c.id.type}
_RUNS: Final = SelectMany(
    _RUN,
    lambda given: (
        select(RUNS, ATTEMPTS.c.preempted_borne_by)
        .join(given, RUNS.c.id == given.c.run)
        .join(ATTEMPTS, ATTEMPTS.c.id == RUNS.c.attempt)
    ),
)
_AT: Final = SelectMany(
    {**_RUN, "hour": RECORDS.c.hour.type},
    lambda given: select(
        RECORDS.c.run, RECORDS.c.hour, RECORDS.c.revision, RECORDS.c.spans, RECORDS.c.run_started_at
    ).join(given, (RECORDS.c.run == given.c.run) & (RECORDS.c.hour == given.c.hour)),
)
_OF: Final = SelectMany(
    _RUN,
    lambda given: select(RECORDS.c.run, RECORDS.c.hour, RECORDS.c.spans).join(given, RECORDS.c.run == given.c.run),
)


def _held_first(given: FromClause, order: ColumnElement[int]) -> ScalarSelect[Any]:
    """The spans of the first hour, in that order, in which a run held anything."""
    held = select(RECORDS.c.spans).where(RECORDS.c.run == given.c.run, RECORDS.c.spans != ())
    return held.order_by(order).limit(1).correlate(given).scalar_subquery()


_FIRST: Final = SelectMany(
    _RUN, lambda given: select(given.c.run, _held_first(given, RECORDS.c.hour.asc()).label("spans"))
)
_BOTH: Final = SelectMany(
    _RUN,
    lambda given: select(
        given.c.run,
        _held_first(given, RECORDS.c.hour.asc()).label("first"),
        _held_first(given, RECORDS.c.hour.desc()).label("last"),
    ),
)
_STARTS: Final = SelectMany(
    {"job": RUNS.c.job.type},
    lambda given: select(
        given.c.job,
        *(
            select(column)
            .where(RUNS.c.job == given.c.job, RUNS.c.billable_from.is_not(None))
            .order_by(RUNS.c.billable_from, RUNS.c.id)
            .limit(1)
            .correlate(given)
            .scalar_subquery()
            .label(name)
            for name, column in (("second", RUNS.c.billable_from), ("run", RUNS.c.id))
        ),
    ),
)
_KEEP: Final = ChangeMany(
    {**_RUN, "second": RUNS.c.billable_from.type},
    lambda given: update(RUNS).where(RUNS.c.id == given.run).values(billable_from=given.second),
)

_KEEP_UP: Final = ChangeMany(
    {**_RUN, "second": RUNS.c.time_up.type},
    lambda given: update(RUNS).where(RUNS.c.id == given.run).values(time_up=given.second),
)


class Run(NamedTuple):
    """A run as it is stored. `billable_from` and `time_up`: as its job's lines are made of it."""

    id: str
    job: str
    attempt: str
    outcome: Outcome | None
    identity: str | None
    billable_from: int | None
    time_up: int | None
    preempted_borne_by: PreemptedBearer
    upheld: bool = False
    """A contest of it was."""
    task_index: int | None = None

    @property
    def charged_as(self) -> Outcome | None:
        """How it ended, for who bears it: as if it hadn't yet, where that was contested with success."""
        return None if self.upheld else self.outcome

    def provider_bears(self, outcome: Outcome | None) -> BearerReason | None:
        """Why the provider bears it, charged as if it had ended so; None: it doesn't."""
        return provider_bears(outcome, self.preempted_borne_by)


class Stored(NamedTuple):
    """An hour as it is stored; `started` (of its run) in seconds since the epoch."""

    revision: int
    spans: tuple[Span, ...]
    started: int


def runs(tx: Session, some: Collection[str]) -> dict[str, Run]:
    """Those of the runs that are known."""
    return {
        row.id: Run(
            row.id,
            row.job,
            row.attempt,
            Outcome(row.outcome) if row.outcome else None,
            row.identity,
            row.billable_from,
            row.time_up,
            PreemptedBearer(row.preempted_borne_by),
            row.upheld,
            row.task_index,
        )
        for row in _RUNS.all(tx, [{"run": run} for run in some])
    }


def hours(tx: Session, places: Collection[tuple[str, int]]) -> dict[tuple[str, int], Stored]:
    """Those of the hours of runs, (run, hour), that were stated."""
    rows = _AT.all(tx, [{"run": run, "hour": hour} for run, hour in places])
    return {(row.run, row.hour): Stored(row.revision, row.spans, row.run_started_at) for row in rows}


def all_hours(tx: Session, some: Collection[str]) -> dict[tuple[str, int], tuple[Span, ...]]:
    """What the runs held, by (run, hour)."""
    return {(row.run, row.hour): row.spans for row in _OF.all(tx, [{"run": run} for run in some])}


def first_held(tx: Session, some: Collection[str]) -> dict[str, int | None]:
    """The first second in which each of the runs held anything; None: as far as it was stated, it never did."""
    rows = _FIRST.all(tx, [{"run": run} for run in some])
    return {row.run: to_seconds(row.spans[0].start) if row.spans else None for row in rows}


def lengths(tx: Session, some: Collection[str]) -> dict[str, int]:
    """The seconds from the first to the last in which each of the runs held anything, and between them; without those that never did."""
    rows = _BOTH.all(tx, [{"run": run} for run in some])
    both = {row.run: (row.first[0].start, row.last[-1].end) for row in rows if row.first}
    return {run: to_seconds(end) - to_seconds(start) for run, (start, end) in both.items()}


def starts(tx: Session, jobs: Collection[str]) -> dict[str, Start]:
    """Where the price of each job falls, as it is kept with its runs; without those that have none."""
    rows = _STARTS.all(tx, [{"job": job} for job in jobs])
    return {row.job: Start(row.second, row.run) for row in rows if row.run is not None}


def keep_starts(tx: Session, billable_from: Mapping[str, int | None]) -> None:
    """By run."""
    _KEEP.run(tx, [{"run": run, "second": second} for run, second in billable_from.items()])


def keep_time_up(tx: Session, time_up: Mapping[str, int | None]) -> None:
    """By run."""
    _KEEP_UP.run(tx, [{"run": run, "second": second} for run, second in time_up.items()])
