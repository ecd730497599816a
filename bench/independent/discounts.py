"""What volume takes off each closed period, from scratch: the lines of usage and the price lists' tiers in, amounts out.

The rules are those of docs/prices.md, "Volume discounts", written down a second time.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, NamedTuple

from bench.independent.compare import IN_ORDER, Line, Report, adjustment_stands
from bench.independent.recharge import DIVISORS, Key, Period, Rules, Slot, fen_of, round_half_away


class Group(NamedTuple):
    """What one discount is over. `period` is the one whose usage it is about."""

    period: str
    organization: str
    provider: str
    offering: str
    component: str


class Discount(NamedTuple):
    """A line of a discount as the platform has it."""

    group: Group
    stands_in: str
    corrects: str | None
    quantity: int
    basis: int
    amount: int


def discount_of(e: Any, rules: Rules) -> Discount:
    corrects = e["corrects"]
    who = (e["organization"], e["provider"], rules.lists[e["price_list"]].offering, e["component"])
    figures = (e["quantity"], fen_of(e["basis"]), fen_of(e["amount"]))
    return Discount(Group(corrects or e["period"], *who), e["period"], corrects, *figures)


def as_line(one: Discount) -> Line:
    """As statements count it."""
    slot = Slot(
        one.group.period, one.group.organization, one.group.provider, "", "", one.group.component, None, "", "", ""
    )
    key = Key(slot, "organization", None)
    return Line(key, one.stands_in, one.corrects, Fraction(0), 0, one.quantity, one.amount)


def compare_discounts(lines: Iterable[Line], discounts: list[Discount], rules: Rules, report: Report) -> Counter[str]:
    """What the discounts should be by provider, in fen, not above zero. `lines` are those of usage."""
    periods = {p.id: p for p in rules.periods}
    quantity: Counter[Group] = Counter()
    basis: Counter[Group] = Counter()
    for line in lines:
        slot = line.key.slot
        known = slot.price_list in rules.lists  # what is not is a difference of its line
        if known and line.key.bearer == "organization" and periods[line.stands_in].closed:
            who = (slot.organization, slot.provider, rules.lists[slot.price_list].offering, slot.component)
            quantity[Group(slot.period, *who)] += line.quantity
            basis[Group(slot.period, *who)] += line.amount
    found: defaultdict[Group, list[Discount]] = defaultdict(list)
    for one in discounts:
        found[one.group].append(one)
        if one.corrects is not None:
            place = adjustment_stands(periods[one.corrects], periods[one.stands_in])
            report.expect("discount", (*one.group, "corrected in", one.stands_in), IN_ORDER, place)
    taken: Counter[str] = Counter()
    for group in sorted({*quantity, *found}):
        own = found[group]
        due = off(rules, periods[group.period], group, quantity[group], basis[group])
        report.money("discount", group, -due, sum(one.amount for one in own))
        if own:  # what nothing is taken off any more is of nothing
            whole = (quantity[group], basis[group]) if due else (0, 0)
            report.expect("discount", (*group, "quantity"), whole[0], sum(one.quantity for one in own))
            report.money("discount", (*group, "basis"), whole[1], sum(one.basis for one in own))
        taken[group.provider] -= due
    return taken


def off(rules: Rules, period: Period, group: Group, quantity: int, basis: int) -> int:
    """What comes off `basis`, in fen."""
    made = [one for one in rules.lists.values() if one.offering == group.offering and one.created < period.ends]
    if not made or quantity <= 0:
        return 0
    tiers = max(made, key=lambda one: one.revision).tiers.get(group.component, ())
    units, share = Fraction(quantity, DIVISORS[group.component]), Fraction(0)
    lower = Fraction(0)
    for above, percent in tiers:
        # what is above each threshold is cheaper by as much more as its tier has more than the one before
        share += max(units - above, Fraction(0)) * (percent - lower) / 100
        lower = percent
    return round_half_away(basis * share / units)
