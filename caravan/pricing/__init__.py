"""Pricing: shape x time x price list -> quantities and amounts. Search, quotes, holds and charges use these functions.

Owns the arithmetic of money: what a price list is for one buyer (`prices_for`, whose answer all others take), what a second is
priced at (`windows`), what an allocation comes to (`quantities`, `amount`), what a job can cost at most (`worst_case`), what an
attempt lacks to its minimum charge (`top_up`), and what a period's volume takes off (`volume_discount`). Pure: no I/O, no clock, no
float. Never decides who pays, and never adds up lines: that is accounting. Seconds are integers since the epoch, as
`caravan.kernel.clock.to_seconds` reads them from a contract's time.

Open `charge.py` first.
"""

from caravan.pricing.amounts import DIVISOR, FEN, amount, minimum_charge, prices, unit_price
from caravan.pricing.buyers import options_of, prices_for
from caravan.pricing.charge import Allocation, LineKey, Piece, Shape, quantities, reference_price, units_of
from caravan.pricing.minimum import Billed, TopUp, top_up
from caravan.pricing.modes import mode_at
from caravan.pricing.volume import tier_parts, volume_discount
from caravan.pricing.windows import UNCOVERED, Window, covered, uncovered, windows
from caravan.pricing.worst_case import (
    MAX_PERIOD_EDGES,
    ROUNDING,
    WorstCase,
    fit_walltime,
    period_edges,
    worst_case,
    worst_of_all,
)

__all__ = [
    "DIVISOR",
    "FEN",
    "MAX_PERIOD_EDGES",
    "ROUNDING",
    "UNCOVERED",
    "Allocation",
    "Billed",
    "LineKey",
    "Piece",
    "Shape",
    "TopUp",
    "Window",
    "WorstCase",
    "amount",
    "covered",
    "fit_walltime",
    "minimum_charge",
    "mode_at",
    "options_of",
    "period_edges",
    "prices",
    "prices_for",
    "quantities",
    "reference_price",
    "tier_parts",
    "top_up",
    "uncovered",
    "unit_price",
    "units_of",
    "volume_discount",
    "windows",
    "worst_case",
    "worst_of_all",
]
