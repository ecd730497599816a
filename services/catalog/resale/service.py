"""Decisions about resale agreements: two levels, one reseller at a time, and who sees them."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, or_, select, true
from sqlalchemy.orm import Session

from caravan.contracts.events import RESALE_AGREEMENT
from caravan.contracts.problems import ResaleConflict
from caravan.contracts.resale import ResaleAgreement, ResaleAgreementDraft, ResaleEnd, ResaleTerms
from caravan.kernel import audit, feed, ids
from caravan.kernel.clock import floor_hour
from caravan.kernel.database import Database, database_now
from caravan.kernel.pages import Listing, Page
from caravan.kernel.problems import FieldError, Invalid
from caravan.kernel.tokens import Caller
from services.catalog.parties.models import OrganizationRow, ProjectRow
from services.catalog.reading import by_id, found, referred, sees_all, unknown
from services.catalog.resale.models import ResaleAgreementRow, ResaleMemberRow


class ResaleService:
    """Agreements between a reseller and its members."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def create(self, draft: ResaleAgreementDraft, caller: Caller) -> ResaleAgreement:
        """Raises UnknownReference; Invalid for an hour that is over, or a project that isn't the reseller's; ResaleConflict."""
        return await self._db.write(self._create, draft, caller)

    def _create(self, tx: Session, draft: ResaleAgreementDraft, caller: Caller) -> ResaleAgreement:
        now = database_now(tx)
        if draft.starts_at < floor_hour(now):
            raise _past("/starts_at", "This hour is over: give the one that runs now, or a later one.")
        if draft.ends_at is not None and draft.ends_at <= now:
            raise _past("/ends_at", "Give an hour that is still to come, or none.")
        organizations = set(
            tx.scalars(select(OrganizationRow.id).where(OrganizationRow.id.in_((draft.reseller, *draft.members))))
        )
        for pointer, one in _parties(draft):
            if one not in organizations:
                raise unknown(pointer, "There is no such organization.")
        project = referred(tx, ProjectRow, draft.project, "/project", lambda _: True)
        if project.organization != draft.reseller:
            detail = "This project is another organization's: give one of the reseller's."
            raise Invalid(errors=[FieldError(pointer="/project", code="not_the_resellers", detail=detail)])
        _hold_apart(tx, draft, None)
        row = ResaleAgreementRow(
            id=ids.new("rsl"),
            version=1,
            created_at=now,
            **draft.model_dump(exclude={"members"}),
            members=list(draft.members),
        )
        tx.add(row)
        tx.flush()
        tx.add_all(ResaleMemberRow(agreement=row.id, organization=one) for one in draft.members)
        return _changed(tx, row, caller, "create_resale_agreement")

    async def end(self, id: str, end: ResaleEnd, caller: Caller) -> ResaleAgreement:
        """At its start: it is cancelled. Raises NotFound; Invalid for an hour that isn't to come, or when it has ended; ResaleConflict
        where it would last longer."""
        return await self._db.write(self._end, id, end, caller)

    def _end(self, tx: Session, id: str, end: ResaleEnd, caller: Caller) -> ResaleAgreement:
        row = found(tx, ResaleAgreementRow, id, lambda _: True)
        now = database_now(tx)
        if row.ends_at is not None and row.ends_at <= now:
            raise _past("/ends_at", "This agreement has ended, and stays so: make another one.")
        if end.ends_at <= now or end.ends_at < row.starts_at:
            detail = "Give an hour that is still to come, after the agreement's start; or this, to cancel it before it begins."
            raise _past("/ends_at", detail)
        if row.ends_at != end.ends_at:
            row.ends_at = end.ends_at
            _hold_apart(tx, row.shown(), id)
            row.version += 1
            return _changed(tx, row, caller, "end_resale_agreement")
        return row.shown()

    async def get(self, id: str, caller: Caller) -> ResaleAgreement:
        return await self._db.read(self._get, id, caller)

    def _get(self, tx: Session, id: str, caller: Caller) -> ResaleAgreement:
        return _seen(found(tx, ResaleAgreementRow, id, lambda row: _sees(row, caller)), caller)

    async def list(self, caller: Caller, listing: Listing) -> Page[ResaleAgreement]:
        return await self._db.read(self._list, caller, listing)

    def _list(self, tx: Session, caller: Caller, listing: Listing) -> Page[ResaleAgreement]:
        mine = caller.organizations()
        query = select(ResaleAgreementRow).where(true() if sees_all(caller) else _of(mine))
        return by_id(tx, query, ResaleAgreementRow.id, listing, lambda row: _seen(row, caller))


def resells(tx: Session, organization: str, at: datetime) -> bool:
    """Whether it has an agreement as the reseller that hasn't ended."""
    lasts = ResaleAgreementRow.ends_at.is_(None) | (ResaleAgreementRow.ends_at > at)
    its = select(ResaleAgreementRow.id).where(ResaleAgreementRow.reseller == organization)
    return tx.scalar(its.where(lasts, ResaleAgreementRow.stands())) is not None


def _of(organizations: Collection[str]) -> ColumnElement[bool]:
    """Agreements that one of these is in."""
    mine = sorted(organizations)
    members = select(ResaleMemberRow.agreement).where(ResaleMemberRow.organization.in_(mine))
    return or_(ResaleAgreementRow.reseller.in_(mine), ResaleAgreementRow.id.in_(members))


def _sees(row: ResaleAgreementRow, caller: Caller) -> bool:
    mine = caller.organizations()
    return sees_all(caller) or row.reseller in mine or not mine.isdisjoint(row.members)


def _seen(row: ResaleAgreementRow, caller: Caller) -> ResaleAgreement:
    """All of it for the platform and the reseller; a member doesn't learn who else is one."""
    agreement, mine = row.shown(), caller.organizations()
    if sees_all(caller) or agreement.reseller in mine:
        return agreement
    return agreement.model_copy(update={"members": tuple(one for one in agreement.members if one in mine)})


def _parties(draft: ResaleTerms) -> list[tuple[str, str]]:
    """Pointer and id of each."""
    return [("/reseller", draft.reseller), *((f"/members/{i}", one) for i, one in enumerate(draft.members))]


def _hold_apart(tx: Session, draft: ResaleTerms, mine: str | None) -> None:
    """Raise ResaleConflict where an organization of it is in another agreement at some second of it, unless as the reseller of both."""
    meets = [
        ResaleAgreementRow.stands(),
        ResaleAgreementRow.ends_at.is_(None) | (ResaleAgreementRow.ends_at > draft.starts_at),
        true() if draft.ends_at is None else ResaleAgreementRow.starts_at < draft.ends_at,
        true() if mine is None else ResaleAgreementRow.id != mine,
    ]
    others = tx.scalars(
        select(ResaleAgreementRow).where(_of((draft.reseller, *draft.members)), *meets).order_by(ResaleAgreementRow.id)
    )
    for other in others:
        for pointer, one in _parties(draft):
            if one in other.members or (one == other.reseller and one != draft.reseller):
                pointer = pointer if mine is None else "/ends_at"
                detail = "It is in another agreement for some of this time."
                raise ResaleConflict(
                    existing=other.id, errors=[FieldError(pointer=pointer, code="in_another_agreement", detail=detail)]
                )


def _past(pointer: str, detail: str) -> Invalid:
    return Invalid(errors=[FieldError(pointer=pointer, code="past", detail=detail)])


def _changed(tx: Session, row: ResaleAgreementRow, caller: Caller, action: str) -> ResaleAgreement:
    agreement = row.shown()
    feed.state(tx, RESALE_AGREEMENT, row.id, agreement)
    audit.record(tx, caller.subject, action, row.id, agreement)
    return agreement
