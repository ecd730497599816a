"""The work on a correction: one pass over the jobs that it concerns for its preview, and one to apply it. Batches of jobs, oldest first.

A batch and how far it brought the pass stand in one transaction, so that who comes after a crash goes on behind the last one.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, exists, or_, select, update
from sqlalchemy.orm import Session

from caravan.contracts.corrections import CorrectionState
from caravan.kernel import steps
from caravan.kernel.clock import floor_hour, from_seconds, to_seconds
from caravan.kernel.database import table_of
from caravan.kernel.feed import upsert
from caravan.kernel.prepared import Fetched
from caravan.kernel.runtime import Runtime
from services.accounting.charging import service as charging
from services.accounting.charging.lines import Key, cost, quantities
from services.accounting.charging.service import Calendar, amounts
from services.accounting.corrections.approved import CORRECTIONS, WORK, Correction, correction_of
from services.accounting.corrections.models import ShareRow
from services.accounting.funds.many import holds_of
from services.accounting.usage import records
from services.accounting.usage.models import AttemptCopy, RunRow, UsageRow

LOOP: Final = "corrections"
BATCH: Final = 20
IDLE_SECONDS: Final = 30.0
DONE: Final = {
    CorrectionState.PREVIEWING: CorrectionState.PROPOSED,
    CorrectionState.APPLYING: CorrectionState.APPLIED,
}
"""States with a pass, and what it ends in."""


class Passes:
    """The loop that works on corrections."""

    def __init__(self, runtime: Runtime) -> None:
        self._db = runtime.db
        self._now = runtime.now

    async def iteration(self) -> float:
        """One batch; returns the seconds until the next."""
        if await self._db.read(_next) is None:
            return IDLE_SECONDS
        await steps.reach("correct")
        await self._db.write(advance, self._now())
        return 0


def advance(tx: Session, at: datetime) -> None:
    """Take the next batch of the oldest correction that has a pass to go on with, if any has."""
    work = _next(tx)
    if work is None:
        return
    state = CorrectionState(work.state)
    row = tx.execute(select(CORRECTIONS).where(CORRECTIONS.c.id == work.correction)).one()
    correction = correction_of(row)
    jobs = _jobs(tx, correction, work.after_job)
    found = holds_of(tx, jobs)
    for job in jobs:
        if state is CorrectionState.PREVIEWING:
            _preview(tx, row.id, correction, found[job])
        else:
            charging.recharge(tx, found[job], at, f"price correction {row.id}")
    counted = "previewed_jobs" if state is CorrectionState.PREVIEWING else "applied_jobs"
    values: dict[str, Any] = {counted: getattr(work, counted) + len(jobs), "after_job": jobs[-1] if jobs else ""}
    if len(jobs) < BATCH:
        values |= {"state": DONE[state].value, "after_job": ""}
    tx.execute(update(WORK).where(WORK.c.correction == row.id).values(values))


def _next(tx: Session) -> Row[Any] | None:
    query = select(WORK).where(WORK.c.state.in_([state.value for state in DONE])).order_by(WORK.c.correction).limit(1)
    return tx.execute(query).one_or_none()


def _jobs(tx: Session, correction: Correction, after: str) -> list[str]:
    """The next jobs of the offering with usage in the span, by attempts that the correction concerns."""
    attempts, runs, usage = table_of(AttemptCopy), table_of(RunRow), table_of(UsageRow)
    used = exists().where(
        runs.c.job == attempts.c.job,
        runs.c.attempt == attempts.c.id,
        usage.c.job == attempts.c.job,
        usage.c.run == runs.c.id,
        usage.c.hour >= to_seconds(floor_hour(from_seconds(correction.start))),
        usage.c.hour < correction.end,
    )
    query = select(attempts.c.job).where(attempts.c.offering == correction.offering, attempts.c.job > after, used)
    if correction.replaces is not None:
        replaced = (attempts.c.price_list, attempts.c.wholesale_list)
        query = query.where(or_(*(column.in_(correction.replaces) for column in replaced)))
    return list(tx.scalars(query.distinct().order_by(attempts.c.job).limit(BATCH)))


def _preview(tx: Session, correction_id: str, correction: Correction, held: Sequence[Fetched]) -> None:
    """Add what the job of these holds would come to for each who buys; who would have no line changed isn't counted."""
    job, amount = held[0].job, amounts(held)
    facts = records.of_job(tx, job)
    calendar = Calendar(tx, facts)
    was, now = (calendar.charged(some, amount) for some in (facts, records.of_job(tx, job, correction)))
    for buyer in was:
        before, after = (quantities(comes_to[buyer].portions) for comes_to in (was, now))
        if before != after:
            _share(tx, correction_id, buyer, before, after)


def _share(tx: Session, correction_id: str, organization: str, before: Counter[Key], after: Counter[Key]) -> None:
    more = {
        "job_count": 1,
        "line_count": sum(before[key] != after[key] for key in {*before, *after}),
        "amount_before": cost(before),
        "amount_after": cost(after),
    }
    tx.execute(
        upsert(tx, ShareRow)
        .values(correction=correction_id, organization=organization, **more)
        .on_conflict_do_update(
            index_elements=["correction", "organization"],
            set_={name: getattr(ShareRow, name) + value for name, value in more.items()},
        )
    )
