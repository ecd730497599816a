"""Reading a voucher's shares of lines, of either mode."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from caravan.contracts.programmes import Mode
from caravan.contracts.redemptions import VoucherShare
from caravan.kernel.database import table_of
from caravan.kernel.money import Money
from caravan.kernel.pages import Listing, Page
from caravan.kernel.runtime import Runtime
from caravan.kernel.tokens import Caller
from services.accounting.charging.book import LINES
from services.accounting.programmes.service import find
from services.accounting.redemptions.models import EarlierRow, LineShareRow
from services.accounting.reimbursements.models import DueShareRow
from services.accounting.vouchers import reading

SHARES = {Mode.DEDUCTED: table_of(LineShareRow), Mode.REIMBURSED: table_of(DueShareRow)}


class VoucherShareService:
    """What those read who see the voucher."""

    def __init__(self, runtime: Runtime) -> None:
        self._db = runtime.db

    async def list(self, voucher: str, listing: Listing, caller: Caller) -> Page[VoucherShare]:
        """By line. Raises NotFound, also for a voucher of others."""
        found = await self._db.read(page, voucher, listing, caller)
        return listing.page(found, key=lambda one: (one.line,))


def page(tx: Session, voucher: str, listing: Listing, caller: Caller) -> list[VoucherShare]:
    """As `VoucherShareService.list`."""
    found = reading.row(tx, voucher, reading.seen_by(caller))
    shares = SHARES[find(tx, found.programme).mode]
    same = (EarlierRow.voucher == shares.c.voucher) & (EarlierRow.line == shares.c.line)
    later = select(func.coalesce(func.sum(EarlierRow.fen), 0)).where(same).scalar_subquery()
    query = (
        select(LINES, shares.c.line, shares.c.rate, shares.c.share, shares.c.paid, later.label("later"))
        .join(shares, shares.c.line == LINES.c.id)
        .where(shares.c.voucher == voucher)
        .order_by(shares.c.line)
        .limit(listing.fetch)
    )
    if listing.after:
        query = query.where(shares.c.line > listing.after[0])
    return [
        VoucherShare(
            line=row.line,
            period=row.period,
            job=row.job or None,
            component=row.component,
            amount=Money(row.amount),
            rate=row.rate,
            share=Money(row.share),
            paid=Money(row.paid),
            later=Money(int(row.later)),
        )
        for row in tx.execute(query)
    ]
