"""Files that bear out what an enterprise asks for, each kind in a table of its own. Within a transaction."""

import hashlib
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Table, func, select
from sqlalchemy.orm import Session

from caravan.contracts.vouchers import Evidence
from caravan.kernel.feed import upsert
from caravan.kernel.problems import FieldError, Invalid, NotFound

MAX_BYTES: Final = 8 * 1024 * 1024
"""Of a file."""
MAX_FILES: Final = 20
"""Of one application or reimbursement."""
MEDIA_TYPES: Final[Mapping[str, str]] = {
    "pdf": "application/pdf",
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "csv": "text/csv",
}
"""By the ending of a file's name, in lower case."""


class Files:
    """In `table`, whose column `of` names what they belong to."""

    def __init__(self, table: Table, of: str) -> None:
        self._table = table
        self._of = table.c[of]
        self._shown = [column for column in table.c if column.name not in (of, "content")]

    def keep(self, tx: Session, of: str, name: str, content: bytes, subject: str, at: datetime) -> Evidence:
        """In place of one of that name. Raises Invalid."""
        if not content:
            raise Invalid(
                errors=[FieldError(pointer="", code="empty", detail="This file is empty: send its bytes as the body")]
            )
        others = select(func.count()).where(self._of == of, self._table.c.name != name)
        if tx.execute(others).scalar_one() >= MAX_FILES:
            detail = f"There are at most {MAX_FILES} files: replace one of them"
            raise Invalid(errors=[FieldError(pointer="path/name", code="too_many", detail=detail)])
        stored = Evidence(
            name=name,
            media_type=MEDIA_TYPES[name.rpartition(".")[2].lower()],
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            stored_at=at,
            stored_by=subject,
        )
        values = dict(stored) | {"content": content}
        put = upsert(tx, self._table).values(values | {self._of.name: of})
        tx.execute(put.on_conflict_do_update(index_elements=[self._of.name, "name"], set_=values))
        return stored

    def content(self, tx: Session, of: str, name: str) -> tuple[Evidence, bytes]:
        """Raises NotFound."""
        query = select(*self._shown, self._table.c.content).where(self._of == of, self._table.c.name == name)
        row = tx.execute(query).one_or_none()
        if row is None:
            raise NotFound
        values: dict[str, Any] = row._asdict()
        content: bytes = values.pop("content")
        return Evidence(**values), content

    def of(self, tx: Session, these: Collection[str]) -> dict[str, list[Evidence]]:
        """The files of each, by name."""
        found: dict[str, list[Evidence]] = {one: [] for one in these}
        query = select(self._of.label("of"), *self._shown).where(self._of.in_(these))
        for row in tx.execute(query.order_by(self._of, self._table.c.name)):
            values = row._asdict()
            found[values.pop("of")].append(Evidence(**values))
        return found
