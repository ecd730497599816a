"""What a statement says of its lines. Pure.

Tax is included in prices and stands on lines, so a statement's tax is the sum of its lines', and those of an organization and its sellers
have the same sections: what one seller supplied to one organization at one rate.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from caravan.contracts.statements import BearerKind
from caravan.kernel.money import divide_half_away

RATE_UNITS = 10_000
"""Rates are in hundredths of a percent."""


def net_of(gross: int, rate: int) -> int:
    """What is left of `gross` (fen, tax included) without tax at `rate`, as statements had it before tax stood on lines."""
    return divide_half_away(gross * RATE_UNITS, RATE_UNITS + rate)


class SectionKey(NamedTuple):
    """The other party, and how its lines are taxed: '' and 0 on lines that were sealed before tax stood on them."""

    counterparty: str
    treatment: str
    rate: int


@dataclass(frozen=True)
class Section:
    """In fen; `tax` is a part of `gross`."""

    key: SectionKey
    gross: int
    tax: int

    def kept(self) -> dict[str, Any]:
        """As it is stored."""
        return {**self.key._asdict(), "gross": self.gross, "tax": self.tax}


@dataclass(frozen=True)
class Totals:
    """In fen. `adjustments` is a part of `gross`; `borne_by_provider` and `notional` are not."""

    gross: int
    tax: int
    adjustments: int
    borne_by_provider: int
    notional: int
    line_count: int
    sections: tuple[Section, ...]


@dataclass
class Tally:
    """Adds up lines one at a time."""

    _sections: dict[SectionKey, tuple[int, int]] = field(default_factory=dict)
    _adjustments: int = 0
    _borne_by_provider: int = 0
    _notional: int = 0
    _count: int = 0

    def add(self, counterparty: str, row: Any) -> None:
        """Count a line (a row of `lines`) that `counterparty` has on its own statement."""
        self._count += 1
        if row.bearer == BearerKind.PROVIDER:
            self._borne_by_provider += row.amount
            return
        if row.bearer == BearerKind.NOBODY:
            self._notional += row.amount
            return
        key = SectionKey(counterparty, row.tax_treatment or "", row.tax_rate or 0)
        gross, tax = self._sections.get(key, (0, 0))
        self._sections[key] = gross + row.amount, tax + (row.tax or 0)
        if row.corrects:
            self._adjustments += row.amount

    def totals(self) -> Totals:
        """Sections in order of their keys."""
        sections = tuple(Section(key, *sums) for key, sums in sorted(self._sections.items()))
        gross, tax = (sum(getattr(section, name) for section in sections) for name in ("gross", "tax"))
        return Totals(gross, tax, self._adjustments, self._borne_by_provider, self._notional, self._count, sections)
