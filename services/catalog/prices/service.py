"""Decisions about price lists: who may publish one, and who sees them."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.contracts.offerings import OfferingState
from caravan.contracts.prices import Component, PriceList, PriceListDraft
from caravan.contracts.problems import UnknownReference, WrongState
from caravan.kernel.database import Database, database_now
from caravan.kernel.pages import Listing, Page
from caravan.kernel.problems import FieldError, Invalid, NotFound
from caravan.kernel.tokens import Caller
from caravan.pricing.resale import sells
from services.catalog.calendars.years import published
from services.catalog.offerings.models import OfferingRow
from services.catalog.offerings.service import EDITABLE, sees_offering
from services.catalog.parties.models import OrganizationRow
from services.catalog.prices.lists import add
from services.catalog.prices.models import PriceListRow
from services.catalog.prices.seeing import seen_by, shown_to
from services.catalog.reading import found, unknown
from services.catalog.resale.service import resells
from services.catalog.sites.dated import modes_of


class PriceListService:
    """Immutable revisions of an offering's prices."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def publish(self, offering: str, draft: PriceListDraft, caller: Caller) -> PriceList:
        """The next revision of the provider's lists, or of a reseller's. What was placed before stays priced by the revision of then.

        Raises NotFound, WrongState for an archived offering, UnknownReference for an organization that isn't there or doesn't resell, and
        Invalid for options that no job can have, for a discount on the minimum charge, or when an offering that is on sale would have no
        price of the provider's now.
        """
        return await self._db.write(self._publish, offering, draft, caller)

    def _publish(self, tx: Session, offering: str, draft: PriceListDraft, caller: Caller) -> PriceList:
        now, reseller = database_now(tx), draft.reseller

        def may(row: OfferingRow) -> bool:
            return caller.is_provider_admin(row.provider) if reseller is None else sees_offering(caller, row)

        row = found(tx, OfferingRow, offering, may)
        if reseller is not None and not (caller.is_org_admin(reseller) and resells(tx, reseller, now)):
            raise unknown("/reseller", "There is no such reseller that you administer, or no agreement of its lasts.")
        if row.state not in EDITABLE:
            raise WrongState(state=row.state, allowed=tuple(EDITABLE))
        if reseller is None and row.state == OfferingState.ACTIVE and not sells(draft, now):
            detail = "The offering is on sale: let a tariff cover now, or pause it first."
            raise Invalid(errors=[FieldError(pointer="/tariffs", code="price_list_not_covering", detail=detail)])
        _hold_buyers(tx, draft)
        _hold_options(row, draft)
        _hold_discounts(draft)
        return add(tx, offering, draft, published(tx), modes_of(tx, row.site))

    async def get(self, id: str, caller: Caller) -> PriceList:
        return await self._db.read(self._get, id, caller)

    def _get(self, tx: Session, id: str, caller: Caller) -> PriceList:
        row = tx.get(PriceListRow, id)
        if row is None:
            raise NotFound
        offering = found(tx, OfferingRow, row.offering, lambda offering: sees_offering(caller, offering))
        shown = shown_to(tx, caller, offering.id, offering.provider, database_now(tx))
        if tx.scalar(select(PriceListRow.id).where(PriceListRow.id == id, shown)) is None:
            raise NotFound
        return seen_by(caller, row.shown(), offering.provider)

    async def list(self, offering: str, reseller: str | None, caller: Caller, listing: Listing) -> Page[PriceList]:
        return await self._db.read(self._list, offering, reseller, caller, listing)

    def _list(
        self, tx: Session, offering: str, reseller: str | None, caller: Caller, listing: Listing
    ) -> Page[PriceList]:
        sold = found(tx, OfferingRow, offering, lambda row: sees_offering(caller, row))
        query = (
            select(PriceListRow)
            .where(PriceListRow.offering == offering, shown_to(tx, caller, offering, sold.provider, database_now(tx)))
            .order_by(PriceListRow.id.desc())
            .limit(listing.fetch)
        )
        if reseller is not None:
            query = query.where(PriceListRow.reseller == reseller)
        if listing.after is not None:
            query = query.where(PriceListRow.id < listing.after[0])
        lists = [seen_by(caller, row.shown(), sold.provider) for row in tx.scalars(query)]
        return listing.page(lists, key=lambda price_list: (price_list.id,))


def _hold_buyers(tx: Session, draft: PriceListDraft) -> None:
    named = {one for tariff in draft.tariffs if tariff.buyers for one in tariff.buyers.organizations}
    there = set(tx.scalars(select(OrganizationRow.id).where(OrganizationRow.id.in_(sorted(named)))))
    errors = [
        FieldError(
            pointer=f"/tariffs/{place}/buyers/organizations/{index}",
            code="unknown",
            detail="There is no such organization; ask it for its id.",
        )
        for place, tariff in enumerate(draft.tariffs)
        for index, one in enumerate(tariff.buyers.organizations if tariff.buyers else ())
        if one not in there
    ]
    if errors:
        raise UnknownReference(errors=errors)


def _hold_discounts(draft: PriceListDraft) -> None:
    """A minimum that is discounted would be none."""
    if Component.MINIMUM_CHARGE in draft.volume_discounts:
        pointer = f"/volume_discounts/{Component.MINIMUM_CHARGE}"
        detail = "A minimum charge is the least that an attempt costs, whatever was used: leave this out, or publish a lower one."
        raise Invalid(errors=[FieldError(pointer=pointer, code="component", detail=detail)])


def _hold_options(row: OfferingRow, draft: PriceListDraft) -> None:
    """What no job can have would never be priced by its tariff: a slip, most likely."""
    errors = [
        FieldError(
            pointer=f"/tariffs/{place}/options/{field}/{index}",
            code="option",
            detail="No job has this here: let the offering's target or choices have it first.",
        )
        for place, tariff in enumerate(draft.tariffs)
        for field, values in tariff.options.items()
        for index, value in enumerate(values)
        if value != row.target.get(field) and value not in row.choices.get(field, ())
    ]
    if errors:
        raise Invalid(errors=errors)
