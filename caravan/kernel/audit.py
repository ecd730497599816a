"""The audit log: who decided what. Entries are written in the transaction of the decision and never changed."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import Query
from pydantic import BaseModel
from sqlalchemy import Row, insert, select
from sqlalchemy.orm import Session

from caravan.kernel import ids
from caravan.kernel.database import database_now
from caravan.kernel.events import AuditEntry
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.runtime import Runtime
from caravan.kernel.tables import audit
from caravan.kernel.web import PlatformAdmin, Router, provided


def record(tx: Session, subject: str, action: str, entity: str, data: BaseModel | None = None) -> None:
    """Note that `subject` did `action` to `entity`; `data` is what it asked for, or how the entity is now."""
    at: datetime = database_now(tx)
    kept = data.model_dump(mode="json", by_alias=True) if data is not None else {}
    tx.execute(insert(audit).values(id=ids.new("aud"), at=at, subject=subject, action=action, entity=entity, data=kept))


def read(tx: Session, entity: str | None, before: str | None, limit: int) -> Sequence[Row[Any]]:
    """Entries older than the id `before`, newest first."""
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if entity is not None:
        query = query.where(audit.c.entity == entity)
    if before is not None:
        query = query.where(audit.c.id < before)
    return tx.execute(query).all()


audit_router: Final = Router(prefix="/v1", tags=["audit"])
"""GET /v1/audit, the same for every service. The app provides its `Runtime`."""


@audit_router.get("/audit")
async def list_audit_entries(
    page: PageParams,
    caller: PlatformAdmin,
    runtime: Annotated[Runtime, provided(Runtime)],
    entity: Annotated[str | None, Query(max_length=200)] = None,
) -> Page[AuditEntry]:
    """List who decided what, the newest first."""
    listing = page.listing("audit", caller, (str,), entity=entity)
    before = str(listing.after[0]) if listing.after else None
    rows = await runtime.db.read(read, entity, before, listing.fetch)
    entries = [AuditEntry.model_validate(row._asdict()) for row in rows]
    return listing.page(entries, key=lambda entry: (entry.id,))
