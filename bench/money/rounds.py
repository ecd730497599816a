"""What happens in each month: jobs whose usage is stated, then their prices are corrected by dearer lists, and notes are issued."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from random import Random
from typing import Final
from zoneinfo import ZoneInfo

from bench.charges.market import Event, Market, identifier
from bench.volume.making import envelope, group_of, market
from caravan.contracts import events
from caravan.contracts.corrections import CorrectionDraft
from caravan.contracts.funds import JobHoldRequest
from caravan.contracts.prices import PriceList
from caravan.contracts.usage import hour_key

ORGANIZATIONS: Final = 6
PROVIDERS: Final = 2
MOST_ROUNDS: Final = 11
"""So many months has the year behind which nothing is used."""
CORRECTED: Final = 2
"""Offerings, in each month."""
ZONE: Final = ZoneInfo("Asia/Shanghai")


class Phase(StrEnum):
    """Of a month, in this order."""

    INGEST = "ingest"
    CHARGE = "charge"
    CLOSE = "close"
    CORRECT = "correct"


@dataclass(frozen=True)
class Round:
    """A month. `facts`: envelopes as JSON, in the end that all sites are past it."""

    starts_at: datetime
    holds: Sequence[JobHoldRequest]
    facts: Sequence[str]
    corrections: Sequence[CorrectionDraft]


@dataclass(frozen=True)
class Play:
    market: Market
    known: Sequence[Event]
    """What the catalog says before."""
    rounds: Sequence[Round]


def draw(random: Random, rounds: int, jobs: int) -> Play:
    """The same for the same seed: each life draws it anew."""
    if rounds > MOST_ROUNDS:
        raise ValueError(f"there are {MOST_ROUNDS} months")
    sold, known = market(random, ORGANIZATIONS, PROVIDERS)
    dearer = {seller.offering: _dearer(random, seller.price_lists[0]) for seller in sold.sellers}
    right = [Event(events.PRICE_LIST, one.id, one) for one in dearer.values()]
    return Play(sold, (*known, *right), [_round(random, sold, dearer, number, jobs) for number in range(rounds)])


def _dearer(random: Random, wrong: PriceList) -> PriceList:
    """The right list, by which all costs twice as much."""
    tariffs = tuple(
        one.model_copy(update={"prices": {component: price * 2 for component, price in one.prices.items()}})
        for one in wrong.tariffs
    )
    return wrong.model_copy(update={"id": identifier(random, "prl"), "revision": 2, "tariffs": tariffs})


def _round(random: Random, sold: Market, dearer: dict[str, PriceList], number: int, jobs: int) -> Round:
    starts_at, ends_at = _month(number), _month(number + 1)
    group = group_of(random, sold, starts_at + timedelta(seconds=random.randrange(27 * 86_400)), jobs)
    past = [
        envelope(
            random,
            events.SITE_PROGRESS,
            site,
            {"site": site, "provider": provider, "complete_through": hour_key(ends_at), "version": number + 1},
        )
        for site, provider in sorted({(seller.site, seller.provider) for seller in sold.sellers})
    ]
    corrections = [
        CorrectionDraft(
            offering=seller.offering,
            starts_at=starts_at,
            ends_at=ends_at,
            price_list=dearer[seller.offering].id,
            replaces="all",
            reason="Half of the price was published",
        )
        for seller in random.sample(sold.sellers, CORRECTED)
    ]
    return Round(starts_at, group.holds, [*group.facts, *past], corrections)


def _month(number: int) -> datetime:
    """Where it starts."""
    return datetime(2018, 1 + number, 1, tzinfo=ZONE).astimezone(UTC)
