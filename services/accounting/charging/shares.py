"""A job's lines shared out among its runs. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from services.accounting.charging.lines import Key, Portion


class Total(NamedTuple):
    """Of a line and of what corrects it; the amount is in fen."""

    quantity: int
    amount: int


class Part(NamedTuple):
    """What of `key`'s total falls to `run`."""

    run: str
    key: Key
    quantity: int
    amount: int


def shares(runs: Iterable[str], portions: Iterable[Portion], totals: Mapping[Key, Total]) -> Iterator[Part]:
    """Each run of a job gets what its own portions come to, in the order of ids, and the last of a line's runs all that is left.

    So parts always sum to the totals, amounts too, and a line that isn't what its portions come to shows in a run. `runs` are all of
    the job's.
    """
    last_of_all = max(runs)
    by_key: defaultdict[Key, Counter[str]] = defaultdict(Counter)
    for portion in portions:
        by_key[portion.key][portion.run] += portion.quantity
    for key in {**totals, **by_key}:
        total, given = totals.get(key, Total(0, 0)), Total(0, 0)
        *others, last = sorted(by_key[key]) or [last_of_all]
        for run in others:
            quantity = given.quantity + by_key[key][run]
            now = Total(quantity, key.amount(quantity))
            yield Part(run, key, now.quantity - given.quantity, now.amount - given.amount)
            given = now
        yield Part(last, key, total.quantity - given.quantity, total.amount - given.amount)
