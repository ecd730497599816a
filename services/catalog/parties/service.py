"""Decisions about parties: who is registered, who may see whom, how a provider comes to sell."""

from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.contracts.events import ORGANIZATION, PROJECT, PROVIDER
from caravan.contracts.parties import (
    Organization,
    OrganizationDraft,
    Project,
    ProjectDraft,
    Provider,
    ProviderDraft,
    ProviderState,
)
from caravan.contracts.problems import AlreadyExists, WrongState
from caravan.kernel import audit, feed, ids
from caravan.kernel.database import Database, database_now
from caravan.kernel.pages import Listing, Page
from caravan.kernel.tokens import Caller
from services.catalog.parties.models import OrganizationRow, ProjectRow, ProviderRow
from services.catalog.reading import by_id, found, fresh, referred, sees_all, unchanged
from services.catalog.words import normalized

PROVIDER_MOVES: Final[dict[str, tuple[tuple[ProviderState, ...], ProviderState]]] = {
    "approve_provider": ((ProviderState.APPLIED, ProviderState.SUSPENDED), ProviderState.APPROVED),
    "suspend_provider": ((ProviderState.APPROVED,), ProviderState.SUSPENDED),
}
"""Operation -> the states it may start from, and where it leads."""


class OrganizationService:
    """Enterprises that are billed."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def create(self, draft: OrganizationDraft, caller: Caller) -> Organization:
        """Raises AlreadyExists for a credit code that is registered."""
        return await self._db.write(self._create, draft, caller)

    def _create(self, tx: Session, draft: OrganizationDraft, caller: Caller) -> Organization:
        self._code_is_free(tx, draft, None)
        row = OrganizationRow(id=ids.new("org"), version=1, created_at=database_now(tx), **draft.model_dump())
        tx.add(row)
        return self._changed(tx, row, caller, "create_organization")

    async def update(self, id: str, draft: OrganizationDraft, caller: Caller, version: int) -> Organization:
        """Raises NotFound, Stale, and AlreadyExists for a credit code that another organization has."""
        return await self._db.write(self._update, id, draft, caller, version)

    def _update(self, tx: Session, id: str, draft: OrganizationDraft, caller: Caller, version: int) -> Organization:
        row = found(tx, OrganizationRow, id, lambda _: True)
        fresh(row, version)
        self._code_is_free(tx, draft, id)
        row.name, row.credit_code, row.price_class = draft.name, draft.credit_code, draft.price_class
        row.version += 1
        return self._changed(tx, row, caller, "update_organization")

    async def get(self, id: str, caller: Caller) -> Organization:
        return await self._db.read(self._get, id, caller)

    def _get(self, tx: Session, id: str, caller: Caller) -> Organization:
        return found(tx, OrganizationRow, id, lambda row: sees_organization(caller, row.id)).shown()

    async def list(self, caller: Caller, listing: Listing) -> Page[Organization]:
        return await self._db.read(self._list, caller, listing)

    def _list(self, tx: Session, caller: Caller, listing: Listing) -> Page[Organization]:
        query = select(OrganizationRow)
        if not sees_all(caller):
            query = query.where(OrganizationRow.id.in_(sorted(caller.organizations())))
        return by_id(tx, query, OrganizationRow.id, listing, OrganizationRow.shown)

    def _code_is_free(self, tx: Session, draft: OrganizationDraft, mine: str | None) -> None:
        if draft.credit_code is not None:
            same_code = select(OrganizationRow.id).where(OrganizationRow.credit_code == draft.credit_code)
            taken = tx.execute(same_code).scalar_one_or_none()
            if taken is not None and taken != mine:
                raise AlreadyExists("Another organization has this credit code.", existing=taken)

    def _changed(self, tx: Session, row: OrganizationRow, caller: Caller, action: str) -> Organization:
        organization = row.shown()
        feed.state(tx, ORGANIZATION, row.id, organization)
        audit.record(tx, caller.subject, action, row.id, organization)
        return organization


class ProjectService:
    """Cost centres of organizations, kept by the organizations' own admins."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def create(self, draft: ProjectDraft, caller: Caller) -> Project:
        """Raises UnknownReference for an organization that the caller doesn't administer."""
        return await self._db.write(self._create, draft, caller)

    def _create(self, tx: Session, draft: ProjectDraft, caller: Caller) -> Project:
        mine = caller.is_org_admin(draft.organization)
        referred(tx, OrganizationRow, draft.organization, "/organization", lambda _: mine)
        row = ProjectRow(id=ids.new("prj"), version=1, created_at=database_now(tx), **draft.model_dump())
        tx.add(row)
        return self._changed(tx, row)

    async def update(self, id: str, draft: ProjectDraft, caller: Caller, version: int) -> Project:
        """Rename. Raises NotFound, Stale, and Invalid when the organization is another one."""
        return await self._db.write(self._update, id, draft, caller, version)

    def _update(self, tx: Session, id: str, draft: ProjectDraft, caller: Caller, version: int) -> Project:
        row = found(tx, ProjectRow, id, lambda row: caller.is_org_admin(row.organization))
        fresh(row, version)
        why = "A project stays with its organization; make a new one there."
        unchanged(row.shown().model_dump(), draft.model_dump(), ("organization",), why)
        row.name = draft.name
        row.version += 1
        return self._changed(tx, row)

    async def get(self, id: str, caller: Caller) -> Project:
        return await self._db.read(self._get, id, caller)

    def _get(self, tx: Session, id: str, caller: Caller) -> Project:
        return found(tx, ProjectRow, id, lambda row: sees_organization(caller, row.organization)).shown()

    async def list(self, organization: str | None, caller: Caller, listing: Listing) -> Page[Project]:
        return await self._db.read(self._list, organization, caller, listing)

    def _list(self, tx: Session, organization: str | None, caller: Caller, listing: Listing) -> Page[Project]:
        query = select(ProjectRow)
        if organization is not None:
            query = query.where(ProjectRow.organization == organization)
        if not sees_all(caller):
            query = query.where(ProjectRow.organization.in_(sorted(caller.organizations())))
        return by_id(tx, query, ProjectRow.id, listing, ProjectRow.shown)

    def _changed(self, tx: Session, row: ProjectRow) -> Project:
        project = row.shown()
        feed.state(tx, PROJECT, row.id, project)
        return project


class ProviderService:
    """Compute centres, from their application on."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def apply(self, draft: ProviderDraft, caller: Caller) -> Provider:
        return await self._db.write(self._apply, draft, caller)

    def _apply(self, tx: Session, draft: ProviderDraft, caller: Caller) -> Provider:
        row = ProviderRow(
            id=ids.new("prv"),
            version=1,
            created_at=database_now(tx),
            state=ProviderState.APPLIED,
            applicant=caller.subject,
            search_text=normalized(draft.name, draft.region),
            **draft.model_dump(),
        )
        tx.add(row)
        return self._changed(tx, row)

    async def move(self, id: str, operation: str, caller: Caller) -> Provider:
        """Approve or suspend, as PROVIDER_MOVES has it. Raises NotFound and WrongState."""
        return await self._db.write(self._move, id, operation, caller)

    def _move(self, tx: Session, id: str, operation: str, caller: Caller) -> Provider:
        row = found(tx, ProviderRow, id, lambda _: True)
        allowed, to = PROVIDER_MOVES[operation]
        if row.state not in allowed:
            raise WrongState(state=row.state, allowed=tuple(allowed))
        row.state = to
        row.version += 1
        provider = self._changed(tx, row)
        audit.record(tx, caller.subject, operation, id, provider)
        return provider

    async def get(self, id: str, caller: Caller) -> Provider:
        return await self._db.read(self._get, id, caller)

    def _get(self, tx: Session, id: str, caller: Caller) -> Provider:
        return found(tx, ProviderRow, id, lambda row: sees_provider(caller, row)).shown()

    async def list(self, caller: Caller, state: ProviderState | None, listing: Listing) -> Page[Provider]:
        return await self._db.read(self._list, caller, state, listing)

    def _list(self, tx: Session, caller: Caller, state: ProviderState | None, listing: Listing) -> Page[Provider]:
        query = select(ProviderRow)
        if state is not None:
            query = query.where(ProviderRow.state == state)
        if not sees_all(caller):
            query = query.where(
                (ProviderRow.state == ProviderState.APPROVED)
                | ProviderRow.id.in_(sorted(caller.providers()))
                | (ProviderRow.applicant == caller.subject)
            )
        return by_id(tx, query, ProviderRow.id, listing, ProviderRow.shown)

    def _changed(self, tx: Session, row: ProviderRow) -> Provider:
        provider = row.shown()
        feed.state(tx, PROVIDER, row.id, provider)
        return provider


def sees_organization(caller: Caller, organization: str) -> bool:
    return sees_all(caller) or caller.is_org_member(organization)


def sees_provider(caller: Caller, row: ProviderRow) -> bool:
    """Approved providers are public; others are for the platform, their admins and whoever applied."""
    mine = caller.is_provider_admin(row.id) or row.applicant == caller.subject
    return row.approved or mine or sees_all(caller)
