"""What a statement says of its lines. Pure.

Tax is included in prices, at the seller's one rate: net = gross / (1 + rate), once for each seller on a statement, halves away from
zero; tax is the rest. So a statement's tax may differ by a fen from the sum of other statements' over the same lines; gross never does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from caravan.contracts.statements import BearerKind
from caravan.kernel.money import divide_half_away

RATE_UNITS = 10_000
"""Rates are in hundredths of a percent."""


def net_of(gross: int, rate: int) -> int:
    """What is left of `gross` (fen, tax included) without tax at `rate` (hundredths of a percent)."""
    return divide_half_away(gross * RATE_UNITS, RATE_UNITS + rate)


@dataclass(frozen=True)
class Totals:
    """In fen. `adjustments` is a part of `gross`; `borne_by_provider` and `notional` are not."""

    gross: int
    tax: int
    adjustments: int
    borne_by_provider: int
    notional: int
    line_count: int


@dataclass
class Tally:
    """Adds up lines one at a time."""

    _by_seller: dict[str, int] = field(default_factory=dict)
    _adjustments: int = 0
    _borne_by_provider: int = 0
    _notional: int = 0
    _count: int = 0

    def add(self, seller: str, amount: int, bearer: str, *, adjustment: bool) -> None:
        """Count a line of `amount` fen."""
        self._count += 1
        if bearer == BearerKind.PROVIDER:
            self._borne_by_provider += amount
            return
        if bearer == BearerKind.NOBODY:
            self._notional += amount
            return
        self._by_seller[seller] = self._by_seller.get(seller, 0) + amount
        if adjustment:
            self._adjustments += amount

    def totals(self, rates: Mapping[str, int]) -> Totals:
        """`rates` has each seller's tax rate."""
        gross = sum(self._by_seller.values())
        net = sum(net_of(amount, rates[seller]) for seller, amount in self._by_seller.items())
        return Totals(gross, gross - net, self._adjustments, self._borne_by_provider, self._notional, self._count)
