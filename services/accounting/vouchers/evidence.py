"""Files that bear applications out: replaced while nobody reviews them, and then kept as they are."""

import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from caravan.contracts.problems import WrongState
from caravan.contracts.vouchers import ApplicationState, Evidence
from caravan.kernel import audit
from caravan.kernel.database import table_of
from caravan.kernel.feed import upsert
from caravan.kernel.problems import FieldError, Invalid, NotFound
from caravan.kernel.tokens import Caller
from services.accounting.vouchers.models import ApplicationRow, EvidenceRow

APPLICATIONS, EVIDENCE = table_of(ApplicationRow), table_of(EvidenceRow)
MAX_BYTES: Final = 8 * 1024 * 1024
"""Of a file."""
MAX_FILES: Final = 20
"""Of an application."""
MEDIA_TYPES: Final[Mapping[str, str]] = {
    "pdf": "application/pdf",
    "png": "image/png",
    "jpg": "image/jpeg",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "csv": "text/csv",
}
"""By the ending of a file's name."""
_SHOWN: Final = [column for column in EVIDENCE.c if column.name not in ("application", "content")]


def store(tx: Session, application: str, name: str, content: bytes, caller: Caller, at: datetime) -> Evidence:
    """Keep a file, in place of one of that name. Raises NotFound unless the caller may apply for the organization; WrongState, Invalid."""
    row = tx.execute(select(APPLICATIONS).where(APPLICATIONS.c.id == application)).one_or_none()
    if row is None or not caller.is_org_admin(row.organization):
        raise NotFound
    if row.state != ApplicationState.APPLIED:
        raise WrongState(state=row.state, allowed=(ApplicationState.APPLIED.value,))
    if not content:
        raise Invalid(errors=[FieldError(pointer="", code="empty", detail="Send the file's bytes as the body")])
    others = select(func.count()).where(EVIDENCE.c.application == application, EVIDENCE.c.name != name)
    if tx.execute(others).scalar_one() >= MAX_FILES:
        detail = f"An application has at most {MAX_FILES} files: replace one of them"
        raise Invalid(errors=[FieldError(pointer="path/name", code="too_many", detail=detail)])
    stored = Evidence(
        name=name,
        media_type=MEDIA_TYPES[name.rpartition(".")[2]],
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        stored_at=at,
        stored_by=caller.subject,
    )
    values = dict(stored) | {"content": content}
    put = upsert(tx, EVIDENCE).values(values | {"application": application})
    tx.execute(put.on_conflict_do_update(index_elements=["application", "name"], set_=values))
    moved = {"version": row.version + 1}
    tx.execute(update(APPLICATIONS).where(APPLICATIONS.c.id == application).values(moved))
    audit.record(tx, caller.subject, "store_voucher_evidence", application, stored)
    return stored


def content_of(tx: Session, application: str, name: str) -> tuple[Evidence, bytes]:
    """A file of an application that the caller may see. Raises NotFound."""
    query = select(*_SHOWN, EVIDENCE.c.content)
    row = tx.execute(query.where(EVIDENCE.c.application == application, EVIDENCE.c.name == name)).one_or_none()
    if row is None:
        raise NotFound
    values: dict[str, Any] = row._asdict()
    content: bytes = values.pop("content")
    return Evidence(**values), content


def evidence_of(tx: Session, applications: Collection[str]) -> dict[str, list[Evidence]]:
    """The files of each application, by name."""
    found: dict[str, list[Evidence]] = {one: [] for one in applications}
    query = select(EVIDENCE.c.application, *_SHOWN).where(EVIDENCE.c.application.in_(applications))
    for row in tx.execute(query.order_by(EVIDENCE.c.application, EVIDENCE.c.name)):
        values = row._asdict()
        found[values.pop("application")].append(Evidence(**values))
    return found
