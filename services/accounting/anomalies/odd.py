"""Whether stated usage can be trusted."""

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from caravan.contracts.anomalies import AnomalyReason
from caravan.contracts.usage import Span, UsageRecord

LEEWAY: Final = timedelta(minutes=5)
"""How far a backend's clock may be from the platform's."""


class Known(NamedTuple):
    """`at`: when it was stated. `stated`: spans that were stated of the same run, hour and revision. `taken`: whether another run at
    the site has the backend's identity. `beside`: what other runs of its array task hold in the hour. `placed_at`: when its attempt
    was. `started`: when its run started, by the hour's earlier revision, and `held`: what it held by that. `closed`: the same, where
    the job was settled with it.
    """

    at: datetime
    stated: Collection[tuple[Span, ...]]
    taken: bool
    beside: Collection[tuple[Span, ...]] = ()
    placed_at: datetime | None = None
    started: datetime | None = None
    held: tuple[Span, ...] = ()
    closed: tuple[Span, ...] = ()


def odd(usage: UsageRecord, known: Known) -> AnomalyReason | None:
    """Why it can't be trusted; None: nothing speaks against it."""
    if any(spans != usage.spans for spans in known.stated):
        return AnomalyReason.CONTRADICTORY
    if known.taken:
        return AnomalyReason.IDENTITY_TAKEN
    if usage.spans and usage.spans[-1].end > known.at + LEEWAY:
        return AnomalyReason.IN_THE_FUTURE
    if usage.spans and known.placed_at is not None and usage.spans[0].start < known.placed_at - LEEWAY:
        return AnomalyReason.BEFORE_PLACEMENT
    if known.started not in (None, usage.run_started_at):
        return AnomalyReason.START_MOVED
    if not all(_covers(usage.spans, one.start, one.end) for one in known.closed):
        return AnomalyReason.TAKEN_BACK
    # what the earlier revision shared is billed already: a person has accepted it, of this run or of the other
    if not all(_covers(known.held, *both) for other in known.beside for both in shared(usage.spans, other)):
        return AnomalyReason.OVERLAPPING
    return None


def _covers(spans: tuple[Span, ...], start: datetime, end: datetime) -> bool:
    """Whether each second of [start, end) is in some of the spans, which stand in order."""
    at = start
    for span in spans:
        if span.start <= at < span.end:
            at = span.end
    return at >= end


def shared(some: Iterable[Span], others: Collection[Span]) -> Iterator[tuple[datetime, datetime]]:
    """Each [start, end) that is in both."""
    for one in some:
        for other in others:
            start, end = max(one.start, other.start), min(one.end, other.end)
            if start < end:
                yield start, end
