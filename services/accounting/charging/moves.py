"""What goes with an adjustment: the other line that has what it takes away, or had what it adds, and what moved it.

What moves usage of a closed period from one line to another (a run ends by the site's fault, a contest is upheld, a price correction
applies) adjusts both lines in the same open period. Reads what was decided, and decides nothing.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, select, true
from sqlalchemy.orm import Session

from caravan.contracts.contests import ContestState
from caravan.contracts.explanations import Moved
from caravan.contracts.jobs import Outcome
from caravan.contracts.prices import PriceList
from caravan.kernel.clock import to_seconds
from caravan.pricing.explained_words import Unit
from services.accounting.charging.book import key_of
from services.accounting.charging.explanation import Decided, moved
from services.accounting.charging.lines import PROVIDER_BEARS, Key, PeriodSpan, Record
from services.accounting.contests.models import ContestRow
from services.accounting.corrections.approved import CORRECTIONS, correction_of
from services.accounting.periods import service as periods

_BEARER: Final = ("bearer", "reason")
_PRICES: Final = ("price_list", "price_list_revision", "tariff", "window", "unit_price")
_BOTH: Final = (*_BEARER, *_PRICES)


class Priced(NamedTuple):
    """A price correction: seconds in [start, end) are priced by `price_list`."""

    start: int
    end: int
    price_list: str
    decided: Decided


def moves(
    tx: Session, row: Row[Any], of_job: Iterable[Row[Any]], records: Sequence[Record], unit: Unit
) -> tuple[Moved, ...]:
    """Of an adjustment of a job whose lines are `of_job`, and of which its buyer has these `records`."""
    found = periods.find(tx, row.corrects)
    own = in_period(records, PeriodSpan(row.corrects, to_seconds(found.starts_at), to_seconds(found.ends_at)))
    lists = {record.terms.price_list.id: record.terms.price_list for record, _ in own}
    approved = {id: _approved(tx, pinned) for id, pinned in lists.items()}
    corrections = [
        one
        for record, spans in own
        for start, end in spans
        for one in holding(approved[record.terms.price_list.id], start, end)
    ]
    contests = _contests(tx, row, {record.run for record, _ in own})
    told = []
    for other in counterparts(row, of_job, {one.price_list for one in corrections}):
        by = []
        if row.price_list != other.price_list:
            by = [one.decided for one in corrections if one.price_list in (row.price_list, other.price_list)]
        losing = min(row, other, key=lambda one: int(one.quantity))
        upheld = contests.get(losing.reason, ()) if _who(row) != _who(other) else ()
        told.append(moved(row, other, unit, upheld, tuple(dict.fromkeys(by))))
    return tuple(told)


def counterparts(row: Any, of_job: Iterable[Any], corrected: Iterable[str]) -> list[Any]:
    """The adjustments of the same period's usage that have more where `row` has less, or less where it has more, by another bearer or by
    other prices, where one of the two price lists is one to which prices were corrected (`corrected`). Those that differ in one of both
    go before those that differ in both.
    """
    key, lists = key_of(row), set(corrected)
    others = [
        (one, key_of(one))
        for one in sorted(of_job, key=lambda one: str(one.id))
        if (one.period, one.corrects) == (row.period, row.corrects)
        and min(one.quantity, row.quantity) < 0 < max(one.quantity, row.quantity)
    ]
    repriced = [
        (one, of) for one, of in others if key.price_list != of.price_list and lists & {key.price_list, of.price_list}
    ]
    borne = [one for one, of in others if _who(row) != _who(one) and _without(key, _BEARER) == _without(of, _BEARER)]
    priced = [one for one, of in repriced if _without(key, _PRICES) == _without(of, _PRICES)]
    return [*borne, *priced] or [one for one, of in repriced if _without(key, _BOTH) == _without(of, _BOTH)]


def in_period(records: Iterable[Record], period: PeriodSpan) -> list[tuple[Record, list[tuple[int, int]]]]:
    """The records with seconds in the period, and which these are."""
    found = []
    for record in records:
        spans = [
            (max(to_seconds(span.start), period.start), min(to_seconds(span.end), period.end)) for span in record.spans
        ]
        if inside := [(start, end) for start, end in spans if start < end]:
            found.append((record, inside))
    return found


def holding(corrections: Sequence[Priced], start: int, end: int) -> Iterator[Priced]:
    """Those that price seconds of [start, end), of corrections in the order of their approval: where some overlap, the last of them."""
    edges = {start, *(edge for one in corrections for edge in (one.start, one.end) if edge in range(start, end))}
    for second in sorted(edges):
        found = next((one for one in reversed(corrections) if one.start <= second < one.end), None)
        if found is not None:
            yield found


def _approved(tx: Session, pinned: PriceList) -> list[Priced]:
    """The corrections of what was placed by a list, in the order of their approval."""
    of_seller = select(CORRECTIONS).where(
        CORRECTIONS.c.offering == pinned.offering,
        CORRECTIONS.c.reseller.is_not_distinct_from(pinned.reseller),
        CORRECTIONS.c.number.is_not(None),
    )
    return [
        Priced(row.starts_at, row.ends_at, row.price_list, Decided(row.id, row.reason))
        for row in tx.execute(of_seller.order_by(CORRECTIONS.c.number))
        if correction_of(row).concerns(pinned.offering, pinned.id)
    ]


def _contests(tx: Session, row: Row[Any], runs: set[str]) -> dict[str, tuple[str, ...]]:
    """Those of the line's provider and of these runs that were upheld while the line's period may have taken adjustments, by the reason
    for which the provider bore them."""
    taking = periods.find(tx, row.period)
    upheld = select(*ContestRow.__table__.c).where(
        ContestRow.job == row.job,
        ContestRow.provider == row.provider,
        ContestRow.state == ContestState.UPHELD,
        ContestRow.decided_at >= taking.starts_at,
        true() if taking.closed_at is None else ContestRow.decided_at <= taking.closed_at,
    )
    found: dict[str, tuple[str, ...]] = {}
    for contest in tx.execute(upheld.order_by(ContestRow.id)):
        if contest.run in runs:
            reason = PROVIDER_BEARS[Outcome(contest.outcome)].value
            found[reason] = (*found.get(reason, ()), contest.id)
    return found


def _who(row: Any) -> tuple[str, str]:
    return row.bearer, row.reason


def _without(key: Key, fields: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in key._asdict().items() if name not in fields}
