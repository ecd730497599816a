"""Accepting jobs, moving them on, cancelling them.

Submit has two transactions with one call to accounting between them: (1) key, job, placement, attempt, reservation, hold revision;
`PUT /v1/holds/{job}`; (2) its answer, events, the stored response. Request, retry and loop all go through the same planning, asking
and `funding.decided`; a crash between them leaves a job that the loop moves on. A batch goes the same way, part by part.
"""

import json
from collections.abc import Sequence
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.client import AccountingClient, ServiceUnavailable
from caravan.contracts.dispatch import Desired
from caravan.contracts.funds import HoldBatch, HoldOutcome, JobHoldRequest
from caravan.contracts.jobs import AttemptState, Job, JobAnswer, JobAnswers, JobState
from caravan.contracts.problems import HoldOutdated, NoOfferingFits, UnknownReference, WrongState
from caravan.contracts.spec import JobBatch, JobSpec
from caravan.kernel import clock, idempotency, ids, steps
from caravan.kernel.database import Database
from caravan.kernel.idempotency import Answer, Key
from caravan.kernel.logs import get_logger
from caravan.kernel.problems import NotFound, Problem
from caravan.kernel.tokens import Caller
from caravan.kernel.web import answer_of, answer_of_problem
from services.broker.dispatch.wanted import want
from services.broker.jobs import funding, store
from services.broker.jobs.accepting import Reception, refused
from services.broker.jobs.funding import Answered, Ask
from services.broker.jobs.models import AttemptRow, JobRow, TaskRow

log = get_logger(__name__)
PART: Final = 100
"""Jobs of a batch that share their transactions and the call to accounting: a few tenths of a second of the writer."""


class JobService:
    """Jobs of this broker. `reception` takes them in, `accounting` holds their money."""

    def __init__(self, db: Database, reception: Reception, accounting: AccountingClient, owner: str) -> None:
        self._db = db
        self._reception = reception
        self._accounting = accounting
        self._owner = owner

    async def submit(self, spec: JobSpec, caller: Caller, key: Key) -> Answer:
        """Accept, place and fund a job; the answer is stored, and every repeat of the key gets the same bytes.

        Two transactions, with the hold's call between them; a third when the hold is refused. Raises UnknownReference, NoOfferingFits
        (nothing is stored), KeyReused, StillRunning. 402 (InsufficientFunds, BudgetExceeded, ResellerFundsShort) is an answer: the job
        is stored as refused.
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

    async def submit_many(self, batch: JobBatch, caller: Caller, key: Key) -> Answer:
        """Accept, place and fund each job for itself; the answers are stored together, and every repeat of the key gets the same bytes.

        Raises KeyReused, StillRunning. Whoever takes the key over goes on with the jobs that stand, and sends the others again.
        """
        claimed = await self._db.write(self._claim, len(batch.jobs), key)
        if isinstance(claimed, Answer):
            return claimed
        try:
            answers: list[JobAnswer] = []
            wanted = list(zip(claimed, batch.jobs, strict=True))
            for start in range(0, len(wanted), PART):
                answers += await self._part(wanted[start : start + PART], caller)
            answer = answer_of(JobAnswers(items=tuple(answers)), 200)
            return await self._db.write(idempotency.answer, key, answer)
        except BaseException:
            await self._db.write(idempotency.abandon, key)
            raise

    def _claim(self, tx: Session, count: int, key: Key) -> Answer | list[str]:
        """The ids that the batch's jobs get, or got when the key was claimed first."""
        new = [ids.new("job") for _ in range(count)]
        claimed = idempotency.claim(tx, key, self._owner, json.dumps(new))
        if isinstance(claimed, Answer):
            return claimed
        return json.loads(claimed.reference) if claimed.reference else new

    async def _part(self, part: Sequence[tuple[str, JobSpec]], caller: Caller) -> list[JobAnswer]:
        accepted = await self._db.write(self._accept_each, part, caller)
        await steps.reach("submit")
        asks = [ask for ask in accepted if isinstance(ask, Ask)]
        if asks:
            answered = await self._ask_each(asks)
            await self._db.write(self._decide_each, list(zip(asks, answered, strict=True)))
        return await self._db.read(self._answer_each, [job for job, _ in part], accepted)

    def _accept_each(
        self, tx: Session, part: Sequence[tuple[str, JobSpec]], caller: Caller
    ) -> list[Ask | Problem | None]:
        found: list[Ask | Problem | None] = []
        standing = set(tx.scalars(select(JobRow.id).where(JobRow.id.in_([job for job, _ in part]))))
        for job, spec in part:
            try:
                if job in standing:
                    found.append(self._reception.advance(tx, job))
                else:
                    found.append(self._reception.accept(tx, job, spec, caller))
            except (UnknownReference, NoOfferingFits) as problem:
                found.append(problem)
        return found

    def _decide_each(self, tx: Session, answered: Sequence[tuple[Ask, Answered]]) -> None:
        for ask, answer in answered:
            funding.decided(tx, ask, answer)

    def _answer_each(
        self, tx: Session, jobs: Sequence[str], accepted: Sequence[Ask | Problem | None]
    ) -> list[JobAnswer]:
        found = []
        for job, was in zip(jobs, accepted, strict=True):
            answer = was if isinstance(was, Problem) else self._reception.answer(tx, job)
            if isinstance(answer, Problem):
                found.append(JobAnswer(status=answer.status, problem=answer.body()))
            else:
                found.append(JobAnswer(status=201, job=answer))
        return found

    async def _fund_and_answer(self, job: str, ask: Ask | None, key: Key) -> Answer:
        answered = await self._ask(ask) if ask else None
        answer = await self._db.write(self._respond, job, ask, answered, key)
        if answer is not None:
            return answer
        problem = await self._db.read(self._reception.answer, job)
        assert isinstance(problem, Problem), "a refused job stays refused"
        return await self._db.write(idempotency.answer, key, answer_of_problem(problem))

    async def advance(self, job: str) -> None:
        """Move the job on by whatever is due: place what waits for a place, ask for its hold, settle it."""
        ask = await self._db.write(self._reception.advance, job)
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

    async def _ask_each(self, asks: Sequence[Ask]) -> list[Answered]:
        holds = tuple(JobHoldRequest(job=ask.job, **dict(ask.request)) for ask in asks)
        try:
            outcomes = (await self._accounting.put_holds(HoldBatch(holds=holds))).items
        except (ServiceUnavailable, Problem) as failure:
            log.warning("holds_unconfirmed", jobs=len(asks), why=repr(failure))
            return [None] * len(asks)
        return [_answered(outcome) for outcome in outcomes]

    # Transaction 1

    def _accept(self, tx: Session, spec: JobSpec, caller: Caller, key: Key) -> Answer | tuple[str, Ask | None]:
        job = ids.new("job")
        claimed = idempotency.claim(tx, key, self._owner, job)
        if isinstance(claimed, Answer):
            return claimed
        if claimed.reference:
            return claimed.reference, self._reception.advance(tx, claimed.reference)
        return job, self._reception.accept(tx, job, spec, caller)

    # Transaction 2

    def _respond(self, tx: Session, job: str, ask: Ask | None, answered: Answered, key: Key) -> Answer | None:
        """Apply and answer; None when the hold is refused: what would fit is found out first."""
        row = tx.get_one(JobRow, job) if ask is None else funding.decided(tx, ask, answered)
        if refused(row):
            return None
        response = answer_of(store.to_job(row), 201, {"Location": f"/v1/jobs/{row.id}"})
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


def _answered(outcome: HoldOutcome) -> Answered:
    return outcome.answer if outcome.outdated is None else HoldOutdated(revision=outcome.outdated)
