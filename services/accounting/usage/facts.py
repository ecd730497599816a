"""The broker's facts, applied. All facts of one job have one subject, so they come in order; each one here also bears any other order.

A fact that refers to what isn't here yet raises NotHereYet: the follower parks it, and tries again when more has come.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.orm import Session

from caravan.contracts import events
from caravan.contracts.jobs import Outcome
from caravan.contracts.usage import AttemptPlaced, JobNamed, JobSettled, RunFinal, UsageRecord
from caravan.kernel import clock, steps
from caravan.kernel.database import table_of
from caravan.kernel.feed import upsert
from caravan.kernel.follow import Handler
from caravan.kernel.prepared import Upsert
from services.accounting.charging import service as charging
from services.accounting.charging.lines import Record
from services.accounting.funds import settling
from services.accounting.funds.settling import END, Awaited
from services.accounting.periods.service import expect_progress, follow_site_progress
from services.accounting.usage import starts
from services.accounting.usage.models import AttemptCopy, JobName, RunRow, UsageExtent, UsageRow
from services.accounting.usage.records import (
    RECORDS,
    RUNS,
    NotHereYet,
    of_run,
    spans_of,
    terms_of,
)

_RECORD: Final = select(RECORDS).where(RECORDS.c.run == bindparam("run"), RECORDS.c.hour == bindparam("hour"))
_RUN: Final = select(RUNS.c.outcome, RUNS.c.identity, RUNS.c.billable_from).where(RUNS.c.id == bindparam("run"))
_PLACED: Final = Upsert(lambda insert: insert(table_of(AttemptCopy)).on_conflict_do_nothing())
_NAMED: Final = Upsert(lambda insert: insert(table_of(JobName)).on_conflict_do_nothing())
_EXTENT: Final = select(table_of(UsageExtent).c.ends_at)


class Facts:
    """Handlers for a follower of the broker. `now` dates what is made of the facts; it decides nothing."""

    def __init__(self, now: clock.Clock) -> None:
        self._now = now

    def handlers(self) -> dict[str, Handler]:
        return {
            events.ATTEMPT_PLACED: self.attempt_placed,
            events.USAGE_STATED: self.usage_stated,
            events.RUN_FINAL: self.run_final,
            events.JOB_SETTLED: self.job_settled,
            events.JOB_NAMED: self.job_named,
            events.SITE_PROGRESS: follow_site_progress,
        }

    def attempt_placed(self, tx: Session, event: dict[str, Any]) -> None:
        attempt = AttemptPlaced.model_validate(event["data"])
        values = attempt.model_dump(exclude={"attempt"}) | {"id": attempt.attempt}
        _PLACED.run(tx, **values)
        expect_progress(tx, attempt.site, attempt.provider)

    def job_named(self, tx: Session, event: dict[str, Any]) -> None:
        """Keep the name for good: it stands on sealed statements."""
        named = JobNamed.model_validate(event["data"])
        _NAMED.run(tx, job=named.job, name=named.name)

    def usage_stated(self, tx: Session, event: dict[str, Any]) -> None:
        """Replace the hour whole, unless this revision or a later one is here already."""
        steps.reach_now("charge")
        usage, at = UsageRecord.model_validate(event["data"]), self._now()
        hour = clock.to_seconds(usage.hour)
        stored = tx.execute(_RECORD, {"run": usage.run, "hour": hour}).one_or_none()
        if stored is not None and stored.revision >= usage.revision:
            return
        run = self._run(tx, usage.run, usage.attempt, usage.job, usage.backend_identity)
        terms = terms_of(tx, usage.attempt)
        self._store(tx, usage, hour, at)
        # without a shift the price per job, if it lies here, lies here before and after
        now = Record(usage.run, None, usage.spans, terms, run.outcome)
        was = replace(now, spans=spans_of(stored.spans) if stored is not None else ())
        before, after = [was], [now]
        shift = starts.after_usage(tx, run, hour, usage.spans)
        if shift is not None:
            before, after = shift.told(tx, before, after, run.id, hour)
        charging.change(tx, usage.job, before, after, at)
        settling.arrived(tx, usage.job, Awaited(usage.run, hour, usage.revision), at)

    def run_final(self, tx: Session, event: dict[str, Any]) -> None:
        """How the run ended decides who bears it: its lines move when that is the provider."""
        final, at = RunFinal.model_validate(event["data"]), self._now()
        terms_of(tx, final.attempt)
        run = self._run(tx, final.run, final.attempt, final.job)
        if run.outcome != final.outcome:
            tx.execute(update(RunRow).where(RunRow.id == final.run).values(outcome=final.outcome.value))
            shift = starts.after_end(tx, run, final.outcome)
            after = of_run(tx, final.run)
            before = [replace(record, outcome=run.outcome) for record in after]
            if shift is not None:
                before, after = shift.told(tx, before, after, run.id, None)
            if after:
                charging.change(tx, final.job, before, after, at)
        settling.arrived(tx, final.job, Awaited(final.run, END, 0), at)

    def job_settled(self, tx: Session, event: dict[str, Any]) -> None:
        """Free the rest of the hold, now or when the last of what is listed has been charged."""
        settled = JobSettled.model_validate(event["data"])
        listed = {
            Awaited(run.run, clock.to_seconds(datetime.fromisoformat(hour)), revision)
            for run in settled.runs
            for hour, revision in run.hours.items()
        }
        here = tx.execute(select(UsageRow.run, UsageRow.hour, UsageRow.revision).where(UsageRow.job == settled.job))
        revisions = {(row.run, row.hour): row.revision for row in here}
        ended = set(tx.scalars(select(RunRow.id).where(RunRow.job == settled.job, RunRow.outcome.is_not(None))))
        awaited = [one for one in listed if revisions.get((one.run, one.hour), 0) < one.revision]
        awaited += [Awaited(run.run, END, 0) for run in settled.runs if run.run not in ended]
        settling.request(tx, settled.job, settled.hold_revision, awaited, self._now())

    def _run(self, tx: Session, run: str, attempt: str, job: str, identity: str | None = None) -> starts.Known:
        """The run as far as it is known; makes it, and its backend's identity, known."""
        row = tx.execute(_RUN, {"run": run}).one_or_none()
        if row is not None:
            if identity is not None and row.identity is None:
                tx.execute(update(RunRow).where(RunRow.id == run).values(identity=identity))
            return starts.Known(run, job, Outcome(row.outcome) if row.outcome else None, row.billable_from)
        if tx.execute(select(AttemptCopy.id).where(AttemptCopy.id == attempt)).first() is None:
            raise NotHereYet(f"attempt {attempt}")
        tx.execute(insert(RunRow).values(id=run, attempt=attempt, job=job, identity=identity))
        return starts.Known(run, job, None, None)

    def _store(self, tx: Session, usage: UsageRecord, hour: int, at: datetime) -> None:
        values = {
            "revision": usage.revision,
            "job": usage.job,
            "run_started_at": clock.to_seconds(usage.run_started_at),
            "spans": [span.model_dump(mode="json") for span in usage.spans],
            "applied_at": at,
        }
        tx.execute(
            upsert(tx, RECORDS)
            .values(run=usage.run, hour=hour, **values)
            .on_conflict_do_update(index_elements=["run", "hour"], set_=values)
        )
        if usage.spans:
            end = clock.to_seconds(usage.spans[-1].end)
            known = tx.execute(_EXTENT).scalar_one_or_none()
            if known is None:
                tx.execute(insert(UsageExtent).values(id=1, end=end))
            elif known < end:
                tx.execute(update(UsageExtent).values(end=end))
