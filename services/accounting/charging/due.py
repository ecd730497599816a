"""What is to be charged: usage and ends of runs that are stored, and not in the lines yet.

Who stores them marks them here, in the same transaction; `charger.py` takes them, and drops the marks with the charge. So nothing is
lost and nothing charged twice, wherever a process dies.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, bindparam, delete, exists, func, select
from sqlalchemy.orm import Session

from caravan.kernel.bulk import InsertMany, SelectMany
from caravan.kernel.database import signal, table_of
from caravan.kernel.feed import upsert
from caravan.kernel.prepared import Prepared
from services.accounting.charging.models import ChargeDue, ChargeFailed
from services.accounting.funds.settling import END

TOPIC: Final = "charges-due"
RETRY: Final = timedelta(minutes=1)
DUE, FAILED = table_of(ChargeDue), table_of(ChargeFailed)
_JOB: Final = {"job": DUE.c.job.type}
# Writing what stands there makes PostgreSQL see that a charge takes the mark meanwhile, by what it read before; one of them is done again.
_MARK: Final = InsertMany(
    DUE, lambda new: new.on_conflict_do_update(index_elements=["job", "run", "hour"], set_={"before": DUE.c.before})
)
# One by one: rows come and go here, and once PostgreSQL has looked while there were none it takes the table for empty, however many there
# are. Of a join with all that is to go it would compare each row with each.
_DONE: Final = Prepared(
    delete(DUE).where(
        DUE.c.job == bindparam("of_job"), DUE.c.run == bindparam("of_run"), DUE.c.hour == bindparam("of_hour")
    )
)
_OF_RUNS: Final = SelectMany(
    {**_JOB, "run": DUE.c.run.type},
    lambda given: select(DUE).join(given, (DUE.c.job == given.c.job) & (DUE.c.run == given.c.run)),
)
_LEFT: Final = SelectMany(
    _JOB, lambda given: select(given.c.job).where(exists().where(DUE.c.job == given.c.job)).select_from(given)
)


class Due(NamedTuple):
    """`before`: what the job's lines are made of, as JSON: spans of the run's `hour`; at END the outcome."""

    job: str
    run: str
    hour: int
    before: Any


def a_look_at(job: str) -> Due:
    """Whether the job is to be settled."""
    return Due(job, "", END, None)


def mark(tx: Session, marks: Iterable[Due]) -> None:
    """What is marked already keeps what its lines are made of."""
    first: dict[tuple[str, str, int], Due] = {}
    for one in marks:
        first.setdefault((one.job, one.run, one.hour), one)
    if first:
        _MARK.run(tx, [one._asdict() for one in first.values()])
        signal(tx, TOPIC)


def take(tx: Session, most: int, at: datetime) -> list[Due]:
    """At least one run's marks, at most about `most`, and of each run all; those of jobs that have failed lately are left out."""
    query = select(DUE).where(_ready(at)).order_by(DUE.c.job, DUE.c.run, DUE.c.hour)
    rows = tx.execute(query.limit(most)).all()
    if len(rows) == most:
        job, run = rows[-1].job, rows[-1].run
        rows = [row for row in rows if (row.job, row.run) != (job, run)] or list(
            tx.execute(query.where(DUE.c.job == job, DUE.c.run == run)).all()
        )
    return [Due(*row) for row in rows]


def of_job(tx: Session, job: str) -> list[Due]:
    return [Due(*row) for row in tx.execute(select(DUE).where(DUE.c.job == job)).all()]


def of_runs(tx: Session, runs: Iterable[tuple[str, str]]) -> list[Due]:
    """Of some runs, (job, run), which may not all have any."""
    return [Due(*row) for row in _OF_RUNS.all(tx, [{"job": job, "run": run} for job, run in sorted(set(runs))])]


def done(tx: Session, marks: Sequence[Due]) -> None:
    """The lines are made of what is stored now."""
    if marks:
        _DONE.run_each(tx, [{"of_job": one.job, "of_run": one.run, "of_hour": one.hour} for one in marks])


def left(tx: Session, jobs: Collection[str]) -> set[str]:
    """Those of the jobs that are not charged whole."""
    return {row.job for row in _LEFT.all(tx, [{"job": job} for job in jobs])}


def any_ready(tx: Session, at: datetime) -> bool:
    """Whether `take` would find something."""
    return tx.execute(select(DUE.c.job).where(_ready(at)).limit(1)).first() is not None


def _ready(at: datetime) -> ColumnElement[bool]:
    return ~exists().where(FAILED.c.job == DUE.c.job, FAILED.c.tried_at > at - RETRY)


def count(tx: Session) -> int:
    return tx.execute(select(func.count()).select_from(DUE)).scalar_one()


def failed(tx: Session, job: str, error: str, at: datetime) -> None:
    """Leave the job's marks for later."""
    values = {"error": error, "tried_at": at}
    tx.execute(upsert(tx, FAILED).values(job=job, **values).on_conflict_do_update(index_elements=["job"], set_=values))


def failed_count(tx: Session) -> int:
    """How many jobs wait because they could not be charged, for /metrics: anything but 0 wants a person."""
    return tx.execute(select(func.count()).select_from(FAILED)).scalar_one()


def forget_failures(tx: Session) -> None:
    """Those of jobs that nothing is due for any more."""
    tx.execute(delete(FAILED).where(~exists().where(DUE.c.job == FAILED.c.job)))
