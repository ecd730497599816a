"""What a job can cost at most: what is set aside for it before anything starts.

Let a component's dearest price still ahead make `x` fen of everything granted for the full walltime. However the runs fall,
the component's lines have exact prices that sum to at most `x`, and each line is rounded by itself, up by at most half a fen.
So `n` lines cost at most `floor(x + n/2)`: a sum of fen is whole. What that adds to the once-rounded `x` is the allowance for
rounding. A line whose price is whole fen at any quantity is never rounded and isn't counted; neither is a free one.
"""

from bisect import bisect_right
from collections.abc import Callable, Collection
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain

from caravan.contracts.dispatch import Grant
from caravan.contracts.modes import SiteMode
from caravan.contracts.prices import WHOLE_TARIFF, Component, PriceList, Tariff
from caravan.contracts.quotes import PriceComponent
from caravan.kernel.clock import to_seconds
from caravan.kernel.money import Money, divide_half_away
from caravan.pricing.amounts import FEN, FREE, fen_per_quantity, minimum_charge, prices_in
from caravan.pricing.charge import units_of
from caravan.pricing.modes import FOREVER, stretches
from caravan.pricing.windows import UNCOVERED, window_names

ROUNDING = "rounding"
"""The component under which the allowance for rounding is shown."""
MAX_PERIOD_EDGES = 3
"""Period boundaries that may fall between the runs of a job, or in them, whatever its walltime: month ends while it waits and
cuts by hand. A job over which more fall than `period_edges` says may pass its worst case by half a fen for each and component;
accounting then has the provider bear the difference."""
_SHORTEST_PERIOD = 28 * 86_400


@dataclass(frozen=True, slots=True)
class WorstCase:
    """No charge passes `amount`; `components` sum to it.

    `apart` is the bound without the price per job, in fen, where the job has other attempts: what they share lines with is rounded with
    them, which may lift an attempt that is topped up to its minimum by a fen for each of its lines. `minimum`: whether there is a minimum
    charge, which may take the place of what is used less.
    """

    amount: Money
    components: tuple[PriceComponent, ...]
    apart: int
    minimum: bool

    @property
    def once(self) -> int:
        """What of it is the price per job, in fen: a job pays it once, however many attempts it has. It needs no allowance."""
        return sum(shown.amount.fen for shown in self.components if shown.component == Component.JOB)

    @property
    def by_component(self) -> dict[Component, Money]:
        """The same without the allowance for rounding; with the minimum charge, where there is one, though it be nothing at most use."""
        found = {Component.MINIMUM_CHARGE: Money(0)} if self.minimum else {}
        shown = (one for one in self.components if one.component != ROUNDING)
        return found | {Component(one.component): one.amount for one in shown}


def period_edges(tasks: int, max_seconds: int) -> int:
    """How many period boundaries the bound allows for: one per month of running, tasks one after another, and a few."""
    return MAX_PERIOD_EDGES + tasks * max_seconds // _SHORTEST_PERIOD


def worst_case(
    grant: Grant, tasks: int, price_list: PriceList, from_second: int, mode: SiteMode = SiteMode.BILLED
) -> WorstCase:
    """The bound for `tasks` runs of `grant` that start at or after `from_second`, each of `grant.max_seconds` at most: of what is
    billed; or of what is priced in another `mode`.

    Each component is taken at its dearest among the windows of the tariffs with time of the mode after `from_second`: nobody knows when
    a job that waits will start. What no such tariff prices is free. The price per job is that of one run, the minimum charge, of what is
    billed, the highest.
    """
    ahead = [t for t in price_list.tariffs if _has(t, price_list, from_second, mode)]
    ahead.sort(key=lambda t: t.starts_at)
    priced = [(tariff, [(name, prices_in(tariff, name)) for name in window_names(tariff)]) for tariff in ahead]
    seconds = tasks * grant.max_seconds
    edges = period_edges(tasks, grant.max_seconds)
    components, allowance, all_lines = [], 0, 0
    # (component, units, how often at most these units are charged)
    for component, units, times in (
        *((component, units, seconds) for component, units in units_of(grant)),
        (Component.JOB, 1, 1),
    ):
        prices = [
            [(prices_of.get(component, FREE), tariff.name, window) for window, prices_of in windows]
            for tariff, windows in priced
        ]
        dearest, name, window = max(chain(*prices), key=lambda price: price[0], default=(FREE, UNCOVERED, WHOLE_TARIFF))
        if not dearest:
            continue
        numerator, denominator = fen_per_quantity(component, dearest)
        rounded = [sum(not _whole_fen(component, price) for price, _, _ in of_tariff) for of_tariff in prices]
        # each period edge cuts one tariff in two, with all its windows on both sides; each line has at least one second, or job
        lines = min(sum(rounded) + edges * max(rounded), times)
        once = divide_half_away(numerator * units * times, denominator)
        all_lines += lines
        allowance += (2 * numerator * units * times + lines * denominator) // (2 * denominator) - once
        components.append(_shown(component, name, window, units * times, format(dearest, "f"), once))
    if allowance:
        components.append(_shown(ROUNDING, UNCOVERED, WHOLE_TARIFF, allowance, "0.01", allowance))
    used = sum(c.amount.fen for c in components)
    once = sum(c.amount.fen for c in components if c.component == Component.JOB)
    minima = [(minimum_charge(price_list, t.name), t.name) for t in ahead if mode is SiteMode.BILLED]
    least, name = max(minima, default=(0, UNCOVERED))
    if least > used:
        components.append(
            _shown(Component.MINIMUM_CHARGE, name, WHOLE_TARIFF, least - used, format(FEN, "f"), least - used)
        )
    apart = max(used - once, least + all_lines) if least else used - once
    return WorstCase(Money(max(used, least)), tuple(components), apart, minimum=least > 0)


def _has(tariff: Tariff, price_list: PriceList, from_second: int, mode: SiteMode) -> bool:
    """Whether some of the tariff's time from `from_second` on is of that mode."""
    starts = max(to_seconds(tariff.starts_at), from_second)
    ends = FOREVER if tariff.ends_at is None else to_seconds(tariff.ends_at)
    return any(stretch.mode is mode for stretch in stretches(price_list.modes, starts, ends))


def worst_of_all(attempts: Collection[WorstCase]) -> Money:
    """The bound for the attempts of one job: the dearest price per job counts once, since any of them may have its first second."""
    if len(attempts) == 1:
        return next(iter(attempts)).amount
    return Money(sum(one.apart for one in attempts) + max((one.once for one in attempts), default=0))


def _whole_fen(component: Component, price: Decimal) -> bool:
    # by the smallest quantity, not by the grant's: a backend may allocate less than it was granted
    numerator, denominator = fen_per_quantity(component, price)
    return numerator % denominator == 0


def _shown(component: str, tariff: str, window: str, quantity: int, unit_price: str, fen: int) -> PriceComponent:
    return PriceComponent(
        component=component,
        tariff=tariff,
        window=window,
        quantity=quantity,
        unit_price=unit_price,
        amount=Money(fen),
    )


def fit_walltime(
    grant_for: Callable[[int], Grant],
    tasks: int,
    price_list: PriceList,
    from_second: int,
    max_walltime: int,
    money: Money,
) -> int | None:
    """The longest walltime in seconds, `max_walltime` at most, whose worst case `money` covers; None where 1 s is too dear.

    `grant_for` gives the grant of a walltime; it never falls as the walltime grows.
    """

    def cost(walltime: int) -> Money:
        return worst_case(grant_for(walltime), tasks, price_list, from_second).amount

    # the worst case grows with the walltime: as many walltimes fit as the longest that does has seconds
    return bisect_right(range(1, max_walltime + 1), money, key=cost) or None
