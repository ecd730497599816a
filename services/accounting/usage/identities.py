"""Makes runs known, with their identity of the backend's: each is one allocation, which one run at its site has."""

from collections.abc import Iterable, Mapping
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from caravan.contracts.usage import RunFinal, UsageRecord
from caravan.kernel.bulk import ChangeMany, InsertMany, SelectMany
from services.accounting.anomalies.sifting import Placed
from services.accounting.usage.many import Run
from services.accounting.usage.records import ATTEMPTS, RUNS

_NEW_RUNS: Final = InsertMany(RUNS)
_IDENTIFY: Final = ChangeMany(
    {"run": RUNS.c.id.type, "identity": RUNS.c.identity.type, "task": RUNS.c.task_index.type},
    lambda given: update(RUNS).where(RUNS.c.id == given.run).values(identity=given.identity, task_index=given.task),
)
_TAKEN: Final = SelectMany(
    {"run": RUNS.c.id.type, "identity": RUNS.c.identity.type, "site": ATTEMPTS.c.site.type},
    lambda given: (
        select(given.c.run, RUNS.c.id.label("by"))
        .join(RUNS, RUNS.c.identity == given.c.identity)
        .join(ATTEMPTS, (ATTEMPTS.c.id == RUNS.c.attempt) & (ATTEMPTS.c.site == given.c.site))
        .where(RUNS.c.id != given.c.run)
        .order_by(RUNS.c.id)
    ),
)


def taken(
    tx: Session, stated: Iterable[UsageRecord], placed: Mapping[str, Placed], runs: Mapping[str, Run]
) -> dict[str, str]:
    """Of the usage's runs those whose identity another run at their site has, with that one. A run that is known by its identity keeps it.

    `placed` has their attempts, `runs` what is stored of them.
    """
    untold = {
        one.run: (placed[one.attempt].site, one.backend_identity)
        for one in stated
        if one.backend_identity is not None and (one.run not in runs or runs[one.run].identity is None)
    }
    asked = [{"run": run, "identity": identity, "site": site} for run, (site, identity) in untold.items()]
    return {row.run: row.by for row in _TAKEN.all(tx, asked)}


def make_known(
    tx: Session, facts: Iterable[UsageRecord | RunFinal], placed: Mapping[str, Placed], runs: Mapping[str, Run]
) -> dict[str, Run]:
    """The facts' runs, of which `runs` were stored; makes those that are new, and the backend's identity of others, known."""
    first: dict[str, UsageRecord | RunFinal] = {}
    told: dict[str, UsageRecord] = {}
    for one in facts:
        first.setdefault(one.run, one)
        if isinstance(one, UsageRecord) and (one.backend_identity, one.index) != (None, None):
            told.setdefault(one.run, one)
    new = {
        run: _identified(
            Run(run, one.job, one.attempt, None, None, None, None, placed[one.attempt].preempted_borne_by),
            told.get(run),
        )
        for run, one in first.items()
        if run not in runs
    }
    _NEW_RUNS.run(
        tx,
        [
            {
                "id": one.id,
                "attempt": one.attempt,
                "job": one.job,
                "identity": one.identity,
                "task_index": one.task_index,
            }
            for one in new.values()
        ],
    )
    known = [(runs[run], _identified(runs[run], one)) for run, one in told.items() if run in runs]
    changed = [after for before, after in known if after != before]
    _IDENTIFY.run(tx, [{"run": one.id, "identity": one.identity, "task": one.task_index} for one in changed])
    return {**runs, **new, **{one.id: one for one in changed}}


def _identified(run: Run, told: UsageRecord | None) -> Run:
    """With the backend's identity and the array task as they were told, unless they are known."""
    if told is None:
        return run
    identity = told.backend_identity if run.identity is None else run.identity
    return run._replace(identity=identity, task_index=told.index if run.task_index is None else run.task_index)
