"""Volume discounts: what of a period's total lies above a threshold is that much cheaper, and the rest stays as it is (graduated).

A discount is a function of two totals, the quantity and its amount: not of the order in which usage came, nor of which of it was dear.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from caravan.contracts.prices import Component, VolumeTier
from caravan.kernel.money import divide_half_away
from caravan.pricing.amounts import DIVISOR

WHOLE: Final = 10_000
"""All of it, in hundredths of a percent."""


def volume_discount(component: Component, tiers: Sequence[VolumeTier], quantity: int, amount: int) -> int:
    """What comes off `amount` (fen), the price of `quantity`: the part in each tier at the average price, rounded once, halves up."""
    if quantity <= 0:
        return 0
    off = sum(int(tier.percent_off * 100) * part for tier, part in tier_parts(component, tiers, quantity))
    return divide_half_away(amount * off, WHOLE * quantity)


def tier_parts(component: Component, tiers: Sequence[VolumeTier], quantity: int) -> list[tuple[VolumeTier, int]]:
    """How much of `quantity` lies in each tier that it reaches."""
    edges = [*(tier.above * DIVISOR[component] for tier in tiers), quantity]
    reached = zip(tiers, pairwise(edges), strict=True)
    return [(tier, min(above, quantity) - start) for tier, (start, above) in reached if start < quantity]
