"""Applying what agents report, item by item. A stale or doubled item changes nothing; one that can't be true is refused by name,
but for usage that something speaks against: accounting is told of it, and a person settles it.

The order of observations is the agent's observation number, per attempt and per run, never the order of arrival.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session

from caravan.contracts import events
from caravan.contracts.base import prose
from caravan.contracts.dispatch import AttemptObserved, Desired, FinalStated, ReportItem, RunObserved, UsageStated
from caravan.contracts.jobs import AttemptState, JobState, Outcome, PendingReason, RunState
from caravan.contracts.spec import JobSpec
from caravan.contracts.usage import RunFinal
from caravan.kernel import clock, feed, ids
from services.broker.dispatch import stating
from services.broker.jobs import store
from services.broker.jobs.models import AttemptRow, JobRow, RunRow, TaskRow
from services.broker.jobs.states import TRANSITIONS, task_after

UNDONE = (JobState.PENDING, JobState.QUEUED, JobState.RUNNING)


class CannotBe(Exception):
    """The item contradicts what is known; it is refused with these words and raises an alarm."""


@contextmanager
def loaded(tx: Session, items: Sequence[ReportItem]) -> Iterator[None]:
    """Inside, the session has the attempts that items are about, and their jobs: two reads for all, instead of two for each."""
    attempts = list({item.attempt for item in items})
    known: list[AttemptRow | JobRow] = []
    for start in range(0, len(attempts), store.CHUNK):
        some = tx.scalars(select(AttemptRow).where(AttemptRow.id.in_(attempts[start : start + store.CHUNK]))).all()
        known += [*some, *tx.scalars(select(JobRow).where(JobRow.id.in_({attempt.job for attempt in some})))]
    yield
    known.clear()


def apply(tx: Session, site: str, item: ReportItem) -> bool:
    """Apply one item. Returns whether it changed anything. Raises CannotBe."""
    attempt = tx.get(AttemptRow, item.attempt)
    if attempt is None or attempt.site != site or attempt.work is None:
        raise CannotBe("this site has no such attempt")
    if isinstance(item, AttemptObserved):
        return _attempt(tx, attempt, item)
    if attempt.reference is None:
        raise CannotBe("nothing of this attempt was ever committed, so nothing of it can have run")
    if item.index not in attempt.indices:
        raise CannotBe("the attempt has no task of this index")
    if isinstance(item, RunObserved):
        return _run(tx, attempt, item)
    run = _known(tx, attempt, item)
    if run is None:
        raise CannotBe("this run has not been observed yet")
    return stating.state(tx, run, item.usage) if isinstance(item, UsageStated) else _final(tx, attempt, run, item)


def _known(tx: Session, attempt: AttemptRow, item: RunObserved | UsageStated | FinalStated) -> RunRow | None:
    """Another attempt or task may have a run of the same identity: which of them it was isn't for a report to say."""
    own = (RunRow.attempt == attempt.id) & (RunRow.index == item.index)
    return tx.execute(
        select(RunRow).where(RunRow.site == attempt.site, RunRow.backend_identity == item.backend_identity, own)
    ).scalar_one_or_none()


def _attempt(tx: Session, attempt: AttemptRow, item: AttemptObserved) -> bool:
    if item.state == "forgotten":
        return _forgotten(attempt)
    if item.observation <= attempt.observation or attempt.state == AttemptState.ENDED:
        return False
    if item.state in ("rejected", "discarded"):
        if attempt.reference is not None:
            raise CannotBe(f"a committed submission can't be {item.state}")
        return _never_started(tx, attempt, item)
    if attempt.reference is None:
        raise CannotBe("nothing of this attempt was ever committed")
    if item.state == "gone":
        return _gone(tx, attempt, item)
    target = AttemptState(item.state)
    if target is not AttemptState(attempt.state) and target not in TRANSITIONS[AttemptState(attempt.state)]:
        raise CannotBe(f"an attempt does not go from {attempt.state} to {target}")
    job = tx.get_one(JobRow, attempt.job)
    if target is AttemptState.ENDED:
        _all_runs_ended(tx, attempt, item.runs)
    attempt.observation = item.observation
    attempt.detail = item.detail
    if target is AttemptState.ENDED:
        _ended(tx, attempt, job, clock.now(), item.detail)
        return True
    if target is not AttemptState(attempt.state):
        attempt.state = target
        with tx.no_autoflush:  # nothing here reads what the session has changed: all that is written once, at the end
            store.note(tx, job.id, f"attempt.{target}", item.detail, attempt=attempt.id)
            if target in (AttemptState.RELEASED, AttemptState.QUEUED):
                store.move_tasks(tx, job, attempt.indices, [JobState.PENDING], JobState.QUEUED)
                store.follow_tasks(tx, job, clock.now())
    return True


def _forgotten(attempt: AttemptRow) -> bool:
    """The agent has let go of it: without a place in the site's work (0) it isn't asked again."""
    if attempt.desired != Desired.NOTHING:
        raise CannotBe("something is still wanted of this attempt")
    known, attempt.work = attempt.work, 0
    return known != 0


def _gone(tx: Session, attempt: AttemptRow, item: AttemptObserved) -> bool:
    """The backend has nothing of it any more: what nobody has seen end was lost with it."""
    attempt.observation = item.observation
    job, now = tx.get_one(JobRow, attempt.job), clock.now()
    _lose_runs(tx, attempt, job, now, item.detail)
    _ended(tx, attempt, job, now, item.detail)
    return True


def _never_started(tx: Session, attempt: AttemptRow, item: AttemptObserved) -> bool:
    """Nothing of the attempt will ever run: its tasks look for another place, never again for this one if it was rejected."""
    attempt.observation = item.observation
    job = tx.get_one(JobRow, attempt.job)
    if item.state == "rejected":
        words = prose(f"Its backend refused the job: {item.detail}")
        job.excluded = job.excluded | {attempt.offering: ["rejected", words]}
    _ended(tx, attempt, job, clock.now(), item.detail)
    return True


def _all_runs_ended(tx: Session, attempt: AttemptRow, runs: int) -> None:
    """Raises CannotBe when the report has come before those of the attempt's runs. `runs`: how many the agent knows."""
    states = tx.scalars(select(RunRow.state).where(RunRow.attempt == attempt.id)).all()
    if RunState.RUNNING in states or len(states) < runs:
        raise CannotBe("a run of this attempt has not ended")


def _ended(tx: Session, attempt: AttemptRow, job: JobRow, now: datetime, detail: str) -> None:
    """Nothing of the attempt runs any more: what it has left undone is tried again, or given up."""
    store.end_attempt(tx, attempt, now, detail)
    spec = JobSpec.model_validate_json(job.spec)
    undone = tx.execute(
        select(TaskRow.index.label("task"), TaskRow.tries, RunRow.detail, RunRow.outcome)
        .outerjoin(RunRow, (RunRow.id == TaskRow.run) & (RunRow.attempt == attempt.id))
        .where(TaskRow.job == job.id, TaskRow.attempt == attempt.id, TaskRow.state.in_(UNDONE))
    ).all()
    again: list[int] = []
    given_up: dict[str, list[int]] = {}
    for row in undone:
        if row.tries < spec.max_attempts and not job.cancel_requested:
            again.append(row.task)
        else:
            given_up.setdefault(row.detail or row.outcome or detail or "Its site gave it up", []).append(row.task)
    if again:
        job.excluded = {attempt.offering: ["failed", "Its site failed this job before"]} | job.excluded
        store.move_tasks(tx, job, again, UNDONE, JobState.PENDING)
        for start in range(0, len(again), store.CHUNK):
            part = again[start : start + store.CHUNK]
            tx.execute(update(TaskRow).where(TaskRow.job == job.id, TaskRow.index.in_(part)).values(attempt=None))
        job.reason = PendingReason.RETRYING
        store.wake(tx, job.id)
    target = JobState.CANCELLED if job.cancel_requested else JobState.FAILED
    for words, tasks in given_up.items():
        store.move_tasks(tx, job, tasks, UNDONE, target, detail=words)
        if not job.cancel_requested:
            job.detail = job.detail or words
    store.close_books(tx, attempt)
    store.follow_tasks(tx, job, now)


def _run(tx: Session, attempt: AttemptRow, item: RunObserved) -> bool:
    row = _known(tx, attempt, item)
    if row is not None and item.observation <= row.observation:
        return False
    ended = item.state is RunState.ENDED
    if (item.ended_at is not None, item.outcome is not None) != (ended, ended):
        raise CannotBe("a run has an end and an outcome once it has ended")
    if row is not None and row.state == RunState.ENDED:
        return _corrected(tx, row, item)
    if attempt.state == AttemptState.ENDED:
        raise CannotBe("the attempt has ended")
    job = tx.get_one(JobRow, attempt.job)
    first = row is None
    if row is None:
        row = RunRow(
            id=ids.new("run"),
            site=attempt.site,
            backend_identity=item.backend_identity,
            attempt=attempt.id,
            job=job.id,
            index=item.index,
            started_at=item.started_at,
            final=0,
            hours={},
            marks={},
            aside={},
        )
        tx.add(row)
        job.open_runs += 1
    row.observation, row.state, row.detail = item.observation, item.state, item.detail
    row.outcome = _outcome(item.outcome, job)
    row.exit_code, row.signal = item.exit_code, item.signal
    row.start_told, row.end_told = item.started_at, item.ended_at
    row.ended_at = None if item.ended_at is None else max(item.ended_at, item.started_at, row.started_at)
    tx.flush()
    if first:
        store.note(tx, job.id, "run.started", at=item.started_at, attempt=attempt.id, index=item.index, run=row.id)
    if item.observation > attempt.observation:
        # What the agent saw of the whole attempt before it saw this run is old news now.
        attempt.observation, attempt.state = item.observation, AttemptState.RUNNING
    if job.started_at is None or row.started_at < job.started_at:
        job.started_at = row.started_at
    _show(tx, row)
    if row.ended_at is None or row.outcome is None:
        if not _is_followed(tx, row):
            store.move_tasks(tx, job, [item.index], [JobState.PENDING, JobState.QUEUED], JobState.RUNNING)
        store.follow_tasks(tx, job, row.started_at)
    else:
        _run_ends(tx, job, row, row.ended_at, Outcome(row.outcome))
        store.follow_tasks(tx, job, row.ended_at)
    return True


def _corrected(tx: Session, run: RunRow, item: RunObserved) -> bool:
    """A run that has ended stays as it is, but for when it did: until its books are closed, they may know that better.

    No end before its start is taken over: what is stated by that is for a person to settle.
    """
    if run.final or item.ended_at is None:
        return False
    run.observation, run.start_told, run.end_told = item.observation, item.started_at, item.ended_at
    job = tx.get_one(JobRow, run.job)
    job.version += 1
    if item.ended_at < max(item.started_at, run.started_at):
        run.detail = item.detail
        return True
    run.ended_at = item.ended_at
    if job.ended_at is not None:
        job.ended_at = max(job.ended_at, item.ended_at)
    return True


def _outcome(said: Outcome | None, job: JobRow) -> Outcome | None:
    """What the site says of a run's end. A cancel that the enterprise has not asked for is the site's doing."""
    return Outcome.SITE if said is Outcome.CANCELLED and not job.cancel_requested else said


def _show(tx: Session, run: RunRow) -> None:
    """A task shows the last of its attempt's runs to start, whenever that was told. What turns out to be a duplicate gives way."""
    siblings = (RunRow.attempt == run.attempt) & RunRow.outcome.is_distinct_from(Outcome.DUPLICATE)
    last: str | None = run.id
    replaced = ~exists().where(RunRow.id == TaskRow.run, siblings, RunRow.started_at > run.started_at)
    if run.outcome == Outcome.DUPLICATE:
        others = select(RunRow.id).where(siblings, RunRow.index == run.index).order_by(RunRow.started_at.desc())
        last, replaced = tx.execute(others.limit(1)).scalar_one_or_none(), TaskRow.run == run.id
    task = update(TaskRow).where(TaskRow.job == run.job, TaskRow.index == run.index, replaced)
    tx.execute(task.values(run=last).execution_options(synchronize_session=False))


def _is_followed(tx: Session, run: RunRow) -> bool:
    """Its backend requeued the task: a later run of the same attempt says how it stands, in whatever order they are told."""
    shown = select(TaskRow.run).where(TaskRow.job == run.job, TaskRow.index == run.index)
    return tx.execute(shown).scalar_one() != run.id


def _run_ends(tx: Session, job: JobRow, run: RunRow, ended_at: datetime, outcome: Outcome) -> None:
    """The run's task goes where such an end leads, unless its backend has started it again since."""
    data = {"run": run.id, "index": run.index, "outcome": outcome, "exit_code": run.exit_code}
    store.note(tx, job.id, "run.ended", run.detail, at=ended_at, **data)
    target = task_after(outcome, bool(job.cancel_requested))
    if target is None or _is_followed(tx, run):
        return
    if target is JobState.FAILED and not job.detail:
        job.detail = run.detail or outcome
    store.move_tasks(tx, job, [run.index], UNDONE, target, detail=run.detail)


def _final(tx: Session, attempt: AttemptRow, run: RunRow, item: FinalStated) -> bool:
    if run.final:
        return False
    if run.state != RunState.ENDED or run.outcome is None:
        raise CannotBe("a run that has not ended can't have its books closed")
    if item.hours != stating.heard(run.hours, run.aside):
        raise CannotBe("usage of this run is missing here; state it again")
    _close_run(tx, run)
    store.close_books(tx, attempt)
    store.settle(tx, tx.get_one(JobRow, run.job))
    return True


def _close_run(tx: Session, run: RunRow) -> None:
    """Close the run's books and say how it ended, once."""
    job = tx.get_one(JobRow, run.job)
    stating.close(tx, run)
    run.final = 1
    job.open_runs -= 1
    feed.fact(
        tx,
        events.RUN_FINAL,
        run.job,
        RunFinal(run=run.id, attempt=run.attempt, job=run.job, outcome=Outcome(run.outcome or Outcome.LOST)),
    )


def lose(tx: Session, attempt: AttemptRow, by: str) -> None:
    """The attempt is given up, by a person or by its site's silence: what had not ended ends as lost, what was stated stays stated."""
    job, now = tx.get_one(JobRow, attempt.job), clock.now()
    _lose_runs(tx, attempt, job, now, "declared lost")
    store.note(tx, job.id, "attempt.lost", at=now, attempt=attempt.id, by=by)
    _ended(tx, attempt, job, now, "declared lost")


def _lose_runs(tx: Session, attempt: AttemptRow, job: JobRow, now: datetime, detail: str) -> None:
    """End what runs as lost, and close all books as they stand."""
    for run in tx.scalars(select(RunRow).where(RunRow.attempt == attempt.id)).all():
        if run.state == RunState.RUNNING:
            run.state, run.outcome, run.detail = RunState.ENDED, Outcome.LOST, detail
            run.ended_at = ended_at = max(run.started_at, clock.floor_second(now))
            _run_ends(tx, job, run, ended_at, Outcome.LOST)
        if not run.final:
            _close_run(tx, run)
