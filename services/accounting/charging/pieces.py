"""By which price list each second of an attempt is priced: by the one it was placed by, unless a price correction says another. Pure."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from caravan.contracts.prices import PriceList


class Piece(NamedTuple):
    """Seconds in [start, end), since the epoch, that are priced by `price_list`."""

    start: int
    end: int
    price_list: PriceList


def pieces(pinned: PriceList, corrections: Sequence[Piece], start: int, end: int) -> list[Piece]:
    """[start, end) cut where the list changes: in order, without gap or overlap. Where corrections overlap, the last of them holds."""
    edges = {start, end, *(edge for one in corrections for edge in one[:2] if start < edge < end)}
    cut: list[Piece] = []
    for begins, ends in pairwise(sorted(edges)):
        found = next((one.price_list for one in reversed(corrections) if one.start <= begins < one.end), pinned)
        if cut and cut[-1].price_list.id == found.id:
            begins = cut.pop().start
        cut.append(Piece(begins, ends, found))
    return cut
