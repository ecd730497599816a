"""What a voucher pays of a hold, and of what is charged then. Pure; amounts are fen, rates hundredths of a percent.

A hold that needs `amount` in all takes `amount - pledge` of the organization's own money. However usage falls, what the organization owes
for the job is no more than that: supported usage that grows by a fen adds a fen at most to what the voucher pays.
"""

from collections import Counter
from collections.abc import Iterable

from caravan.contracts.programmes import WHOLE
from caravan.kernel.money import divide_half_away

Supported = tuple[int, int]
"""(rate, amount) of something that is charged, or may be."""


def paid(parts: Iterable[Supported]) -> int:
    """What a voucher pays of these: rounded once for each rate."""
    sums: Counter[int] = Counter()
    for rate, amount in parts:
        sums[rate] += amount
    return sum(divide_half_away(rate * amount, WHOLE) for rate, amount in sums.items())


def pledge(ahead: Iterable[Supported], redeemed: int, left: int, had: int = 0) -> int:
    """What a hold may count on: of what is `ahead`, each at the most that it may come to, and what is redeemed already.

    `left`: what the voucher has besides what it has redeemed for this job. `had`: what it has paid of what is `ahead` already, at most.
    """
    return redeemed + min(max(0, paid(ahead) - had), left)


def redeemed(charged: Iterable[Supported], pledged: int) -> int:
    """What of a pledge is redeemed by what is charged."""
    return max(0, min(paid(charged), pledged))
