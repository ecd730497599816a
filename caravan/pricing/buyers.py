"""A price list as it is for one buyer's job: of the tariffs that could price each second, the one that goes before the others."""

from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Any

from caravan.contracts.prices import Buyer, PriceList, Tariff


def prices_for(price_list: PriceList, buyer: Buyer) -> PriceList:
    """What prices `buyer`: the same revision with tariffs for all alone, without overlap.

    Of those that cover a second, one that names the organization goes before one for its class, and that before one for all; of the
    same buyers', one with options before one without. What is cut in two keeps its name: its seconds are of one line.
    """
    if price_list.for_all:
        return price_list
    ranked = [(rank, tariff) for tariff in price_list.tariffs if (rank := _rank(tariff, buyer)) is not None]
    kept: list[Tariff] = []
    for _, tariff in sorted(ranked, key=itemgetter(0), reverse=True):
        kept = sorted([*kept, *_beside(tariff, kept)], key=lambda t: t.starts_at)
    return price_list.model_copy(update={"tariffs": tuple(kept)})


def options_of(price_list: PriceList, target: Mapping[str, Any]) -> dict[str, str]:
    """Of the backend target of a job, with its own options in it, what some tariff goes by."""
    return {
        field: value
        for tariff in price_list.tariffs
        for field, values in tariff.options.items()
        if (value := target.get(field)) in values
    }


def _rank(tariff: Tariff, buyer: Buyer) -> tuple[bool, bool, bool] | None:
    """The greater goes first; None: it is not for the buyer. The contract lets no two of one rank overlap."""
    if any(buyer.options.get(field) not in values for field, values in tariff.options.items()):
        return None
    if tariff.buyers is None:
        return False, False, bool(tariff.options)
    named = buyer.organization in tariff.buyers.organizations
    if named or buyer.price_class in tariff.buyers.classes:
        return named, True, bool(tariff.options)
    return None


def _beside(tariff: Tariff, taken: Iterable[Tariff]) -> Iterator[Tariff]:
    """The parts of `tariff` in which none of `taken` is, which stand in order and don't overlap."""
    at = tariff.starts_at
    plain: dict[str, Any] = {"buyers": None, "options": {}}
    for other in taken:
        until = other.starts_at if tariff.ends_at is None else min(other.starts_at, tariff.ends_at)
        if at < until:
            yield tariff.model_copy(update=plain | {"starts_at": at, "ends_at": until})
        if other.ends_at is None:
            return
        at = max(at, other.ends_at)
    if tariff.ends_at is None or at < tariff.ends_at:
        yield tariff.model_copy(update=plain | {"starts_at": at})
