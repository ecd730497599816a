"""Holds within a transaction: put, capture, settle. Each keeps the totals of the organization and of the budgets it counts in."""

from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, insert, or_, select, update
from sqlalchemy.orm import Session

from caravan.contracts.funds import FundsLimit, HoldAnswer, HoldRequest, HoldStatus, HoldStep
from caravan.contracts.problems import HoldOutdated
from caravan.kernel.feed import upsert
from caravan.kernel.money import Money
from caravan.kernel.problems import FieldError, Invalid
from services.accounting.funds.decision import Limit, Refused, decide
from services.accounting.funds.models import BudgetRow, Fund, HoldBudget, HoldRow, Movement, Settlement


def find(tx: Session, job: str) -> Row[Any] | None:
    """The hold's row, if one was ever granted."""
    return tx.execute(select(HoldRow.__table__).where(HoldRow.job == job)).one_or_none()


def held(hold: Row[Any]) -> int:
    """What is set aside and not captured, in fen; 0 once settled."""
    return int(hold.amount - hold.captured) if hold.status == HoldStatus.OPEN else 0


def put(tx: Session, job: str, request: HoldRequest, at: datetime) -> HoldAnswer:
    """Decide a hold revision. A repeat of the revision in force is granted again; a refusal leaves no trace.

    What is asked below what was captured already becomes what was captured. Raises HoldOutdated.
    """
    current = find(tx, job)
    _check_current(tx, job, current, request)
    if current is not None and current.revision == request.revision:
        return HoldAnswer(job=job, revision=current.revision, granted=True)
    asked = request.amount.fen
    refused = decide(_limits(tx, job, current, request), current.amount if current else None, asked)
    if refused is not None:
        return _refusal(job, request, refused)
    if current is None:
        _create(tx, job, request, at)
    else:
        amount = max(asked, current.captured)
        change = amount - current.amount
        tx.execute(update(HoldRow).where(HoldRow.job == job).values(revision=request.revision, amount=amount))
        add_to_totals(tx, job, current.organization, held=change)
        record(tx, job, HoldStep.REVISED, change, amount - current.captured, at)
    return HoldAnswer(job=job, revision=request.revision, granted=True)


def capture(tx: Session, hold: Row[Any], amount: int, at: datetime) -> None:
    """Charge `amount` fen (negative: give back) of what the hold has set aside. After settling nothing is held any more."""
    if not amount:
        return
    captured = hold.captured + amount
    open_ = hold.status == HoldStatus.OPEN
    tx.execute(update(HoldRow).where(HoldRow.job == hold.job).values(captured=captured))
    add_to_totals(tx, hold.job, hold.organization, charged=amount, held=-amount if open_ else 0)
    record(tx, hold.job, HoldStep.CAPTURED, amount, hold.amount - captured if open_ else 0, at)


def free_rest(tx: Session, job: str, at: datetime) -> None:
    """Settle: what was not captured is free again. Nothing happens where there is no hold, or it is settled already."""
    hold = find(tx, job)
    if hold is None or hold.status != HoldStatus.OPEN:
        return
    rest = held(hold)
    tx.execute(update(HoldRow).where(HoldRow.job == job).values(status=HoldStatus.SETTLED.value))
    add_to_totals(tx, job, hold.organization, held=-rest)
    if rest:
        record(tx, job, HoldStep.RELEASED, -rest, 0, at)
    record(tx, job, HoldStep.SETTLED, 0, 0, at)


def mark_overrun(tx: Session, job: str, overrun: bool) -> None:
    tx.execute(update(HoldRow).where(HoldRow.job == job).values(overrun=overrun))


def add_to_totals(tx: Session, job: str, organization: str, *, held: int = 0, charged: int = 0) -> None:
    """Change what the organization and the job's budgets have held and charged, in fen."""
    tx.execute(
        update(Fund)
        .where(Fund.organization == organization)
        .values(held=Fund.held + held, charged=Fund.charged + charged)
    )
    mine = select(HoldBudget.budget).where(HoldBudget.job == job)
    tx.execute(
        update(BudgetRow)
        .where(BudgetRow.id.in_(mine.scalar_subquery()))
        .values(held=BudgetRow.held + held, charged=BudgetRow.charged + charged)
    )


def ensure_fund(tx: Session, organization: str) -> None:
    """Give the organization a row of totals, all zero, if it has none."""
    empty = {"deposited": 0, "credit": 0, "charged": 0, "held": 0}
    tx.execute(upsert(tx, Fund).values(organization=organization, **empty).on_conflict_do_nothing())


def record(tx: Session, job: str, step: HoldStep, amount: int, held: int, at: datetime) -> None:
    """Add a step to the hold's life; `held` is what is still held after it."""
    number = select(func.coalesce(func.max(Movement.number), 0) + 1).where(Movement.job == job).scalar_subquery()
    tx.execute(
        insert(Movement).values(job=job, number=number, at=at, step=step.value, amount=amount, held=held),
    )


def _check_current(tx: Session, job: str, current: Row[Any] | None, request: HoldRequest) -> None:
    settled = tx.execute(select(Settlement.hold_revision).where(Settlement.job == job)).scalar_one_or_none()
    if settled is not None:
        raise HoldOutdated(revision=current.revision if current else settled)
    if current is None:
        return
    if current.revision > request.revision:
        raise HoldOutdated(revision=current.revision)
    for name in ("organization", "project"):
        if getattr(current, name) != getattr(request, name):
            detail = "A job's hold stays with the organization and project it was made for"
            raise Invalid(errors=[FieldError(pointer=f"/{name}", code="changed", detail=detail)])


def _create(tx: Session, job: str, request: HoldRequest, at: datetime) -> None:
    ensure_fund(tx, request.organization)
    tx.execute(
        insert(HoldRow).values(
            job=job,
            organization=request.organization,
            project=request.project,
            revision=request.revision,
            amount=request.amount.fen,
            captured=0,
            overrun=False,
            status=HoldStatus.OPEN.value,
            submitted_at=request.submitted_at,
        )
    )
    budgets = tx.scalars(_matching(request)).all()
    if budgets:
        tx.execute(insert(HoldBudget), [{"job": job, "budget": budget} for budget in budgets])
    add_to_totals(tx, job, request.organization, held=request.amount.fen)
    record(tx, job, HoldStep.GRANTED, request.amount.fen, request.amount.fen, at)


def _matching(request: HoldRequest) -> Any:
    """Ids of the budgets that a new hold counts in."""
    return select(BudgetRow.id).where(
        BudgetRow.organization == request.organization,
        or_(BudgetRow.project.is_(None), BudgetRow.project == request.project),
        BudgetRow.starts_at <= request.submitted_at,
        or_(BudgetRow.ends_at.is_(None), BudgetRow.ends_at > request.submitted_at),
    )


def _limits(tx: Session, job: str, current: Row[Any] | None, request: HoldRequest) -> list[Limit]:
    mine = held(current) if current else 0
    fund = tx.execute(select(Fund.__table__).where(Fund.organization == request.organization)).one_or_none()
    total = fund.deposited + fund.credit - fund.charged if fund else 0
    held_in_all = fund.held if fund else 0
    limits = [Limit(FundsLimit.FUNDS, total, held_in_all - mine, total - held_in_all)]
    which = _matching(request) if current is None else select(HoldBudget.budget).where(HoldBudget.job == job)
    budgets = select(BudgetRow.__table__).where(BudgetRow.id.in_(which.scalar_subquery())).order_by(BudgetRow.id)
    for row in tx.execute(budgets):
        limits.append(
            Limit(
                FundsLimit.BUDGET,
                row.limit_amount,
                row.held - mine,
                row.limit_amount - row.charged - row.held,
                budget=row.id,
                name=row.name,
            )
        )
    return limits


def _refusal(job: str, request: HoldRequest, refused: Refused) -> HoldAnswer:
    short = refused.short
    return HoldAnswer(
        job=job,
        revision=request.revision,
        granted=False,
        short=short.kind,
        budget=short.budget,
        budget_name=short.name,
        limit=Money(short.limit),
        held=Money(short.held),
        asked=request.amount,
        fits=Money(refused.fits),
    )
