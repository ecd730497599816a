"""What tops an attempt up to its tariff's minimum charge, once the books of all its runs are closed. Pure.

What an attempt costs by itself: the seconds, and the price per job if it falls in them, that the organization would bear if the hold had
no end, each line rounded once. Where that is less than the minimum of the tariff in which the last of these seconds lies, by the list that
prices that second, the fen that it lacks (`pricing.top_up`) are a line of its own, in that second's period, tariff and window. An attempt
without any such second has no minimum.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from caravan import pricing
from caravan.contracts.prices import Component
from caravan.pricing import Billed, TopUp
from services.accounting.charging.lines import Key, Portion, Terms

Minima = Mapping[str, TopUp[Key]]
"""By attempt."""


def minima(parts: Iterable[tuple[Terms, Sequence[Portion]]]) -> Minima:
    """Of the portions of a whole job, with the terms of each: what each ended attempt costs by itself, and at least."""
    own: defaultdict[str, list[Billed[Key]]] = defaultdict(list)
    for terms, portions in parts:
        if terms.ended:
            own[terms.attempt] += [
                Billed(portion.key, terms.price_list, portion.run, portion.end, portion.quantity)
                for portion in portions
                if portion.key.billed
            ]
    found = {attempt: pricing.top_up(of_attempt) for attempt, of_attempt in own.items()}
    return {attempt: one for attempt, one in found.items() if one is not None}


def top_ups(parts: Iterable[tuple[Terms, Sequence[Portion]]]) -> list[Portion]:
    """Of the portions of a whole job, with the terms of each: one for each attempt that lacks something; its `units` are fen."""
    return [_portion(attempt, one) for attempt, one in minima(parts).items() if one.lacking]


def _portion(attempt: str, one: TopUp[Key]) -> Portion:
    last = one.last
    key = last.line._replace(
        component=Component.MINIMUM_CHARGE, accelerator="", unit_price=pricing.FEN, attempt=attempt
    )
    return Portion(last.run, key, last.end - 1, last.end, one.lacking)
