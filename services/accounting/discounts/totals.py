"""What discounts are computed from: the schedules in force, and totals of lines, added up by the database. Integers only."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, Row, Select, and_, func, literal_column, or_, select
from sqlalchemy.orm import Session

from caravan import pricing
from caravan.contracts.prices import Component, VolumeTiers
from caravan.contracts.statements import BearerKind, LineKind, PeriodState
from services.accounting.charging.models import LineRow
from services.accounting.corrections.approved import found
from services.accounting.periods.models import PeriodRow
from services.accounting.usage.models import PriceListCopy

ADJUSTS: Final = LineRow.corrects != literal_column("''")
"""As `ix_lines_corrects` has it: a bound value would not let a database see that it may use that index."""
_PRICED: Final = (PriceListCopy.offering, PriceListCopy.reseller)
_SCHEDULE: Final = (PriceListCopy.id, *_PRICED, PriceListCopy.revision, PriceListCopy.volume_discounts)
_TIERS: Final = TypeAdapter(dict[Component, VolumeTiers])


class Priced(NamedTuple):
    """What one seller's price lists are for."""

    offering: str
    reseller: str


class Group(NamedTuple):
    """All that an organization used of one component of an offering, by one seller; `reseller` is '' where that is the provider itself."""

    organization: str
    provider: str
    offering: str
    component: Component
    reseller: str = ""

    @property
    def seller(self) -> str:
        return self.reseller or self.provider

    @property
    def priced(self) -> Priced:
        return Priced(self.offering, self.reseller)


class Totals(NamedTuple):
    """What is discounted, as a quantity and its amount (`basis`), and the discount, which is not above zero. Money in fen."""

    quantity: int = 0
    basis: int = 0
    amount: int = 0

    def less(self, others: Iterable["Totals"]) -> "Totals":
        return Totals(*(mine - sum(theirs) for mine, *theirs in zip(self, *others, strict=True)))


class Schedule(NamedTuple):
    """The volume discounts of the price list revision that holds for what is priced."""

    price_list: str
    revision: int
    tiers: Mapping[Component, VolumeTiers]

    def of(self, component: Component, quantity: int, basis: int) -> Totals:
        """Nothing at all where nothing is taken off."""
        off = pricing.volume_discount(component, self.tiers.get(component, ()), quantity, basis)
        return Totals(quantity, basis, -off) if off else Totals()


def schedules(tx: Session, of: Row[Any], *which: ColumnElement[bool]) -> dict[Priced, Schedule]:
    """By what the period `of` (a row of `periods`) is discounted: of each offering and seller its newest list, or the right one of the last
    approved correction that covers the period whole and replaces that list. `which`: conditions of the corrections that count."""
    newest = in_force(tx, of.ends_at)
    whole = [one for one in found(tx, *which) if one.covers(of.starts_at, of.ends_at)]
    right = of_lists(tx, {one.price_list for one in whole})
    corrected = {
        priced: right[one.price_list][1]
        for one in whole
        for priced in (right[one.price_list][0],)
        if priced in newest and one.concerns(priced.offering, newest[priced].price_list)
    }
    return newest | corrected


def in_force(tx: Session, ends_at: datetime, *of: ColumnElement[bool]) -> dict[Priced, Schedule]:
    """Of each offering and seller: the newest revision that was made before `ends_at`, the end of a period, holds for all of the period.
    `of`: conditions of the price lists that count."""
    newest = (
        select(*_PRICED, func.max(PriceListCopy.revision).label("revision"))
        .where(PriceListCopy.created_at < ends_at, *of)
        .group_by(*_PRICED)
        .subquery()
    )
    last = and_(
        PriceListCopy.offering == newest.c.offering,
        PriceListCopy.reseller == newest.c.reseller,
        PriceListCopy.revision == newest.c.revision,
    )
    return dict(map(_scheduled, tx.execute(select(*_SCHEDULE).join(newest, last))))


def of_lists(tx: Session, price_lists: Collection[str]) -> dict[str, tuple[Priced, Schedule]]:
    """The volume discounts of some price lists, each with what it is for."""
    rows = tx.execute(select(*_SCHEDULE).where(PriceListCopy.id.in_(price_lists)))
    return {row.id: _scheduled(row) for row in rows}


def _scheduled(row: Row[Any]) -> tuple[Priced, Schedule]:
    tiers = _TIERS.validate_python(row.volume_discounts)
    return Priced(row.offering, row.reseller), Schedule(row.id, row.revision, tiers)


def wanted(
    tx: Session,
    of: str,
    by: Mapping[Priced, Schedule],
    organizations: Collection[str] | None,
    closing: str | None = None,
) -> dict[Group, Totals]:
    """The discounts of the period `of` by its `schedules`, as the lines that stand in closed periods, or in `closing`, make them."""
    tiered = {priced: schedule for priced, schedule in by.items() if schedule.tiers}
    if not tiered:
        return {}
    key = (LineRow.organization, LineRow.provider, PriceListCopy.offering, LineRow.component, PriceListCopy.reseller)
    sums = select(*key, func.sum(LineRow.quantity), func.sum(LineRow.amount)).join(
        PriceListCopy, PriceListCopy.id == LineRow.price_list
    )
    rows = tx.execute(
        _standing(sums, of, organizations, closing)
        .where(LineRow.kind == LineKind.USAGE, LineRow.bearer == BearerKind.ORGANIZATION)
        .where(PriceListCopy.offering.in_({priced.offering for priced in tiered}))
        .group_by(*key)
    )
    totals = {}
    for organization, provider, offering, name, reseller, quantity, basis in rows:
        group = Group(organization, provider, offering, Component(name), reseller)
        schedule = tiered.get(group.priced)
        made = schedule.of(group.component, int(quantity), int(basis)) if schedule else Totals()
        if made.amount:
            totals[group] = made
    return totals


def stored(
    tx: Session, of: str, organizations: Collection[str] | None, closing: str | None = None
) -> dict[Group, list[Row[Any]]]:
    """The lines of the discounts of the period `of` that stand there, in the order of the periods that they were given in."""
    lines = select(*LineRow.__table__.c, PriceListCopy.offering).join(
        PriceListCopy, PriceListCopy.id == LineRow.price_list
    )
    query = _standing(lines, of, organizations, closing).where(LineRow.kind == LineKind.VOLUME_DISCOUNT)
    groups: dict[Group, list[Row[Any]]] = {}
    for row in tx.execute(query.order_by(LineRow.id)):
        group = Group(row.organization, row.provider, row.offering, Component(row.component), row.reseller)
        groups.setdefault(group, []).append(row)
    return groups


def totals_of(rows: Iterable[Row[Any]]) -> list[Totals]:
    return [Totals(row.quantity, row.basis, row.amount) for row in rows]


def _standing(
    lines: Select[*tuple[Any, ...]], of: str, organizations: Collection[str] | None, closing: str | None
) -> Select[*tuple[Any, ...]]:
    """Of `lines`, those of the period `of` that are final, or are as `closing` closes. What stands in a period that is open is not."""
    own, later = (LineRow.period == of) & (LineRow.corrects == ""), ADJUSTS & (LineRow.corrects == of)
    final = select(PeriodRow.id).where(or_(PeriodRow.state == PeriodState.CLOSED, PeriodRow.id == (closing or "")))
    query = lines.where(or_(own, later), LineRow.period.in_(final))
    return query if organizations is None else query.where(LineRow.organization.in_(organizations))
