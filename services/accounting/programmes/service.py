"""Drafting programmes, publishing them, and their pools. The office sees all; others what is published."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, delete, insert, select, true, update
from sqlalchemy.orm import Session

from caravan.contracts.problems import WrongState
from caravan.contracts.programmes import Mode, PoolsDraft, PoolStanding, Programme, ProgrammeDraft, ProgrammeState
from caravan.kernel import audit, ids
from caravan.kernel.database import table_of
from caravan.kernel.money import Money
from caravan.kernel.pages import Listing, Page
from caravan.kernel.problems import FieldError, Invalid, NotFound, Stale
from caravan.kernel.runtime import Runtime
from caravan.kernel.tokens import Caller
from services.accounting.funds.service import check_amount, unknown
from services.accounting.programmes.models import PoolRow, ProgrammeRow
from services.accounting.usage import copies

PROGRAMMES, POOLS = table_of(ProgrammeRow), table_of(PoolRow)
MAX_MONTHS: Final = 1200
"""A century: dates stay within the calendar."""


class ProgrammeService:
    """What the office sets up, and everybody reads."""

    def __init__(self, runtime: Runtime) -> None:
        self._db = runtime.db
        self._now = runtime.now

    async def create(self, draft: ProgrammeDraft, caller: Caller) -> Programme:
        """Raises Invalid for an amount or months out of bounds or two funders of one name, UnknownReference for a supplier that isn't known
        here."""
        _check_terms(draft)
        return await self._db.write(create, draft, caller, self._now())

    async def change(self, id: str, draft: ProgrammeDraft, version: int, caller: Caller) -> Programme:
        """Raises NotFound, Stale, WrongState when it is published; and as `create`."""
        _check_terms(draft)
        return await self._db.write(change, id, draft, version, caller)

    async def publish(self, id: str, version: int, caller: Caller) -> Programme:
        """Raises NotFound, Stale, WrongState when it is published."""
        return await self._db.write(publish, id, version, caller, self._now())

    async def set_pools(self, id: str, draft: PoolsDraft, version: int, caller: Caller) -> Programme:
        """Raises NotFound, Stale; Invalid where a year would have less than is committed of it."""
        _check_pools(draft)
        return await self._db.write(set_pools, id, draft, version, caller)

    async def get(self, id: str, caller: Caller) -> Programme:
        """Raises NotFound, also for a draft of which the caller may not know."""
        return await self._db.read(find, id, seen_by(caller))

    async def list(self, listing: Listing, caller: Caller) -> Page[Programme]:
        """The newest first."""
        found = await self._db.read(_page, listing, caller)
        return listing.page(found, key=lambda programme: (programme.id,))


def create(tx: Session, draft: ProgrammeDraft, caller: Caller, at: datetime) -> Programme:
    """As `ProgrammeService.create`, of terms that are checked."""
    _check_suppliers(tx, draft)
    id = ids.new("prg")
    fixed = {"id": id, "state": ProgrammeState.DRAFT.value, "version": 1, "created_at": at}
    tx.execute(insert(PROGRAMMES).values(fixed | _terms(draft)))
    _put_pools(tx, id, draft)
    audit.record(tx, caller.subject, "create_programme", id, draft)
    return find(tx, id)


def change(tx: Session, id: str, draft: ProgrammeDraft, version: int, caller: Caller) -> Programme:
    _check_draft(tx, id, version)
    _check_suppliers(tx, draft)
    _update(tx, id, version, _terms(draft))
    _put_pools(tx, id, draft)
    audit.record(tx, caller.subject, "update_programme", id, draft)
    return find(tx, id)


def publish(tx: Session, id: str, version: int, caller: Caller, at: datetime) -> Programme:
    _check_draft(tx, id, version)
    _update(tx, id, version, {"state": ProgrammeState.PUBLISHED.value, "published_at": at})
    published = find(tx, id)
    audit.record(tx, caller.subject, "publish_programme", id, published)
    return published


def set_pools(tx: Session, id: str, draft: PoolsDraft, version: int, caller: Caller) -> Programme:
    """As `ProgrammeService.set_pools`, of amounts that are checked."""
    found = find(tx, id)
    if found.version != version:
        raise Stale
    committed = {pool.year: pool.committed for pool in found.pools}
    errors = [
        FieldError(pointer=pointer, code="committed", detail=f"Give {year} at least {least}, which is committed of it")
        for pointer, year, least in _short(draft, committed)
    ]
    if errors:
        raise Invalid(errors=errors)
    _put_pools(tx, id, draft, committed)
    _update(tx, id, version, {})
    audit.record(tx, caller.subject, "set_programme_pools", id, draft)
    return find(tx, id)


def find(tx: Session, id: str, which: ColumnElement[bool] | None = None) -> Programme:
    """The programme, if it is among `which`. Raises NotFound."""
    rows = tx.execute(select(PROGRAMMES).where(PROGRAMMES.c.id == id, true() if which is None else which)).all()
    if not rows:
        raise NotFound
    return shown(tx, rows)[0]


def reimbursing(tx: Session) -> set[str]:
    """The programmes that reimburse."""
    rows = tx.execute(select(PROGRAMMES.c.id, PROGRAMMES.c.terms))
    return {row.id for row in rows if row.terms["mode"] == Mode.REIMBURSED}


def shown(tx: Session, rows: Sequence[Row[Any]]) -> list[Programme]:
    """Rows of PROGRAMMES, with their pools by year."""
    pools: dict[str, list[PoolStanding]] = {row.id: [] for row in rows}
    for pool in tx.execute(select(POOLS).where(POOLS.c.programme.in_(pools)).order_by(POOLS.c.year)):
        standing = PoolStanding(year=pool.year, amount=Money(pool.amount), committed=Money(pool.committed))
        pools[pool.programme].append(standing)
    fixed = ("id", "state", "version", "created_at", "published_at")
    return [
        Programme.model_validate(row.terms | {"pools": pools[row.id]} | {name: getattr(row, name) for name in fixed})
        for row in rows
    ]


def _page(tx: Session, listing: Listing, caller: Caller) -> list[Programme]:
    query = select(PROGRAMMES).where(seen_by(caller)).order_by(PROGRAMMES.c.id.desc()).limit(listing.fetch)
    if listing.after:
        query = query.where(PROGRAMMES.c.id < listing.after[0])
    return shown(tx, tx.execute(query).all())


def seen_by(caller: Caller) -> ColumnElement[bool]:
    return true() if caller.is_office else PROGRAMMES.c.state == ProgrammeState.PUBLISHED.value


def _check_draft(tx: Session, id: str, version: int) -> None:
    found = find(tx, id)
    if found.state is not ProgrammeState.DRAFT:
        detail = "It is published, and its terms stay. Change its pools, or make another programme"
        raise WrongState(detail, state=found.state, allowed=(ProgrammeState.DRAFT.value,))
    if found.version != version:
        raise Stale


def _update(tx: Session, id: str, version: int, values: dict[str, Any]) -> None:
    tx.execute(update(PROGRAMMES).where(PROGRAMMES.c.id == id).values(values | {"version": version + 1}))


def _terms(draft: ProgrammeDraft) -> dict[str, Any]:
    document = draft.model_dump(mode="json", exclude={"pools"})
    return {"starts_at": draft.starts_at, "ends_at": draft.ends_at, "terms": document}


def _put_pools(
    tx: Session, id: str, draft: ProgrammeDraft | PoolsDraft, committed: dict[int, Money] | None = None
) -> None:
    known = committed or {}
    tx.execute(delete(POOLS).where(POOLS.c.programme == id))
    for pool in draft.pools:
        standing = {"amount": pool.amount.fen, "committed": known.get(pool.year, Money(0)).fen}
        tx.execute(insert(POOLS).values(programme=id, year=pool.year, **standing))


def _short(draft: PoolsDraft, committed: dict[int, Money]) -> Iterator[tuple[str, int, Money]]:
    """Pointer, year and the least that it must have, of years with less."""
    for place, pool in enumerate(draft.pools):
        if pool.amount < committed.get(pool.year, Money(0)):
            yield f"/pools/{place}/amount", pool.year, committed[pool.year]
    kept = {pool.year for pool in draft.pools}
    for year, least in committed.items():
        if year not in kept and least:
            yield "/pools", year, least


def _check_suppliers(tx: Session, draft: ProgrammeDraft) -> None:
    for place, supplier in enumerate(draft.eligibility.suppliers):
        if not copies.is_party(tx, supplier):
            raise unknown(f"/eligibility/suppliers/{place}")


def _check_terms(draft: ProgrammeDraft) -> None:
    _check_pools(draft)
    _check_months(draft)
    _check_funders(draft)
    check_amount(draft.floor, "/floor", 0)
    for name, cap in draft.caps:
        if isinstance(cap, Money):
            check_amount(cap, f"/caps/{name}", 1)


def _check_pools(draft: ProgrammeDraft | PoolsDraft) -> None:
    for place, pool in enumerate(draft.pools):
        check_amount(pool.amount, f"/pools/{place}/amount", 0)


def _check_months(draft: ProgrammeDraft) -> None:
    given = {
        "/valid_months": draft.valid_months,
        "/eligibility/oldest_months": draft.eligibility.oldest_months,
        "/eligibility/youngest_months": draft.eligibility.youngest_months,
    }
    for pointer, months in given.items():
        if months is not None and months > MAX_MONTHS:
            raise Invalid(errors=[FieldError(pointer=pointer, code="too_large", detail=f"Give at most {MAX_MONTHS}")])


def _check_funders(draft: ProgrammeDraft) -> None:
    names: set[str] = set()
    for place, funder in enumerate(draft.funders):
        if funder.name in names:
            detail = "Give each funder a name of its own: payments are told apart by it"
            raise Invalid(errors=[FieldError(pointer=f"/funders/{place}/name", code="doubled", detail=detail)])
        names.add(funder.name)
