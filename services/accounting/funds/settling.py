"""Settling: the rest of a hold is freed when everything that the broker listed has been charged. Never by a clock.

Facts may come in any order: what a settlement still waits for is kept, and each usage record or run's end takes its own from it.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import bindparam, delete, insert, select, update
from sqlalchemy.orm import Session

from caravan.kernel.database import table_of
from services.accounting.funds.holds import free_rest
from services.accounting.funds.models import Outstanding, Settlement

SETTLEMENTS = table_of(Settlement)
_WAITING: Final = select(SETTLEMENTS.c.job).where(
    SETTLEMENTS.c.job == bindparam("job"), SETTLEMENTS.c.settled_at.is_(None)
)

END: Final = 0
"""The hour that stands for the run's end."""


class Awaited(NamedTuple):
    """A run's hour (seconds since the epoch) at `revision` or later; or its end (END, 0)."""

    run: str
    hour: int
    revision: int


def request(tx: Session, job: str, hold_revision: int, awaited: Iterable[Awaited], at: datetime) -> None:
    """The broker says that nothing more will come; `awaited` is what of it is not here yet. A repeat changes nothing."""
    if tx.execute(select(Settlement.job).where(Settlement.job == job)).first() is not None:
        return
    tx.execute(insert(Settlement).values(job=job, hold_revision=hold_revision))
    rows = [{"job": job, **one._asdict()} for one in awaited]
    if rows:
        tx.execute(insert(Outstanding), rows)
    else:
        _finish(tx, job, at)


def arrived(tx: Session, job: str, what: Awaited, at: datetime) -> None:
    """`what` has been charged. Settles the job when it was the last that was waited for."""
    if tx.execute(_WAITING, {"job": job}).first() is None:
        return
    tx.execute(
        delete(Outstanding).where(
            Outstanding.job == job,
            Outstanding.run == what.run,
            Outstanding.hour == what.hour,
            Outstanding.revision <= what.revision,
        )
    )
    if tx.execute(select(Outstanding.run).where(Outstanding.job == job).limit(1)).first() is None:
        _finish(tx, job, at)


def _finish(tx: Session, job: str, at: datetime) -> None:
    tx.execute(update(Settlement).where(Settlement.job == job).values(settled_at=at))
    free_rest(tx, job, at)
