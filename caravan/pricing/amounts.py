"""Integer quantity x unit price -> fen, rounded once."""

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType

from caravan.contracts.offerings import Component, PriceListDraft
from caravan.kernel.money import divide_half_away
from caravan.pricing.windows import UNCOVERED

FREE = Decimal(0)

DIVISOR: Mapping[Component, int] = MappingProxyType(
    {
        Component.CPU_CORE_HOUR: 3600,
        Component.ACCELERATOR_HOUR: 3600,
        Component.NODE_HOUR: 3600,
        Component.MEMORY_GIB_HOUR: 3600 * 1024,
        Component.JOB: 1,
    }
)
"""Quantities (core-, accelerator-, node-seconds, MiB-seconds, jobs) in one unit of the component's price."""


def amount(component: Component, quantity: int, unit_price: Decimal) -> int:
    """The price of `quantity` in fen: 100 x price x quantity / divisor, exact, rounded once, halves away from zero."""
    numerator, denominator = fen_per_quantity(component, unit_price)
    return divide_half_away(numerator * quantity, denominator)


@lru_cache(maxsize=4096)
def fen_per_quantity(component: Component, unit_price: Decimal) -> tuple[int, int]:
    """The exact price of a quantity of 1 in fen, as (numerator, denominator > 0); not in lowest terms."""
    numerator, denominator = unit_price.as_integer_ratio()
    return 100 * numerator, denominator * DIVISOR[component]


def unit_price(price_list: PriceListDraft, tariff: str, component: Component) -> Decimal:
    """CNY per unit under the named tariff; 0 where the tariff doesn't price the component, or no tariff covers.

    Raises:
        KeyError: the price list has no tariff of that name.
    """
    if tariff == UNCOVERED:
        return FREE
    for candidate in price_list.tariffs:
        if candidate.name == tariff:
            return candidate.prices.get(component, FREE)
    raise KeyError(f"the price list has no tariff {tariff!r}")
