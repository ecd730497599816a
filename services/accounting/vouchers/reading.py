"""Reading vouchers. The organization that has it, the office and finance see a voucher."""

from typing import Any

from sqlalchemy import ColumnElement, Row, select, true
from sqlalchemy.orm import Session

from caravan.contracts.vouchers import Voucher
from caravan.kernel.money import Money
from caravan.kernel.pages import Listing
from caravan.kernel.problems import NotFound
from caravan.kernel.tokens import Caller
from services.accounting.vouchers.eligible import VOUCHERS
from services.accounting.vouchers.states import ALL_PAID, state_of

STATED = select(VOUCHERS, ALL_PAID)


def row(tx: Session, id: str, which: ColumnElement[bool] | None = None) -> Row[Any]:
    """The voucher, if it is among `which`. Raises NotFound."""
    found = tx.execute(STATED.where(VOUCHERS.c.id == id, true() if which is None else which)).one_or_none()
    if found is None:
        raise NotFound
    return found


def shown(row: Row[Any]) -> Voucher:
    """Of a row of STATED."""
    money = {name: Money(getattr(row, name)) for name in ("amount", "pledged", "redeemed", "released", "clawed_back")}
    values = row._asdict() | money | {"state": state_of(row.state, all_paid=row.all_paid)}
    at, by, reason = (values.pop(name) for name in ("revoked_at", "revoked_by", "revoke_reason"))
    del values["all_paid"], values["unsettled"]
    revocation = None if at is None else {"revoked_at": at, "revoked_by": by, "reason": reason}
    return Voucher.model_validate(values | {"revocation": revocation})


def sees(caller: Caller, organization: str) -> bool:
    """Whether the caller reads what vouchers do for it."""
    return caller.is_office or caller.is_finance or organization in caller.organizations()


def seen_by(caller: Caller) -> ColumnElement[bool]:
    """The vouchers of those for whom `sees` holds."""
    if caller.is_office or caller.is_finance:
        return true()
    return VOUCHERS.c.organization.in_(caller.organizations())


def page(
    tx: Session, listing: Listing, caller: Caller, organization: str | None, programme: str | None
) -> list[Voucher]:
    query = STATED.where(seen_by(caller)).order_by(VOUCHERS.c.id.desc()).limit(listing.fetch)
    if organization is not None:
        query = query.where(VOUCHERS.c.organization == organization)
    if programme is not None:
        query = query.where(VOUCHERS.c.programme == programme)
    if listing.after:
        query = query.where(VOUCHERS.c.id < listing.after[0])
    return [shown(one) for one in tx.execute(query)]
