"""Settling: the rest of a hold is freed when everything that the broker listed has been charged. Never by a clock.

Facts may come in any order: what a settlement still waits for is kept, and each usage record or run's end that is stored takes its own
from it. Who has charged all that is stored of a job asks whether it is to be settled.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import delete, exists, select, update
from sqlalchemy.orm import Session

from caravan.contracts.anomalies import AnomalyState
from caravan.kernel.bulk import ChangeMany, InsertMany, SelectMany
from caravan.kernel.database import table_of
from services.accounting.anomalies.models import AnomalyRow
from services.accounting.funds.holds import add_grants
from services.accounting.funds.many import free_many
from services.accounting.funds.models import Outstanding, Settlement
from services.accounting.redemptions import service as redemptions
from services.accounting.redemptions.service import Moved

SETTLEMENTS, OUTSTANDING, ANOMALIES = table_of(Settlement), table_of(Outstanding), table_of(AnomalyRow)
_JOB: Final = {"job": SETTLEMENTS.c.job.type}
_REQUESTED: Final = SelectMany(
    _JOB,
    lambda given: select(SETTLEMENTS.c.job, SETTLEMENTS.c.settled_at).join(given, SETTLEMENTS.c.job == given.c.job),
)
_ALL_HERE: Final = SelectMany(
    _JOB,
    lambda given: (
        select(SETTLEMENTS.c.job)
        .join(given, SETTLEMENTS.c.job == given.c.job)
        .where(
            SETTLEMENTS.c.settled_at.is_(None),
            ~exists().where(OUTSTANDING.c.job == given.c.job),
            ~exists().where(ANOMALIES.c.job == given.c.job, ANOMALIES.c.state == AnomalyState.OPEN),
        )
    ),
)
_REQUEST: Final = InsertMany(SETTLEMENTS)
_AWAIT: Final = InsertMany(OUTSTANDING)
_SETTLE: Final = ChangeMany(
    {**_JOB, "at": SETTLEMENTS.c.settled_at.type},
    lambda given: update(SETTLEMENTS).where(SETTLEMENTS.c.job == given.job).values(settled_at=given.at),
)
_ARRIVED: Final = ChangeMany(
    {
        **_JOB,
        "run": OUTSTANDING.c.run.type,
        "hour": OUTSTANDING.c.hour.type,
        "revision": OUTSTANDING.c.revision.type,
    },
    lambda given: delete(OUTSTANDING).where(
        OUTSTANDING.c.job == given.job,
        OUTSTANDING.c.run == given.run,
        OUTSTANDING.c.hour == given.hour,
        OUTSTANDING.c.revision <= given.revision,
    ),
)

_AWAITED: Final = SelectMany(
    {**_JOB, "run": OUTSTANDING.c.run.type, "hour": OUTSTANDING.c.hour.type},
    lambda given: select(OUTSTANDING.c.run, OUTSTANDING.c.hour).join(
        given,
        (OUTSTANDING.c.job == given.c.job) & (OUTSTANDING.c.run == given.c.run) & (OUTSTANDING.c.hour == given.c.hour),
    ),
)

END: Final = 0
"""The hour that stands for the run's end."""


class Awaited(NamedTuple):
    """A run's hour (seconds since the epoch) at `revision` or later; or its end (END, 0)."""

    run: str
    hour: int
    revision: int


class Requested(NamedTuple):
    """The broker says that nothing more will come of a job; `awaited` is what of it is not here yet."""

    hold_revision: int
    awaited: Collection[Awaited]


def known(tx: Session, jobs: Collection[str]) -> dict[str, bool]:
    """Whether the settlement of each job, as far as one was requested, still waits."""
    return {row.job: row.settled_at is None for row in _REQUESTED.all(tx, [{"job": job} for job in jobs])}


def awaited(tx: Session, hours: Iterable[tuple[str, str, int]]) -> set[tuple[str, int]]:
    """Of the hours of runs, (job, run, hour), those of which the settlement still waits for a later revision."""
    rows = _AWAITED.all(tx, [{"job": job, "run": run, "hour": hour} for job, run, hour in hours])
    return {(row.run, row.hour) for row in rows}


def request(tx: Session, requests: Mapping[str, Requested]) -> None:
    """By job, of none of which a settlement was requested before."""
    _REQUEST.run(tx, [{"job": job, "hold_revision": one.hold_revision} for job, one in requests.items()])
    _AWAIT.run(tx, [{"job": job, **what._asdict()} for job, one in requests.items() for what in one.awaited])


def arrived(tx: Session, what: Iterable[tuple[str, Awaited]]) -> None:
    """(job, what is stored now), of jobs that wait to be settled."""
    _ARRIVED.run(tx, [{"job": job, **one._asdict()} for job, one in what])


def settle(tx: Session, jobs: Collection[str], at: datetime) -> None:
    """Free the rest of the holds of those of the jobs of which nothing is awaited any more, and nothing set aside; and what was pledged of
    vouchers with them.

    All that is stored of them has been charged.
    """
    ready = [row.job for row in _ALL_HERE.all(tx, [{"job": job} for job in jobs])]
    _SETTLE.run(tx, [{"job": job, "at": at} for job in ready])
    free_many(tx, ready, at)
    for organization, fen in redemptions.settle(tx, ready).items():
        add_grants(tx, organization, Moved(-fen, 0))
