"""The tax in prices, and how it comes to stand on lines. Pure.

Prices include tax, so the tax in `gross` is gross x r / (1 + r). It is taken once from what one seller supplied to one organization at
one rate, and then stands on the lines that made it: each has its own tax within a fen, and they sum to what was taken.
"""

from collections.abc import Mapping
from typing import Final

from caravan.kernel.money import divide_half_away

WHOLE: Final = 10_000
"""Rates are in hundredths of a percent."""


def tax_of(gross: int, rate: int) -> int:
    """The tax in `gross` (fen, tax included) at `rate`: rounded once, halves away from zero."""
    return divide_half_away(gross * rate, WHOLE + rate)


def spread(amounts: Mapping[str, int], rate: int) -> dict[str, int]:
    """`tax_of` the sum of `amounts` (line -> fen, of either sign), in parts that stand on one line each: by the largest remainder.

    Each part is its amount's exact tax, up or down to a whole fen. Of equal remainders those of the first ids go up.
    """
    parts = {line: divmod(amount * rate, WHOLE + rate) for line, amount in amounts.items()}
    missing = tax_of(sum(amounts.values()), rate) - sum(whole for whole, _ in parts.values())
    up = set(sorted(parts, key=lambda line: (-parts[line][1], line))[:missing])
    return {line: whole + (line in up) for line, (whole, _) in parts.items()}
