"""How vouchers end: the office revokes them, and time runs out. What isn't redeemed of one, its pool has again."""

from datetime import datetime
from typing import Any, Final

import structlog
from sqlalchemy import ColumnElement, Row, func, select, update
from sqlalchemy.orm import Session

from caravan.contracts.funds import HoldStatus
from caravan.contracts.problems import WrongState
from caravan.contracts.statements import PeriodState
from caravan.contracts.vouchers import RevocationDraft, Voucher, VoucherState
from caravan.kernel import audit
from caravan.kernel.metrics import Metrics
from caravan.kernel.runtime import Runtime
from caravan.kernel.tokens import Caller
from services.accounting.charging.models import LineRow
from services.accounting.funds.models import HoldRow
from services.accounting.periods.models import PeriodRow
from services.accounting.programmes import pools
from services.accounting.redemptions.service import REDEMPTIONS
from services.accounting.vouchers.eligible import VOUCHERS
from services.accounting.vouchers.evidence import APPLICATIONS
from services.accounting.vouchers.reading import row, shown
from services.accounting.vouchers.reviewing import LIVING
from services.accounting.vouchers.states import state_of

LOOK_SECONDS: Final = 30.0
AT_ONCE: Final = 100
log = structlog.get_logger(__name__)


class Expiring:
    """The loop that ends vouchers whose time is over, and counts the applications that the office has to do with."""

    def __init__(self, runtime: Runtime, metrics: Metrics) -> None:
        self._db = runtime.db
        self._now = runtime.now
        self._waiting = metrics.gauge(
            "voucher_applications_waiting", "Applications that wait for the office, by state.", "state"
        )

    async def iteration(self) -> float:
        """Look once. Returns the seconds until the next look."""
        while await self._db.write(expire, self._now()) == AT_ONCE:
            pass
        while await self._db.write(release) == AT_ONCE:
            pass
        found = await self._db.read(count_waiting)
        for state in LIVING:
            self._waiting.labels(state.value).set(found.get(state, 0))
        return LOOK_SECONDS


def expire(tx: Session, at: datetime) -> int:
    """End vouchers whose time is over at `at`, AT_ONCE at most. Returns how many."""
    over = VOUCHERS.c.state == VoucherState.ISSUED.value, VOUCHERS.c.expires_at <= at
    rows = tx.execute(select(VOUCHERS).where(*over).order_by(VOUCHERS.c.expires_at).limit(AT_ONCE)).all()
    for one in rows:
        _end(tx, one, VoucherState.EXPIRED)
        log.info("voucher_expired", voucher=one.id, programme=one.programme, organization=one.organization)
    return len(rows)


def revoke(tx: Session, id: str, draft: RevocationDraft, caller: Caller, at: datetime) -> Voucher:
    """Raises NotFound, WrongState."""
    found = row(tx, id)
    if (state := state_of(found.state, all_paid=found.all_paid)) is not VoucherState.ISSUED:
        raise WrongState(state=state, allowed=(VoucherState.ISSUED.value,))
    _end(tx, found, VoucherState.REVOKED, revoked_at=at, revoked_by=caller.subject, revoke_reason=draft.reason)
    audit.record(tx, caller.subject, "revoke_voucher", id, draft)
    return shown(row(tx, id))


def release(tx: Session, voucher: str | None = None) -> int:
    """Give pools what is left of vouchers that have ended: of one, or AT_ONCE at most. Returns of how many.

    What jobs still hold of one may be redeemed: so its pool waits until none does. One that has expired may be claimed for the jobs that
    were submitted while it was valid, whatever they hold of it: so its pool waits until these are settled, and their periods closed; and
    until a close has looked at what a credit note gave back to its claims, or what jobs have let go of that these need.
    """
    ended = VOUCHERS.c.state.in_([VoucherState.EXPIRED.value, VoucherState.REVOKED.value])
    left = VOUCHERS.c.amount - VOUCHERS.c.pledged - VOUCHERS.c.released
    held = select(REDEMPTIONS.c.job).where(REDEMPTIONS.c.voucher == VOUCHERS.c.id, REDEMPTIONS.c.pledged > 0)
    query = select(VOUCHERS.c.id, VOUCHERS.c.programme, VOUCHERS.c.year, left.label("left"))
    query = (
        query.where(ended, left > 0, ~VOUCHERS.c.unsettled, ~held.exists(), ~_claimable())
        .order_by(VOUCHERS.c.id)
        .limit(AT_ONCE)
    )
    rows = tx.execute(query if voucher is None else query.where(VOUCHERS.c.id == voucher)).all()
    for one in rows:
        released = {"released": VOUCHERS.c.released + one.left}
        tx.execute(update(VOUCHERS).where(VOUCHERS.c.id == one.id).values(released))
        pools.give_back(tx, one.programme, one.year, one.left)
    return len(rows)


def _claimable() -> ColumnElement[bool]:
    """Whether a voucher has expired, and has such jobs."""
    valid = (HoldRow.submitted_at >= VOUCHERS.c.issued_at) & (HoldRow.submitted_at < VOUCHERS.c.expires_at)
    own = select(HoldRow.job).where(HoldRow.organization == VOUCHERS.c.organization, ~HoldRow.resale, valid)
    unsettled = own.where(HoldRow.status == HoldStatus.OPEN.value)
    unclosed = select(PeriodRow.id).where(PeriodRow.state != PeriodState.CLOSED.value)
    of_it = (LineRow.organization == VOUCHERS.c.organization) & LineRow.period.in_(unclosed)
    used = own.join(LineRow, LineRow.job == HoldRow.job).where(of_it)
    return (VOUCHERS.c.state == VoucherState.EXPIRED.value) & (unsettled.exists() | used.exists())


def count_waiting(tx: Session) -> dict[str, int]:
    """How many applications are in each state of LIVING."""
    counted = select(APPLICATIONS.c.state, func.count().label("applications"))
    query = counted.where(APPLICATIONS.c.state.in_([one.value for one in LIVING]))
    return {row.state: row.applications for row in tx.execute(query.group_by(APPLICATIONS.c.state))}


def _end(tx: Session, voucher: Row[Any], state: VoucherState, **values: Any) -> None:
    tx.execute(update(VOUCHERS).where(VOUCHERS.c.id == voucher.id).values(state=state.value, **values))
    release(tx, voucher.id)
