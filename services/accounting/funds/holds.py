"""Holds within a transaction: put, capture, settle. Each keeps the totals of the organization and of the budgets it counts in."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import bindparam, func, insert, or_, select, update
from sqlalchemy.orm import Session

from caravan.contracts.funds import FundsLimit, HoldAnswer, HoldRequest, HoldStatus, HoldStep
from caravan.contracts.problems import HoldOutdated
from caravan.kernel.database import table_of
from caravan.kernel.feed import upsert
from caravan.kernel.money import Money
from caravan.kernel.prepared import Fetched, Prepared
from caravan.kernel.problems import FieldError, Invalid
from services.accounting.funds.decision import Limit, Refused, decide
from services.accounting.funds.models import BudgetRow, Fund, HoldBudget, HoldRow, Movement, Settlement
from services.accounting.redemptions import service as redemptions
from services.accounting.redemptions.service import Moved

HOLDS, FUNDS, BUDGETS, ATTACHED = table_of(HoldRow), table_of(Fund), table_of(BudgetRow), table_of(HoldBudget)
MOVEMENTS, SETTLEMENTS = table_of(Movement), table_of(Settlement)

# Statements of the path that every submission takes, built once.
_OF_JOB: Final = Prepared(select(HOLDS).where(HOLDS.c.job == bindparam("its_job")).order_by(HOLDS.c.resale))
_SETTLED: Final = Prepared(select(SETTLEMENTS.c.hold_revision).where(SETTLEMENTS.c.job == bindparam("its_job")))
_FUND: Final = Prepared(select(FUNDS).where(FUNDS.c.organization == bindparam("its_organization")))
_MATCHING: Final = Prepared(
    select(BUDGETS)
    .where(
        BUDGETS.c.organization == bindparam("its_organization"),
        or_(BUDGETS.c.project.is_(None), BUDGETS.c.project == bindparam("its_project")),
        BUDGETS.c.starts_at <= bindparam("submitted_at"),
        or_(BUDGETS.c.ends_at.is_(None), BUDGETS.c.ends_at > bindparam("submitted_at")),
    )
    .order_by(BUDGETS.c.id)
)
_MINE: Final = (
    select(ATTACHED.c.budget)
    .where(ATTACHED.c.job == bindparam("its_job"), ATTACHED.c.organization == bindparam("its_organization"))
    .scalar_subquery()
)
_ATTACHED: Final = Prepared(select(BUDGETS).where(BUDGETS.c.id.in_(_MINE)).order_by(BUDGETS.c.id))
_ADD_TO_FUND: Final = Prepared(
    update(FUNDS)
    .where(FUNDS.c.organization == bindparam("its_organization"))
    .values(held=FUNDS.c.held + bindparam("more_held"), charged=FUNDS.c.charged + bindparam("more_charged"))
)
_ADD_GRANTS: Final = Prepared(
    update(FUNDS)
    .where(FUNDS.c.organization == bindparam("its_organization"))
    .values(granted=FUNDS.c.granted + bindparam("more_granted"), redeemed=FUNDS.c.redeemed + bindparam("more_redeemed"))
)
_ADD_TO_BUDGETS: Final = Prepared(
    update(BUDGETS)
    .where(BUDGETS.c.id.in_(_MINE))
    .values(held=BUDGETS.c.held + bindparam("more_held"), charged=BUDGETS.c.charged + bindparam("more_charged"))
)
_CAPTURE: Final = Prepared(
    update(HOLDS)
    .where(HOLDS.c.job == bindparam("its_job"), HOLDS.c.organization == bindparam("its_organization"))
    .values(captured=bindparam("now_captured"))
)
_CORRECT: Final = Prepared(
    update(HOLDS)
    .where(HOLDS.c.job == bindparam("its_job"), HOLDS.c.organization == bindparam("its_organization"))
    .values(corrected=bindparam("now_corrected"))
)
_RECORD: Final = Prepared(
    insert(MOVEMENTS).values(
        number=select(func.coalesce(func.max(MOVEMENTS.c.number), 0) + 1)
        .where(MOVEMENTS.c.job == bindparam("its_job"), MOVEMENTS.c.organization == bindparam("its_organization"))
        .scalar_subquery()
    )
)
_INSERT_HOLD: Final = Prepared(insert(HOLDS))
_ATTACH: Final = Prepared(insert(ATTACHED))


def of_job(tx: Session, job: str) -> Sequence[Fetched]:
    """The rows of all holds for the job: that on its own organization first, then that on who resells to it."""
    return _OF_JOB.all(tx, its_job=job)


def held(hold: Fetched) -> int:
    """What is set aside and not captured, in fen; 0 once settled."""
    return int(hold.amount - hold.captured) if hold.status == HoldStatus.OPEN else 0


class _Asked(NamedTuple):
    """A hold of `amount` fen in all that is asked for, beside what there is of it."""

    organization: str
    project: str
    amount: int
    current: Fetched | None
    resale: bool


class _Totals(NamedTuple):
    """Where a hold counts, as it was before; an organization may have no fund yet."""

    fund: Fetched | None
    budgets: Sequence[Fetched]


def put(tx: Session, job: str, request: HoldRequest, at: datetime) -> HoldAnswer:
    """Decide a hold revision. A repeat of the revision in force is granted again; a refusal leaves no trace.

    Where a reseller buys what it sells to the organization, its hold is granted with this one, or neither is. What is asked below what was
    captured already becomes what was captured. Raises HoldOutdated.
    """
    there = of_job(tx, job)
    current = next(iter(there), None)
    _check_current(tx, job, current, request)
    granted = HoldAnswer(job=job, revision=request.revision, granted=True)
    if current is not None and current.revision == request.revision:
        return granted
    all_asked = [_Asked(request.organization, request.project, request.amount.fen, current, resale=False)]
    pledge = redemptions.offered(tx, job, request, new=current is None)
    if (resale := request.resale) is not None:
        own = next((hold for hold in there if hold.organization == resale.organization), None)
        all_asked.append(_Asked(resale.organization, resale.project, resale.amount.fen, own, resale=True))
    totals = []
    for asked in all_asked:
        pays = pledge.more if pledge is not None and not asked.resale else 0
        found, refused = _decide(tx, job, asked, request.submitted_at, pays)
        if refused is not None:
            return _refusal(job, request, asked, refused)
        totals.append(found)
    for asked, found in zip(all_asked, totals, strict=True):
        _grant(tx, job, asked, request, found, at)
    if pledge is not None:
        redemptions.keep(tx, job, request.organization, pledge)
        add_grants(tx, request.organization, Moved(pledge.more, 0))
    return granted


def _decide(tx: Session, job: str, asked: _Asked, submitted_at: datetime, pays: int) -> tuple[_Totals, Refused | None]:
    """With what the hold counts in. `pays`: what vouchers pay of it more than before."""
    fund = _FUND.first(tx, its_organization=asked.organization)
    if asked.current is None:
        budgets = _MATCHING.all(
            tx, its_organization=asked.organization, its_project=asked.project, submitted_at=submitted_at
        )
    else:
        budgets = _ATTACHED.all(tx, its_job=job, its_organization=asked.organization)
    limits = _limits(fund, budgets, held(asked.current) if asked.current else 0)
    return _Totals(fund, budgets), decide(limits, asked.current.amount if asked.current else None, asked.amount, pays)


def _grant(tx: Session, job: str, asked: _Asked, request: HoldRequest, totals: _Totals, at: datetime) -> None:
    current = asked.current
    if current is None:
        if totals.fund is None:
            ensure_fund(tx, asked.organization)
        _create(tx, job, asked, request, totals.budgets, at)
        return
    amount = max(asked.amount, current.captured)
    change = amount - current.amount
    mine = (HOLDS.c.job == job) & (HOLDS.c.organization == asked.organization)
    tx.execute(update(HOLDS).where(mine).values(revision=request.revision, amount=amount))
    add_to_totals(tx, job, asked.organization, held=change)
    record(tx, current, HoldStep.REVISED, change, amount - current.captured, at)


def capture(tx: Session, hold: Fetched, amount: int, at: datetime) -> None:
    """Charge `amount` fen (negative: give back) of what the hold has set aside. After settling nothing is held any more."""
    if not amount:
        return
    captured = hold.captured + amount
    open_ = hold.status == HoldStatus.OPEN
    _CAPTURE.run(tx, its_job=hold.job, its_organization=hold.organization, now_captured=captured)
    add_to_totals(tx, hold.job, hold.organization, charged=amount, held=-amount if open_ else 0)
    record(tx, hold, HoldStep.CAPTURED, amount, hold.amount - captured if open_ else 0, at)


def correct(tx: Session, hold: Fetched, corrected: int | None, at: datetime) -> None:
    """Charge what the job comes to more (negative: less) by price corrections than this hold has captured; None: none concern it.

    Apart from the hold: what is held stays, and `available` may fall below zero. `hold` is as it is stored.
    """
    if hold.corrected == corrected:
        return
    _CORRECT.run(tx, its_job=hold.job, its_organization=hold.organization, now_corrected=corrected)
    if more := (corrected or 0) - (hold.corrected or 0):
        add_to_totals(tx, hold.job, hold.organization, charged=more)
        record(tx, hold, HoldStep.CORRECTED, more, held(hold), at)


def free_rest(tx: Session, job: str, at: datetime) -> None:
    """Settle: what was not captured is free again. Nothing happens where there is no hold, or it is settled already."""
    for hold in of_job(tx, job):
        if hold.status != HoldStatus.OPEN:
            continue
        rest = held(hold)
        mine = (HOLDS.c.job == job) & (HOLDS.c.organization == hold.organization)
        tx.execute(update(HOLDS).where(mine).values(status=HoldStatus.SETTLED.value))
        add_to_totals(tx, job, hold.organization, held=-rest)
        if rest:
            record(tx, hold, HoldStep.RELEASED, -rest, 0, at)
        record(tx, hold, HoldStep.SETTLED, 0, 0, at)


def mark_overrun(tx: Session, job: str, second: int | None) -> None:
    """Keep in which second a hold of the job was used up; None: they cover all usage."""
    tx.execute(update(HOLDS).where(HOLDS.c.job == job, ~HOLDS.c.resale).values(overrun_from=second))


def add_to_totals(tx: Session, job: str, organization: str, *, held: int = 0, charged: int = 0) -> None:
    """Change what the organization and the job's budgets have held and charged, in fen."""
    add_to_fund(tx, organization, held=held, charged=charged)
    _ADD_TO_BUDGETS.run(tx, its_job=job, its_organization=organization, more_held=held, more_charged=charged)


def add_to_fund(tx: Session, organization: str, *, held: int = 0, charged: int = 0) -> None:
    """Change what the organization has held and charged, in fen, of no job: budgets stay as they are."""
    _ADD_TO_FUND.run(tx, its_organization=organization, more_held=held, more_charged=charged)


def add_grants(tx: Session, organization: str, moved: Moved) -> None:
    """Change what vouchers pay for the organization."""
    if any(moved):
        _ADD_GRANTS.run(tx, its_organization=organization, more_granted=moved.pledged, more_redeemed=moved.redeemed)


def ensure_fund(tx: Session, organization: str) -> None:
    """Give the organization a row of totals, all zero, if it has none."""
    empty = {"deposited": 0, "credit": 0, "charged": 0, "held": 0}
    tx.execute(upsert(tx, FUNDS).values(organization=organization, **empty).on_conflict_do_nothing())


def record(tx: Session, hold: Fetched, step: HoldStep, amount: int, held: int, at: datetime) -> None:
    """Add a step to the hold's life; `held` is what is still held after it."""
    _record(tx, hold.job, hold.organization, step, amount, held, at)


def _record(tx: Session, job: str, organization: str, step: HoldStep, amount: int, held: int, at: datetime) -> None:
    its = {"job": job, "its_job": job, "organization": organization, "its_organization": organization}
    _RECORD.run(tx, **its, at=at, step=step.value, amount=amount, held=held)


def _check_current(tx: Session, job: str, current: Fetched | None, request: HoldRequest) -> None:
    settled = _SETTLED.first(tx, its_job=job)
    if settled is not None:
        raise HoldOutdated(revision=current.revision if current else settled.hold_revision)
    if current is None:
        return
    if current.revision > request.revision:
        raise HoldOutdated(revision=current.revision)
    for name in ("organization", "project"):
        if getattr(current, name) != getattr(request, name):
            detail = "A job's hold stays with the organization and project it was made for"
            raise Invalid(errors=[FieldError(pointer=f"/{name}", code="changed", detail=detail)])


def _create(
    tx: Session, job: str, asked: _Asked, request: HoldRequest, budgets: Sequence[Fetched], at: datetime
) -> None:
    _INSERT_HOLD.run(
        tx,
        job=job,
        organization=asked.organization,
        resale=asked.resale,
        project=asked.project,
        revision=request.revision,
        amount=asked.amount,
        captured=0,
        corrected=None,
        overrun_from=None,
        minimum=False,
        status=HoldStatus.OPEN.value,
        submitted_at=request.submitted_at,
    )
    if budgets:
        own = {"job": job, "organization": asked.organization}
        _ATTACH.run_each(tx, [{**own, "budget": budget.id} for budget in budgets])
    add_to_totals(tx, job, asked.organization, held=asked.amount)
    _record(tx, job, asked.organization, HoldStep.GRANTED, asked.amount, asked.amount, at)


def _limits(fund: Fetched | None, budgets: Sequence[Fetched], mine: int) -> list[Limit]:
    """What the hold must keep within; `mine` is what it holds already."""
    total = fund.deposited + fund.granted + fund.credit - fund.charged if fund else 0
    held_in_all = fund.held if fund else 0
    return [
        Limit(FundsLimit.FUNDS, total, held_in_all - mine, total - held_in_all),
        *(
            Limit(
                FundsLimit.BUDGET,
                budget.limit_amount,
                budget.held - mine,
                budget.limit_amount - budget.charged - budget.held,
                budget=budget.id,
                name=budget.name,
            )
            for budget in budgets
        ),
    ]


def _refusal(job: str, request: HoldRequest, asked: _Asked, refused: Refused) -> HoldAnswer:
    """What a reseller has is not for its buyers to know: of that only that it is short."""
    answer = HoldAnswer(job=job, revision=request.revision, granted=False, asked=request.amount)
    if asked.resale:
        return answer.model_copy(update={"short": FundsLimit.RESELLER})
    short = refused.short
    figures = {"limit": Money(short.limit), "held": Money(short.held), "fits": Money(refused.fits)}
    return answer.model_copy(update={"short": short.kind, "budget": short.budget, "budget_name": short.name, **figures})
