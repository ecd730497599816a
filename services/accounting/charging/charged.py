"""What a job comes to by the prices that hold now, and by those that it was placed by. Pure.

A hold is set aside by the prices of placement, so these alone say where it was used up: a price correction moves no second from one
bearer to the other, and what it makes dearer is charged apart from the hold. The site's modes stay those of placement, too. Of an
attempt's top-up to its minimum charge the provider goes on to bear as many fen as the hold had nothing left for.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from caravan.contracts.prices import PriceList
from caravan.contracts.usage import Span
from caravan.kernel.clock import from_seconds, to_seconds
from services.accounting.charging.lines import (
    Cut,
    PeriodSpan,
    Portion,
    Record,
    Terms,
    by_buyer,
    cost,
    cut_off,
    earliest,
    first_start,
    overrun_from,
    paid,
    parted_at,
    portions,
    quantities,
    starting,
    used_up,
)
from services.accounting.charging.minimum import Minima, minima, top_ups
from services.accounting.charging.pieces import pieces


class Charged(NamedTuple):
    """A job's portions with their bearers. Amounts are fen, `overrun_from` is the second in which the hold was used up.

    `captured` is what the organization bears at the prices of placement: never more than the hold. `corrected` is by how much the
    portions come to more (negative: less) than that; None where no correction concerns them.
    """

    portions: list[Portion]
    captured: int
    corrected: int | None
    overrun_from: int | None


def by_buyers(
    records: Sequence[Record], calendar: Sequence[PeriodSpan], holds: Mapping[str, int]
) -> dict[str, Charged]:
    """What a job comes to for each who buys (`lines.by_buyer`), and has the amount of its hold in `holds`; who has none bears nothing."""
    bought = {buyer: _started(own) for buyer, own in by_buyer(records).items()}
    amounts = {buyer: holds.get(buyer, 0) for buyer in bought}
    cut = None
    if len(bought) > 1:
        cut = earliest(used_up(every(own, calendar), amounts[buyer]) for buyer, own in bought.items())
    return {buyer: charged(own, calendar, amounts[buyer], cut) for buyer, own in bought.items()}


def _started(own: Sequence[Record]) -> list[Record]:
    """With the price per job where it falls in what one buys."""
    start = first_start(own)
    return [starting(record, start) for record in own]


def charged(
    records: Sequence[Record], calendar: Sequence[PeriodSpan], hold_amount: int, others: Cut | None = None
) -> Charged:
    """All records of a job that one buys, in any order. `others`: where the hold of another who pays for the same seconds is used up."""
    placed = every(records, calendar)
    cut = earliest((used_up(placed, hold_amount), others))
    within = cut_off(placed, cut)
    topped_up = paid(_top_ups(records, calendar), hold_amount - cost(quantities(within)))
    borne = [*within, *topped_up]
    granted = cut_off((portion for portion in placed if portion.key.billed), cut)
    captured, used_up_in = cost(quantities(borne)), overrun_from([*granted, *topped_up])
    if not any(is_corrected(record) for record in records):
        return Charged(borne, captured, None, used_up_in)
    parts = corrected(records)
    passed = {portion.key.attempt: portion.units for portion in topped_up if not portion.key.billed}
    now = cut_off(every(parts, calendar), cut)
    for top_up in _top_ups(parts, calendar):
        now += parted_at(top_up, max(0, top_up.units - passed.get(top_up.key.attempt, 0)))
    return Charged(now, captured, cost(quantities(now)) - captured, used_up_in)


def minimum_charges(records: Iterable[Record], calendar: Sequence[PeriodSpan]) -> dict[str, Minima]:
    """What a job's ended attempts cost by themselves, and at least, by the prices that hold now: for each who buys."""
    return {buyer: minima(_ended(corrected(_started(own)), calendar)) for buyer, own in by_buyer(records).items()}


def _top_ups(records: Iterable[Record], calendar: Sequence[PeriodSpan]) -> list[Portion]:
    """What tops ended attempts up to their minimum charges."""
    return top_ups(_ended(records, calendar))


def _ended(records: Iterable[Record], calendar: Sequence[PeriodSpan]) -> Iterator[tuple[Terms, list[Portion]]]:
    """The portions of the attempts that have ended."""
    return ((record.terms, portions(record, calendar)) for record in records if record.terms.ended)


def every(records: Iterable[Record], calendar: Sequence[PeriodSpan]) -> list[Portion]:
    """The portions of records, by the prices of placement."""
    return [portion for record in records if record.spans for portion in portions(record, calendar)]


def corrected(records: Iterable[Record]) -> list[Record]:
    """The records parted by the lists that price them now, each as if it had been placed by its own, in the modes that it was placed in."""
    return [part for record in records for part in (_parts(record) if record.terms.corrections else (record,))]


def is_corrected(record: Record) -> bool:
    """Whether a correction prices any of its seconds."""
    pinned = record.terms.price_list.id
    return bool(record.terms.corrections) and any(part.terms.price_list.id != pinned for part in _parts(record))


def _parts(record: Record) -> list[Record]:
    terms = record.terms
    lists: dict[str, PriceList] = {}
    spans: defaultdict[str, list[Span]] = defaultdict(list)
    for span in record.spans:
        start, end = to_seconds(span.start), to_seconds(span.end)
        for piece in pieces(terms.price_list, terms.corrections, start, end):
            lists[piece.price_list.id] = piece.price_list.model_copy(update={"modes": terms.price_list.modes})
            cut = {"start": from_seconds(piece.start), "end": from_seconds(piece.end)}
            spans[piece.price_list.id].append(span.model_copy(update=cut))
    return [
        replace(record, spans=tuple(spans[name]), terms=replace(terms, price_list=found, corrections=()))
        for name, found in lists.items()
    ]
