"""Proposing, deciding and reading price corrections. The loop of `passes` does what takes long."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, func, insert, or_, select, update
from sqlalchemy.orm import Session

from caravan import pricing
from caravan.contracts.corrections import (
    Correction,
    CorrectionDetail,
    CorrectionDraft,
    CorrectionPreview,
    CorrectionProgress,
    CorrectionShare,
    CorrectionState,
)
from caravan.contracts.prices import Buyer, PriceList
from caravan.contracts.problems import SecondPersonNeeded, WrongState
from caravan.contracts.usage import Resale
from caravan.kernel import audit, clock, idempotency, ids
from caravan.kernel.database import table_of
from caravan.kernel.money import Money
from caravan.kernel.pages import Listing, Page
from caravan.kernel.problems import FieldError, Invalid, NotFound
from caravan.kernel.runtime import Runtime
from caravan.kernel.tokens import Caller
from caravan.kernel.web import answer_of
from services.accounting.corrections.approved import ALL, CORRECTIONS, WORK
from services.accounting.corrections.models import ShareRow
from services.accounting.corrections.passes import LOOP
from services.accounting.discounts.correcting import concerned
from services.accounting.funds.service import unknown
from services.accounting.usage.models import AttemptCopy, PriceListCopy

SHARES = table_of(ShareRow)
APPROVED = (CorrectionState.APPLYING, CorrectionState.APPLIED)


class CorrectionService:
    """What finance does with corrections, and what the parties see of them."""

    def __init__(self, runtime: Runtime) -> None:
        self._db = runtime.db
        self._now = runtime.now
        self._owner = runtime.owner
        self._loops = runtime.loops

    async def propose(self, draft: CorrectionDraft, caller: Caller, key: idempotency.Key) -> idempotency.Answer:
        """Keep the proposal; its preview begins. Raises UnknownReference, and Invalid where the right list has no price for the span."""
        answer = await self._db.write(self._propose, draft, caller, key, self._now())
        self._loops.kick(LOOP)
        return answer

    def _propose(
        self, tx: Session, draft: CorrectionDraft, caller: Caller, key: idempotency.Key, at: datetime
    ) -> idempotency.Answer:
        claimed = idempotency.claim(tx, key, self._owner.id)
        if isinstance(claimed, idempotency.Answer):
            return claimed
        correction = propose(tx, draft, caller.subject, at)
        answer = answer_of(_detail(tx, _row(tx, correction), caller))
        idempotency.answer(tx, key, answer)
        return answer

    async def approve(self, correction: str, caller: Caller) -> CorrectionDetail:
        """Make it a fact; the loop applies it. A repeat changes nothing. Raises NotFound, SecondPersonNeeded, WrongState."""
        found = await self._db.write(approve, correction, caller, self._now())
        self._loops.kick(LOOP)
        return found

    async def reject(self, correction: str, caller: Caller) -> CorrectionDetail:
        """Let it be, before it is approved. A repeat changes nothing. Raises NotFound, WrongState."""
        return await self._db.write(reject, correction, caller, self._now())

    async def get(self, correction: str, caller: Caller) -> CorrectionDetail:
        """Raises NotFound, also for one that the caller may not see."""
        return await self._db.read(_get, correction, caller)

    async def list(self, listing: Listing, caller: Caller, offering: str | None) -> Page[Correction]:
        """Those that the caller may see, the newest first."""
        rows = await self._db.read(_rows, listing, caller, offering)
        return listing.page([Correction(**_fields(row, caller)) for row in rows], key=lambda one: (one.id,))


def propose(tx: Session, draft: CorrectionDraft, subject: str, at: datetime) -> str:
    """Keep the proposal; gives its id. Raises as `CorrectionService.propose`."""
    correction = ids.new("cor")
    values = draft.model_dump() | {
        "id": correction,
        "provider": _provider(tx, draft.offering),
        "reseller": _check_lists(tx, draft),
        "starts_at": clock.to_seconds(draft.starts_at),
        "ends_at": clock.to_seconds(draft.ends_at),
        "proposed_by": subject,
        "proposed_at": at,
    }
    tx.execute(insert(CORRECTIONS).values(values))
    nothing = {"after_job": "", "previewed_jobs": 0, "applied_jobs": 0}
    tx.execute(insert(WORK).values(correction=correction, state=CorrectionState.PREVIEWING.value, **nothing))
    audit.record(tx, subject, "propose_price_correction", correction, draft)
    return correction


def _provider(tx: Session, offering: str) -> str:
    found = tx.scalars(select(AttemptCopy.provider).where(AttemptCopy.offering == offering).limit(1)).one_or_none()
    if found is None:  # nothing was ever placed on it, so nothing can be priced wrong
        raise unknown("/offering")
    return found


def _check_lists(tx: Session, draft: CorrectionDraft) -> str | None:
    """Gives the reseller whose lists they are; None: they are the provider's."""
    lists = PriceListCopy
    replaced: tuple[str, ...] = () if draft.replaces == ALL else tuple(draft.replaces)
    named = select(lists.id, lists.reseller).where(lists.offering == draft.offering)
    known = {row.id: row.reseller for row in tx.execute(named.where(lists.id.in_((*replaced, draft.price_list))))}
    for place, wrong in enumerate(replaced):
        if wrong not in known:
            raise unknown(f"/replaces/{place}")
    if draft.price_list not in known:
        raise unknown("/price_list")
    seller = known[draft.price_list]
    for place, wrong in enumerate(replaced):
        if known[wrong] != seller:
            detail = "It is another seller's than the right one: correct each seller's price lists by themselves"
            raise Invalid(errors=[FieldError(pointer=f"/replaces/{place}", code="seller", detail=detail)])
    start, end = clock.to_seconds(draft.starts_at), clock.to_seconds(draft.ends_at)
    if draft.price_list in replaced:  # who goes back to a list takes it as it is
        return seller or None
    document = tx.execute(select(lists.document).where(lists.id == draft.price_list)).scalar_one()
    prices = PriceList.model_validate_json(document)
    for buyer in _buyers(tx, draft.offering, seller, replaced):
        if not pricing.covered(pricing.prices_for(prices, buyer), start, end):
            detail = (
                f"It has no tariff for {buyer.organization} in some of the span: "
                "publish a revision that has, or shorten the span"
            )
            raise Invalid(errors=[FieldError(pointer="/price_list", code="not_covered", detail=detail)])
    return seller or None


def _buyers(tx: Session, offering: str, reseller: str, replaced: Collection[str]) -> list[Buyer]:
    """Whom attempts on the offering were placed for at the prices of `reseller` ('': the provider), as far as they were by one of
    `replaced` (none: by any)."""
    attempts, lists = table_of(AttemptCopy), table_of(PriceListCopy)
    of_seller = select(lists.c.id).where(lists.c.offering == offering, lists.c.reseller == reseller)
    if replaced:
        of_seller = of_seller.where(lists.c.id.in_(replaced))
    here = attempts.c.offering == offering
    retail = select(attempts.c.organization, attempts.c.price_class, attempts.c.options).distinct()
    wholesale = select(attempts.c.resale).where(here, attempts.c.wholesale_list.in_(of_seller)).distinct()
    found = [Buyer(**row._asdict()) for row in tx.execute(retail.where(here, attempts.c.price_list.in_(of_seller)))]
    for one in map(Resale.model_validate, tx.scalars(wholesale)):
        found.append(Buyer(organization=one.reseller, price_class=one.price_class, options=one.options))
    return found


def approve(tx: Session, correction: str, caller: Caller, at: datetime) -> CorrectionDetail:
    """As `CorrectionService.approve`."""
    row = _row(tx, correction)
    if row.state not in APPROVED:
        if row.proposed_by == caller.subject:
            raise SecondPersonNeeded
        if row.state != CorrectionState.PROPOSED:
            raise WrongState(state=row.state, allowed=(CorrectionState.PROPOSED.value,))
        last = tx.execute(select(func.coalesce(func.max(CORRECTIONS.c.number), 0))).scalar_one()
        _decide(tx, row, CorrectionState.APPLYING, caller, at, number=last + 1)
        audit.record(tx, caller.subject, "approve_price_correction", correction)
    return _detail(tx, _row(tx, correction), caller)


def reject(tx: Session, correction: str, caller: Caller, at: datetime) -> CorrectionDetail:
    """As `CorrectionService.reject`."""
    row = _row(tx, correction)
    if row.state != CorrectionState.REJECTED:
        allowed = (CorrectionState.PREVIEWING.value, CorrectionState.PROPOSED.value)
        if row.state not in allowed:
            raise WrongState(state=row.state, allowed=allowed)
        _decide(tx, row, CorrectionState.REJECTED, caller, at, number=None)
        audit.record(tx, caller.subject, "reject_price_correction", correction)
    return _detail(tx, _row(tx, correction), caller)


def _decide(
    tx: Session, row: Row[Any], state: CorrectionState, caller: Caller, at: datetime, *, number: int | None
) -> None:
    decided = {"decided_by": caller.subject, "decided_at": at, "number": number}
    tx.execute(update(CORRECTIONS).where(CORRECTIONS.c.id == row.id).values(decided))
    tx.execute(update(WORK).where(WORK.c.correction == row.id).values(state=state.value, after_job=""))


def _query() -> Any:
    progress = (WORK.c.state, WORK.c.previewed_jobs, WORK.c.applied_jobs)
    return select(*CORRECTIONS.c, *progress).join(WORK, WORK.c.correction == CORRECTIONS.c.id)


def _row(tx: Session, correction: str) -> Row[Any]:
    row: Row[Any] | None = tx.execute(_query().where(CORRECTIONS.c.id == correction)).one_or_none()
    if row is None:
        raise NotFound
    return row


def _rows(tx: Session, listing: Listing, caller: Caller, offering: str | None) -> Sequence[Row[Any]]:
    query = _query().order_by(CORRECTIONS.c.id.desc()).limit(listing.fetch)
    if not caller.is_finance:
        billed = select(SHARES.c.correction).where(SHARES.c.organization.in_(caller.organizations()))
        theirs = CORRECTIONS.c.id.in_(billed) & WORK.c.state.in_([state.value for state in APPROVED])
        of_provider = CORRECTIONS.c.provider.in_(caller.providers()) & CORRECTIONS.c.reseller.is_(None)
        query = query.where(or_(of_provider, CORRECTIONS.c.reseller.in_(caller.organizations()), theirs))
    if offering is not None:
        query = query.where(CORRECTIONS.c.offering == offering)
    if listing.after:
        query = query.where(CORRECTIONS.c.id < listing.after[0])
    return list(tx.execute(query).all())


def _get(tx: Session, correction: str, caller: Caller) -> CorrectionDetail:
    found = _detail(tx, _row(tx, correction), caller)
    concerns = found.state in APPROVED and found.preview.organizations
    if not (_sees_all(caller, found) or concerns):
        raise NotFound
    return found


def _sees_all(caller: Caller, one: Any) -> bool:
    """Finance, and who sells at these prices."""
    if one.reseller is not None:
        return caller.is_finance or caller.is_org_member(one.reseller)
    return caller.is_finance or one.provider in caller.providers()


def _fields(row: Row[Any], caller: Caller) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in Correction.model_fields if name != "progress"}
    if _sees_all(caller, row):
        values["progress"] = CorrectionProgress(previewed_jobs=row.previewed_jobs, applied_jobs=row.applied_jobs)
    times = {name: clock.from_seconds(values[name]) for name in ("starts_at", "ends_at")}
    return values | times


def _detail(tx: Session, row: Row[Any], caller: Caller) -> CorrectionDetail:
    query = select(SHARES).where(SHARES.c.correction == row.id).order_by(SHARES.c.organization)
    if not _sees_all(caller, row):
        query = query.where(SHARES.c.organization.in_(caller.organizations()))
    preview = _preview(tx.execute(query).all())
    return CorrectionDetail(**_fields(row, caller), preview=preview, volume_discounts=tuple(concerned(tx, row)))


def _preview(rows: Sequence[Row[Any]]) -> CorrectionPreview:
    moved = [row.amount_after - row.amount_before for row in rows]
    up, down = [fen for fen in moved if fen > 0], [-fen for fen in moved if fen < 0]
    return CorrectionPreview(
        jobs=sum(row.job_count for row in rows),
        lines=sum(row.line_count for row in rows),
        before=Money(sum(row.amount_before for row in rows)),
        after=Money(sum(row.amount_after for row in rows)),
        difference=Money(sum(moved)),
        paying_more=len(up),
        more=Money(sum(up)),
        paying_less=len(down),
        less=Money(sum(down)),
        organizations=tuple(
            CorrectionShare(
                organization=row.organization,
                jobs=row.job_count,
                lines=row.line_count,
                before=Money(row.amount_before),
                after=Money(row.amount_after),
                difference=Money(row.amount_after - row.amount_before),
            )
            for row in rows
        ),
    )
