"""What other rooms ask of usage."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from caravan.contracts.anomalies import AnomalyState
from caravan.contracts.statements import StatementParty
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


class SetAside(NamedTuple):
    """Hours of runs that wait for a person, of parties that are None while their attempt isn't known."""

    organization: str | None
    provider: str | None
    reseller: str | None
    reason: str
    hours: int

    def concerns(self, party: StatementParty, party_id: str) -> bool:
        """Whether they will be on the party's lines if they are accepted: a reseller buys what it sells."""
        match party:
            case StatementParty.PROVIDER:
                return self.provider == party_id
            case StatementParty.RESELLER:
                return self.reseller == party_id
            case StatementParty.ORGANIZATION:
                return party_id in (self.organization, self.reseller)


def set_aside(tx: Session, start: datetime, end: datetime) -> list[SetAside]:
    """What is set aside of the hours with seconds in [start, end), by party and reason."""
    whose = AnomalyRow.organization, AnomalyRow.provider, AnomalyRow.reseller, AnomalyRow.reason
    found = select(*whose, func.count()).where(
        AnomalyRow.state == AnomalyState.OPEN,
        AnomalyRow.hour > to_seconds(start) - HOUR_SECONDS,
        AnomalyRow.hour < to_seconds(end),
    )
    return [SetAside(*row) for row in tx.execute(found.group_by(*whose))]


def by_reason(some: Iterable[SetAside]) -> dict[str, int]:
    """Their hours."""
    hours: Counter[str] = Counter()
    for one in some:
        hours[one.reason] += one.hours
    return dict(sorted(hours.items()))
