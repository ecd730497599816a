"""Who sells an offering: one rule for searches, quotes and placements."""

from datetime import datetime
from typing import Protocol

from caravan.contracts.prices import PriceListDraft


class Spanning(Protocol):
    """What lasts for [starts_at, ends_at), or without an end."""

    @property
    def starts_at(self) -> datetime: ...
    @property
    def ends_at(self) -> datetime | None: ...


def holds(spanning: Spanning, at: datetime) -> bool:
    """Whether it has begun and hasn't ended: an agreement, a tariff."""
    return spanning.starts_at <= at and (spanning.ends_at is None or at < spanning.ends_at)


def sells(newest: PriceListDraft | None, at: datetime) -> bool:
    """Whether who published this newest list sells by it: some tariff, for whomever, covers `at`."""
    return newest is not None and any(holds(tariff, at) for tariff in newest.tariffs)
