"""Lists in pages: `{"items": [...], "next": "<cursor>" | null}`, by key, without counting.

    @router.get("/jobs")
    async def list_jobs(page: PageParams, caller: OrgReader, jobs: Jobs, state: JobState | None = None) -> Page[Job]:
        \"\"\"List jobs, the newest first.\"\"\"
        return await jobs.list(caller, page.listing("jobs", caller, (str,), state=state))

    # in the service: `listing.after` is the last key of the page before, or None; read `listing.fetch` rows (one more than shown)
    rows = tx.execute(select(...).where(id < listing.after[0] if listing.after else true()).order_by(id.desc()).limit(listing.fetch))
    return listing.page([to_job(row) for row in rows], key=lambda job: (job.id,))

A cursor is bound to its list, filters and caller: with others it is 422, and so is a made-up one. It isn't signed: it holds
nothing but the last key, and whoever forges one moves within what the filters and the caller's permissions already give.
"""

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Generic, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from caravan.kernel.problems import FieldError, Invalid
from caravan.kernel.tokens import Caller

T = TypeVar("T")
Key = tuple[str | int, ...]

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 200
_CHECK_BYTES: Final = 12
_MAX_INTEGER: Final = 2**63 - 1


class Page(BaseModel, Generic[T]):
    """A page of a list. Give `next` as `cursor` for the page after; null says that there is none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    items: list[T]
    next: str | None = Field(default=None, description="Cursor of the next page.")


@dataclass(frozen=True, slots=True)
class Listing:
    """Where in its list a request stands: rows come `after` this key (None: from the start), `limit` of them."""

    limit: int
    after: Key | None
    _binding: bytes

    @property
    def fetch(self) -> int:
        """How many rows to read: one more than is shown, so that it is known whether a next page exists."""
        return self.limit + 1

    def page(self, rows: Sequence[T], key: Callable[[T], Key]) -> Page[T]:
        """The page of at most `fetch` rows; `key` gives the columns that the list is ordered by, of which the last is unique."""
        shown = list(rows[: self.limit])
        more = len(rows) > self.limit
        return Page[T](items=shown, next=_encode(key(shown[-1]), self._binding) if more else None)


class _PageParams:
    def __init__(self, limit: int, cursor: str | None) -> None:
        self.limit = limit
        self.cursor = cursor

    def listing(
        self, name: str, caller: Caller | None, kinds: Sequence[type[str] | type[int]], **filters: Any
    ) -> Listing:
        """Read the cursor. `kinds` are the types of the key's columns; `filters` are all that shape the list (text forms count).

        Raises Invalid (`query/cursor`) when the cursor is made up, or of another list, other filters or another caller.
        """
        who = (caller.subject, sorted(caller.permissions)) if caller else None
        scope = json.dumps([name, who, sorted((k, str(v)) for k, v in filters.items() if v is not None)])
        binding = hashlib.sha256(scope.encode("utf-8", "surrogatepass")).digest()
        after = _decode(self.cursor, binding, kinds) if self.cursor is not None else None
        return Listing(self.limit, after, binding)


async def _page_params(
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="How many items at most.")] = DEFAULT_LIMIT,
    cursor: Annotated[str | None, Query(max_length=1000, description="`next` of the page before.")] = None,
) -> _PageParams:
    return _PageParams(limit, cursor)


PageParams = Annotated[_PageParams, Depends(_page_params)]
"""The query parameters `limit` (1 to 200, 50 if not given) and `cursor`."""


def _check(payload: bytes, binding: bytes) -> bytes:
    return hashlib.sha256(binding + payload).digest()[:_CHECK_BYTES]


def _encode(key: Key, binding: bytes) -> str:
    payload = json.dumps(key, separators=(",", ":")).encode()
    return urlsafe_b64encode(_check(payload, binding) + payload).rstrip(b"=").decode("ascii")


def _decode(cursor: str, binding: bytes, kinds: Sequence[type[str] | type[int]]) -> Key:
    try:
        raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        check, payload = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
        if check != _check(payload, binding):
            raise ValueError
        key = json.loads(payload)
    except (ValueError, RecursionError):
        raise _bad_cursor() from None
    if not isinstance(key, list) or len(key) != len(kinds):
        raise _bad_cursor()
    for value, kind in zip(key, kinds, strict=True):
        if type(value) is not kind or (isinstance(value, int) and abs(value) > _MAX_INTEGER):
            raise _bad_cursor()
        if isinstance(value, str) and ("\0" in value or not value.isprintable()):
            raise _bad_cursor()
    return tuple(key)


def _bad_cursor() -> Invalid:
    detail = "This is not a cursor of this list with these filters for this caller. Start without one, or send `next` unchanged."
    return Invalid(errors=[FieldError(pointer="query/cursor", code="cursor", detail=detail)])
