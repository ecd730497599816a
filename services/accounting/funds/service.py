"""Deposits, credit limits, what an organization has, and holds."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.orm import Session

from caravan.contracts.funds import (
    CreditLimit,
    CreditLimitDraft,
    Deposit,
    DepositDraft,
    Funds,
    Hold,
    HoldAnswer,
    HoldBatch,
    HoldMovement,
    HoldOutcome,
    HoldOutcomes,
    HoldRequest,
    Holds,
    HoldStatus,
    HoldStep,
)
from caravan.contracts.problems import AlreadyExists, HoldOutdated, UnknownReference
from caravan.kernel import audit, idempotency, ids
from caravan.kernel.database import affected
from caravan.kernel.money import MAX_FEN, Money
from caravan.kernel.pages import Listing, Page
from caravan.kernel.problems import FieldError, Invalid, NotFound, Stale
from caravan.kernel.runtime import Runtime
from caravan.kernel.tokens import Caller
from caravan.kernel.web import answer_of
from services.accounting.fees import paying
from services.accounting.funds import holds
from services.accounting.funds.models import DepositRow, Fund, Movement
from services.accounting.ledger import service as ledger
from services.accounting.usage import copies

PutHold = Callable[[Session, str, HoldRequest, datetime], HoldAnswer]
"""Decides a hold revision and charges by it: `charging.service.put_hold`."""


def check_amount(amount: Money, pointer: str, least_fen: int) -> None:
    """Raises Invalid unless `amount` is between `least_fen` and MAX_FEN."""
    if amount.fen < least_fen:
        detail = "Give an amount above zero" if least_fen else "Give an amount that is not negative"
        raise Invalid(errors=[FieldError(pointer=pointer, code="too_small", detail=detail)])
    if amount.fen > MAX_FEN:
        detail = f"Give at most {Money(MAX_FEN)}"
        raise Invalid(errors=[FieldError(pointer=pointer, code="too_large", detail=detail)])


def unknown(pointer: str) -> UnknownReference:
    """What a field refers to doesn't exist, or the caller may not see it."""
    detail = "There is no such thing, or you may not see it"
    return UnknownReference(errors=[FieldError(pointer=pointer, code="unknown_reference", detail=detail)])


class FundsService:
    """Who may still spend how much."""

    def __init__(self, runtime: Runtime, put_hold: PutHold) -> None:
        self._db = runtime.db
        self._now = runtime.now
        self._owner = runtime.owner
        self._put = put_hold

    async def record_deposit(self, draft: DepositDraft, caller: Caller, key: idempotency.Key) -> idempotency.Answer:
        """One transaction: the key, the deposit, its ledger entry, the totals. Raises AlreadyExists for a known bank reference."""
        check_amount(draft.amount, "/amount", 1)
        if not await copies.arrived(self._db, draft.organization):
            raise unknown("/organization")
        return await self._db.write(self._deposit, draft, caller.subject, key, self._now())

    def _deposit(
        self, tx: Session, draft: DepositDraft, subject: str, key: idempotency.Key, at: datetime
    ) -> idempotency.Answer:
        claimed = idempotency.claim(tx, key, self._owner.id)
        if isinstance(claimed, idempotency.Answer):
            return claimed
        existing = tx.scalars(select(DepositRow.id).where(DepositRow.reference == draft.reference)).one_or_none()
        if existing is not None:
            raise AlreadyExists("A deposit with this bank reference is recorded already.", existing=existing)
        answer = answer_of(record(tx, draft, subject, at))
        idempotency.answer(tx, key, answer)
        return answer

    async def list_deposits(self, listing: Listing, organizations: frozenset[str] | None) -> Page[Deposit]:
        """Deposits of these organizations (None: of all), the newest first."""
        rows = await self._db.read(self._deposits, listing, organizations)
        return listing.page([_deposit(row) for row in rows], key=lambda deposit: (deposit.id,))

    def _deposits(self, tx: Session, listing: Listing, organizations: frozenset[str] | None) -> list[Row[Any]]:
        query = select(DepositRow.__table__).order_by(DepositRow.id.desc()).limit(listing.fetch)
        if organizations is not None:
            query = query.where(DepositRow.organization.in_(organizations))
        if listing.after:
            query = query.where(DepositRow.id < listing.after[0])
        return list(tx.execute(query).all())

    async def get_funds(self, organization: str) -> Funds:
        """Raises NotFound for an organization that isn't known here."""
        return await self._db.read(_funds, organization)

    async def get_credit_limit(self, organization: str) -> CreditLimit:
        """Raises NotFound for an organization that isn't known here."""
        return await self._db.read(_credit_limit, organization)

    async def set_credit_limit(
        self, organization: str, draft: CreditLimitDraft, version: int, caller: Caller
    ) -> CreditLimit:
        """Raises NotFound for an organization that isn't known here, and Stale."""
        check_amount(draft.amount, "/amount", 0)
        if not await copies.arrived(self._db, organization):
            raise NotFound
        return await self._db.write(_set_credit_limit, organization, draft, version, caller.subject)

    async def put_hold(self, job: str, request: HoldRequest) -> HoldAnswer:
        """Decide a hold revision. Raises HoldOutdated."""
        _check_amounts(request)
        return await self._db.write(self._put, job, request, self._now())

    async def put_holds(self, batch: HoldBatch) -> HoldOutcomes:
        """Decide hold revisions of many jobs, one after another in one transaction."""
        for place, asked in enumerate(batch.holds):
            _check_amounts(asked, f"/holds/{place}")
        return await self._db.write(self._put_each, batch, self._now())

    def _put_each(self, tx: Session, batch: HoldBatch, at: datetime) -> HoldOutcomes:
        outcomes = []
        for asked in batch.holds:
            try:
                outcomes.append(HoldOutcome(answer=self._put(tx, asked.job, asked, at)))
            except HoldOutdated as outdated:  # found before anything was written
                outcomes.append(HoldOutcome(outdated=outdated.revision))
        return HoldOutcomes(items=tuple(outcomes))

    async def list_holds(self, job: str, allowed: Callable[[str], bool]) -> Holds:
        """Those of the job on organizations that `allowed` says may be seen."""

        def read(tx: Session) -> Holds:
            return Holds(items=tuple(_hold(tx, row) for row in holds.of_job(tx, job) if allowed(row.organization)))

        return await self._db.read(read)

    async def get_hold(self, job: str, allowed: Callable[[str], bool]) -> Hold:
        """A hold with its movements: the job's own, else what a reseller buys of it; NotFound unless `allowed` says that one's organization
        may be seen."""
        hold = await self._db.read(read_hold, job, allowed)
        if hold is None:
            raise NotFound
        return hold


def _check_amounts(request: HoldRequest, pointer: str = "") -> None:
    check_amount(request.amount, f"{pointer}/amount", 0)
    if request.resale is not None:
        check_amount(request.resale.amount, f"{pointer}/resale/amount", 0)


def record(tx: Session, draft: DepositDraft, subject: str, at: datetime) -> Deposit:
    """Keep a deposit and post it, and the fees that become due by it."""
    deposit = Deposit(id=ids.new("dep"), recorded_at=at, recorded_by=subject, **dict(draft))
    tx.execute(insert(DepositRow).values(dict(deposit) | {"amount": deposit.amount.fen}))
    holds.ensure_fund(tx, draft.organization)
    own = Fund.organization == draft.organization
    tx.execute(update(Fund).where(own).values(deposited=Fund.deposited + draft.amount.fen))
    ledger.deposit(tx, organization=draft.organization, amount_fen=draft.amount.fen, reference=deposit.id, at=at)
    paying.bring_up(tx, draft.organization, at)
    return deposit


def _credit_limit(tx: Session, organization: str) -> CreditLimit:
    row = tx.execute(select(Fund.credit, Fund.credit_version).where(Fund.organization == organization)).one_or_none()
    if row is None:
        if not copies.is_known(tx, organization, None):
            raise NotFound
        return CreditLimit(organization=organization, amount=Money(0), version=0)
    return CreditLimit(organization=organization, amount=Money(row.credit), version=row.credit_version)


def _set_credit_limit(
    tx: Session, organization: str, draft: CreditLimitDraft, version: int, subject: str
) -> CreditLimit:
    holds.ensure_fund(tx, organization)
    read = (Fund.organization == organization) & (Fund.credit_version == version)
    values = {"credit": draft.amount.fen, "credit_version": version + 1}
    if not affected(tx, update(Fund).where(read).values(values)):
        raise Stale
    audit.record(tx, subject, "set_credit_limit", organization, draft)
    return _credit_limit(tx, organization)


def read_hold(tx: Session, job: str, allowed: Callable[[str], bool]) -> Hold | None:
    """The first hold for the job on an allowed organization, with all its movements in order."""
    row = next((hold for hold in holds.of_job(tx, job) if allowed(hold.organization)), None)
    return None if row is None else _hold(tx, row)


def _hold(tx: Session, row: Row[Any]) -> Hold:
    its = (Movement.job == row.job) & (Movement.organization == row.organization)
    movements = tx.execute(select(Movement.__table__).where(its).order_by(Movement.number)).all()
    return Hold(
        job=row.job,
        organization=row.organization,
        project=row.project,
        revision=row.revision,
        amount=Money(row.amount),
        captured=Money(row.captured),
        corrected=Money(row.corrected or 0),
        held=Money(holds.held(row)),
        status=HoldStatus(row.status),
        movements=tuple(
            HoldMovement(at=m.at, step=HoldStep(m.step), amount=Money(m.amount), held=Money(m.held)) for m in movements
        ),
    )


def _funds(tx: Session, organization: str) -> Funds:
    row = tx.execute(select(Fund.__table__).where(Fund.organization == organization)).one_or_none()
    if row is None:
        if not copies.is_known(tx, organization, None):
            raise NotFound
        return _shown(organization, 0, 0, 0, 0, 0)
    return _shown(organization, row.deposited, row.granted, row.credit, row.charged, row.held)


def _shown(organization: str, deposited: int, granted: int, credit: int, charged: int, held: int) -> Funds:
    return Funds(
        organization=organization,
        deposited=Money(deposited),
        granted=Money(granted),
        credit=Money(credit),
        charged=Money(charged),
        held=Money(held),
        available=Money(deposited + granted + credit - charged - held),
    )


def _deposit(row: Row[Any]) -> Deposit:
    return Deposit.model_validate(row._asdict() | {"amount": Money(row.amount)})
