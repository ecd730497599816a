"""Decisions about price lists: who may publish one, and who sees them."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.contracts.offerings import OfferingState
from caravan.contracts.prices import PriceList, PriceListDraft
from caravan.contracts.problems import WrongState
from caravan.kernel.database import Database, database_now
from caravan.kernel.pages import Listing, Page
from caravan.kernel.problems import FieldError, Invalid, NotFound
from caravan.kernel.tokens import Caller
from services.catalog.calendars.years import published
from services.catalog.offerings.models import OfferingRow
from services.catalog.offerings.service import EDITABLE, sees_offering
from services.catalog.prices.lists import add, covers
from services.catalog.prices.models import PriceListRow
from services.catalog.reading import found
from services.catalog.sites.dated import modes_of


class PriceListService:
    """Immutable revisions of an offering's prices."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def publish(self, offering: str, draft: PriceListDraft, caller: Caller) -> PriceList:
        """The next revision. What was placed before stays priced by the revision it was placed by.

        Raises NotFound, WrongState for an archived offering, and Invalid when one that is on sale would have no price now.
        """
        return await self._db.write(self._publish, offering, draft, caller)

    def _publish(self, tx: Session, offering: str, draft: PriceListDraft, caller: Caller) -> PriceList:
        row = found(tx, OfferingRow, offering, lambda row: caller.is_provider_admin(row.provider))
        if row.state not in EDITABLE:
            raise WrongState(state=row.state, allowed=tuple(EDITABLE))
        if row.state == OfferingState.ACTIVE and not covers(draft, database_now(tx)):
            detail = "The offering is on sale: let a tariff cover now, or pause it first."
            raise Invalid(errors=[FieldError(pointer="/tariffs", code="price_list_not_covering", detail=detail)])
        return add(tx, offering, draft, published(tx), modes_of(tx, row.site))

    async def get(self, id: str, caller: Caller) -> PriceList:
        return await self._db.read(self._get, id, caller)

    def _get(self, tx: Session, id: str, caller: Caller) -> PriceList:
        row = tx.get(PriceListRow, id)
        if row is None:
            raise NotFound
        found(tx, OfferingRow, row.offering, lambda offering: sees_offering(caller, offering))
        return row.shown()

    async def list(self, offering: str, caller: Caller, listing: Listing) -> Page[PriceList]:
        return await self._db.read(self._list, offering, caller, listing)

    def _list(self, tx: Session, offering: str, caller: Caller, listing: Listing) -> Page[PriceList]:
        found(tx, OfferingRow, offering, lambda row: sees_offering(caller, row))
        query = (
            select(PriceListRow)
            .where(PriceListRow.offering == offering)
            .order_by(PriceListRow.revision.desc())
            .limit(listing.fetch)
        )
        if listing.after is not None:
            query = query.where(PriceListRow.revision < listing.after[0])
        lists = [row.shown() for row in tx.scalars(query)]
        return listing.page(lists, key=lambda price_list: (price_list.revision,))
