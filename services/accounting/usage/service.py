"""What other rooms ask of usage."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.kernel.tables import feed_parked
from services.accounting.usage.models import UsageExtent


def latest_applied_second(tx: Session) -> int | None:
    """The latest second (since the epoch) in which usage was ever applied, also if it was corrected away since. None: no usage yet."""
    end = tx.execute(select(UsageExtent.end)).scalar_one_or_none()
    return None if end is None else end - 1


def any_parked(tx: Session) -> bool:
    """Whether facts of the broker wait for something: usage that was stated may not be charged yet."""
    return tx.execute(select(feed_parked.c.sequence).where(feed_parked.c.feed == "broker").limit(1)).first() is not None
