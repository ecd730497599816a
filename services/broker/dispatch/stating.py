"""What is stated of a run's usage goes to accounting: as it was stated, or with what speaks against it, for a person to settle.

With each run its hours are kept as they were last stated, and what was last told with something against it: so the same isn't told
twice in a row, and what a site says last is what accounting heard last.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from caravan.contracts import events
from caravan.contracts.anomalies import AnomalyReason, DoubtedUsage
from caravan.contracts.usage import HourUsage, Span, UsageRecord, hour_key
from caravan.kernel import feed
from caravan.kernel.clock import floor_hour
from services.broker.jobs.models import RunRow


def state(tx: Session, run: RunRow, usage: HourUsage) -> bool:
    """Tell accounting of an hour, unless it is stale or was told before. Returns whether anything was told.

    An hour that something speaks against leaves the run's as they are: `hours` has what accounting may bill by itself.
    """
    hour, mark = hour_key(usage.hour), _mark(usage.spans)
    known = run.hours.get(hour, 0)
    heard, *told = run.aside.get(hour, [known])
    same = mark == run.marks.get(hour)
    if usage.revision < heard or (same and (usage.revision == known or (run.final and not told))):
        return False
    reason = AnomalyReason.CONTRADICTORY if usage.revision == known else _against(run, usage)
    if reason is None:
        run.hours, run.marks = run.hours | {hour: usage.revision}, run.marks | {hour: mark}
        run.aside = {other: kept for other, kept in run.aside.items() if other != hour}
        feed.fact(tx, events.USAGE_STATED, run.job, _record(run, usage))
        return True
    run.aside = run.aside | {hour: [usage.revision, mark]}
    if told[-1:] == [mark]:
        return False
    _doubt(tx, run, usage, reason)
    return True


def heard(hours: Mapping[str, int], aside: Mapping[str, Any]) -> dict[str, int]:
    """The last revision of each hour that its agent has stated, whatever speaks against it."""
    return {**hours, **{hour: revision for hour, (revision, *_) in aside.items()}}


def close(tx: Session, run: RunRow) -> None:
    """Of a run that ended before it started there may be nothing to state: its start's hour is told empty, so that it is seen."""
    hour = floor_hour(_started(run))
    key = hour_key(hour)
    if _ended_before_start(run) and key not in run.aside:
        state(tx, run, HourUsage(hour=hour, revision=run.hours.get(key, 0) + 1, spans=()))


def _started(run: RunRow) -> datetime:
    """As its site has last told."""
    return run.start_told or run.started_at


def _ended_before_start(run: RunRow) -> bool:
    return run.end_told is not None and run.end_told < _started(run)


def _against(run: RunRow, usage: HourUsage) -> AnomalyReason | None:
    if run.final:
        return AnomalyReason.BOOKS_CLOSED
    if _ended_before_start(run):
        return AnomalyReason.ENDED_BEFORE_START
    if any(span.start < run.started_at for span in usage.spans):
        return AnomalyReason.START_MOVED
    if run.ended_at is not None and any(span.end > run.ended_at for span in usage.spans):
        return AnomalyReason.AFTER_END
    return None


def _doubt(tx: Session, run: RunRow, usage: HourUsage, reason: AnomalyReason) -> None:
    record = _record(run, usage)
    if reason is AnomalyReason.CONTRADICTORY:  # accounting sees that by itself, and knows what it has of the revision
        feed.fact(tx, events.USAGE_STATED, run.job, record)
    else:
        feed.fact(tx, events.USAGE_DOUBTED, run.job, DoubtedUsage(usage=record, reason=reason))


def _record(run: RunRow, usage: HourUsage) -> UsageRecord:
    return UsageRecord(
        hour=usage.hour,
        revision=usage.revision,
        spans=usage.spans,
        run=run.id,
        attempt=run.attempt,
        job=run.job,
        run_started_at=_started(run),
        backend_identity=run.backend_identity,
        index=run.index,
    )


def _mark(spans: tuple[Span, ...]) -> str:
    text = json.dumps([span.model_dump(mode="json") for span in spans], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
