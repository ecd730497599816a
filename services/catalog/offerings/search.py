"""Searching offerings by what they are, and ranking them by what a reference shape costs.

Without a shape, offerings come by id, a page of rows per request. With one, all that match the filters are priced by the one
function that quotes and charges use too, then sorted: the price of a shape is no column, since it changes with the shape, with each
revision and at each tariff's edge. That costs some 50 µs for each match, so at most MOST_PRICED may match; a marketplace
of more asks for a narrower search. A cursor holds the instant of its first page: later pages use the prices of then.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import Session

from caravan.contracts.offerings import Limits, OfferingPrice, OfferingState, SiteHealth, SiteState, Tier
from caravan.contracts.parties import ProviderState
from caravan.contracts.prices import Buyer, PriceList
from caravan.kernel.clock import from_microseconds, to_microseconds, to_seconds
from caravan.kernel.database import Database, database_now
from caravan.kernel.money import Money
from caravan.kernel.pages import Listing, Page
from caravan.kernel.problems import FieldError, Invalid
from caravan.kernel.tokens import Caller
from caravan.pricing import Shape, mode_at, options_of, prices_for, reference_price
from caravan.pricing.resale import sells
from services.catalog.offerings.models import OfferingRow
from services.catalog.parties.models import OrganizationRow, ProviderRow
from services.catalog.prices.lists import last_revisions
from services.catalog.prices.models import PROVIDERS, PriceListRow
from services.catalog.prices.seeing import buyer_of, seen_by
from services.catalog.reading import sees_all
from services.catalog.resale.memberships import reseller_of
from services.catalog.sites.models import AcceleratorRow, SiteRow
from services.catalog.words import matches

MOST_PRICED: Final = 5_000
KEPT_PRICE_LISTS: Final = 20_000
UNPRICED: Final = 2**62
"""The sort key of an offering without a price: after all others."""


@dataclass(frozen=True)
class Reference:
    """A shape on one node, for so many hours: what prices are compared by."""

    cpus: int
    memory_mib: int
    accelerators: int
    hours: int

    @property
    def seconds(self) -> int:
        return self.hours * 3600

    def fits(self, limits: Limits) -> bool:
        return (
            self.cpus <= limits.cpus_per_node
            and self.memory_mib <= limits.memory_mib_per_node
            and self.accelerators <= limits.accelerators_per_node
            and self.seconds <= limits.walltime_seconds
        )

    def price(self, price_list: PriceList, buyer: Buyer, at: datetime) -> Money | None:
        shape = Shape(nodes=1, cpus=self.cpus, memory_mib=self.memory_mib, accelerators=self.accelerators)
        return reference_price(shape, self.seconds, prices_for(price_list, buyer), to_seconds(at))


@dataclass(frozen=True)
class Search:
    """What is looked for; None and empty leave it open."""

    tiers: tuple[Tier, ...] = ()
    accelerator: str | None = None
    text: str | None = None
    region: str | None = None
    provider: str | None = None
    site: str | None = None
    state: OfferingState | None = None
    organization: str | None = None
    """Whose prices; None: the caller's, who is in one only."""
    reference: Reference | None = None
    max_price: Money | None = None


class SearchService:
    """Finds offerings: those on sale for everybody, a provider's own in any state for its admins, all for the platform."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._price_lists: dict[str, PriceList] = {}  # they never change

    async def search(self, search: Search, caller: Caller, listing: Listing) -> Page[OfferingPrice]:
        """A page: by price and id when there is a reference, else by id. Raises Invalid when too many would have to be priced,
        and as `buyer_of`."""
        return await self._db.read(self._priced if search.reference else self._plain, search, caller, listing)

    def _plain(self, tx: Session, search: Search, caller: Caller, listing: Listing) -> Page[OfferingPrice]:
        now = database_now(tx)
        buyer = buyer_of(tx, search.organization, caller, "query/organization", now)
        query = _matching(search, caller, OfferingRow.id).order_by(OfferingRow.id).limit(listing.fetch)
        if listing.after is not None:
            query = query.where(OfferingRow.id > listing.after[0])
        page = listing.page(tx.scalars(query).all(), key=lambda id: (id,))
        items = self._shown(tx, page.items, None, buyer, caller, now)
        return Page[OfferingPrice](items=items, next=page.next)

    def _priced(self, tx: Session, search: Search, caller: Caller, listing: Listing) -> Page[OfferingPrice]:
        reference = search.reference
        assert reference is not None
        at, after = database_now(tx), None
        if listing.after is not None:
            at, after = from_microseconds(int(listing.after[0])), listing.after[1:]
        buyer = buyer_of(tx, search.organization, caller, "query/organization", at)
        columns = (OfferingRow.id, OfferingRow.limits, OfferingRow.target)
        query = _matching(search, caller, *columns).limit(MOST_PRICED + 1)
        rows = tx.execute(query).all()
        if len(rows) > MOST_PRICED:
            raise _too_many()
        fitting = {id: target for id, limits, target in rows if reference.fits(Limits.model_validate(limits))}
        current = self._current(tx, list(fitting), reseller_of(tx, buyer.organization, at), at)
        keys = []
        for id, target in fitting.items():
            price = reference.price(current[id], _choosing(buyer, current[id], target), at) if id in current else None
            if search.max_price is None or (price is not None and price <= search.max_price):
                keys.append((UNPRICED if price is None else min(price.fen, UNPRICED - 1), id))
        keys.sort()
        rest = [key for key in keys if after is None or key > after][: listing.fetch]
        page = listing.page(rest, key=lambda key: (to_microseconds(at), *key))
        items = self._shown(tx, [id for _, id in page.items], reference, buyer, caller, at)
        return Page[OfferingPrice](items=items, next=page.next)

    def _shown(
        self, tx: Session, ids: Sequence[str], reference: Reference | None, buyer: Buyer, caller: Caller, at: datetime
    ) -> list[OfferingPrice]:
        """The offerings of these ids, in their order."""
        query = (
            select(
                OfferingRow,
                ProviderRow.name,
                SiteRow.region,
                SiteRow.health_state,
                SiteRow.health_seen_at,
            )
            .join(ProviderRow, ProviderRow.id == OfferingRow.provider)
            .join(SiteRow, SiteRow.id == OfferingRow.site)
            .where(OfferingRow.id.in_(ids))
        )
        reseller = reseller_of(tx, buyer.organization, at)
        sold_by = tx.get_one(OrganizationRow, reseller).name if reseller is not None else None
        current = self._current(tx, ids, reseller, at)
        found = {}
        for offering, provider_name, region, state, seen_at in tx.execute(query):
            price_list = current.get(offering.id)
            mode = mode_at(price_list.modes if price_list else (), at)
            own = _choosing(buyer, price_list, offering.target) if price_list else buyer
            found[offering.id] = OfferingPrice(
                offering=offering.shown(),
                provider_name=provider_name,
                reseller_name=sold_by if price_list is not None and price_list.reseller is not None else None,
                region=region,
                site_health=SiteHealth(state=SiteState(state), detail=SiteState(state).words, seen_at=seen_at)
                if state and seen_at
                else None,
                site_mode=mode,
                unbilled=mode.words,
                price_list=seen_by(caller, price_list, offering.provider) if price_list else None,
                buyer=own,
                price=reference.price(price_list, own, at) if reference and price_list else None,
            )
        return [found[id] for id in ids]

    def _current(
        self, tx: Session, offerings: Sequence[str], reseller: str | None, at: datetime
    ) -> dict[str, PriceList]:
        """The price list that each offering is sold by at `at`: the reseller's, where that sells it, or the provider's."""
        sellers = (PROVIDERS, reseller or PROVIDERS)
        found: list[str] = []
        for some in _batches(offerings):
            of_these = (PriceListRow.offering.in_(some), PriceListRow.reseller.in_(sellers))
            found += tx.scalars(last_revisions(*of_these, PriceListRow.created_at <= at))
        if len(self._price_lists) > KEPT_PRICE_LISTS:
            self._price_lists = {}
        kept = self._price_lists
        for some in _batches([id for id in found if id not in kept]):
            kept |= {row.id: row.shown() for row in tx.scalars(select(PriceListRow).where(PriceListRow.id.in_(some)))}
        newest = [kept[id] for id in found]
        resold = [one for one in newest if one.reseller is not None and sells(one, at)]
        return {one.offering: one for one in (*(one for one in newest if one.reseller is None), *resold)}


def _choosing(buyer: Buyer, price_list: PriceList, target: Mapping[str, Any]) -> Buyer:
    """The buyer of a job without options of its own."""
    if price_list.for_all:
        return buyer
    return buyer.model_copy(update={"options": options_of(price_list, target)})


def _batches(ids: Sequence[str], size: int = 500) -> Iterator[Sequence[str]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))


def _matching(search: Search, caller: Caller, *columns: Any) -> Select[Any]:
    query = (
        select(*columns)
        .select_from(OfferingRow)
        .join(ProviderRow, ProviderRow.id == OfferingRow.provider)
        .join(SiteRow, SiteRow.id == OfferingRow.site)
        .outerjoin(AcceleratorRow, AcceleratorRow.id == OfferingRow.accelerator)
        .where(*_conditions(search))
    )
    if not sees_all(caller):
        on_sale = (OfferingRow.state == OfferingState.ACTIVE) & (ProviderRow.state == ProviderState.APPROVED)
        query = query.where(on_sale | OfferingRow.provider.in_(sorted(caller.providers())))
    return query


def _conditions(search: Search) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [
        column == wanted
        for column, wanted in (
            (OfferingRow.accelerator, search.accelerator),
            (SiteRow.region, search.region),
            (OfferingRow.provider, search.provider),
            (OfferingRow.site, search.site),
            (OfferingRow.state, search.state),
        )
        if wanted is not None
    ]
    if search.tiers:
        conditions.append(OfferingRow.tier.in_(search.tiers))
    if search.text:
        texts = (
            OfferingRow.search_text,
            ProviderRow.search_text,
            SiteRow.search_text,
            AcceleratorRow.search_text,
        )
        conditions += matches(search.text, texts)
    return conditions


def _too_many() -> Invalid:
    detail = (
        f"More than {MOST_PRICED:,} offerings match. Narrow the search by tier, region, provider, accelerator or text."
    )
    return Invalid(errors=[FieldError(pointer="query/cpus", code="too_many", detail=detail)])
