"""What an enterprise may apply for now: which programmes are open to it, and for how much. Reads alone."""

from datetime import date, datetime
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from caravan.contracts.programmes import Enterprise, Programme, ProgrammeState
from caravan.contracts.vouchers import EligibilityAnswer, EligibilityQuestion, Limit, SupplyContract
from caravan.kernel.database import table_of
from caravan.kernel.problems import FieldError, Invalid
from services.accounting.funds.service import unknown
from services.accounting.periods import service as periods
from services.accounting.programmes.eligibility import unmet
from services.accounting.programmes.service import PROGRAMMES, shown
from services.accounting.usage import copies
from services.accounting.vouchers.affiliation import resolved
from services.accounting.vouchers.evidence import APPLICATIONS
from services.accounting.vouchers.limits import limits, of_pool, tightest
from services.accounting.vouchers.models import VoucherRow
from services.accounting.vouchers.reviewing import LIVING

VOUCHERS = table_of(VoucherRow)
COUNTS: Final = VOUCHERS.c.amount - VOUCHERS.c.released
"""What of a voucher is issued: not what its pool has again."""


def answer(tx: Session, question: EligibilityQuestion, at: datetime) -> list[EligibilityAnswer]:
    """For each programme that takes applications at `at`, the oldest first. Raises Invalid, UnknownReference."""
    day = today(tx, at)
    check_enterprise(tx, question.enterprise, day)
    takes = (
        PROGRAMMES.c.state == ProgrammeState.PUBLISHED.value,
        PROGRAMMES.c.starts_at <= at,
        PROGRAMMES.c.ends_at > at,
    )
    rows = tx.execute(select(PROGRAMMES).where(*takes).order_by(PROGRAMMES.c.id)).all()
    return [_of(tx, programme, question, day) for programme in shown(tx, rows)]


def _of(tx: Session, programme: Programme, question: EligibilityQuestion, day: date) -> EligibilityAnswer:
    lacks = unmet(programme, resolved(tx, question.organization, question.enterprise), question.use, day)
    limit = None if lacks else most(tx, programme, question.organization, None, day.year)
    return EligibilityAnswer(programme=programme.id, name=programme.name, unmet=lacks, limit=limit)


def most(
    tx: Session, programme: Programme, organization: str, contract: SupplyContract | None, year: int
) -> Limit | None:
    """What an organization may apply for now, beside what it has and has applied for."""
    first, issued = standing(tx, programme.id, organization, year)
    asked = applied_for(tx, programme.id, organization)
    caps = limits(programme, first=first, issued=issued + asked, contract=contract)
    return tightest([*caps, of_pool(left_in(programme, year))])


def applied_for(tx: Session, programme: str, organization: str) -> int:
    """The sum of an organization's applications that may still be issued, in fen."""
    asked = select(func.coalesce(func.sum(APPLICATIONS.c.amount), 0)).where(
        APPLICATIONS.c.programme == programme,
        APPLICATIONS.c.organization == organization,
        APPLICATIONS.c.state.in_([one.value for one in LIVING]),
    )
    return int(tx.execute(asked).scalar_one())


def standing(tx: Session, programme: str, organization: str, year: int) -> tuple[bool, int]:
    """Whether it never had a voucher of the programme; and what it has been issued of that year's, less what pools have again of those
    that have ended, in fen."""
    mine = select(VOUCHERS.c.id).where(VOUCHERS.c.programme == programme, VOUCHERS.c.organization == organization)
    issued = select(func.coalesce(func.sum(COUNTS), 0)).where(
        VOUCHERS.c.programme == programme,
        VOUCHERS.c.organization == organization,
        VOUCHERS.c.year == year,
    )
    return tx.execute(mine.limit(1)).first() is None, int(tx.execute(issued).scalar_one())


def left_in(programme: Programme, year: int) -> int:
    """What of a year's pool isn't committed, in fen."""
    return sum(pool.amount.fen - pool.committed.fen for pool in programme.pools if pool.year == year)


def today(tx: Session, at: datetime) -> date:
    """The day in the platform's zone."""
    return at.astimezone(periods.zone(tx)).date()


def check_enterprise(tx: Session, enterprise: Enterprise, day: date) -> None:
    """Raises Invalid for one that isn't registered yet, UnknownReference for an affiliate that isn't known here."""
    if enterprise.registered_on > day:
        detail = "Give the day on which it was registered, which isn't to come"
        raise Invalid(errors=[FieldError(pointer="/enterprise/registered_on", code="to_come", detail=detail)])
    for place, affiliate in enumerate(enterprise.affiliates):
        if affiliate.startswith(("org_", "prv_")) and not copies.is_party(tx, affiliate):
            raise unknown(f"/enterprise/affiliates/{place}")
