"""What tops an attempt up to its tariff's minimum charge, once the books of all its runs are closed. Pure.

What an attempt costs by itself: the seconds, and the price per job if it falls in them, that the organization would bear if the hold had
no end, each line rounded once. Where that is less than the minimum of the tariff in which the last of these seconds lies, by the list that
prices that second, the fen that it lacks are a line of its own, in that second's period, tariff and window. An attempt without any such
second has no minimum.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from caravan import pricing
from caravan.contracts.prices import Component
from services.accounting.charging.lines import Portion, Terms, cost, quantities


def top_ups(parts: Iterable[tuple[Terms, Sequence[Portion]]]) -> list[Portion]:
    """Of the portions of a whole job, with the terms of each: one for each attempt that lacks something; its `units` are fen."""
    own: defaultdict[str, list[tuple[Terms, Portion]]] = defaultdict(list)
    for terms, portions in parts:
        if terms.ended:
            own[terms.attempt] += [(terms, portion) for portion in portions if portion.key.billed]
    made = (_top_up(of_attempt) for of_attempt in own.values() if of_attempt)
    return [portion for portion in made if portion.units > 0]


def _top_up(own: Sequence[tuple[Terms, Portion]]) -> Portion:
    terms, last = max(own, key=lambda one: (one[1].end, one[1].run))
    key = last.key._replace(
        component=Component.MINIMUM_CHARGE, accelerator="", unit_price=pricing.FEN, attempt=terms.attempt
    )
    lacking = pricing.minimum_charge(terms.price_list, key.tariff) - cost(quantities(portion for _, portion in own))
    return Portion(last.run, key, last.end - 1, last.end, lacking)
