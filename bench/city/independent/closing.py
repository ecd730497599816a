"""What closing a period seals (bench/city/README.md, "In which order"; docs/prices.md, "Volume discounts")."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from bench.city.independent.lines import Amounts, Charge, Key, charge
from bench.city.independent.reading import halves_away
from bench.city.independent.tax import Fee, Row, Taxed, fee, put_tax, treatment
from bench.city.independent.windows import DIVISORS, PriceList, month_start
from bench.city.independent.world import World


class Group(NamedTuple):
    """What volume discounts go by."""

    organization: str
    seller: str
    provider: str
    offering: str
    component: str


class Total(NamedTuple):
    """Of a group in a month: what it comes to, and what was taken off it. All 0 where nothing is taken off."""

    quantity: int = 0
    basis: int = 0
    amount: int = 0


def newest(lists: Iterable[PriceList], group: Group, period: int) -> PriceList | None:
    """The seller's newest revision made before the period's end, which holds for all of it."""
    ends = month_start(period + 1)
    own = (
        known
        for known in lists
        if known.offering == group.offering
        and (known.reseller or group.provider) == group.seller
        and known.created < ends
    )
    return max(own, key=lambda known: known.revision, default=None)


def taken_off(component: str, tiers: list[tuple[int, Fraction]], quantity: int, basis: int) -> int:
    """Fen: basis x the sum of percent_off x what lies in the tier / (100 x quantity), rounded once."""
    if not tiers or not quantity:
        return 0
    share, unit = Fraction(0), DIVISORS[component]
    bounds = [above * unit for above, _ in tiers[1:]]
    for (above, percent), limit in zip(tiers, [*bounds, quantity], strict=True):
        share += percent * max(0, min(quantity, limit) - above * unit)
    exact = basis * share / (100 * quantity)
    return halves_away(exact.numerator, exact.denominator)


@dataclass(slots=True)
class Closing:
    """The books between closes. `charges` is what all usage told comes to; `sealed` that of the last close."""

    world: World
    charges: dict[str, Charge] = field(default_factory=dict)
    sealed: dict[str, Charge] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    closed: list[int] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    taxed: dict[tuple[str, int], Taxed] = field(default_factory=dict)
    rates: dict[int, dict[str, int]] = field(default_factory=dict)
    totals: dict[tuple[Group, int], tuple[int, int]] = field(default_factory=lambda: defaultdict(lambda: (0, 0)))
    taken: dict[tuple[Group, int], Total] = field(default_factory=dict)
    fees: dict[tuple[str, int], Fee] = field(default_factory=dict)

    def charge(self) -> None:
        """Charge anew each job of which something was told."""
        for job in self.world.dirty:
            self.charges[job] = charge(self.world.jobs[job], self.world.corrections, self.world.lists)
        self.changed |= self.world.dirty
        self.world.dirty.clear()

    def close(self, period: int) -> None:
        """Seal what stands in `period`: its own lines, and adjustments of the closed ones before it."""
        self.charge()
        rows = [row for charged in self.charges.values() for row in _own(charged.lines.get(period, {}))]
        rows += self._adjustments(period)
        rows += self._discounts(period, rows)
        self.rates[period] = dict(self.world.catalog_rates)
        for seller, month in {(row.key.seller, row.key.month) for row in rows}:
            if (seller, month) not in self.taxed:
                self.taxed[seller, month] = treatment(self.world, self.rates[month], seller, month)
        put_tax(rows, self.taxed)
        gross: dict[str, int] = defaultdict(int)
        for row in rows:
            gross[row.key.seller] += row.amount if row.owed else 0
        for seller, amount in gross.items():
            kept = fee(self.world, seller, period, amount)
            if kept is not None:
                self.fees[seller, period] = kept
        self.rows += rows
        self.closed.append(period)
        for job in self.changed:
            self.sealed[job] = self.charges[job]
        self.changed.clear()

    def open_rows(self) -> list[Row]:
        """What stands in periods that aren't closed: it has no tax and no discounts."""
        self.charge()
        rows = [
            row
            for charged in self.charges.values()
            for month, amounts in charged.lines.items()
            if month not in self.closed
            for row in _own(amounts)
        ]
        return rows + list(self._adjustments(self.closed[-1] + 1)) if self.closed else rows

    def _adjustments(self, period: int) -> Iterator[Row]:
        """One for each line of a closed month: its differences to all that stood before."""
        for job in self.changed:
            before = self.sealed.get(job)
            for month in self.closed:
                now = self.charges[job].lines.get(month, {})
                was = before.lines.get(month, {}) if before else {}
                for key in sorted(now.keys() | was.keys(), key=str) if now != was else ():
                    quantity, amount = now.get(key, (0, 0))
                    old_quantity, old_amount = was.get(key, (0, 0))
                    if quantity != old_quantity:
                        yield Row(key, period, month, quantity - old_quantity, amount - old_amount)

    def _discounts(self, period: int, rows: list[Row]) -> Iterator[Row]:
        """What volume takes off, of each month whose total has changed."""
        touched: set[tuple[Group, int]] = set()
        for row in rows:
            if row.owed:
                key = row.key
                offering = self.world.lists[key.price_list].offering
                place = Group(key.organization, key.seller, key.provider, offering, key.component), key.month
                quantity, amount = self.totals[place]
                self.totals[place] = quantity + row.quantity, amount + row.amount
                touched.add(place)
        by_offering: dict[str, list[PriceList]] = defaultdict(list)
        for known in self.world.lists.values():
            by_offering[known.offering].append(known)
        for group, month in sorted(touched):
            source = newest(by_offering[group.offering], group, month)
            if source is None:
                continue
            quantity, basis = self.totals[group, month]
            off = taken_off(group.component, source.tiers.get(group.component, []), quantity, basis)
            now, was = Total(quantity, basis, -off) if off else Total(), self.taken.get((group, month), Total())
            self.taken[group, month] = now
            if now != was:
                own = group.organization, group.seller, group.provider, None, None, group.component, None, source.id
                key = Key(month, *own, None, None, "organization", None, None)
                corrects = None if month == period else month
                differences = now.quantity - was.quantity, now.amount - was.amount, now.basis - was.basis
                yield Row(key, period, corrects, *differences)


def _own(amounts: Amounts) -> Iterator[Row]:
    for key, (quantity, amount) in amounts.items():
        yield Row(key, key.month, None, quantity, amount)
