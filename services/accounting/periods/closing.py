"""Closing a period: wait until its usage is complete, or the grace ends; then issue its statements and seal it, in one transaction.

That transaction takes about 0.1 ms for each line; on SQLite other writes wait for it. Volume discounts come in transactions of their own
before it, one for each organization, so that it finds nothing left to post: while it runs, the accounts are free for others.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, Row, select, type_coerce, update
from sqlalchemy.orm import Session

from caravan.contracts.statements import Period, PeriodCut, PeriodState
from caravan.contracts.tax import PLATFORM
from caravan.kernel import audit, clock, idempotency, steps
from caravan.kernel.pages import Listing, Page
from caravan.kernel.runtime import Runtime
from caravan.kernel.tokens import Caller
from caravan.kernel.web import answer_of
from services.accounting.discounts import service as discounts
from services.accounting.fees import taking
from services.accounting.periods import service as periods
from services.accounting.periods.models import PeriodRow, SiteProgressRow
from services.accounting.redemptions import closing as vouchers
from services.accounting.redemptions.supplies import unknown
from services.accounting.statements.issuing import issue
from services.accounting.tax import supplies
from services.accounting.tax.assessing import assess
from services.accounting.usage.service import by_reason, latest_applied_second, parked_facts, set_aside

LOOP: Final = "closing"
CLOSING_SECONDS: Final = 1.0
IDLE_SECONDS: Final = 30.0


class PeriodService:
    """What finance does with periods, and the loop that finishes it."""

    def __init__(self, runtime: Runtime, grace: timedelta) -> None:
        self._runtime = runtime
        self._db = runtime.db
        self._now = runtime.now
        self._grace = grace

    async def list(self, caller: Caller, listing: Listing) -> Page[Period]:
        """Periods, the latest first."""
        found = await self._db.read(_periods, caller, listing)
        return listing.page(found, key=lambda period: (clock.to_microseconds(period.starts_at),))

    async def get(self, period: str, caller: Caller) -> Period:
        """Raises NotFound."""
        return await self._db.read(_get, period, caller)

    async def cut(self, period: str, at: PeriodCut, caller: Caller, key: idempotency.Key | None) -> idempotency.Answer:
        """End the open period at a second. Raises NotFound, WrongState, PeriodCutRefused."""

        def cut(tx: Session) -> None:
            if periods.cut(tx, period, at.at, latest_applied_second(tx)):
                audit.record(tx, caller.subject, "cut_period", period, at)

        return await self._db.write(self._answered, period, caller, key, cut)

    async def close(self, period: str, caller: Caller, key: idempotency.Key | None) -> idempotency.Answer:
        """Start closing; the loop finishes it. A repeat changes nothing. Raises NotFound."""
        now = self._now()

        def close(tx: Session) -> None:
            if _start(tx, period, now, self._grace):
                audit.record(tx, caller.subject, "close_period", period)

        answer = await self._db.write(self._answered, period, caller, key, close)
        self._runtime.loops.kick(LOOP)
        return answer

    def _answered(
        self,
        tx: Session,
        period: str,
        caller: Caller,
        key: idempotency.Key | None,
        change: Callable[[Session], None],
    ) -> idempotency.Answer:
        """Make the change in this transaction, unless the key's first request has made it."""
        if key is not None:
            claimed = idempotency.claim(tx, key, self._runtime.owner.id)
            if isinstance(claimed, idempotency.Answer):
                return claimed
        change(tx)
        found = _get(tx, period, caller)
        answer = answer_of(found, status=200, headers={"ETag": f'"{found.version}"'})
        if key is not None:
            idempotency.answer(tx, key, answer)
        return answer

    async def iteration(self) -> float:
        """One pass of the loop: make the current period, finish the closings that can be finished."""
        now = self._now()
        if not await self._db.read(_has_period, now):
            await self._db.write(_make_period, now)
        closing, due = await self._db.read(_closings, now)
        for period in due:
            for organization in await self._db.read(discounts.organizations, period):
                await self._db.write(discounts.bring_up, period, now, organization)
            await steps.reach("close")
            await self._db.write(finish, period, now)
        return CLOSING_SECONDS if closing > len(due) else IDLE_SECONDS


def finish(tx: Session, period: str, now: datetime) -> bool:
    """Close `period` if it is closing and due. Returns whether it was closed here. Raises LookupError while a tax is not known."""
    row = periods.find(tx, period)
    if row.state != PeriodState.CLOSING or not _is_due(tx, row, now):
        return False
    late, aside = _behind(tx, row.ends_at), set_aside(tx, row.starts_at, row.ends_at)
    discounts.settle(tx, period, now)
    assess(tx, row)
    vouchers.settle(tx, row, now)
    issue(tx, row, late, aside, now)
    tx.execute(
        update(PeriodRow)
        .where(PeriodRow.id == period)
        .values(
            state=PeriodState.CLOSED.value,
            late_sites=sorted(late),
            set_aside=by_reason(aside),
            closed_at=now,
            version=row.version + 1,
        )
    )
    return True


def _start(tx: Session, period: str, now: datetime, grace: timedelta) -> bool:
    """Whether it was open until now. The grace runs from the period's end, or from now when that is later."""
    row = periods.find(tx, period)
    if row.state != PeriodState.OPEN:
        return False
    ends = max(row.ends_at, now) + grace
    tx.execute(
        update(PeriodRow)
        .where(PeriodRow.id == period)
        .values(state=PeriodState.CLOSING.value, grace_ends_at=ends, version=row.version + 1)
    )
    return True


def _is_due(tx: Session, row: Row[Any], now: datetime) -> bool:
    """The period is over, each site that was given a job has passed its end, and no usage waits or is set aside; or the grace is over.
    Without what vouchers need to know it never is."""
    complete = not (_behind(tx, row.ends_at) or parked_facts(tx) or set_aside(tx, row.starts_at, row.ends_at))
    return now >= row.ends_at and (complete or now >= row.grace_ends_at) and not unknown(tx, row.id)


def _behind(tx: Session, end: datetime) -> dict[str, str]:
    """Sites whose usage before `end` is not complete, with their providers."""
    rows = tx.execute(
        select(SiteProgressRow.site, SiteProgressRow.provider).where(SiteProgressRow.complete_through < end)
    )
    return {row.site: row.provider for row in rows}


def _closings(tx: Session, now: datetime) -> tuple[int, list[str]]:
    """How many periods are closing, and which of them are due, the oldest first."""
    closing = select(*PeriodRow.__table__.c).where(PeriodRow.state == PeriodState.CLOSING)
    rows = tx.execute(closing.order_by(PeriodRow.ends_at)).all()
    return len(rows), [row.id for row in rows if _is_due(tx, row, now)]


def _has_period(tx: Session, now: datetime) -> bool:
    current = select(PeriodRow.id).where(PeriodRow.starts_at <= now, PeriodRow.ends_at > now)
    return tx.execute(current).first() is not None


def _make_period(tx: Session, now: datetime) -> None:
    second = clock.to_seconds(now)
    periods.locate(tx, second, second + 1)


def _untaxed(tx: Session, row: Row[Any]) -> set[str]:
    """Sellers for whose tax `finish` would raise."""
    return supplies.untaxed(tx, row) | ({PLATFORM} if taking.is_untaxed(tx, row) else set())


def _get(tx: Session, period: str, caller: Caller) -> Period:
    return _shown(tx, periods.find(tx, period), caller)


def _periods(tx: Session, caller: Caller, listing: Listing) -> list[Period]:
    query = select(*PeriodRow.__table__.c).order_by(PeriodRow.starts_at.desc()).limit(listing.fetch)
    if listing.after:
        query = query.where(type_coerce(PeriodRow.starts_at, BigInteger) < listing.after[0])
    return [_shown(tx, row, caller) for row in tx.execute(query).all()]


def _shown(tx: Session, row: Row[Any], caller: Caller) -> Period:
    closing = row.state == PeriodState.CLOSING
    return Period(
        id=row.id,
        name=row.name,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        state=PeriodState(row.state),
        waiting_for=tuple(sorted(_behind(tx, row.ends_at))) if closing else (),
        parked_facts=parked_facts(tx) if closing else 0,
        anomalies=sum(one.hours for one in set_aside(tx, row.starts_at, row.ends_at)) if closing else 0,
        untaxed=tuple(sorted(_untaxed(tx, row))) if closing and caller.is_platform_reader else (),
        unknown_offerings=unknown(tx, row.id) if closing and caller.is_platform_reader else (),
        late_sites=tuple(row.late_sites),
        set_aside=row.set_aside,
        closed_at=row.closed_at,
        version=row.version,
    )
