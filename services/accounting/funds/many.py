"""Capturing from many holds at once, and settling them, with the totals and movements that one after another would leave."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from caravan.contracts.funds import HoldStatus, HoldStep
from caravan.kernel.bulk import ChangeMany, InsertMany, SelectMany
from caravan.kernel.prepared import Fetched
from services.accounting.funds.holds import ATTACHED, BUDGETS, FUNDS, HOLDS, MOVEMENTS, held

_JOB: Final = {"job": HOLDS.c.job.type}
_MORE: Final = {"held": FUNDS.c.held.type, "charged": FUNDS.c.charged.type}
_HOLD: Final = {**_JOB, "organization": HOLDS.c.organization.type}
_FIND: Final = SelectMany(_JOB, lambda given: select(HOLDS).join(given, HOLDS.c.job == given.c.job))
_ATTACHED: Final = SelectMany(_JOB, lambda given: select(ATTACHED).join(given, ATTACHED.c.job == given.c.job))
_LAST: Final = SelectMany(
    _JOB,
    lambda given: (
        select(MOVEMENTS.c.job, MOVEMENTS.c.organization, func.max(MOVEMENTS.c.number).label("number"))
        .join(given, MOVEMENTS.c.job == given.c.job)
        .group_by(MOVEMENTS.c.job, MOVEMENTS.c.organization)
    ),
)
_CAPTURE: Final = ChangeMany(
    {**_HOLD, "captured": HOLDS.c.captured.type},
    lambda given: (
        update(HOLDS)
        .where(HOLDS.c.job == given.job, HOLDS.c.organization == given.organization)
        .values(captured=given.captured)
    ),
)
_SETTLE: Final = ChangeMany(
    {**_JOB, "status": HOLDS.c.status.type},
    lambda given: update(HOLDS).where(HOLDS.c.job == given.job).values(status=given.status),
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
_RECORD: Final = InsertMany(MOVEMENTS)


class Capture(NamedTuple):
    """Charge `amount` fen (negative: give back) of what `hold`, as it is stored, has set aside."""

    hold: Fetched
    amount: int


class _More(NamedTuple):
    """What a hold has held and charged more, in fen."""

    hold: Fetched
    held: int
    charged: int


def holds_of(tx: Session, jobs: Collection[str]) -> dict[str, Sequence[Fetched]]:
    """All holds for those of the jobs that have any, by job, in the order of `holds.of_job`."""
    found: dict[str, list[Fetched]] = {}
    for row in _FIND.all(tx, [{"job": job} for job in jobs]):
        of_job = found.setdefault(row.job, [])
        of_job.insert(len(of_job) if row.resale else 0, row)
    return dict(found)


def capture_many(tx: Session, captures: Iterable[Capture], at: datetime) -> None:
    """As `holds.capture` does for each; no hold stands in two."""
    real = [one for one in captures if one.amount]
    _CAPTURE.run(
        tx,
        [
            {"job": hold.job, "organization": hold.organization, "captured": hold.captured + amount}
            for hold, amount in real
        ],
    )
    # after settling nothing is held any more
    more = [_More(one.hold, -one.amount if one.hold.status == HoldStatus.OPEN else 0, one.amount) for one in real]
    _add_to_totals(tx, more)
    _record(tx, [(one.hold, HoldStep.CAPTURED, one.charged, held(one.hold) + one.held) for one in more], at)


def free_many(tx: Session, jobs: Collection[str], at: datetime) -> None:
    """As `holds.free_rest` does for each."""
    open_ = [hold for all_of in holds_of(tx, jobs).values() for hold in all_of if hold.status == HoldStatus.OPEN]
    ready = dict.fromkeys(hold.job for hold in open_)
    _SETTLE.run(tx, [{"job": job, "status": HoldStatus.SETTLED.value} for job in ready])
    _add_to_totals(tx, [_More(hold, -held(hold), 0) for hold in open_])
    steps = []
    for hold in open_:
        rest = held(hold)
        steps += [(hold, HoldStep.RELEASED, -rest, 0)] if rest else []
        steps.append((hold, HoldStep.SETTLED, 0, 0))
    _record(tx, steps, at)


def _add_to_totals(tx: Session, more: Sequence[_More]) -> None:
    """Of the organizations, and of the budgets that the jobs count in."""
    by_hold = {(one.hold.job, one.hold.organization): one for one in more}
    attached = _ATTACHED.all(tx, [{"job": job} for job in dict.fromkeys(job for job, _ in by_hold)])
    counted = ((row.budget, by_hold.get((row.job, row.organization))) for row in attached)
    _ADD_TO_FUNDS.run(tx, _totals("organization", ((one.hold.organization, one) for one in more)))
    _ADD_TO_BUDGETS.run(tx, _totals("budget", ((budget, one) for budget, one in counted if one)))


def _totals(name: str, more: Iterable[tuple[str, _More]]) -> list[dict[str, Any]]:
    """By key, called `name`."""
    totals: dict[str, dict[str, Any]] = {}
    for key, one in more:
        total = totals.setdefault(key, {name: key, "held": 0, "charged": 0})
        total["held"] += one.held
        total["charged"] += one.charged
    return [totals[key] for key in sorted(totals)]


def _record(tx: Session, steps: Sequence[tuple[Fetched, HoldStep, int, int]], at: datetime) -> None:
    """Add (hold, step, amount, what is held after it) to the lives of holds, in this order."""
    jobs = dict.fromkeys(hold.job for hold, *_ in steps)
    last = {(row.job, row.organization): row.number for row in _LAST.all(tx, [{"job": job} for job in jobs])}
    rows = []
    for hold, step, amount, left in steps:
        its = hold.job, hold.organization
        last[its] = last.get(its, 0) + 1
        key = {"job": hold.job, "organization": hold.organization, "number": last[its]}
        rows.append({**key, "at": at, "step": step.value, "amount": amount, "held": left})
    _RECORD.run(tx, rows)
