"""Capturing from many holds at once, with the totals and movements that capturing from one after another would leave."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from caravan.contracts.funds import HoldStatus, HoldStep
from caravan.kernel.bulk import ChangeMany, InsertMany, SelectMany
from caravan.kernel.prepared import Fetched
from services.accounting.funds.holds import ATTACHED, BUDGETS, FUNDS, HOLDS, MOVEMENTS

_JOB: Final = {"job": HOLDS.c.job.type}
_MORE: Final = {"held": FUNDS.c.held.type, "charged": FUNDS.c.charged.type}
_FIND: Final = SelectMany(_JOB, lambda given: select(HOLDS).join(given, HOLDS.c.job == given.c.job))
_ATTACHED: Final = SelectMany(_JOB, lambda given: select(ATTACHED).join(given, ATTACHED.c.job == given.c.job))
_LAST: Final = SelectMany(
    _JOB,
    lambda given: (
        select(MOVEMENTS.c.job, func.max(MOVEMENTS.c.number).label("number"))
        .join(given, MOVEMENTS.c.job == given.c.job)
        .group_by(MOVEMENTS.c.job)
    ),
)
_CAPTURE: Final = ChangeMany(
    {**_JOB, "captured": HOLDS.c.captured.type},
    lambda given: update(HOLDS).where(HOLDS.c.job == given.job).values(captured=given.captured),
)
_ADD_TO_FUNDS: Final = ChangeMany(
    {"organization": FUNDS.c.organization.type, **_MORE},
    lambda given: (
        update(FUNDS)
        .where(FUNDS.c.organization == given.organization)
        .values(held=FUNDS.c.held + given.held, charged=FUNDS.c.charged + given.charged)
    ),
)
_ADD_TO_BUDGETS: Final = ChangeMany(
    {"budget": BUDGETS.c.id.type, **_MORE},
    lambda given: (
        update(BUDGETS)
        .where(BUDGETS.c.id == given.budget)
        .values(held=BUDGETS.c.held + given.held, charged=BUDGETS.c.charged + given.charged)
    ),
)
_RECORD: Final = InsertMany(MOVEMENTS, ("job", "number", "at", "step", "amount", "held"))


class Capture(NamedTuple):
    """Charge `amount` fen (negative: give back) of what `hold`, as it is stored, has set aside."""

    hold: Fetched
    amount: int


def find_many(tx: Session, jobs: Sequence[str]) -> dict[str, Fetched]:
    """The holds of those of the jobs that have one, by job."""
    return {row.job: row for row in _FIND.all(tx, [{"job": job} for job in jobs])}


def capture_many(tx: Session, captures: Sequence[Capture], at: datetime) -> None:
    """As `holds.capture` does for each; no hold stands in two."""
    real = [one for one in captures if one.amount]
    jobs = [{"job": one.hold.job} for one in real]
    by_job = {one.hold.job: one for one in real}
    last = {row.job: row.number for row in _LAST.all(tx, jobs)}
    _CAPTURE.run(tx, [{"job": job, "captured": one.hold.captured + one.amount} for job, one in by_job.items()])
    _ADD_TO_FUNDS.run(tx, _totals("organization", ((one.hold.organization, one) for one in real)))
    _ADD_TO_BUDGETS.run(tx, _totals("budget", ((row.budget, by_job[row.job]) for row in _ATTACHED.all(tx, jobs))))
    _RECORD.run(
        tx,
        [
            {
                "job": job,
                "number": last.get(job, 0) + 1,
                "at": at,
                "step": HoldStep.CAPTURED.value,
                "amount": one.amount,
                "held": one.hold.amount - one.hold.captured - one.amount if _is_open(one) else 0,
            }
            for job, one in by_job.items()
        ],
    )


def _is_open(capture: Capture) -> bool:
    """After settling nothing is held any more."""
    return bool(capture.hold.status == HoldStatus.OPEN)


def _totals(name: str, captures: Iterable[tuple[str, Capture]]) -> list[dict[str, Any]]:
    """What each key, called `name`, has held and charged more by its captures."""
    more: dict[str, dict[str, Any]] = {}
    for key, one in captures:
        total = more.setdefault(key, {name: key, "held": 0, "charged": 0})
        total["charged"] += one.amount
        total["held"] -= one.amount if _is_open(one) else 0
    return [more[key] for key in sorted(more)]
