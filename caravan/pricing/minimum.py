"""What an attempt lacks to its tariff's minimum charge. Pure."""

from collections import Counter
from collections.abc import Collection
from decimal import Decimal
from typing import Generic, NamedTuple, Protocol, TypeVar

from caravan.contracts.prices import Component, PriceListDraft
from caravan.pricing.amounts import amount, minimum_charge


class Line(Protocol):
    """What is rounded once: quantities of equal lines are summed up first."""

    @property
    def component(self) -> Component: ...
    @property
    def tariff(self) -> str: ...
    @property
    def unit_price(self) -> Decimal: ...
    def __hash__(self) -> int: ...


L = TypeVar("L", bound=Line)


class Billed(NamedTuple, Generic[L]):
    """What a run has on a line of seconds that end with `end`, priced by `price_list`. `run` orders those of equal ends."""

    line: L
    price_list: PriceListDraft
    run: str
    end: int
    quantity: int


class TopUp(NamedTuple, Generic[L]):
    """Of an attempt, with amounts in fen: what ends `last` of it, whose tariff's `minimum` counts, and what it costs by itself."""

    last: Billed[L]
    minimum: int
    seconds: int
    per_job: int

    @property
    def lacking(self) -> int:
        """What it is topped up by."""
        return max(0, self.minimum - self.seconds - self.per_job)


def top_up(own: Collection[Billed[L]]) -> TopUp[L] | None:
    """Of all that is billed of an attempt if its hold has no end; None: nothing is, so it has no minimum."""
    if not own:
        return None
    quantities: Counter[L] = Counter()
    for part in own:
        quantities[part.line] += part.quantity
    costs: Counter[bool] = Counter()
    for line, quantity in quantities.items():
        costs[line.component is Component.JOB] += amount(line.component, quantity, line.unit_price)
    last = max(own, key=lambda part: (part.end, part.run))
    return TopUp(last, minimum_charge(last.price_list, last.line.tariff), seconds=costs[False], per_job=costs[True])
