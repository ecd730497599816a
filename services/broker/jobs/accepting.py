"""Taking a job in: the one transaction that stores, places and prices it, and what it is answered once its money is decided."""

from dataclasses import asdict
from datetime import datetime

from sqlalchemy import insert
from sqlalchemy.orm import Session

from caravan.contracts.funds import HoldAnswer
from caravan.contracts.jobs import HoldState, Job, JobState
from caravan.contracts.problems import NoOfferingFits
from caravan.contracts.spec import JobSpec
from caravan.kernel import clock
from caravan.kernel.database import table_of
from caravan.kernel.prepared import Prepared
from caravan.kernel.problems import Problem
from caravan.kernel.tokens import Caller
from services.broker.jobs import funding, store
from services.broker.jobs.funding import Ask
from services.broker.jobs.models import JobRow, LabelRow, TaskRow
from services.broker.jobs.planning import Planner
from services.broker.placement.question import Question, Reseller
from services.broker.placement.service import Placer, organization_of

_TASKS = Prepared(insert(table_of(TaskRow)))


class Reception:
    """Units of work for jobs, one or many to a transaction. `placer` decides where they could run."""

    def __init__(self, placer: Placer) -> None:
        self._placer = placer
        self._planner = Planner(placer)

    def accept(self, tx: Session, job: str, spec: JobSpec, caller: Caller) -> Ask | None:
        """Store and place a new job under the id `job`; returns the hold to ask for.

        Raises UnknownReference and NoOfferingFits before anything is written.
        """
        organization, now = organization_of(tx, spec, caller), clock.now()
        reseller = self._placer.reseller(tx, organization, now)
        decision = self._placer.decide(tx, Question(spec, organization, reseller, len(spec.indices), now, {}))
        if not decision.options:
            raise NoOfferingFits(refused=decision.refused)
        row = _new(job, spec, organization, reseller, now)
        store.note(tx, job, "job.created", at=now)
        _TASKS.run_each(
            tx, [{"job": job, "index": i, "state": JobState.PENDING, "tries": 0, "detail": ""} for i in spec.indices]
        )
        if spec.labels:
            labels = [f"{name}={value}" for name, value in spec.labels.items()]
            tx.execute(insert(LabelRow), [{"label": label, "job": job} for label in labels])
        ask = self._planner.place(tx, row, spec, decision, spec.indices, now)
        store.create(tx, row)  # once, as it is after all that
        return ask

    def advance(self, tx: Session, job: str) -> Ask | None:
        """Move a job on that stands already; returns the hold to ask for, if one is due."""
        return self._planner.advance(tx, job)

    def answer(self, tx: Session, job: str) -> Job | Problem:
        """The job, or the 402 that it was refused with."""
        row = store.read(tx, job)
        if not refused(row):
            return store.to_job(row)
        spec, answer = JobSpec.model_validate_json(row.spec), HoldAnswer.model_validate(row.refusal)
        reseller = Reseller(**row.reseller) if row.reseller else None
        question = Question(spec, row.organization, reseller, len(spec.indices), clock.now(), {})
        walltime = self._placer.longest_walltime(tx, question, answer.fits) if answer.fits is not None else None
        return funding.problem_of(row, answer, walltime)


def refused(row: JobRow) -> bool:
    """Whether it was refused for want of money."""
    return row.state == JobState.REFUSED and row.refusal is not None


def _new(job: str, spec: JobSpec, organization: str, reseller: Reseller | None, now: datetime) -> JobRow:
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
        hold_ahead=[],
        hold_state=HoldState.UNCONFIRMED,
        reseller=reseller and asdict(reseller),
        attempts=0,
        cancel_requested=0,
        excluded={},
        open_runs=0,
        created_at=now,
        wake_at=now + funding.RESCUE,
        version=1,
    )
