"""Accepting jobs and moving them on.

Submit has two transactions with one call to accounting between them: (1) key, job, placement, attempt, reservation, hold revision;
`PUT /v1/holds/{job}`; (2) its answer, events, the stored response. Request, retry and loop all go through the same `_plan`,
ask, `_decided`; a crash between them leaves a job that the loop moves on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypedDict

from sqlalchemy import Select, insert, select, update
from sqlalchemy.orm import Session

from caravan.client import AccountingClient, ServiceUnavailable
from caravan.contracts import events
from caravan.contracts.dispatch import Desired
from caravan.contracts.funds import FundsLimit, HoldAnswer, HoldRequest
from caravan.contracts.jobs import (
    AttemptState,
    HoldState,
    Job,
    JobSpec,
    JobState,
    Outcome,
    PendingReason,
    Placement,
)
from caravan.contracts.problems import (
    BudgetExceeded,
    HoldOutdated,
    InsufficientFunds,
    NoOfferingFits,
    UnknownReference,
    WrongState,
)
from caravan.contracts.usage import AttemptPlaced, JobNamed
from caravan.kernel import clock, feed, idempotency, ids, steps
from caravan.kernel.database import Database
from caravan.kernel.idempotency import Answer, Key
from caravan.kernel.money import Money
from caravan.kernel.problems import FieldError, NotFound, Problem
from caravan.kernel.tokens import Caller
from caravan.kernel.web import answer_of, answer_of_problem
from caravan.pricing import fit_walltime
from services.broker.dispatch.wanted import want
from services.broker.jobs import store
from services.broker.jobs.models import AttemptRow, JobRow, RunRow, TaskRow
from services.broker.jobs.states import RETRIED
from services.broker.placement import capacity
from services.broker.placement.copies import project_of
from services.broker.placement.decide import Decision, Option, Question
from services.broker.placement.models import StoredPlacement, Waiting
from services.broker.placement.service import Placer

RESCUE: Final = timedelta(seconds=10)
"""When the loop looks at a job whose request may have died on the way."""
ASK_AGAIN: Final = timedelta(seconds=2)
LOOK_AGAIN: Final = timedelta(seconds=20)
PASSING: Final = frozenset({"site_not_seen", "site_refused", "provider_not_approved", "no_price", "adapter_version"})
"""Reasons that may pass by themselves: a job that was accepted waits for them instead of failing."""


class _Short(TypedDict):
    """What both kinds of 402 say."""

    job: str
    limit: Money
    held: Money
    asked: Money
    fits: Money
    walltime_seconds_that_fits: int | None


@dataclass(frozen=True)
class Ask:
    """A hold revision to be put to accounting."""

    job: str
    request: HoldRequest


class JobService:
    """Jobs of this broker. `placer` decides where, `accounting` holds the money."""

    def __init__(self, db: Database, placer: Placer, accounting: AccountingClient, owner: str) -> None:
        self._db = db
        self._placer = placer
        self._accounting = accounting
        self._owner = owner

    async def submit(self, spec: JobSpec, caller: Caller, key: Key) -> Answer:
        """Accept, place and fund a job; the answer is stored, and every repeat of the key gets the same bytes.

        Two transactions, with the hold's call between them. Raises UnknownReference, NoOfferingFits (nothing is stored), KeyReused,
        StillRunning. 402 (InsufficientFunds, BudgetExceeded) is an answer: the job is stored as refused.
        """
        accepted = await self._db.write(self._accept, spec, caller, key)
        await steps.reach("submit")
        if isinstance(accepted, Answer):
            return accepted
        job, ask = accepted
        answer = await self._ask(ask) if ask else None
        return await self._db.write(self._respond, job, answer, key)

    async def advance(self, job: str) -> None:
        """Move the job on by whatever is due: place what waits for a place, ask for its hold, settle it."""
        ask = await self._db.write(self._plan, job)
        if ask is not None:
            answer = await self._ask(ask)
            await self._db.write(self._decided, job, answer)

    async def cancel(self, job: str, caller: Caller) -> Job:
        """Have everything of the job that hasn't ended stopped. Raises NotFound, WrongState (it has ended already)."""
        return await self._db.write(self._cancel, job, caller)

    async def _ask(self, ask: Ask) -> HoldAnswer | None:
        """Accounting's answer, or None: it can't be reached now, or has moved on to a later revision."""
        try:
            return await self._accounting.put_hold(ask.job, ask.request)
        except (ServiceUnavailable, HoldOutdated):
            return None

    # Transaction 1

    def _accept(self, tx: Session, spec: JobSpec, caller: Caller, key: Key) -> Answer | tuple[str, Ask | None]:
        claimed = idempotency.claim(tx, key, self._owner)
        if isinstance(claimed, Answer):
            return claimed
        if claimed.reference:
            return claimed.reference, self._plan(tx, claimed.reference)
        organization = self._organization(tx, spec, caller)
        now, job = clock.now(), ids.new("job")
        decision = self._placer.decide(tx, Question(spec, organization, len(spec.indices), now, {}))
        if not decision.options:
            raise NoOfferingFits(refused=decision.refused)
        row = self._insert(tx, job, spec, organization, now)
        store.note(tx, job, "job.created", at=now)
        idempotency.refer(tx, key, job)
        return job, self._fund(tx, row, self._take(tx, row, spec, decision, spec.indices, now))

    def _organization(self, tx: Session, spec: JobSpec, caller: Caller) -> str:
        project = project_of(tx, spec.project)
        if project is None or not caller.is_org_member(project["organization"]):
            raise UnknownReference(
                errors=[
                    FieldError(
                        pointer="/project", code="unknown", detail="There is no such project of yours; create it first"
                    )
                ]
            )
        organization: str = project["organization"]
        return organization

    def _insert(self, tx: Session, job: str, spec: JobSpec, organization: str, now: datetime) -> JobRow:
        row = JobRow(
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
            granted_fen=0,
            attempts=0,
            cancel_requested=0,
            excluded={},
            open_runs=0,
            created_at=now,
            wake_at=now + RESCUE,
            version=1,
        )
        tx.add(row)
        tx.flush()
        tx.execute(
            insert(TaskRow),
            [{"job": job, "index": i, "state": JobState.PENDING, "tries": 0, "detail": ""} for i in spec.indices],
        )
        return row

    # Placing and funding, inside a transaction

    def _plan(self, tx: Session, job: str) -> Ask | None:
        """What is due for the job: a hold to ask for, or nothing more to do now."""
        row = tx.get_one(JobRow, job)
        if JobState(row.state).final:
            row.wake_at = None
            store.settle(tx, row)
            return None
        if row.hold_state == HoldState.UNCONFIRMED and row.hold_revision:
            row.wake_at = clock.now() + ASK_AGAIN
            return _ask_for(row)
        waiting = tx.scalars(
            select(TaskRow.index)
            .where(TaskRow.job == job, TaskRow.state == JobState.PENDING, TaskRow.attempt.is_(None))
            .order_by(TaskRow.index)
        ).all()
        if not waiting:
            row.wake_at = None
            return None
        spec, now = JobSpec.model_validate_json(row.spec), clock.now()
        decision = self._elsewhere(tx, row, spec, len(waiting), now)
        if decision.options:
            return self._fund(tx, row, self._take(tx, row, spec, decision, waiting, now))
        if any(reason.code in PASSING for refusal in decision.refused for reason in refusal.reasons):
            row.reason, row.wake_at = PendingReason.RETRYING, now + LOOK_AGAIN
            return None
        row.detail = "No offering can take it any more: " + "; ".join(
            f"{refusal.offering_name}: {refusal.reasons[0].detail}" for refusal in decision.refused
        )
        store.move_tasks(tx, row, waiting, [JobState.PENDING], JobState.FAILED, detail=row.detail)
        store.follow_tasks(tx, row, now)
        return None

    def _elsewhere(self, tx: Session, row: JobRow, spec: JobSpec, tasks: int, now: datetime) -> Decision:
        """Where else the tasks could run; where a site failed before only if there is no other."""
        excluded = {offering: detail for offering, (_, detail) in row.excluded.items()}
        decision = self._placer.decide(tx, Question(spec, row.organization, tasks, now, excluded), row.id)
        if decision.options or not row.excluded:
            return decision
        refused = {offering: detail for offering, (kind, detail) in row.excluded.items() if kind == "rejected"}
        return self._placer.decide(tx, Question(spec, row.organization, tasks, now, refused), row.id)

    def _take(
        self, tx: Session, row: JobRow, spec: JobSpec, decision: Decision, indices: Sequence[int], now: datetime
    ) -> int:
        """Reserve the best option that has room and plan an attempt there; without room wait for all. Returns the worst case in fen."""
        chosen = next(
            (
                (option, kind)
                for option in decision.options
                if option.candidate.has_room
                and (kind := capacity.reserve(tx, option.sold.offering, option.candidate.capacity)) is not None
            ),
            None,
        )
        tx.execute(
            insert(StoredPlacement).values(
                id=(placement := ids.new("plc")),
                job=row.id,
                data=Placement(
                    id=placement,
                    job=row.id,
                    candidates=tuple(option.candidate for option in decision.options),
                    refused=decision.refused,
                    chosen=chosen[0].candidate.offering if chosen else None,
                    created_at=now,
                ).model_dump_json(),
            )
        )
        if chosen is None:
            store.stop_waiting(tx, row.id)
            tx.execute(insert(Waiting), [{"offering": o.candidate.offering, "job": row.id} for o in decision.options])
            row.reason = PendingReason.NO_CAPACITY
            return max(option.candidate.worst_case.fen for option in decision.options)
        store.stop_waiting(tx, row.id)
        row.reason = None
        option, kind = chosen
        attempt = self._attempt(row, option, kind, indices, now)
        tx.add(attempt)
        tx.flush()
        tx.execute(
            update(TaskRow)
            .where(TaskRow.job == row.id, TaskRow.state == JobState.PENDING, TaskRow.attempt.is_(None))
            .values(attempt=attempt.id, tries=TaskRow.tries + 1)
        )
        store.note(tx, row.id, "attempt.planned", at=now, attempt=attempt.id, offering=attempt.offering)
        store.wake_waiting(tx, attempt.offering)
        return option.candidate.worst_case.fen

    def _attempt(self, row: JobRow, option: Option, kind: str, indices: Sequence[int], now: datetime) -> AttemptRow:
        row.attempts += 1
        row.offering = option.candidate.offering
        return AttemptRow(
            id=ids.new("att"),
            job=row.id,
            number=row.attempts,
            site=option.candidate.site,
            offering=option.candidate.offering,
            provider=option.candidate.provider,
            price_list=option.candidate.price_list,
            tenant=option.tenant,
            indices=list(indices),
            grant=option.grant.model_dump(mode="json"),
            capacity=option.candidate.capacity.model_dump(),
            reserved=kind,
            worst_fen=option.candidate.worst_case.fen,
            state=AttemptState.PLANNED,
            desired=Desired.RUN,
            observation=0,
            detail="",
            created_at=now,
        )

    def _fund(self, tx: Session, row: JobRow, worst_fen: int) -> Ask | None:
        """Ask for what is needed in all, unless just that is held already."""
        needed = worst_fen + (_still_owed(tx, row) if row.attempts > 1 else 0)
        if row.hold_state == HoldState.GRANTED and row.granted_fen == needed:
            row.wake_at = None
            self._start_planned(tx, row)
            return None
        row.hold_revision += 1
        row.hold_fen = needed
        row.hold_state = HoldState.UNCONFIRMED
        row.wake_at = clock.now() + RESCUE
        return _ask_for(row)

    def _start_planned(self, tx: Session, row: JobRow) -> None:
        """The money is there: let the site have the planned attempt, and tell accounting whose it is."""
        for attempt in tx.scalars(_unfunded(row.id)).all():
            if attempt.number == 1:
                feed.fact(tx, events.JOB_NAMED, row.id, JobNamed(job=row.id, name=row.name))
            feed.fact(
                tx,
                events.ATTEMPT_PLACED,
                row.id,
                AttemptPlaced(
                    attempt=attempt.id,
                    job=row.id,
                    organization=row.organization,
                    project=row.project,
                    offering=attempt.offering,
                    site=attempt.site,
                    provider=attempt.provider,
                    price_list=attempt.price_list,
                ),
            )
            want(tx, attempt, Desired.RUN)

    # Transaction 2

    def _respond(self, tx: Session, job: str, answer: HoldAnswer | None, key: Key) -> Answer:
        self._decided(tx, job, answer)
        row = tx.get_one(JobRow, job)
        response = self._answer(tx, row)
        idempotency.answer(tx, key, response)
        return response

    def _answer(self, tx: Session, row: JobRow) -> Answer:
        """201 with the job, or 402 with what was short."""
        if row.refusal is None or row.state != JobState.REFUSED:
            return answer_of(store.to_job(row), 201, {"Location": f"/v1/jobs/{row.id}"})
        return answer_of_problem(self._refusal(tx, row, HoldAnswer.model_validate(row.refusal)))

    def _refusal(self, tx: Session, row: JobRow, answer: HoldAnswer) -> Problem:
        spec = JobSpec.model_validate_json(row.spec)
        fits, zero = answer.fits or Money(0), Money(0)
        common = _Short(
            job=row.id,
            limit=answer.limit or zero,
            held=answer.held or zero,
            asked=answer.asked or zero,
            fits=fits,
            walltime_seconds_that_fits=self._walltime_that_fits(tx, row, spec, fits),
        )
        if answer.short is FundsLimit.BUDGET:
            return BudgetExceeded(budget=answer.budget or "", budget_name=answer.budget_name or "", **common)
        return InsufficientFunds(**common)

    def _walltime_that_fits(self, tx: Session, row: JobRow, spec: JobSpec, fits: Money) -> int | None:
        """The longest walltime for which the cheapest offering would be funded now."""
        question = Question(spec, row.organization, len(spec.indices), row.created_at, {})
        options = self._placer.decide(tx, question).options
        if not options or (prices := options[0].sold.prices) is None:
            return None
        sold = options[0].sold
        grant = self._placer.grant(sold)
        return fit_walltime(
            lambda seconds: grant(
                spec.resources.model_copy(update={"walltime_seconds": seconds}),
                sold.offering.target,
                sold.site.settings,
            ),
            len(spec.indices),
            prices,
            clock.to_seconds(row.created_at),
            spec.resources.walltime_seconds,
            fits,
        )

    def _decided(self, tx: Session, job: str, answer: HoldAnswer | None) -> None:
        """Apply accounting's answer, if it is still the revision that the job waits for."""
        row = tx.get_one(JobRow, job)
        if row.hold_state != HoldState.UNCONFIRMED or not row.hold_revision or JobState(row.state).final:
            return
        if answer is None:
            if row.reason is None:
                row.reason = PendingReason.FUNDS_UNCONFIRMED
            row.wake_at = clock.now() + ASK_AGAIN
            return
        if answer.revision != row.hold_revision:
            return
        now = clock.now()
        row.wake_at = None
        if answer.granted:
            row.hold_state, row.granted_fen = HoldState.GRANTED, row.hold_fen
            if row.reason == PendingReason.FUNDS_UNCONFIRMED:
                row.reason = None
            store.note(tx, job, "hold.granted", at=now, amount=str(Money(row.hold_fen)), revision=row.hold_revision)
            self._start_planned(tx, row)
            row.version += 1
            return
        self._refuse(tx, row, answer, now)

    def _refuse(self, tx: Session, row: JobRow, answer: HoldAnswer, now: datetime) -> None:
        """The money isn't there: what was planned is undone, and what waited for it ends."""
        row.hold_state = HoldState.REFUSED
        row.refusal = answer.model_dump(mode="json")
        short = f"budget {answer.budget_name}" if answer.short is FundsLimit.BUDGET else "funds"
        row.detail = f"Its {short} did not cover {answer.asked}; {answer.fits} would have been granted"
        unfunded = tx.scalars(_unfunded(row.id)).all()
        for attempt in unfunded:
            attempt.desired = Desired.NOTHING
            store.end_attempt(tx, attempt, now, "not funded")
        store.note(tx, row.id, "hold.refused", row.detail, at=now, asked=str(answer.asked), fits=str(answer.fits))
        nowhere = TaskRow.attempt.is_(None) | TaskRow.attempt.in_([attempt.id for attempt in unfunded])
        pending = tx.scalars(select(TaskRow.index).where(TaskRow.job == row.id, nowhere)).all()
        ran = tx.execute(select(RunRow.id).where(RunRow.job == row.id).limit(1)).first() is not None
        target = JobState.FAILED if ran else JobState.REFUSED
        store.move_tasks(tx, row, pending, [JobState.PENDING], target, detail=row.detail)
        store.follow_tasks(tx, row, now)

    # Cancel

    def _cancel(self, tx: Session, job: str, caller: Caller) -> Job:
        row = tx.get(JobRow, job)
        if row is None or not caller.is_org_member(row.organization):
            raise NotFound
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
        store.follow_tasks(tx, row, now)
        return store.to_job(row)


def _ask_for(row: JobRow) -> Ask:
    return Ask(
        row.id,
        HoldRequest(
            revision=row.hold_revision,
            organization=row.organization,
            project=row.project,
            amount=Money(row.hold_fen),
            submitted_at=row.created_at,
        ),
    )


def _unfunded(job: str) -> Select[AttemptRow]:
    """Attempts that wait for their money: no site has heard of them."""
    return select(AttemptRow).where(
        AttemptRow.job == job, AttemptRow.state == AttemptState.PLANNED, AttemptRow.work.is_(None)
    )


def _still_owed(tx: Session, row: JobRow) -> int:
    """What earlier attempts may still charge the organization: their worst case, unless every run of theirs was the site's fault."""
    total = 0
    for attempt in tx.scalars(select(AttemptRow).where(AttemptRow.job == row.id, AttemptRow.work.is_not(None))).all():
        outcomes = tx.scalars(select(RunRow.outcome).where(RunRow.attempt == attempt.id)).all()
        living = attempt.state != AttemptState.ENDED
        if living or any(outcome is None or Outcome(outcome) not in RETRIED for outcome in outcomes):
            total += attempt.worst_fen
    return total
