"""The loop that finds what has waited too long, and counts what is open."""

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from caravan.contracts import events
from caravan.contracts.anomalies import AnomalyReason, AnomalyState, DoubtedUsage
from caravan.contracts.usage import UsageRecord
from caravan.kernel.metrics import Metrics
from caravan.kernel.runtime import Runtime
from caravan.kernel.tables import feed_parked
from services.accounting.anomalies import sifting
from services.accounting.anomalies.sifting import ANOMALIES
from services.accounting.usage.records import ATTEMPTS

WAITED: Final = timedelta(minutes=10)
"""How long an attempt may come behind its usage."""
LOOK_SECONDS: Final = 30.0
AT_ONCE: Final = 500


class Watch:
    """What it lists stays parked: it is applied by itself if its attempt comes after all."""

    def __init__(self, runtime: Runtime, metrics: Metrics) -> None:
        self._db = runtime.db
        self._now = runtime.now
        self._looked = 0
        self._open = metrics.gauge(
            "anomalies_open", "Usage that is set aside until a person settles it, by reason.", "reason"
        )

    async def iteration(self) -> float:
        """List what has waited too long. Returns the seconds until the next look."""
        while (looked := await self._db.write(list_waiting, self._looked, self._now())) is not None:
            self._looked = looked
        found = await self._db.read(count_open)
        for reason in AnomalyReason:
            self._open.labels(reason.value).set(found.get(reason, 0))
        return LOOK_SECONDS


def list_waiting(tx: Session, after: int, at: datetime) -> int | None:
    """List parked usage behind the position `after` that has waited for its attempt too long. Gives how far; None: no more of it."""
    parked = (feed_parked.c.feed == "broker") & (feed_parked.c.sequence > after)
    rows = tx.execute(
        select(feed_parked.c.sequence, feed_parked.c.event)
        .where(parked, feed_parked.c.parked_at <= at - WAITED)
        .order_by(feed_parked.c.sequence)
        .limit(AT_ONCE)
    ).all()
    usage = [one for row in rows if (one := _usage_in(row.event)) is not None]
    there = set(tx.scalars(select(ATTEMPTS.c.id).where(ATTEMPTS.c.id.in_({one.attempt for one in usage}))))
    missing = [(one, AnomalyReason.NO_ATTEMPT) for one in usage if one.attempt not in there]
    sifting.set_aside(tx, missing, {}, at)
    return rows[-1].sequence if rows else None


def _usage_in(event: dict[str, Any]) -> UsageRecord | None:
    match event["type"]:
        case events.USAGE_STATED:
            return UsageRecord.model_validate(event["data"])
        case events.USAGE_DOUBTED:
            return DoubtedUsage.model_validate(event["data"]).usage
    return None


def count_open(tx: Session) -> dict[str, int]:
    """By reason."""
    counted = select(ANOMALIES.c.reason, func.count().label("open")).where(ANOMALIES.c.state == AnomalyState.OPEN)
    return {row.reason: row.open for row in tx.execute(counted.group_by(ANOMALIES.c.reason))}
