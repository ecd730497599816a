"""Reading jobs: lists by key, details, tasks, attempts, events. A caller sees its organizations' jobs; the platform sees all."""

from dataclasses import dataclass

from sqlalchemy import Select, select, true
from sqlalchemy.orm import Session

from caravan.contracts.jobs import ArrayTask, Attempt, AttemptState, Job, JobDetail, JobEvent, JobState, Outcome
from caravan.contracts.offerings import PreemptedBearer
from caravan.contracts.quotes import Placement
from caravan.contracts.spec import JobSpec
from caravan.kernel.database import Database
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.problems import NotFound
from caravan.kernel.tokens import Caller
from services.broker.jobs.models import AttemptRow, EventRow, JobRow, LabelRow, RunRow, TaskRow
from services.broker.jobs.store import to_job
from services.broker.placement.models import StoredPlacement


@dataclass(frozen=True)
class Wanted:
    """Which jobs to list; None: any. `label` is `name=value`, `name` matches whole."""

    project: str | None = None
    state: JobState | None = None
    label: str | None = None
    name: str | None = None


def _matching(wanted: Wanted) -> Select[JobRow]:
    query = select(JobRow)
    if wanted.label is not None:
        query = query.join(LabelRow, LabelRow.job == JobRow.id).where(LabelRow.label == wanted.label)
    for column, value in ((JobRow.project, wanted.project), (JobRow.state, wanted.state), (JobRow.name, wanted.name)):
        if value is not None:
            query = query.where(column == value)
    return query


class JobReader:
    """Read-only views of this broker's jobs."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list(self, caller: Caller, page: PageParams, wanted: Wanted) -> Page[Job]:
        """Jobs, the newest first."""
        listing = page.listing("jobs", caller, (str,), wanted=wanted)

        def rows(tx: Session) -> list[Job]:
            query = _matching(wanted)
            if not caller.is_platform_reader:
                mine = sorted(caller.organizations())
                # One organization is read along its index.
                query = query.where(JobRow.organization == mine[0] if len(mine) == 1 else JobRow.organization.in_(mine))
            if listing.after:
                query = query.where(JobRow.id < listing.after[0])
            return [to_job(row) for row in tx.scalars(query.order_by(JobRow.id.desc()).limit(listing.fetch))]

        return listing.page(await self._db.read(rows), key=lambda job: (job.id,))

    async def get(self, job: str, caller: Caller) -> JobDetail:
        """Raises NotFound."""
        return await self._db.read(self._get, job, caller)

    def _get(self, tx: Session, job: str, caller: Caller) -> JobDetail:
        row = visible(tx, job, caller)
        placement = tx.execute(
            select(StoredPlacement.data).where(StoredPlacement.job == job).order_by(StoredPlacement.id.desc()).limit(1)
        ).scalar_one_or_none()
        return JobDetail(
            **dict(to_job(row)),
            spec=JobSpec.model_validate_json(row.spec),
            placement=None if placement is None else Placement.model_validate_json(placement),
        )

    async def tasks(self, job: str, caller: Caller, page: PageParams) -> Page[ArrayTask]:
        """The job's array tasks by index, each with its last run."""
        listing = page.listing("tasks", caller, (int,), job=job)

        def rows(tx: Session) -> list[ArrayTask]:
            visible(tx, job, caller)
            wanted = (
                select(TaskRow, RunRow)
                .outerjoin(RunRow, RunRow.id == TaskRow.run)
                .where(TaskRow.job == job, TaskRow.index > listing.after[0] if listing.after else true())
                .order_by(TaskRow.index)
                .limit(listing.fetch)
            )
            return [to_task(task, run) for task, run in tx.execute(wanted)]

        return listing.page(await self._db.read(rows), key=lambda task: (task.index,))

    async def attempts(self, job: str, caller: Caller, page: PageParams) -> Page[Attempt]:
        """The job's attempts in order."""
        listing = page.listing("attempts", caller, (int,), job=job)

        def rows(tx: Session) -> list[Attempt]:
            visible(tx, job, caller)
            wanted = (
                select(AttemptRow)
                .where(AttemptRow.job == job, AttemptRow.number > listing.after[0] if listing.after else true())
                .order_by(AttemptRow.number)
                .limit(listing.fetch)
            )
            return [to_attempt(row) for row in tx.scalars(wanted)]

        return listing.page(await self._db.read(rows), key=lambda attempt: (attempt.number,))

    async def events(self, job: str, caller: Caller, page: PageParams) -> Page[JobEvent]:
        """What happened to the job, in order."""
        listing = page.listing("events", caller, (int,), job=job)

        def rows(tx: Session) -> list[JobEvent]:
            visible(tx, job, caller)
            wanted = (
                select(EventRow)
                .where(EventRow.job == job, EventRow.sequence > listing.after[0] if listing.after else true())
                .order_by(EventRow.sequence)
                .limit(listing.fetch)
            )
            return [
                JobEvent(sequence=row.sequence, at=row.at, type=row.type, detail=row.detail, data=row.data)
                for row in tx.scalars(wanted)
            ]

        return listing.page(await self._db.read(rows), key=lambda event: (event.sequence,))


def visible(tx: Session, job: str, caller: Caller) -> JobRow:
    """The job, if the caller may see it. Raises NotFound."""
    row = tx.get(JobRow, job)
    if row is None or not (caller.is_platform_reader or caller.is_org_member(row.organization)):
        raise NotFound
    return row


def to_task(task: TaskRow, run: RunRow | None) -> ArrayTask:
    """The rows as their contract."""
    return ArrayTask(
        index=task.index,
        state=JobState(task.state),
        attempt=task.attempt,
        run=task.run,
        backend_identity=run.backend_identity if run else None,
        outcome=Outcome(run.outcome) if run and run.outcome else None,
        exit_code=run.exit_code if run else None,
        signal=run.signal if run else None,
        detail=task.detail or (run.detail if run else ""),
        started_at=run.started_at if run else None,
        ended_at=run.ended_at if run else None,
    )


def to_attempt(row: AttemptRow) -> Attempt:
    """The row as its contract."""
    return Attempt(
        id=row.id,
        job=row.job,
        number=row.number,
        offering=row.offering,
        site=row.site,
        price_list=row.price_list,
        preempted_borne_by=PreemptedBearer(row.preempted_borne_by),
        state=AttemptState(row.state),
        indices=tuple(row.indices),
        reference=row.reference,
        detail=row.detail,
        created_at=row.created_at,
        ended_at=row.ended_at,
    )
