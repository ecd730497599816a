"""Integer quantity x unit price -> fen, rounded once."""

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType

from caravan.contracts.modes import SiteMode
from caravan.contracts.prices import FLAT, WHOLE_TARIFF, Component, PriceListDraft, Tariff
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
        Component.MINIMUM_CHARGE: 1,
    }
)
"""Quantities (core-, accelerator-, node-seconds, MiB-seconds, jobs, fen) in one unit of the component's price."""
FEN = Decimal("0.01")
"""The unit price of what tops up to a minimum charge."""


def amount(component: Component, quantity: int, unit_price: Decimal) -> int:
    """The price of `quantity` in fen: 100 x price x quantity / divisor, exact, rounded once, halves away from zero."""
    numerator, denominator = fen_per_quantity(component, unit_price)
    return divide_half_away(numerator * quantity, denominator)


@lru_cache(maxsize=4096)
def fen_per_quantity(component: Component, unit_price: Decimal) -> tuple[int, int]:
    """The exact price of a quantity of 1 in fen, as (numerator, denominator > 0); not in lowest terms."""
    numerator, denominator = unit_price.as_integer_ratio()
    return 100 * numerator, denominator * DIVISOR[component]


def unit_price(
    price_list: PriceListDraft, tariff: str, window: str, component: Component, mode: SiteMode = SiteMode.BILLED
) -> Decimal:
    """CNY per unit in that window of that tariff; 0 where neither prices the component, no tariff covers, or time is tracked.

    Raises:
        KeyError: as `prices`.
    """
    return FREE if mode is SiteMode.TRACKED else prices(price_list, tariff, window).get(component, FREE)


def minimum_charge(price_list: PriceListDraft, tariff: str) -> int:
    """The least that an attempt costs of which the last billed second lies in that tariff, in fen; 0: there is none."""
    return max(
        (one.minimum_charge.fen for one in price_list.tariffs if one.name == tariff and one.minimum_charge), default=0
    )


def prices(price_list: PriceListDraft, tariff: str, window: str) -> Mapping[Component, Decimal]:
    """CNY per unit of all that is priced in that window of that tariff. Nothing is where no tariff covers.

    Raises:
        KeyError: the price list has no tariff of that name, or that has no such window.
    """
    if tariff == UNCOVERED:
        return {}
    for candidate in price_list.tariffs:
        if candidate.name == tariff:
            return prices_in(candidate, window)
    raise KeyError(f"the price list has no tariff {tariff!r}")


def prices_in(tariff: Tariff, window: str) -> Mapping[Component, Decimal]:
    """The prices of a window: its own, and for what it doesn't price the tariff's. Raises KeyError where there is no such window."""
    if window == (FLAT if tariff.windows else WHOLE_TARIFF):
        return tariff.prices
    for candidate in tariff.windows:
        if candidate.name == window:
            return {**tariff.prices, **candidate.prices}
    raise KeyError(f"the tariff {tariff.name!r} has no window {window!r}")
