"""Budgets: limits over time for an organization or one of its projects."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, func, insert, literal, select, update
from sqlalchemy.orm import Session

from caravan.contracts import events
from caravan.contracts.funds import Budget, BudgetChange, BudgetDraft, BudgetState, HoldStatus
from caravan.kernel import audit, feed, ids
from caravan.kernel.money import Money
from caravan.kernel.pages import Listing, Page
from caravan.kernel.problems import FieldError, Invalid, NotFound, Stale
from caravan.kernel.runtime import Runtime
from caravan.kernel.tokens import Caller
from services.accounting.funds.models import BudgetRow, HoldBudget, HoldRow
from services.accounting.funds.service import check_amount, unknown
from services.accounting.usage import copies

CHARGED: Final = HoldRow.captured + func.coalesce(HoldRow.corrected, 0)
"""What a job was charged, in fen."""


class BudgetService:
    """Makes, lists and changes budgets. A new budget counts the jobs that were submitted in its span before it was made, too."""

    def __init__(self, runtime: Runtime) -> None:
        self._db = runtime.db
        self._now = runtime.now

    async def create(self, draft: BudgetDraft, caller: Caller) -> Budget:
        """Raises UnknownReference when the organization isn't the caller's, or the project not the organization's."""
        check_amount(draft.limit, "/limit", 0)
        if draft.ends_at is not None and draft.ends_at <= draft.starts_at:
            detail = "ends_at must be after starts_at"
            raise Invalid(errors=[FieldError(pointer="/ends_at", code="span", detail=detail)])
        if not caller.is_org_admin(draft.organization):
            raise unknown("/organization")
        if not await copies.arrived(self._db, draft.organization):
            raise unknown("/organization")
        if draft.project is not None and not await copies.arrived(self._db, draft.organization, draft.project):
            raise unknown("/project")
        return await self._db.write(create, draft, caller.subject, self._now())

    async def list(self, listing: Listing, organizations: frozenset[str] | None, project: str | None) -> Page[Budget]:
        """Budgets of these organizations (None: of all), the newest first."""
        rows = await self._db.read(self._rows, listing, organizations, project)
        return listing.page([_budget(row) for row in rows], key=lambda budget: (budget.id,))

    def _rows(
        self, tx: Session, listing: Listing, organizations: frozenset[str] | None, project: str | None
    ) -> Sequence[Row[Any]]:
        query = select(BudgetRow.__table__).order_by(BudgetRow.id.desc()).limit(listing.fetch)
        if organizations is not None:
            query = query.where(BudgetRow.organization.in_(organizations))
        if project is not None:
            query = query.where(BudgetRow.project == project)
        if listing.after:
            query = query.where(BudgetRow.id < listing.after[0])
        return tx.execute(query).all()

    async def get(self, budget: str, caller: Caller) -> Budget:
        """Raises NotFound unless the caller may see it."""
        found = _budget(await self._db.read(_row, budget))
        if not (caller.is_finance or caller.is_org_member(found.organization)):
            raise NotFound
        return found

    async def change(self, budget: str, change: BudgetChange, version: int, caller: Caller) -> Budget:
        """Raises NotFound, Stale. A limit may go below what is charged and held: then nothing new is held."""
        if change.limit is not None:
            check_amount(change.limit, "/limit", 0)
        return await self._db.write(self._change, budget, change, version, caller)

    def _change(self, tx: Session, budget: str, change: BudgetChange, version: int, caller: Caller) -> Budget:
        row = _row(tx, budget)
        if not caller.is_org_admin(row.organization):
            raise NotFound
        if row.version != version:
            raise Stale
        name = row.name if change.name is None else change.name
        limit = row.limit_amount if change.limit is None else change.limit.fen
        tx.execute(update(BudgetRow).where(BudgetRow.id == budget).values(name=name, limit=limit, version=version + 1))
        audit.record(tx, caller.subject, "update_budget", budget, change)
        return _publish(tx, budget)


def create(tx: Session, draft: BudgetDraft, subject: str, at: datetime) -> Budget:
    """Make a budget and publish it; the draft is checked already."""
    budget = Budget(
        id=ids.new("bud"),
        charged=Money(0),
        held=Money(0),
        available=draft.limit,
        version=1,
        created_at=at,
        **dict(draft),
    )
    values = dict(budget) | {"limit": draft.limit.fen, "charged": 0, "held": 0}
    del values["available"]
    tx.execute(insert(BudgetRow).values(values))
    _attach(tx, budget)
    audit.record(tx, subject, "create_budget", budget.id, draft)
    return _publish(tx, budget.id)


def _attach(tx: Session, budget: Budget) -> None:
    """Count the holds of jobs that were submitted in the budget's span."""
    matching = select(HoldRow.job, HoldRow.organization, literal(budget.id)).where(
        HoldRow.organization == budget.organization, HoldRow.submitted_at >= budget.starts_at
    )
    if budget.project is not None:
        matching = matching.where(HoldRow.project == budget.project)
    if budget.ends_at is not None:
        matching = matching.where(HoldRow.submitted_at < budget.ends_at)
    tx.execute(insert(HoldBudget).from_select(["job", "organization", "budget"], matching))
    charged, held = sums(tx, budget.id)
    tx.execute(update(BudgetRow).where(BudgetRow.id == budget.id).values(charged=charged, held=held))


def _publish(tx: Session, budget: str) -> Budget:
    found = _budget(_row(tx, budget))
    state = BudgetState(id=found.id, organization=found.organization, project=found.project, version=found.version)
    feed.state(tx, events.BUDGET, found.id, state)
    return found


def sums(tx: Session, budget: str) -> tuple[int, int]:
    """What the holds attached to a budget have charged and hold now: what its totals must be."""
    attached = (HoldBudget.job == HoldRow.job) & (HoldBudget.organization == HoldRow.organization)
    row = tx.execute(
        select(
            func.coalesce(func.sum(CHARGED), 0),
            func.coalesce(
                func.sum(HoldRow.amount - HoldRow.captured).filter(HoldRow.status == HoldStatus.OPEN.value), 0
            ),
        )
        .join(HoldBudget, attached)
        .where(HoldBudget.budget == budget)
    ).one()
    return int(row[0]), int(row[1])


def _row(tx: Session, budget: str) -> Row[Any]:
    row = tx.execute(select(BudgetRow.__table__).where(BudgetRow.id == budget)).one_or_none()
    if row is None:
        raise NotFound
    return row


def _budget(row: Row[Any]) -> Budget:
    return Budget(
        id=row.id,
        organization=row.organization,
        project=row.project,
        name=row.name,
        limit=Money(row.limit_amount),
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        charged=Money(row.charged),
        held=Money(row.held),
        available=Money(row.limit_amount - row.charged - row.held),
        version=row.version,
        created_at=row.created_at,
    )
