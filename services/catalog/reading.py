"""What all rooms do alike: find a row or say that there is none, compare versions, list by id."""

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from caravan.contracts.problems import UnknownReference
from caravan.kernel.pages import Listing, Page
from caravan.kernel.problems import FieldError, Invalid, NotFound, Stale
from caravan.kernel.tokens import Caller
from services.catalog.models_base import Entity

Row = TypeVar("Row", bound=Entity)
T = TypeVar("T")


def sees_all(caller: Caller) -> bool:
    """The platform's people and its services see everything."""
    return caller.is_platform_reader or caller.is_service()


def found(tx: Session, kind: type[Row], id: str, visible: Callable[[Row], bool]) -> Row:
    """The row, or NotFound: the same whether it is missing or not for the caller's eyes."""
    row = tx.get(kind, id)
    if row is None or not visible(row):
        raise NotFound
    return row


def referred(tx: Session, kind: type[Row], id: str, pointer: str, visible: Callable[[Row], bool]) -> Row:
    """As `found`, for what a body refers to at `pointer`. Raises UnknownReference."""
    row = tx.get(kind, id)
    if row is None or not visible(row):
        raise unknown(pointer)
    return row


def unknown(pointer: str, detail: str = "There is no such thing, or you may not use it.") -> UnknownReference:
    return UnknownReference(errors=[FieldError(pointer=pointer, code="unknown", detail=detail)])


def fresh(row: Entity, version: int) -> None:
    """Raise Stale unless the caller read the row as it is now."""
    if row.version != version:
        raise Stale


def unchanged(before: dict[str, Any], after: dict[str, Any], fields: tuple[str, ...], why: str) -> None:
    """Raise Invalid for each of `fields` that differs: they can't change, or not now, for the reason `why`."""
    errors = [FieldError(pointer=f"/{f}", code="fixed", detail=why) for f in fields if before[f] != after[f]]
    if errors:
        raise Invalid(errors=errors)


def by_id(
    tx: Session, query: Select[Row], id: InstrumentedAttribute[str], listing: Listing, shown: Callable[[Row], T]
) -> Page[T]:
    """A page of `query` in the order of ids, which is that of making."""
    if listing.after is not None:
        query = query.where(id > listing.after[0])
    rows = tx.scalars(query.order_by(id).limit(listing.fetch)).all()
    page = listing.page(rows, key=lambda row: (row.id,))
    return Page[T](items=[shown(row) for row in page.items], next=page.next)
