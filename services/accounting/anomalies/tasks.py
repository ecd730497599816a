"""What the runs of array tasks hold beside each other: a task has one run at a time, so what two of them hold overlaps or doesn't.

Runs that the provider bears by how they ended don't count: what failed or is a duplicate is billed to nobody twice.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.contracts.jobs import Outcome
from caravan.contracts.offerings import PreemptedBearer
from caravan.contracts.usage import Span, UsageRecord
from caravan.kernel.bulk import SelectMany
from caravan.kernel.clock import to_seconds
from services.accounting.anomalies.odd import shared
from services.accounting.charging.lines import provider_bears
from services.accounting.usage.many import Run
from services.accounting.usage.records import ATTEMPTS, RECORDS, RUNS

_HELD: Final = SelectMany(
    {"job": RUNS.c.job.type, "task": RUNS.c.task_index.type, "hour": RECORDS.c.hour.type},
    lambda given: (
        select(
            *(given.c.job, given.c.task, given.c.hour, RUNS.c.id.label("run")),
            *(RUNS.c.outcome, RUNS.c.upheld, RECORDS.c.spans, ATTEMPTS.c.preempted_borne_by),
        )
        .join(RUNS, (RUNS.c.job == given.c.job) & (RUNS.c.task_index == given.c.task))
        .join(ATTEMPTS, ATTEMPTS.c.id == RUNS.c.attempt)
        .join(RECORDS, (RECORDS.c.run == RUNS.c.id) & (RECORDS.c.hour == given.c.hour))
    ),
)
_Hour = tuple[str, int, int]
"""Of an array task: its job, its index, the hour in seconds since the epoch."""


class Tasks:
    """What is billed of the array tasks of some stated usage, in its hours. `runs`: as they were stored."""

    def __init__(self, tx: Session, stated: Iterable[UsageRecord], runs: Mapping[str, Run]) -> None:
        self._runs = runs
        self._held: defaultdict[_Hour, dict[str, tuple[Span, ...]]] = defaultdict(dict)
        hours = {hour for one in stated if (hour := _hour_of(one)) is not None}
        for row in _HELD.all(tx, [{"job": job, "task": task, "hour": hour} for job, task, hour in hours]):
            if _counts(row):
                self._held[row.job, row.task, row.hour][row.run] = row.spans

    def beside(self, usage: UsageRecord) -> list[tuple[Span, ...]]:
        """What other runs of its task hold in its hour."""
        hour = _hour_of(usage)
        if hour is None or not self._counts(usage):
            return []
        return [spans for run, spans in self._held[hour].items() if run != usage.run]

    def _counts(self, usage: UsageRecord) -> bool:
        known = self._runs.get(usage.run)
        return known is None or known.provider_bears(known.charged_as) is None


def billed_beside(tx: Session, run: str) -> list[str]:
    """The runs of its array task that share a second with it and that the provider doesn't bear by how they ended."""
    task = select(RUNS.c.job, RUNS.c.task_index).where(RUNS.c.id == run).subquery()
    of_task = (
        select(RUNS.c.id, RUNS.c.outcome, RUNS.c.upheld, RECORDS.c.spans, ATTEMPTS.c.preempted_borne_by)
        .join(RECORDS, RECORDS.c.run == RUNS.c.id)
        .join(ATTEMPTS, ATTEMPTS.c.id == RUNS.c.attempt)
        .join(task, (RUNS.c.job == task.c.job) & (RUNS.c.task_index == task.c.task_index))
    )
    held, beside = list[Span](), defaultdict[str, list[Span]](list)
    for row in tx.execute(of_task):
        if row.id == run:
            held += row.spans
        elif _counts(row):
            beside[row.id] += row.spans
    return sorted(other for other, spans in beside.items() if any(shared(held, spans)))


def _counts(row: Any) -> bool:
    outcome = Outcome(row.outcome) if row.outcome and not row.upheld else None
    return provider_bears(outcome, PreemptedBearer(row.preempted_borne_by)) is None


def _hour_of(usage: UsageRecord) -> _Hour | None:
    return None if usage.index is None else (usage.job, usage.index, to_seconds(usage.hour))
