"""A job with one committed attempt, made straight in the broker's tables, and all that becomes of it: for tests of what is reported."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from caravan.contracts import events
from caravan.contracts.dispatch import Desired, Grant, ReportItem
from caravan.contracts.jobs import AttemptState, HoldState, JobState
from caravan.contracts.offerings import Capacity
from caravan.contracts.spec import Array, JobSpec, Resources
from caravan.kernel import ids
from caravan.kernel.database import savepoint, table_of
from caravan.kernel.tables import outbox
from services.broker.dispatch import reports
from services.broker.dispatch.wanted import want
from services.broker.jobs.models import AttemptRow, JobRow, RunRow, TaskRow
from tests.broker.hand import Run
from tests.broker.market import Platform

T0 = datetime(2026, 3, 10, 8, 59, 50, tzinfo=UTC)
"""Ten seconds before a full hour: most runs pass it."""


class Undone(Exception):
    """Ends a unit of work without a trace; carries what was found in it."""

    def __init__(self, found: Any) -> None:
        super().__init__()
        self.found = found


async def tried(platform: Platform, unit: Callable[[Session], Any]) -> Any:
    """What `unit` returns, with all it did to the broker's database taken back."""

    def undo(tx: Session) -> None:
        raise Undone(unit(tx))

    with pytest.raises(Undone) as undone:
        await platform.runtime.db.write(undo)
    return undone.value.found


@dataclass(frozen=True)
class Staged:
    """A job of `tasks` tasks with one committed attempt."""

    job: str
    attempt: str
    site: str

    def apply(self, tx: Session, *items: ReportItem) -> list[bool]:
        return [reports.apply(tx, self.site, item) for item in items]

    def refused(self, tx: Session, item: ReportItem) -> str:
        """Why the item is refused; it must not change anything."""
        before = picture(tx, self)
        with pytest.raises(reports.CannotBe) as refusal, savepoint(tx):
            reports.apply(tx, self.site, item)
        assert picture(tx, self) == before
        return str(refusal.value)


def staged(tx: Session, tasks: int = 1, max_attempts: int = 1, *, committed: bool = True) -> Staged:
    job, attempt, site, organization = ids.new("job"), ids.new("att"), ids.new("sit"), ids.new("org")
    spec = JobSpec(
        name="test", project=ids.new("prj"), script="true", resources=Resources(walltime_seconds=10_000),
        array=Array(indices=tuple(range(tasks))), max_attempts=max_attempts,
    )  # fmt: skip
    tx.add(
        JobRow(
            id=job, organization=organization, project=spec.project, name="test", spec=spec.model_dump_json(), labels={},
            state=JobState.PENDING, detail="", counts={JobState.PENDING: tasks}, hold_revision=1, hold_fen=100,
            hold_state=HoldState.GRANTED, granted_fen=100, attempts=1, cancel_requested=0, excluded={}, open_runs=0,
            created_at=T0, version=1,
        )
    )  # fmt: skip
    tx.flush()
    task = {"job": job, "state": JobState.PENDING, "tries": 1, "detail": "", "attempt": attempt}
    tx.execute(insert(table_of(TaskRow)), [{"index": index, **task} for index in range(tasks)])
    row = AttemptRow(
        id=attempt, job=job, number=1, site=site, offering=ids.new("off"), provider=ids.new("prv"),
        price_list=ids.new("prl"), tenant=ids.new("ten"), indices=list(range(tasks)),
        grant=Grant(nodes=1, cpus=1, memory_mib=1024, max_seconds=10_000).model_dump(mode="json"),
        capacity=Capacity(cpus=tasks, memory_mib=1024).model_dump(), worst_fen=100, desired=Desired.RUN, observation=0,
        state=AttemptState.STAGED if committed else AttemptState.PLANNED, reference="ref" if committed else None,
        detail="", created_at=T0,
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    want(tx, row, Desired.RUN)
    tx.flush()
    return Staged(job, attempt, site)


def picture(tx: Session, it: Staged) -> dict[str, Any]:
    """All that has become of the job, but for when it was done and by which run ids."""
    tx.flush()
    job, attempt = tx.get_one(JobRow, it.job), tx.get_one(AttemptRow, it.attempt)
    runs = {row.id: row for row in tx.scalars(select(RunRow).where(RunRow.job == it.job))}
    facts = []
    for row in tx.execute(
        select(outbox.c.type, outbox.c.data).where(outbox.c.subject == it.job).order_by(outbox.c.sequence)
    ):
        data = row.data
        for run in runs.values():
            data = data.replace(run.id, run.backend_identity)
        facts.append((row.type, data))
    return {
        "job": (job.state, dict(job.counts), job.started_at, job.ended_at, job.settled_at is not None, job.open_runs),
        "hold": (job.hold_state, job.hold_revision),
        "attempt": (attempt.state, attempt.desired, attempt.ended_at is not None),
        "tasks": sorted(
            (task.index, task.state, task.attempt, runs[task.run].backend_identity if task.run else None)
            for task in tx.scalars(select(TaskRow).where(TaskRow.job == it.job))
        ),
        "runs": sorted(
            (run.backend_identity, run.index, run.state, str(run.outcome), run.exit_code, run.final, str(sorted(run.hours.items())))
            for run in runs.values()
        ),
        "last facts": sorted(newest(facts)),
    }  # fmt: skip


def newest(facts: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Facts, without usage that a later revision replaced; the rest is said once at most."""
    usage: dict[tuple[str, str], tuple[int, str]] = {}
    others: list[tuple[str, str]] = []
    for type_, data in facts:
        if type_ == events.USAGE_STATED:
            record = json.loads(data)
            key = (record["run"], record["hour"])
            assert usage.get(key, (0, ""))[0] < record["revision"], "usage never goes back"
            usage[key] = (record["revision"], data)
        else:
            others.append((type_, "" if type_ == events.JOB_SETTLED else data))
    assert len(others) == len(set(others)), "everything is said once"
    return set(others) | {(events.USAGE_STATED, data) for _, data in usage.values()}


def run_of(it: Staged, index: int = 0, **more: Any) -> Run:
    return Run(it.attempt, index, start=T0, **more)
