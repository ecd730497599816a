"""What an allocation comes to: its seconds, cut where the price or the period changes, as integer quantities."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from caravan.contracts.modes import SiteMode
from caravan.contracts.prices import Component, PriceList
from caravan.contracts.usage import Span
from caravan.kernel.clock import to_seconds
from caravan.kernel.money import Money
from caravan.pricing.amounts import amount, unit_price
from caravan.pricing.windows import UNCOVERED, windows


class Allocation(Protocol):
    """What is priced: a Shape, a Span, a Grant. All counts are over all nodes."""

    @property
    def nodes(self) -> int: ...
    @property
    def cpus(self) -> int: ...
    @property
    def memory_mib(self) -> int: ...
    @property
    def accelerators(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Shape:
    """The plainest Allocation, for the reference shape of a search."""

    nodes: int
    cpus: int
    memory_mib: int
    accelerators: int = 0


@dataclass(frozen=True, slots=True)
class LineKey:
    """The part of a line's key that pricing decides. `accelerator` is named on accelerator lines only."""

    component: Component
    accelerator: str | None
    tariff: str
    window: str
    mode: SiteMode = SiteMode.BILLED


@dataclass(frozen=True, slots=True)
class Piece:
    """[start, end) of one component under one key: `quantity = units x (end - start)`."""

    key: LineKey
    start: int
    end: int
    units: int
    quantity: int


def units_of(allocation: Allocation) -> tuple[tuple[Component, int], ...]:
    """What `allocation` holds in each second: cores, MiB, nodes, accelerators. What it has none of is left out."""
    held = (
        (Component.CPU_CORE_HOUR, allocation.cpus),
        (Component.MEMORY_GIB_HOUR, allocation.memory_mib),
        (Component.NODE_HOUR, allocation.nodes),
        (Component.ACCELERATOR_HOUR, allocation.accelerators),
    )
    return tuple((component, units) for component, units in held if units)


def quantities(
    spans: Iterable[Span], price_list: PriceList, job_second: int | None, edges: Sequence[int]
) -> list[Piece]:
    """What one run's `spans` add to lines, cut at the edges of modes, tariffs and their windows and at `edges` (period boundaries, in
    any order).

    Every component has its pieces, also one without a price: each allocated second lies in a line. Pieces of one key are not
    merged. The price per job is charged once, where `job_second` is one that the spans hold; None: not in this run.
    """
    pieces = []
    for span in spans:
        units_held = units_of(span)
        for window in windows(price_list, to_seconds(span.start), to_seconds(span.end)):
            keys = [
                (
                    LineKey(
                        component,
                        span.accelerator if component is Component.ACCELERATOR_HOUR else None,
                        window.tariff,
                        window.name,
                        window.mode,
                    ),
                    units,
                )
                for component, units in units_held
            ]
            start = window.start
            for end in (*sorted({edge for edge in edges if window.start < edge < window.end}), window.end):
                pieces += [Piece(key, start, end, units, units * (end - start)) for key, units in keys]
                start = end
            if job_second is not None and window.start <= job_second < window.end:
                job = LineKey(Component.JOB, None, window.tariff, window.name, window.mode)
                pieces.append(Piece(job, job_second, job_second + 1, 1, 1))
    return pieces


def reference_price(shape: Allocation, seconds: int, price_list: PriceList, at_second: int) -> Money | None:
    """What one run of `shape` costs for `seconds` at the prices of `at_second`; None where no tariff covers that second.

    Where that second is `notional`, it is what would be billed.
    """
    (window,) = windows(price_list, at_second, at_second + 1)
    if window.tariff == UNCOVERED:
        return None
    held = [(component, units * seconds) for component, units in units_of(shape)]
    return Money(
        sum(
            amount(component, quantity, unit_price(price_list, window.tariff, window.name, component, window.mode))
            for component, quantity in (*held, (Component.JOB, 1))
        )
    )
