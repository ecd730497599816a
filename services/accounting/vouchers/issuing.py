"""Issuing vouchers by approved applications."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Row, insert, select
from sqlalchemy.orm import Session

from caravan.contracts.problems import AlreadyExists, PoolExhausted, VoucherCap
from caravan.contracts.vouchers import ApplicationState, Voucher, VoucherState
from caravan.kernel import audit, clock, ids
from caravan.kernel.local_days import midnight
from caravan.kernel.money import Money
from caravan.kernel.tokens import Caller
from services.accounting.periods import service as periods
from services.accounting.programmes import pools
from services.accounting.programmes.eligibility import months_after
from services.accounting.programmes.service import find
from services.accounting.vouchers import applying
from services.accounting.vouchers.eligible import VOUCHERS, left_in, standing
from services.accounting.vouchers.evidence import APPLICATIONS
from services.accounting.vouchers.reading import STATED, row, shown


def issue(tx: Session, application: str, caller: Caller, at: datetime) -> Voucher:
    """Commit the pool of the year, in the platform's zone, and make the voucher; a repeat gives it again. Raises NotFound, WrongState,
    AlreadyExists, VoucherCap, PoolExhausted."""
    asked = applying.row(tx, application)
    if asked.state == ApplicationState.ISSUED:
        return shown(tx.execute(STATED.where(VOUCHERS.c.application == application)).one())
    applying.move(tx, asked, ApplicationState.ISSUED, (ApplicationState.APPROVED,))
    _check_contract(tx, asked)
    programme, zone = find(tx, asked.programme), periods.zone(tx)
    year, cap = at.astimezone(zone).year, programme.caps.issued_in_year
    _, issued = standing(tx, programme.id, asked.organization, year)
    if cap is not None and issued + asked.amount > cap.fen:
        raise VoucherCap(year=year, most=Money(max(0, cap.fen - issued)))
    if not pools.commit(tx, programme.id, year, asked.amount):
        raise PoolExhausted(year=year, left=Money(left_in(programme, year)))
    values = {
        "id": ids.new("vou"),
        "application": application,
        "programme": programme.id,
        "organization": asked.organization,
        "amount": asked.amount,
        "year": year,
        "use": asked.use,
        "kinds": asked.enterprise["kinds"],
        "affiliates": asked.enterprise["affiliates"],
        "state": VoucherState.ISSUED.value,
        "issued_at": at,
        "expires_at": expiry(at, programme.valid_months, zone),
    }
    tx.execute(insert(VOUCHERS).values(values))
    voucher = shown(row(tx, str(values["id"])))
    audit.record(tx, caller.subject, "issue_voucher", voucher.id, voucher)
    return voucher


def _check_contract(tx: Session, asked: Row[Any]) -> None:
    """Raises AlreadyExists for a voucher of the same contract, which was applied for before contracts' keys were compared."""
    if asked.contract_key is None:
        return
    same = select(VOUCHERS.c.id).join(APPLICATIONS, APPLICATIONS.c.id == VOUCHERS.c.application)
    of_it = (
        getattr(APPLICATIONS.c, name) == getattr(asked, name) for name in ("programme", "organization", "contract_key")
    )
    if existing := tx.scalars(same.where(*of_it).order_by(VOUCHERS.c.id).limit(1)).first():
        raise AlreadyExists("This contract has a voucher: refuse this application by its contract", existing=existing)


def expiry(at: datetime, months: int, zone: ZoneInfo) -> datetime:
    """The end of the local day so many months after that of `at`."""
    day = at.astimezone(zone).date()
    days = (months_after(day, months) - day).days
    return clock.from_seconds(midnight(zone, clock.to_seconds(at), days + 1))
