"""Whether stated usage can be trusted."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from caravan.contracts.anomalies import AnomalyReason
from caravan.contracts.usage import Span, UsageRecord

AHEAD: Final = timedelta(minutes=5)
"""How far a backend's clock may be ahead of accounting's."""


class Known(NamedTuple):
    """`at`: when it is judged. `stated`: spans that were stated of the same run, hour and revision. `taken`: whether another run at
    the site has the backend's identity. `beside`: what other runs of its array task hold in the hour.
    """

    at: datetime
    stated: Collection[tuple[Span, ...]]
    taken: bool
    beside: Collection[tuple[Span, ...]] = ()


def odd(usage: UsageRecord, known: Known) -> AnomalyReason | None:
    """Why it can't be trusted; None: nothing speaks against it."""
    if any(spans != usage.spans for spans in known.stated):
        return AnomalyReason.CONTRADICTORY
    if known.taken:
        return AnomalyReason.IDENTITY_TAKEN
    if usage.spans and usage.spans[-1].end > known.at + AHEAD:
        return AnomalyReason.IN_THE_FUTURE
    if any(_share_a_second(usage.spans, other) for other in known.beside):
        return AnomalyReason.OVERLAPPING
    return None


def _share_a_second(some: Iterable[Span], others: Collection[Span]) -> bool:
    return any(one.start < other.end and other.start < one.end for one in some for other in others)
