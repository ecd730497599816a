"""The tax in prices, and how it comes to stand on lines. Pure.

Prices include tax, so the tax in `gross` is gross x r / (1 + r). It is taken once from what one seller supplied to one organization at
one rate, and then stands on the lines that made it: each has its own tax within a fen, and they sum to what was taken.
"""

from collections.abc import Sequence
from typing import Final

from caravan.kernel.money import divide_half_away

WHOLE: Final = 10_000
"""Rates are in hundredths of a percent."""


def tax_of(gross: int, rate: int) -> int:
    """The tax in `gross` (fen, tax included) at `rate`: rounded once, halves away from zero."""
    return divide_half_away(gross * rate, WHOLE + rate)


def spread(amounts: Sequence[int], rate: int) -> list[int]:
    """`tax_of` the sum of `amounts` (fen of lines, of either sign), in parts that stand on one line each: by the largest remainder.

    Each part is its amount's exact tax, up or down to a whole fen. Of equal remainders the first ones go up.
    """
    parts = [divmod(amount * rate, WHOLE + rate) for amount in amounts]
    missing = tax_of(sum(amounts), rate) - sum(whole for whole, _ in parts)
    up = set(sorted(range(len(parts)), key=lambda place: -parts[place][1])[:missing])
    return [whole + (place in up) for place, (whole, _) in enumerate(parts)]
