"""Accepting jobs, moving them on, cancelling them.

Submit has two transactions with one call to accounting between them: (1) key, job, placement, attempt, reservation, hold revision;
`PUT /v1/holds/{job}`; (2) its answer, events, the stored response. Request, retry and loop all go through the same planning, asking
and `funding.decided`; a crash between them leaves a job that the loop moves on.
"""

from datetime import datetime

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from caravan.client import AccountingClient, ServiceUnavailable
from caravan.contracts.dispatch import Desired
from caravan.contracts.funds import HoldAnswer
from caravan.contracts.jobs import AttemptState, HoldState, Job, JobSpec, JobState
from caravan.contracts.problems import HoldOutdated, NoOfferingFits, WrongState
from caravan.kernel import clock, idempotency, ids, steps
from caravan.kernel.database import Database, table_of
from caravan.kernel.idempotency import Answer, Key
from caravan.kernel.logs import get_logger
from caravan.kernel.prepared import Prepared
from caravan.kernel.problems import NotFound, Problem
from caravan.kernel.tokens import Caller
from caravan.kernel.web import answer_of, answer_of_problem
from services.broker.dispatch.wanted import want
from services.broker.jobs import funding, store
from services.broker.jobs.funding import Answered, Ask
from services.broker.jobs.models import AttemptRow, JobRow, LabelRow, TaskRow
from services.broker.jobs.planning import Planner
from services.broker.placement.decide import Question
from services.broker.placement.service import Placer, organization_of

log = get_logger(__name__)
_TASKS = Prepared(insert(table_of(TaskRow)))


class JobService:
    """Jobs of this broker. `placer` decides where, `accounting` holds the money."""

    def __init__(self, db: Database, placer: Placer, accounting: AccountingClient, owner: str) -> None:
        self._db = db
        self._placer = placer
        self._planner = Planner(placer)
        self._accounting = accounting
        self._owner = owner

    async def submit(self, spec: JobSpec, caller: Caller, key: Key) -> Answer:
        """Accept, place and fund a job; the answer is stored, and every repeat of the key gets the same bytes.

        Two transactions, with the hold's call between them; a third when the hold is refused. Raises UnknownReference, NoOfferingFits
        (nothing is stored), KeyReused, StillRunning. 402 (InsufficientFunds, BudgetExceeded) is an answer: the job is stored as refused.
        """
        accepted = await self._db.write(self._accept, spec, caller, key)
        await steps.reach("submit")
        if isinstance(accepted, Answer):
            return accepted
        try:
            return await self._fund_and_answer(*accepted, key)
        except BaseException:
            # The job stands, and goes on by itself; the next request with this key is answered for it.
            await self._db.write(idempotency.abandon, key)
            raise

    async def _fund_and_answer(self, job: str, ask: Ask | None, key: Key) -> Answer:
        answered = await self._ask(ask) if ask else None
        answer = await self._db.write(self._respond, job, ask, answered, key)
        if answer is None:
            walltime = await self._db.read(self._walltime_that_fits, job)
            answer = await self._db.write(self._respond_refused, job, walltime, key)
        return answer

    async def advance(self, job: str) -> None:
        """Move the job on by whatever is due: place what waits for a place, ask for its hold, settle it."""
        ask = await self._db.write(self._planner.advance, job)
        if ask is not None:
            await self._db.write(funding.decided, ask, await self._ask(ask))

    async def cancel(self, job: str, caller: Caller) -> Job:
        """Have everything of the job that hasn't ended stopped. Again: nothing. Raises NotFound, WrongState (it has ended otherwise)."""
        return await self._db.write(self._cancel, job, caller)

    async def _ask(self, ask: Ask) -> Answered:
        try:
            return await self._accounting.put_hold(ask.job, ask.request)
        except HoldOutdated as outdated:
            return outdated
        except (ServiceUnavailable, Problem) as failure:
            # Whatever it is (busy, or it hasn't heard of the organization yet): the funds are unconfirmed, and are asked for again.
            log.warning("hold_unconfirmed", job=ask.job, why=repr(failure))
            return None

    # Transaction 1

    def _accept(self, tx: Session, spec: JobSpec, caller: Caller, key: Key) -> Answer | tuple[str, Ask | None]:
        job = ids.new("job")
        claimed = idempotency.claim(tx, key, self._owner, job)
        if isinstance(claimed, Answer):
            return claimed
        if claimed.reference:
            return claimed.reference, self._planner.advance(tx, claimed.reference)
        organization, now = organization_of(tx, spec, caller), clock.now()
        decision = self._placer.decide(tx, Question(spec, organization, len(spec.indices), now, {}))
        if not decision.options:
            raise NoOfferingFits(refused=decision.refused)
        row = _new(job, spec, organization, now)
        store.note(tx, job, "job.created", at=now)
        _TASKS.run_each(
            tx, [{"job": job, "index": i, "state": JobState.PENDING, "tries": 0, "detail": ""} for i in spec.indices]
        )
        if spec.labels:
            labels = [f"{name}={value}" for name, value in spec.labels.items()]
            tx.execute(insert(LabelRow), [{"label": label, "job": job} for label in labels])
        ask = self._planner.place(tx, row, spec, decision, spec.indices, now)
        store.create(tx, row)  # once, as it is after all that
        return job, ask

    # Transaction 2

    def _respond(self, tx: Session, job: str, ask: Ask | None, answered: Answered, key: Key) -> Answer | None:
        """Apply and answer; None when the hold is refused: what would fit is found out first."""
        row = tx.get_one(JobRow, job) if ask is None else funding.decided(tx, ask, answered)
        if row.state == JobState.REFUSED and row.refusal is not None:
            return None
        response = answer_of(store.to_job(row), 201, {"Location": f"/v1/jobs/{row.id}"})
        return idempotency.answer(tx, key, response)

    def _walltime_that_fits(self, tx: Session, job: str) -> int | None:
        row = tx.get_one(JobRow, job)
        spec, answer = JobSpec.model_validate_json(row.spec), HoldAnswer.model_validate(row.refusal)
        question = Question(spec, row.organization, len(spec.indices), clock.now(), {})
        return self._placer.longest_walltime(tx, question, answer.fits) if answer.fits is not None else None

    def _respond_refused(self, tx: Session, job: str, walltime: int | None, key: Key) -> Answer:
        row = tx.get_one(JobRow, job)
        response = answer_of_problem(funding.problem_of(row, HoldAnswer.model_validate(row.refusal), walltime))
        return idempotency.answer(tx, key, response)

    # Cancel

    def _cancel(self, tx: Session, job: str, caller: Caller) -> Job:
        row = tx.get(JobRow, job)
        if row is None or not caller.is_org_member(row.organization):
            raise NotFound
        if row.state == JobState.CANCELLED:
            return store.to_job(row)
        if JobState(row.state).final:
            raise WrongState(state=row.state, allowed=("pending", "queued", "running"))
        now = clock.now()
        if not row.cancel_requested:
            row.cancel_requested = 1
            store.note(tx, job, "job.cancel_requested", at=now, by=caller.subject)
        open_attempts = select(AttemptRow).where(AttemptRow.job == job, AttemptRow.state != AttemptState.ENDED)
        for attempt in tx.scalars(open_attempts).all():
            if attempt.reference is None:
                # Nothing is committed, and nothing can be from now on: no submission of it will ever be released.
                if attempt.work is None:
                    attempt.desired = Desired.NOTHING
                else:
                    want(tx, attempt, Desired.NOTHING)
                store.end_attempt(tx, attempt, now, "cancelled before it started")
                store.move_tasks(tx, row, attempt.indices, [JobState.PENDING, JobState.QUEUED], JobState.CANCELLED)
            elif attempt.desired == Desired.RUN:
                want(tx, attempt, Desired.CANCEL)
        unplaced = tx.scalars(select(TaskRow.index).where(TaskRow.job == job, TaskRow.attempt.is_(None))).all()
        store.move_tasks(tx, row, unplaced, [JobState.PENDING], JobState.CANCELLED)
        row.reason = None
        store.follow_tasks(tx, row, now)
        return store.to_job(row)


def _new(job: str, spec: JobSpec, organization: str, now: datetime) -> JobRow:
    """A job that nobody has looked at yet; not stored."""
    return store.apart(
        id=job,
        organization=organization,
        project=spec.project,
        name=spec.name,
        spec=spec.model_dump_json(),
        labels=dict(spec.labels),
        state=JobState.PENDING,
        detail="",
        counts={JobState.PENDING: len(spec.indices)},
        hold_revision=0,
        hold_fen=0,
        hold_state=HoldState.UNCONFIRMED,
        attempts=0,
        cancel_requested=0,
        excluded={},
        open_runs=0,
        created_at=now,
        wake_at=now + funding.RESCUE,
        version=1,
    )
