"""Changes to one job inside a transaction: tasks move between states, the job follows, events are written, the end is settled.

Everything that moves a job goes through here, whoever caused it: a request, the loop or a site's report.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import bindparam, delete, exists, func, insert, select, update
from sqlalchemy.orm import Session

from caravan.contracts import events
from caravan.contracts.base import prose
from caravan.contracts.dispatch import Desired
from caravan.contracts.jobs import AttemptState, HoldState, Job, JobHold, JobState
from caravan.contracts.offerings import Capacity
from caravan.contracts.usage import AttemptEnded, JobSettled, RunUsage
from caravan.kernel import clock, feed
from caravan.kernel.database import signal, table_of
from caravan.kernel.money import Money
from caravan.kernel.prepared import Prepared
from services.broker.dispatch.wanted import want
from services.broker.jobs.models import AttemptRow, EventRow, JobRow, RunRow, TaskRow
from services.broker.jobs.states import job_state
from services.broker.placement import capacity
from services.broker.placement.models import Waiting

TOPIC: Final = "advance"
CHUNK: Final = 500
"""Tasks that one statement is about, at most."""
WOKEN_BY_AN_OFFERING: Final = 100


_jobs, _events = table_of(JobRow), table_of(EventRow)
_COLUMNS: Final = tuple(column.key for column in _jobs.columns)
_INSERT: Final = Prepared(insert(_jobs))
_FIND: Final = Prepared(select(_jobs).where(_jobs.c.id == bindparam("of_job")))
_CHANGE: Final = Prepared(update(_jobs).where(_jobs.c.id == bindparam("of_job")))
_NOTE: Final = Prepared(
    insert(_events).values(
        sequence=select(func.coalesce(func.max(_events.c.sequence), 0) + 1)
        .where(_events.c.job == bindparam("of_job"))
        .scalar_subquery()
    )
)
_tasks = table_of(TaskRow)
_MOVE: Final = {
    count: Prepared(
        update(_tasks).where(
            _tasks.c.job == bindparam("of_job"),
            _tasks.c.index.in_([bindparam(f"of_{place}") for place in range(count)]),
            _tasks.c.state == bindparam("of_state"),
        )
    )
    for count in (1, 16, CHUNK)
}
"""For at most so many tasks at once."""
_waiting = table_of(Waiting)
_OLDEST: Final = Prepared(
    select(_waiting.c.job).where(_waiting.c.offering == bindparam("of_offering")).order_by(_waiting.c.job).limit(1)
)
_WAITED_FOR: Final = Prepared(select(_waiting.c.offering).where(_waiting.c.job == bindparam("of_job")))
_WAIT: Final = Prepared(insert(_waiting))
_mine, _other = _waiting.alias(), _waiting.alias()
_IS_NEXT: Final = Prepared(
    select(_mine.c.job)
    .where(
        _mine.c.job == bindparam("of_job"),
        ~exists().where(_other.c.offering == _mine.c.offering, _other.c.job < bindparam("of_job")),
    )
    .limit(1)
)


def apart(**values: Any) -> JobRow:
    """A job's row by itself: no session knows of it, and none keeps account of what is set."""
    row = JobRow()
    vars(row).update(values)
    return row


def create(tx: Session, job: JobRow) -> None:
    """Write the row of a new job."""
    values = vars(job)
    _INSERT.run(tx, **{name: values.get(name) for name in _COLUMNS})


def read(tx: Session, job: str) -> JobRow:
    """The job's row, apart. Raises LookupError."""
    return apart(**_FIND.one(tx, of_job=job)._asdict())


@contextmanager
def changing(tx: Session, job: str) -> Iterator[JobRow]:
    """The job's row, apart. What the block changes of it is written at the end."""
    row = read(tx, job)
    before = dict(vars(row))
    yield row
    changed = {name: value for name, value in vars(row).items() if name in before and value != before[name]}
    if changed:
        _CHANGE.run(tx, of_job=job, **changed)


def note(tx: Session, job: str, type: str, detail: str = "", at: datetime | None = None, **data: Any) -> None:
    """Write the next event of the job."""
    _NOTE.run(tx, job=job, of_job=job, at=at or clock.now(), type=type, detail=prose(detail), data=data)


def wake(tx: Session, job: str, at: datetime | None = None) -> None:
    """Have `advance` look at the job, now or at `at`."""
    tx.execute(update(JobRow).where(JobRow.id == job).values(wake_at=at or clock.now()))
    if at is None:
        signal(tx, TOPIC)


def wake_waiting(tx: Session, offering: str) -> None:
    """Have the oldest job that waits for this offering looked at again: when it leaves the queue, the next one is."""
    oldest = _OLDEST.first(tx, of_offering=offering)
    if oldest is not None:
        wake(tx, oldest.job)


def offering_changed(tx: Session, offering: str) -> None:
    """What waits for it may be decided otherwise now, and what waits for others may find its place there."""
    wake_waiting(tx, offering)
    oldest = select(Waiting.job).distinct().order_by(Waiting.job).limit(WOKEN_BY_AN_OFFERING)
    for job in tx.scalars(oldest).all():
        wake(tx, job)


def wait_for(tx: Session, job: str, offerings: Sequence[str]) -> bool:
    """Have the job wait for just these offerings. What it leaves goes to the next in line. Returns whether anything changed."""
    before = {row.offering for row in _WAITED_FOR.all(tx, of_job=job)}
    left, new = before - set(offerings), [offering for offering in offerings if offering not in before]
    if left:
        tx.execute(delete(Waiting).where(Waiting.job == job, Waiting.offering.in_(left)))
        for offering in sorted(left):
            wake_waiting(tx, offering)
    if new:
        _WAIT.run_each(tx, [{"offering": offering, "job": job} for offering in new])
    return bool(left or new)


def is_next(tx: Session, job: str) -> bool:
    """Whether the job is the oldest that waits for any of its offerings."""
    return _IS_NEXT.first(tx, of_job=job) is not None


def move_tasks(
    tx: Session, job: JobRow, indices: Sequence[int], sources: Iterable[JobState], target: JobState, **values: Any
) -> int:
    """Move those of `indices` that are in one of `sources` to `target`; the job's counts follow. Returns how many moved."""
    moved = 0
    counts = dict(job.counts)
    for source in sources:
        if source is target:
            continue
        for start in range(0, len(indices), CHUNK):
            some = indices[start : start + CHUNK]
            size = next(size for size in _MOVE if size >= len(some))
            those = {f"of_{place}": some[min(place, len(some) - 1)] for place in range(size)}
            count = _MOVE[size].run(tx, of_job=job.id, of_state=source, **those, state=target, **values)
            counts[source] = counts.get(source, 0) - count
            counts[target] = counts.get(target, 0) + count
            moved += count
    job.counts = {state: n for state, n in counts.items() if n}
    return moved


def follow_tasks(tx: Session, job: JobRow, at: datetime) -> None:
    """Let the job's state follow its tasks; at its end stop waiting and settle when the books are final. `at`: when it happened."""
    was = JobState(job.state)
    now = job_state({JobState(state): n for state, n in job.counts.items()})
    job.version += 1
    if now is not was:
        job.state = now
        if now.final:
            last = tx.execute(select(func.max(RunRow.ended_at)).where(RunRow.job == job.id)).scalar_one()
            job.ended_at = max(at, last or at)
            job.wake_at = None
            wait_for(tx, job.id, ())
        if now is not JobState.PENDING:
            job.reason = None
        note(tx, job.id, f"job.{now}", job.detail if now.final else "")
    if now.final:
        settle(tx, job)


def end_attempt(tx: Session, attempt: AttemptRow, at: datetime, detail: str = "") -> None:
    """The attempt is seen terminal: its capacity goes back, once, and those who wait for it are looked at."""
    if attempt.state == AttemptState.ENDED:
        return
    attempt.state = AttemptState.ENDED
    attempt.ended_at = at
    attempt.detail = detail or attempt.detail
    if attempt.reserved is not None:
        capacity.give_back(tx, attempt.offering, attempt.reserved, Capacity.model_validate(attempt.capacity))
        attempt.reserved = None
        wake_waiting(tx, attempt.offering)
    note(tx, attempt.job, "attempt.ended", detail, attempt=attempt.id)


def close_books(tx: Session, attempt: AttemptRow) -> None:
    """Nothing more is wanted of an ended attempt whose runs are all final: accounting hears so, if it has heard of the attempt."""
    if attempt.state != AttemptState.ENDED or attempt.desired == Desired.NOTHING:
        return
    tx.flush()
    unfinished = select(RunRow.id).where(RunRow.attempt == attempt.id, RunRow.final == 0).limit(1)
    if tx.execute(unfinished).first() is None:
        if attempt.work is None:
            attempt.desired = Desired.NOTHING
        else:
            want(tx, attempt, Desired.NOTHING)
            feed.fact(tx, events.ATTEMPT_ENDED, attempt.job, AttemptEnded(attempt=attempt.id, job=attempt.job))


def settle(tx: Session, job: JobRow) -> None:
    """Say, once, that nothing more will come of the job: it has ended, and so have the books of all its runs."""
    if job.settled_at is not None or job.open_runs or not JobState(job.state).final:
        return
    tx.flush()
    living = select(AttemptRow.id).where(AttemptRow.job == job.id, AttemptRow.state != AttemptState.ENDED).limit(1)
    if tx.execute(living).first() is not None:
        return
    runs = tx.execute(select(RunRow.id, RunRow.hours).where(RunRow.job == job.id).order_by(RunRow.id)).all()
    feed.fact(
        tx,
        events.JOB_SETTLED,
        job.id,
        JobSettled(
            job=job.id,
            hold_revision=job.hold_revision,
            runs=tuple(RunUsage(run=run.id, hours=run.hours) for run in runs),
        ),
    )
    job.settled_at = clock.now()
    if job.hold_state != HoldState.REFUSED:
        job.hold_state = HoldState.SETTLED
    note(tx, job.id, "job.settled")


def to_job(job: JobRow) -> Job:
    """The row as its contract."""
    return Job(
        id=job.id,
        organization=job.organization,
        project=job.project,
        name=job.name,
        state=JobState(job.state),
        reason=job.reason,
        detail=job.detail,
        counts={JobState(state): n for state, n in job.counts.items()},
        hold=JobHold(amount=Money(job.hold_fen), revision=job.hold_revision, state=HoldState(job.hold_state)),
        offering=job.offering,
        labels=job.labels,
        created_at=job.created_at,
        started_at=job.started_at,
        ended_at=job.ended_at,
        settled_at=job.settled_at,
        version=job.version,
    )


def due(tx: Session, limit: int) -> tuple[list[str], float]:
    """Jobs that `advance` should look at now, and the seconds until the next one."""
    now = clock.now()
    rows = tx.execute(
        select(JobRow.id, JobRow.wake_at).where(JobRow.wake_at.is_not(None)).order_by(JobRow.wake_at).limit(limit + 1)
    ).all()
    ripe = [row.id for row in rows if row.wake_at <= now][:limit]
    later = [row.wake_at for row in rows if row.wake_at > now]
    return ripe, (later[0] - now) / timedelta(seconds=1) if later else 60.0


def postpone(tx: Session, jobs: Sequence[str]) -> None:
    """Look at these again later: moving them on failed."""
    for job in jobs:
        wake(tx, job, clock.now() + timedelta(seconds=30))
