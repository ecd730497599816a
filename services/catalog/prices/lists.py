"""Price lists within a transaction: the newest of an offering, what it covers, and the next one."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, select, true
from sqlalchemy.orm import Session

from caravan.contracts.events import PRICE_LIST
from caravan.contracts.modes import SiteModeFrom
from caravan.contracts.offerings import OfferingState
from caravan.contracts.prices import CalendarYear, PriceList, PriceListDraft, Tariff
from caravan.kernel import feed, ids
from caravan.kernel.database import database_now
from services.catalog.offerings.models import OfferingRow
from services.catalog.prices.models import PriceListRow


def newest(tx: Session, offering: str) -> PriceList | None:
    """The last revision, which prices what is placed from now on."""
    last = select(PriceListRow).where(PriceListRow.offering == offering).order_by(PriceListRow.revision.desc()).limit(1)
    row = tx.scalars(last).one_or_none()
    return row.shown() if row else None


def covers(price_list: PriceListDraft, instant: datetime) -> bool:
    """Whether a tariff holds at `instant`."""
    return any(t.starts_at <= instant and (t.ends_at is None or instant < t.ends_at) for t in price_list.tariffs)


def add(
    tx: Session, offering: str, draft: PriceListDraft, calendar: Sequence[CalendarYear], modes: Sequence[SiteModeFrom]
) -> PriceList:
    """The offering's next revision, with its site's modes. It goes by the calendar where a tariff has windows."""
    last = tx.scalar(select(func.max(PriceListRow.revision)).where(PriceListRow.offering == offering)) or 0
    price_list = PriceList(
        id=ids.new("prl"),
        offering=offering,
        revision=last + 1,
        created_at=database_now(tx),
        zone=draft.zone,
        tariffs=tuple(sorted(draft.tariffs, key=lambda tariff: tariff.starts_at)),
        calendar=tuple(calendar) if _windowed(draft.tariffs) else (),
        volume_discounts=draft.volume_discounts,
        modes=tuple(modes),
    )
    document = price_list.model_dump(mode="json")
    tx.add(
        PriceListRow(
            id=price_list.id,
            offering=offering,
            revision=price_list.revision,
            created_at=price_list.created_at,
            zone=price_list.zone,
            tariffs=document["tariffs"],
            calendar=document["calendar"],
            volume_discounts=document["volume_discounts"],
            modes=document["modes"],
        )
    )
    feed.state(tx, PRICE_LIST, price_list.id, price_list)
    return price_list


def reprice(tx: Session, calendar: Sequence[CalendarYear]) -> None:
    """A new revision of each price list in force that goes by a calendar, by this one."""
    for price_list in _in_force(tx):
        if _windowed(price_list.tariffs) and price_list.calendar != tuple(calendar):
            add(tx, price_list.offering, price_list, calendar, price_list.modes)


def remode(tx: Session, site: str, modes: Sequence[SiteModeFrom]) -> None:
    """A new revision of each price list in force of the site, with these modes."""
    for price_list in _in_force(tx, OfferingRow.site == site):
        if price_list.modes != tuple(modes):
            add(tx, price_list.offering, price_list, price_list.calendar, modes)


def _in_force(tx: Session, condition: ColumnElement[bool] = true()) -> Iterator[PriceList]:
    last = (
        select(PriceListRow.offering, func.max(PriceListRow.revision).label("revision"))
        .group_by(PriceListRow.offering)
        .subquery()
    )
    query = (
        select(PriceListRow)
        .join(last, and_(PriceListRow.offering == last.c.offering, PriceListRow.revision == last.c.revision))
        .join(OfferingRow, OfferingRow.id == PriceListRow.offering)
        .where(OfferingRow.state != OfferingState.ARCHIVED, condition)
        .order_by(PriceListRow.offering)
    )
    return (row.shown() for row in tx.scalars(query).all())


def _windowed(tariffs: Sequence[Tariff]) -> bool:
    return any(tariff.windows for tariff in tariffs)
