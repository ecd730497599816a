"""Price lists within a transaction: the newest of an offering, what it covers, and the next one."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Select, and_, func, select, true
from sqlalchemy.orm import Session

from caravan.contracts.events import PRICE_LIST
from caravan.contracts.modes import SiteModeFrom
from caravan.contracts.offerings import OfferingState
from caravan.contracts.prices import CalendarYear, PriceList, PriceListDraft
from caravan.kernel import feed, ids
from caravan.kernel.database import database_now
from caravan.pricing.resale import sells
from services.catalog.offerings.models import OfferingRow
from services.catalog.prices.models import PROVIDERS, PriceListRow
from services.catalog.resale.memberships import reseller_of


def newest(tx: Session, offering: str, reseller: str = PROVIDERS) -> PriceList | None:
    """The last revision of the provider's lists, or of a reseller's, which prices what is placed from now on."""
    mine = (PriceListRow.offering == offering, PriceListRow.reseller == reseller)
    row = tx.scalars(select(PriceListRow).where(*mine).order_by(PriceListRow.revision.desc()).limit(1)).one_or_none()
    return row.shown() if row else None


def selling(tx: Session, offering: str, organization: str | None, at: datetime) -> PriceList | None:
    """By what the offering is sold to an organization: its reseller's newest list where that sells, else the provider's."""
    reseller = reseller_of(tx, organization, at)
    own = newest(tx, offering, reseller) if reseller is not None else None
    return own if sells(own, at) else newest(tx, offering)


def add(
    tx: Session, offering: str, draft: PriceListDraft, calendar: Sequence[CalendarYear], modes: Sequence[SiteModeFrom]
) -> PriceList:
    """The offering's next revision of who sells by it, with its site's modes. Where a tariff has windows it goes by the calendar."""
    reseller = draft.reseller or PROVIDERS
    mine = (PriceListRow.offering == offering, PriceListRow.reseller == reseller)
    last = tx.scalar(select(func.max(PriceListRow.revision)).where(*mine)) or 0
    price_list = PriceList(
        id=ids.new("prl"),
        offering=offering,
        reseller=draft.reseller,
        revision=last + 1,
        created_at=database_now(tx),
        zone=draft.zone,
        tariffs=tuple(sorted(draft.tariffs, key=lambda tariff: tariff.starts_at)),
        calendar=_needed(draft, calendar),
        volume_discounts=draft.volume_discounts,
        modes=tuple(modes),
    )
    document = price_list.model_dump(mode="json")
    tx.add(
        PriceListRow(
            id=price_list.id,
            offering=offering,
            reseller=reseller,
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
        if price_list.calendar != _needed(price_list, calendar):
            add(tx, price_list.offering, price_list, calendar, price_list.modes)


def remode(tx: Session, site: str, modes: Sequence[SiteModeFrom]) -> None:
    """A new revision of each price list in force of the site, with these modes."""
    for price_list in _in_force(tx, OfferingRow.site == site):
        if price_list.modes != tuple(modes):
            add(tx, price_list.offering, price_list, price_list.calendar, modes)


def last_revisions(*conditions: ColumnElement[bool]) -> Select[str]:
    """The id of the last list of each offering and seller, of those that meet the conditions."""
    last = (
        select(PriceListRow.offering, PriceListRow.reseller, func.max(PriceListRow.revision).label("revision"))
        .where(*conditions)
        .group_by(PriceListRow.offering, PriceListRow.reseller)
        .subquery()
    )
    return select(PriceListRow.id).join(
        last,
        and_(
            PriceListRow.offering == last.c.offering,
            PriceListRow.reseller == last.c.reseller,
            PriceListRow.revision == last.c.revision,
        ),
    )


def _in_force(tx: Session, condition: ColumnElement[bool] = true()) -> Iterator[PriceList]:
    query = (
        select(PriceListRow)
        .where(PriceListRow.id.in_(last_revisions()))
        .join(OfferingRow, OfferingRow.id == PriceListRow.offering)
        .where(OfferingRow.state != OfferingState.ARCHIVED, condition)
        .order_by(PriceListRow.offering, PriceListRow.reseller)
    )
    return (row.shown() for row in tx.scalars(query).all())


def _needed(draft: PriceListDraft, calendar: Sequence[CalendarYear]) -> tuple[CalendarYear, ...]:
    """The years that its windows can lie in: from its earliest tariff on, also those long over, which a correction may price by it."""
    if not any(tariff.windows for tariff in draft.tariffs):
        return ()
    first = min(tariff.starts_at for tariff in draft.tariffs).astimezone(ZoneInfo(draft.zone)).year
    return tuple(one for one in calendar if one.year >= first)
