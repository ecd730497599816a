"""What other rooms ask of usage."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from caravan.kernel.tables import feed_parked
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
