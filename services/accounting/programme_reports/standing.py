"""How a programme stands: its pools, its applications and vouchers by state, and what each organization has in each year. Reads alone."""

from typing import Any

from sqlalchemy import Row, Select, func, literal, select, tuple_, union_all
from sqlalchemy.orm import Session

from caravan.contracts.programme_reports import OrganizationStanding, PoolUse, ProgrammeStanding
from caravan.contracts.programmes import Programme
from caravan.contracts.vouchers import ApplicationState, VoucherState
from caravan.kernel.money import Money
from caravan.kernel.pages import Listing
from caravan.kernel.tokens import Caller
from services.accounting.programmes.service import find, seen_by
from services.accounting.redemptions.models import SettlementRow
from services.accounting.reimbursements.models import DueRow
from services.accounting.usage import copies
from services.accounting.vouchers.eligible import COUNTS, VOUCHERS
from services.accounting.vouchers.evidence import APPLICATIONS
from services.accounting.vouchers.states import ALL_PAID, state_of


def standing(tx: Session, id: str, listing: Listing, caller: Caller) -> ProgrammeStanding:
    """Raises NotFound."""
    programme = find(tx, id, seen_by(caller))
    page = listing.page(_organizations(tx, programme, listing), key=lambda one: (one.organization, one.year))
    return ProgrammeStanding(
        items=page.items,
        next=page.next,
        programme=id,
        pools=_pools(tx, programme),
        applications=_applications(tx, id),
        vouchers=_vouchers(tx, id),
    )


def _pools(tx: Session, programme: Programme) -> tuple[PoolUse, ...]:
    sums = select(VOUCHERS.c.year, func.sum(VOUCHERS.c.redeemed)).where(VOUCHERS.c.programme == programme.id)
    redeemed = {year: int(fen) for year, fen in tx.execute(sums.group_by(VOUCHERS.c.year))}
    return tuple(PoolUse(**dict(pool), redeemed=Money(redeemed.get(pool.year, 0))) for pool in programme.pools)


def _applications(tx: Session, programme: str) -> dict[ApplicationState, int]:
    state = APPLICATIONS.c.state
    counted = select(state, func.count().label("some")).where(APPLICATIONS.c.programme == programme).group_by(state)
    found = {row.state: row.some for row in tx.execute(counted)}
    return {one: found.get(one.value, 0) for one in ApplicationState}


def _vouchers(tx: Session, programme: str) -> dict[VoucherState, int]:
    stated = select(VOUCHERS.c.state, ALL_PAID).where(VOUCHERS.c.programme == programme).subquery()
    found = dict.fromkeys(VoucherState, 0)
    for row in tx.execute(select(*stated.c, func.count().label("some")).group_by(*stated.c)):
        found[state_of(row.state, all_paid=row.all_paid)] += row.some
    return found


def _organizations(tx: Session, programme: Programme, listing: Listing) -> list[OrganizationStanding]:
    rows = tx.execute(_sums(programme.id, listing)).all()
    names = copies.names_of(tx, {row.organization for row in rows})
    return [_shown(programme, row, names[row.organization]) for row in rows]


def _sums(programme: str, listing: Listing) -> Select[Any]:
    """By organization and year: what is issued, and what claims were paid, or are due to be reimbursed."""
    own = VOUCHERS.c.programme == programme
    issued = select(
        VOUCHERS.c.organization, VOUCHERS.c.year, COUNTS.label("issued"), literal(0).label("redeemed")
    ).where(own)
    claims = (
        select(VOUCHERS.c.organization, of.year, literal(0), of.on_lines + of.earlier)
        .join(of, of.voucher == VOUCHERS.c.id)
        .where(own)
        for of in (SettlementRow, DueRow)
    )
    both = union_all(issued, *claims).subquery()
    by = both.c.organization, both.c.year
    sums = func.sum(both.c.issued).label("issued"), func.sum(both.c.redeemed).label("redeemed")
    query = select(*by, *sums).group_by(*by).order_by(*by).limit(listing.fetch)
    return query.where(tuple_(*by) > tuple_(*listing.after)) if listing.after else query


def _shown(programme: Programme, row: Row[Any], name: str) -> OrganizationStanding:
    return OrganizationStanding(
        organization=row.organization,
        organization_name=name,
        year=row.year,
        issued=Money(int(row.issued)),
        most_issued=programme.caps.issued_in_year,
        redeemed=Money(int(row.redeemed)),
        most_redeemed=programme.caps.redeemed_in_year,
    )
