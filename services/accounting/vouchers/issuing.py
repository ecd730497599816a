"""Issuing vouchers by approved applications, and reading them. The organization that has it, the office and finance see a voucher."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Row, insert, select, true
from sqlalchemy.orm import Session

from caravan.contracts.problems import PoolExhausted, VoucherCap
from caravan.contracts.vouchers import ApplicationState, Voucher, VoucherState
from caravan.kernel import audit, clock, ids
from caravan.kernel.local_days import midnight
from caravan.kernel.money import Money
from caravan.kernel.pages import Listing, Page
from caravan.kernel.problems import NotFound
from caravan.kernel.runtime import Runtime
from caravan.kernel.tokens import Caller
from services.accounting.periods import service as periods
from services.accounting.programmes import pools
from services.accounting.programmes.eligibility import months_after
from services.accounting.programmes.service import find
from services.accounting.vouchers import applying
from services.accounting.vouchers.eligible import VOUCHERS, left_in, standing


class VoucherService:
    """What the office issues, and the parties read."""

    def __init__(self, runtime: Runtime) -> None:
        self._db = runtime.db
        self._now = runtime.now

    async def issue(self, application: str, caller: Caller) -> Voucher:
        """A repeat changes nothing. Raises NotFound, WrongState, VoucherCap, PoolExhausted."""
        return await self._db.write(issue, application, caller, self._now())

    async def get(self, id: str, caller: Caller) -> Voucher:
        """Raises NotFound, also for one of others."""
        return shown(await self._db.read(row, id, _seen_by(caller)))

    async def list(
        self, listing: Listing, caller: Caller, organization: str | None, programme: str | None
    ) -> Page[Voucher]:
        """The newest first: all to the office and finance, to others their organizations'."""
        found = await self._db.read(_page, listing, caller, organization, programme)
        return listing.page(found, key=lambda one: (one.id,))


def issue(tx: Session, application: str, caller: Caller, at: datetime) -> Voucher:
    """Commit the pool of the year, in the platform's zone, and make the voucher. As `VoucherService.issue`."""
    asked = applying.row(tx, application)
    if asked.state == ApplicationState.ISSUED:
        return shown(tx.execute(select(VOUCHERS).where(VOUCHERS.c.application == application)).one())
    applying.move(tx, asked, ApplicationState.ISSUED, (ApplicationState.APPROVED,))
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


def expiry(at: datetime, months: int, zone: ZoneInfo) -> datetime:
    """The end of the local day so many months after that of `at`."""
    day = at.astimezone(zone).date()
    days = (months_after(day, months) - day).days
    return clock.from_seconds(midnight(zone, clock.to_seconds(at), days + 1))


def row(tx: Session, id: str, which: ColumnElement[bool] | None = None) -> Row[Any]:
    """The voucher, if it is among `which`. Raises NotFound."""
    found = tx.execute(select(VOUCHERS).where(VOUCHERS.c.id == id, true() if which is None else which)).one_or_none()
    if found is None:
        raise NotFound
    return found


def shown(row: Row[Any]) -> Voucher:
    return Voucher.model_validate(row._asdict() | {"amount": Money(row.amount)})


def _seen_by(caller: Caller) -> ColumnElement[bool]:
    if caller.is_office or caller.is_finance:
        return true()
    return VOUCHERS.c.organization.in_(caller.organizations())


def _page(
    tx: Session, listing: Listing, caller: Caller, organization: str | None, programme: str | None
) -> list[Voucher]:
    query = select(VOUCHERS).where(_seen_by(caller)).order_by(VOUCHERS.c.id.desc()).limit(listing.fetch)
    if organization is not None:
        query = query.where(VOUCHERS.c.organization == organization)
    if programme is not None:
        query = query.where(VOUCHERS.c.programme == programme)
    if listing.after:
        query = query.where(VOUCHERS.c.id < listing.after[0])
    return [shown(one) for one in tx.execute(query)]
