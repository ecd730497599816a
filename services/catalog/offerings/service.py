"""Decisions about offerings: what may be offered, when it may be sold, and who sees it."""

from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.contracts.events import OFFERING
from caravan.contracts.offerings import Offering, OfferingDraft, OfferingState
from caravan.contracts.problems import NotPublishable, WrongState
from caravan.kernel import feed, ids
from caravan.kernel.database import Database, database_now
from caravan.kernel.pages import Page
from caravan.kernel.problems import FieldError
from caravan.kernel.tokens import Caller
from caravan.pricing.resale import sells
from services.catalog.offerings.drafts import draft_of
from services.catalog.offerings.models import OfferingRow
from services.catalog.parties.models import ProviderRow
from services.catalog.prices.lists import newest
from services.catalog.reading import found, fresh, referred, sees_all, unchanged, unknown
from services.catalog.sites import adapters
from services.catalog.sites.models import SiteRow
from services.catalog.words import normalized

DRAFT, ACTIVE, PAUSED, ARCHIVED = OfferingState
MOVES: Final[dict[str, tuple[tuple[OfferingState, ...], OfferingState]]] = {
    "activate_offering": ((DRAFT, PAUSED), ACTIVE),
    "pause_offering": ((ACTIVE,), PAUSED),
    "archive_offering": ((DRAFT, PAUSED), ARCHIVED),
}
"""Operation -> the states it may start from, and where it leads."""
EDITABLE: Final = (DRAFT, ACTIVE, PAUSED)
FIXED_ONCE_SOLD: Final = ("tier", "accelerator", "target")
"""What jobs were placed by: changes of it make another offering."""


class OfferingService:
    """What is sold on sites."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def create(self, draft: OfferingDraft, caller: Caller) -> Offering:
        """Raises UnknownReference and SettingsRefused."""
        return await self._db.write(self._create, draft, caller)

    def _create(self, tx: Session, draft: OfferingDraft, caller: Caller) -> Offering:
        site = self._checked(tx, draft, caller)
        return self._insert(tx, draft, site.provider)

    async def draft(self, site: str, caller: Caller) -> Page[Offering]:
        """Draft one offering for each part of the site's inventory whose target is not offered yet. Raises NotFound."""
        return await self._db.write(self._draft, site, caller)

    def _draft(self, tx: Session, id: str, caller: Caller) -> Page[Offering]:
        site = found(tx, SiteRow, id, lambda row: caller.is_provider_admin(row.provider))
        offered = tx.scalars(
            select(OfferingRow.target).where(OfferingRow.site == id, OfferingRow.state != ARCHIVED)
        ).all()
        return Page[Offering](
            items=[
                self._insert(tx, draft_of(id, site.name, item, site.accelerators), site.provider)
                for item in site.parts() or ()
                if item.target not in offered
            ]
        )

    async def update(self, id: str, draft: OfferingDraft, caller: Caller, version: int) -> Offering:
        """Raises NotFound, Stale, WrongState when archived, Invalid for what can't change (any more), and as `create`."""
        return await self._db.write(self._update, id, draft, caller, version)

    def _update(self, tx: Session, id: str, draft: OfferingDraft, caller: Caller, version: int) -> Offering:
        row = _own(tx, id, caller)
        fresh(row, version)
        if row.state not in EDITABLE:
            raise WrongState(state=row.state, allowed=tuple(EDITABLE))
        before, after = row.shown().model_dump(), draft.model_dump()
        unchanged(before, after, ("site",), "An offering stays on its site; make a new one there.")
        if row.state != DRAFT:
            unchanged(before, after, FIXED_ONCE_SOLD, "This is fixed once it has been on sale; make a new offering.")
        self._checked(tx, draft, caller)
        for field, value in draft.model_dump(mode="json").items():
            setattr(row, field, value)
        row.search_text = _search_text(draft)
        row.version += 1
        return _changed(tx, row)

    async def move(self, id: str, operation: str, caller: Caller) -> Offering:
        """Activate, pause or archive, as MOVES has it. Raises NotFound, WrongState, NotPublishable."""
        return await self._db.write(self._move, id, operation, caller)

    def _move(self, tx: Session, id: str, operation: str, caller: Caller) -> Offering:
        row = _own(tx, id, caller)
        allowed, to = MOVES[operation]
        if row.state not in allowed:
            raise WrongState(state=row.state, allowed=tuple(allowed))
        if to == ACTIVE:
            errors = _missing(tx, row, database_now(tx))
            if errors:
                raise NotPublishable(errors=errors)
        row.state = to
        row.version += 1
        return _changed(tx, row)

    async def get(self, id: str, caller: Caller) -> Offering:
        return await self._db.read(self._get, id, caller)

    def _get(self, tx: Session, id: str, caller: Caller) -> Offering:
        return found(tx, OfferingRow, id, lambda row: sees_offering(caller, row)).shown()

    def _checked(self, tx: Session, draft: OfferingDraft, caller: Caller) -> SiteRow:
        site = referred(tx, SiteRow, draft.site, "/site", lambda row: caller.is_provider_admin(row.provider))
        if draft.accelerator is not None and draft.accelerator not in site.accelerators:
            raise unknown("/accelerator", "The site doesn't name this accelerator; add its backend name there first.")
        descriptor = adapters.announced(tx, site.adapter)
        adapters.hold(descriptor, "target", draft.target, "/target")
        adapters.hold_choices(descriptor, draft)
        return site

    def _insert(self, tx: Session, draft: OfferingDraft, provider: str) -> Offering:
        row = OfferingRow(
            id=ids.new("off"),
            version=1,
            created_at=database_now(tx),
            provider=provider,
            state=DRAFT,
            search_text=_search_text(draft),
            **draft.model_dump(mode="json"),
        )
        tx.add(row)
        return _changed(tx, row)


def sees_offering(caller: Caller, row: OfferingRow) -> bool:
    """Drafts are their provider's own; what was once on sale stays readable, since jobs and bills refer to it."""
    return row.state != DRAFT or caller.is_provider_admin(row.provider) or sees_all(caller)


def _own(tx: Session, id: str, caller: Caller) -> OfferingRow:
    """The offering, for its provider's admin. Others that see it get the same 404 as those that don't."""
    return found(tx, OfferingRow, id, lambda row: caller.is_provider_admin(row.provider))


def _missing(tx: Session, row: OfferingRow, now: datetime) -> list[FieldError]:
    errors = []
    provider = tx.get(ProviderRow, row.provider)
    if provider is None or not provider.approved:
        detail = "The provider isn't approved; the platform's operator decides on its application."
        errors.append(FieldError(pointer="/provider", code="provider_not_approved", detail=detail))
    price_list = newest(tx, row.id)
    if price_list is None:
        detail = "Publish a price list for it first."
        errors.append(FieldError(pointer="/price_list", code="price_list_missing", detail=detail))
    elif not sells(price_list, now):
        detail = "No tariff of its newest price list covers now; publish one that does."
        errors.append(FieldError(pointer="/price_list", code="price_list_not_covering", detail=detail))
    return errors


def _search_text(draft: OfferingDraft) -> str:
    return normalized(draft.name, draft.description)


def _changed(tx: Session, row: OfferingRow) -> Offering:
    offering = row.shown()
    feed.state(tx, OFFERING, row.id, offering)
    return offering
