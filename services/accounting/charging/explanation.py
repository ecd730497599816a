"""A job's charge in words that can be checked by head. Pure: factors are seconds of runs, recomputed from usage."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple

from caravan import pricing
from caravan.contracts.prices import Component
from caravan.kernel.money import Money
from services.accounting.charging.lines import Portion

UNITS: Final = {
    Component.CPU_CORE_HOUR: ("core", "cores", "core-seconds"),
    Component.ACCELERATOR_HOUR: ("accelerator", "accelerators", "accelerator-seconds"),
    Component.NODE_HOUR: ("node", "nodes", "node-seconds"),
    Component.MEMORY_GIB_HOUR: ("MiB", "MiB", "MiB-seconds"),
    Component.JOB: ("job", "jobs", "jobs"),
}
SHOWN: Final = 4
"""How many factors are spelled out in one sum."""


class Stretch(NamedTuple):
    """Seconds of one run with one number of units, hour by hour joined into one."""

    run: str
    start: int
    end: int
    units: int

    @property
    def quantity(self) -> int:
        return self.units * (self.end - self.start)


def stretches(portions: Iterable[Portion]) -> list[Stretch]:
    """The factors of one line: its portions by run and time, joined where they meet."""
    joined: list[Stretch] = []
    for portion in sorted(portions, key=lambda p: (p.run, p.start)):
        last = joined[-1] if joined else None
        if last and (last.run, last.end, last.units) == (portion.run, portion.start, portion.units):
            joined[-1] = last._replace(end=portion.end)
        else:
            joined.append(Stretch(portion.run, portion.start, portion.end, portion.units))
    return joined


def arithmetic(component: Component, unit_price: Decimal, factors: Sequence[Stretch], quantity: int) -> str:
    """`2 cores x 40 s = 80 core-seconds; 80 x 36.00 / 3600 = 0.80`. Without factors it begins at the quantity."""
    priced = _priced(component, unit_price, quantity)
    if component is Component.JOB:
        return priced
    together = UNITS[component][2].removesuffix("s" if quantity == 1 else "")
    if not factors:
        return f"{quantity} {together}; {priced}"
    sums = " + ".join(_factor(component, factor) for factor in factors[:SHOWN])
    if len(factors) > SHOWN:
        sums += f" + {len(factors) - SHOWN} more"
    return f"{sums} = {quantity} {together}; {priced}"


def correction(component: Component, unit_price: Decimal, total: int, before: int, amount: int) -> str:
    """Why an adjustment is what it is: the total as it is known now, less what was billed before."""
    was = Money(pricing.amount(component, before, unit_price))
    return f"now {arithmetic(component, unit_price, (), total)}; {was} billed before; difference {Money(amount)}"


def _factor(component: Component, factor: Stretch) -> str:
    one, many, _ = UNITS[component]
    return f"{factor.units} {one if factor.units == 1 else many} x {factor.end - factor.start} s"


def _priced(component: Component, unit_price: Decimal, quantity: int) -> str:
    divisor, price = pricing.DIVISOR[component], _price(unit_price)
    rounded = Money(pricing.amount(component, quantity, unit_price))
    exact = Fraction(unit_price) * quantity / divisor
    left = f"{quantity} {UNITS[component][1]} x {price}" if component is Component.JOB else f"{quantity} x {price}"
    if divisor != 1:
        left += f" / {divisor}"
    if exact * 100 == rounded.fen:
        return f"{left} = {rounded}"
    return f"{left} = {_decimal(exact)}, rounded {rounded}"


def _price(unit_price: Decimal) -> str:
    """With at least two places, as money is written."""
    text = format(unit_price, "f")
    whole, _, places = text.partition(".")
    return f"{whole}.{places.rstrip('0').ljust(2, '0')}"


def _decimal(value: Fraction) -> str:
    """Cut after eight places, with `…` where there are more."""
    scaled = abs(value) * 10**8
    digits = str(int(scaled)).rjust(9, "0")
    places = digits[-8:].rstrip("0") if scaled.denominator == 1 else f"{digits[-8:]}…"
    return f"{'-' if value < 0 else ''}{digits[:-8]}.{places or '0'}"
