"""By which list a second is priced (docs/corrections.md)."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from bench.city.independent.windows import PriceList
from bench.city.independent.world import Correction, Side


def concerning(side: Side, corrections: Iterable[Correction], lists: dict[str, PriceList]) -> list[Correction]:
    """The approved corrections of what `side` was placed by, the last approved first.

    A correction concerns the seller whose list its right one is ("the set that was priced by it", docs/resale.md).
    """
    return [
        correction
        for correction in reversed(list(corrections))
        if correction.offering == side.offering
        and (correction.replaces is None or side.price_list in correction.replaces)
        and (lists[correction.price_list].reseller or side.provider) == side.seller
    ]


def by_list(start: int, end: int, concerned: Sequence[Correction], placed: str) -> list[tuple[int, int, str]]:
    """The parts of [start, end) with the list that prices each: of overlapping corrections the last approved holds."""
    inside = [correction for correction in concerned if correction.starts < end and start < correction.ends]
    if not inside:
        return [(start, end, placed)]
    cuts = {cut for correction in inside for cut in (correction.starts, correction.ends) if start < cut < end}
    bounds = [start, *sorted(cuts), end]
    parts = []
    for first, last in pairwise(bounds):
        holds = (correction.price_list for correction in inside if correction.starts <= first < correction.ends)
        parts.append((first, last, next(holds, placed)))
    return parts
