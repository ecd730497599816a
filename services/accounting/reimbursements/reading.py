"""Reading what is due, and what was filed. The organization, the office and finance see it."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, select, true
from sqlalchemy.orm import Session

from caravan.contracts.programmes import Programme
from caravan.contracts.reimbursements import (
    Reimbursable,
    ReimbursedLine,
    Reimbursement,
    ReimbursementPayment,
    ReimbursementState,
)
from caravan.contracts.vouchers import Evidence, Review
from caravan.kernel import clock
from caravan.kernel.database import table_of
from caravan.kernel.money import Money
from caravan.kernel.pages import Listing
from caravan.kernel.problems import NotFound
from caravan.kernel.tokens import Caller
from services.accounting.charging.book import LINES
from services.accounting.charging.reading import shown as shown_line
from services.accounting.programmes.service import PROGRAMMES, reimbursing, shown
from services.accounting.reimbursements import dues
from services.accounting.reimbursements.dues import DUE_SHARES, DUES
from services.accounting.reimbursements.models import (
    PENDING,
    ReimbursementEvidenceRow,
    ReimbursementReviewRow,
    ReimbursementRow,
)
from services.accounting.vouchers.files import Files
from services.accounting.vouchers.models import VoucherRow
from services.accounting.vouchers.reviewing import Reviews

REIMBURSEMENTS: Final = table_of(ReimbursementRow)
EVIDENCE: Final = Files(table_of(ReimbursementEvidenceRow), "reimbursement")
REVIEWS: Final = Reviews(table_of(ReimbursementReviewRow), "reimbursement")


def reimbursable(tx: Session, organization: str, at: datetime) -> Iterator[Reimbursable]:
    """What may be claimed at `at`, of the oldest programme first."""
    mine = select(VoucherRow.programme).where(VoucherRow.organization == organization)
    own = PROGRAMMES.c.id.in_(mine) & PROGRAMMES.c.id.in_(reimbursing(tx))
    rows = tx.execute(select(PROGRAMMES).where(own).order_by(PROGRAMMES.c.id)).all()
    return (_reimbursable(tx, organization, programme, at) for programme in shown(tx, rows))


def _reimbursable(tx: Session, organization: str, programme: Programme, at: datetime) -> Reimbursable:
    found = dues.unfiled(tx, organization, programme, programme.id, at)
    return Reimbursable(
        organization=organization,
        programme=programme.id,
        programme_name=programme.name,
        amount=Money(found.amount),
        clawed_back=Money(found.clawed_back),
        spans=found.spans,
        waits=Money(sum(found.waits.values())),
        waits_until=min(found.waits, default=None),
        owed=Money(max(0, -found.all.amount)),
        pending=pending(tx, organization, programme.id),
    )


def pending(tx: Session, organization: str, programme: str) -> str | None:
    """The one that isn't settled yet."""
    own = (REIMBURSEMENTS.c.organization == organization) & (REIMBURSEMENTS.c.programme == programme)
    query = select(REIMBURSEMENTS.c.id).where(own, REIMBURSEMENTS.c.state.in_([state.value for state in PENDING]))
    return tx.execute(query).scalar_one_or_none()


def row(tx: Session, id: str, which: ColumnElement[bool] | None = None) -> Row[Any]:
    """The one with this id, if it is among `which`. Raises NotFound."""
    query = select(REIMBURSEMENTS).where(REIMBURSEMENTS.c.id == id, true() if which is None else which)
    found = tx.execute(query).one_or_none()
    if found is None:
        raise NotFound
    return found


def get(tx: Session, id: str, which: ColumnElement[bool] | None = None) -> Reimbursement:
    """As `row`."""
    return show(tx, [row(tx, id, which)])[0]


def show(tx: Session, rows: list[Row[Any]]) -> list[Reimbursement]:
    these = [row.id for row in rows]
    files, reviews = EVIDENCE.of(tx, these), REVIEWS.of(tx, these)
    return [_shown(row, files[row.id], reviews[row.id]) for row in rows]


def _shown(row: Row[Any], files: list[Evidence], reviews: list[Review]) -> Reimbursement:
    values = row._asdict() | {"amount": Money(row.amount), "clawed_back": Money(row.clawed_back)}
    paid = {name: values.pop(name) for name in ReimbursementPayment.model_fields}
    payment = None if row.paid_at is None else paid
    of_it = {"evidence": tuple(files), "reviews": tuple(reviews), "payment": payment}
    return Reimbursement.model_validate(values | of_it)


def seen_by(caller: Caller) -> ColumnElement[bool]:
    if caller.is_office or caller.is_finance:
        return true()
    return REIMBURSEMENTS.c.organization.in_(caller.organizations())


def page(
    tx: Session,
    listing: Listing,
    caller: Caller,
    state: ReimbursementState | None,
    organization: str | None,
    programme: str | None,
) -> list[Reimbursement]:
    query = select(REIMBURSEMENTS).where(seen_by(caller)).order_by(REIMBURSEMENTS.c.id).limit(listing.fetch)
    for column, value in (("state", state), ("organization", organization), ("programme", programme)):
        if value is not None:
            query = query.where(REIMBURSEMENTS.c[column] == value)
    if listing.after:
        query = query.where(REIMBURSEMENTS.c.id > listing.after[0])
    return show(tx, list(tx.execute(query)))


def lines(tx: Session, id: str, listing: Listing, caller: Caller) -> list[ReimbursedLine]:
    """By voucher, and by line. Raises NotFound."""
    row(tx, id, seen_by(caller))
    key = DUE_SHARES.c.voucher, DUE_SHARES.c.line
    filed = (
        (DUES.c.voucher == DUE_SHARES.c.voucher)
        & (DUES.c.starts_at == DUE_SHARES.c.starts_at)
        & (DUES.c.period == LINES.c.period)
    )
    query = (
        select(LINES, DUE_SHARES.c.voucher, DUE_SHARES.c.starts_at, DUE_SHARES.c.share, DUE_SHARES.c.paid)
        .join(DUE_SHARES, DUE_SHARES.c.line == LINES.c.id)
        .join(DUES, filed)
        .where(DUES.c.reimbursement == id)
        .order_by(*key)
        .limit(listing.fetch)
    )
    if listing.after:
        voucher, line = listing.after
        query = query.where((key[0] > voucher) | ((key[0] == voucher) & (key[1] > line)))
    return [
        ReimbursedLine(
            line=shown_line(one),
            voucher=one.voucher,
            starts_at=clock.from_seconds(one.starts_at),
            share=Money(one.share),
            pays=Money(one.paid),
        )
        for one in tx.execute(query)
    ]
