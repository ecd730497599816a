"""What other rooms ask of usage."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from caravan.contracts.anomalies import AnomalyState
from caravan.kernel.clock import HOUR_SECONDS, to_seconds
from caravan.kernel.tables import feed_parked
from services.accounting.anomalies.models import AnomalyRow
from services.accounting.charging import due
from services.accounting.usage.models import UsageExtent


def latest_applied_second(tx: Session) -> int | None:
    """The latest second (since the epoch) in which usage was ever applied, also if it was corrected away since. None: no usage yet."""
    end = tx.execute(select(UsageExtent.end)).scalar_one_or_none()
    return None if end is None else end - 1


def parked_facts(tx: Session) -> int:
    """How many facts of the broker wait, for something that isn't here or to be charged."""
    parked = select(func.count()).select_from(feed_parked).where(feed_parked.c.feed == "broker")
    return tx.execute(parked).scalar_one() + due.count(tx)


def set_aside(tx: Session, start: datetime, end: datetime) -> int:
    """How many hours of runs with seconds in [start, end) are set aside, and wait for a person."""
    found = select(func.count()).where(
        AnomalyRow.state == AnomalyState.OPEN,
        AnomalyRow.hour > to_seconds(start) - HOUR_SECONDS,
        AnomalyRow.hour < to_seconds(end),
    )
    return tx.execute(found).scalar_one()
