"""Giving jobs a place: what `advance` does for a job whose tasks wait for one, and the first time at its submission.

A job waits in every offering that could take it; the oldest goes first in each. It leaves those that can't take it any more.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.orm import Session

from caravan.contracts.base import prose
from caravan.contracts.dispatch import Desired
from caravan.contracts.jobs import AttemptState, HoldState, JobState, PendingReason
from caravan.contracts.quotes import Placement, Refusal
from caravan.contracts.spec import JobSpec
from caravan.kernel import clock, ids
from caravan.kernel.database import table_of
from caravan.kernel.prepared import Prepared
from services.broker.jobs import funding, store
from services.broker.jobs.funding import Ask
from services.broker.jobs.models import AttemptRow, JobRow, TaskRow
from services.broker.placement import capacity
from services.broker.placement.decide import Decision, Option, dearest, dearest_wholesale
from services.broker.placement.models import StoredPlacement
from services.broker.placement.question import Question, Reseller
from services.broker.placement.refusals import asked_for, lasting
from services.broker.placement.service import Placer
from services.broker.placement.why import why

_KEEP: Final = Prepared(insert(table_of(StoredPlacement)))
_PLAN: Final = Prepared(insert(table_of(AttemptRow)))
_tasks = table_of(TaskRow)
_TRY: Final = Prepared(
    update(_tasks)
    .where(_tasks.c.job == bindparam("of_job"), _tasks.c.state == JobState.PENDING, _tasks.c.attempt.is_(None))
    .values(tries=_tasks.c.tries + 1)
)
LOOK_AGAIN: Final = timedelta(seconds=20)


class Planner:
    """Places jobs by `placer`'s decisions. Its methods are units of work: each returns the hold to ask for, if one is due."""

    def __init__(self, placer: Placer) -> None:
        self._placer = placer

    def advance(self, tx: Session, job: str) -> Ask | None:
        """Move the job on by what is due for it: ask for its hold, place what waits for a place, settle."""
        row = tx.get_one(JobRow, job)
        row.wake_at = None
        if JobState(row.state).final:
            store.settle(tx, row)
            return None
        if row.hold_state == HoldState.UNCONFIRMED and row.hold_revision:
            row.wake_at = clock.now() + funding.ASK_AGAIN
            return funding.ask_for(row)
        waiting = tx.scalars(
            select(TaskRow.index)
            .where(TaskRow.job == job, TaskRow.state == JobState.PENDING, TaskRow.attempt.is_(None))
            .order_by(TaskRow.index)
        ).all()
        return self._again(tx, row, waiting) if waiting else None

    def _again(self, tx: Session, row: JobRow, waiting: Sequence[int]) -> Ask | None:
        spec, now = JobSpec.model_validate_json(row.spec), clock.now()
        decision = self._elsewhere(tx, row, spec, len(waiting), now)
        if decision.options:
            return self.place(tx, row, spec, decision, waiting, now)
        store.wait_for(tx, row.id, ())
        if not lasting(decision.refused):
            row.reason, row.wake_at = PendingReason.RETRYING, now + LOOK_AGAIN
            passing = [refusal for refusal in decision.refused if not lasting([refusal])]
            row.detail = prose(f"No offering can take it at present: {_why(passing)}")
            return None
        row.detail = prose(f"No offering can take it any more: {_why(decision.refused)}")
        store.move_tasks(tx, row, waiting, [JobState.PENDING], JobState.FAILED, detail=row.detail)
        store.follow_tasks(tx, row, now)
        return None

    def _elsewhere(self, tx: Session, row: JobRow, spec: JobSpec, tasks: int, now: datetime) -> Decision:
        """Where the tasks could run; where a site has failed them before, only if there is no other."""
        reseller = Reseller(**row.reseller) if row.reseller else None
        excluded = {offering: detail for offering, (_, detail) in row.excluded.items()}
        decision = self._placer.decide(tx, Question(spec, row.organization, reseller, tasks, now, excluded), row.id)
        if decision.options or not row.excluded:
            return decision
        rejected = {offering: detail for offering, (kind, detail) in row.excluded.items() if kind == "rejected"}
        return self._placer.decide(tx, Question(spec, row.organization, reseller, tasks, now, rejected), row.id)

    def place(
        self, tx: Session, row: JobRow, spec: JobSpec, decision: Decision, indices: Sequence[int], now: datetime
    ) -> Ask | None:
        """Reserve the best option that has room and plan an attempt there; without room wait for all of them."""
        row.detail = ""
        for option in decision.options:
            if not option.candidate.has_room:
                continue
            kind = capacity.reserve(tx, option.sold.offering, option.candidate.capacity)
            if kind is not None:
                self._keep(tx, row, decision, option, now)
                self._plan(tx, row, option, kind, indices, now)
                return funding.fund(tx, row, option, option.wholesale.worst if option.wholesale else None)
        away = [option.candidate for option in decision.options if option.candidate.unavailable is not None]
        if len(away) == len(decision.options):
            row.reason = PendingReason.SITE_UNAVAILABLE
            row.detail = prose("; ".join(f"{one.offering_name}: {one.unavailable}" for one in away))
        else:
            row.reason = PendingReason.NO_CAPACITY
        if store.wait_for(tx, row.id, [option.candidate.offering for option in decision.options]):
            self._keep(tx, row, decision, None, now)
        return funding.fund(tx, row, dearest(decision.options), dearest_wholesale(decision.options))

    def _keep(self, tx: Session, row: JobRow, decision: Decision, chosen: Option | None, now: datetime) -> None:
        placement = Placement(
            id=ids.new("plc"),
            job=row.id,
            candidates=tuple(option.candidate for option in decision.options),
            refused=decision.refused,
            chosen=chosen.candidate.offering if chosen else None,
            why=why(decision, chosen),
            created_at=now,
        )
        _KEEP.run(tx, id=placement.id, job=row.id, data=placement.model_dump_json())

    def _plan(self, tx: Session, row: JobRow, option: Option, kind: str, indices: Sequence[int], now: datetime) -> None:
        row.attempts += 1
        row.offering = option.candidate.offering
        row.reason = None
        attempt, wholesale = ids.new("att"), option.wholesale
        _PLAN.run(
            tx,
            id=attempt,
            job=row.id,
            number=row.attempts,
            site=option.candidate.site,
            offering=option.candidate.offering,
            provider=option.candidate.provider,
            price_list=option.candidate.price_list,
            price_class=option.buyer.price_class,
            options=option.buyer.options,
            preempted_borne_by=option.candidate.preempted_borne_by,
            tenant=option.tenant,
            indices=list(indices),
            grant=option.grant.model_dump(mode="json"),
            capacity=option.candidate.capacity.model_dump(),
            reserved=kind,
            worst_fen=option.candidate.worst_case.fen,
            use=option.use.model_dump(mode="json"),
            resale=wholesale and wholesale.resale.model_dump(mode="json"),
            resale_worst_fen=wholesale and wholesale.worst.amount.fen,
            state=AttemptState.PLANNED,
            desired=Desired.RUN,
            observation=0,
            detail="",
            created_at=now,
        )
        _TRY.run(tx, of_job=row.id, attempt=attempt)
        store.note(tx, row.id, "attempt.planned", at=now, attempt=attempt, offering=row.offering)
        store.wait_for(tx, row.id, ())
        store.wake_waiting(tx, row.offering)


def _why(refused: Sequence[Refusal]) -> str:
    """Each offering with the first reason against it; of those alone that the job asks for, if there are any."""
    told = [*filter(asked_for, refused)] or refused
    against = (f"{refusal.offering_name}: {refusal.reasons[0].detail}" for refusal in told)
    return "; ".join(against) or "none is on sale"
