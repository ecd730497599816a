"""What of a programme's vouchers goes into its CSV, a batch at a time. Reads alone."""

from collections import defaultdict
from collections.abc import Collection
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from caravan.kernel.tables import audit
from services.accounting.periods import service as periods
from services.accounting.programme_reports import paper
from services.accounting.redemptions.models import RedemptionRow, SettlementRow
from services.accounting.reimbursements.models import TRANSFERRED, DueRow, ReimbursementRow
from services.accounting.usage import copies
from services.accounting.vouchers.eligible import VOUCHERS
from services.accounting.vouchers.evidence import APPLICATIONS
from services.accounting.vouchers.reviewing import REVIEWS
from services.accounting.vouchers.states import ALL_PAID

BATCH: Final = 200


def batch(tx: Session, programme: str, after: str) -> tuple[str, bytes] | None:
    """Rows of the next vouchers behind the one with the id `after`: the last one's id, and the bytes. None: there are no more."""
    in_open = select(func.coalesce(func.sum(RedemptionRow.redeemed), 0)).where(RedemptionRow.voucher == VOUCHERS.c.id)
    issuing = (audit.c.entity == VOUCHERS.c.id) & (audit.c.action == "issue_voucher")
    query = (
        select(
            VOUCHERS, ALL_PAID, APPLICATIONS.c.applied_at, APPLICATIONS.c.applied_by, audit.c.subject.label("issued_by")
        )
        .add_columns(in_open.scalar_subquery().label("in_open"))
        .join(APPLICATIONS, APPLICATIONS.c.id == VOUCHERS.c.application)
        .outerjoin(audit, issuing)
        .where(VOUCHERS.c.programme == programme, VOUCHERS.c.id > after)
    )
    rows = tx.execute(query.order_by(VOUCHERS.c.id).limit(BATCH)).all()
    if not rows:
        return None
    organizations = {row.organization for row in rows}
    names, codes = copies.names_of(tx, organizations), copies.credit_codes_of(tx, organizations)
    reviews, spans = REVIEWS.of(tx, [row.application for row in rows]), _spans(tx, [row.id for row in rows])
    zone: ZoneInfo = periods.zone(tx)
    buyers = {one: paper.Enterprise(names[one], codes.get(one, "")) for one in organizations}
    return rows[-1].id, b"".join(
        paper.voucher(row, buyers[row.organization], reviews[row.application], spans[row.id], zone) for row in rows
    )


def _spans(tx: Session, vouchers: Collection[str]) -> defaultdict[str, list[paper.Span]]:
    """Of each voucher, in order. What is reimbursed counts as paid once finance has paid it, and less once that is repaid."""
    paid = (
        (SettlementRow, SettlementRow.on_lines + SettlementRow.earlier),
        (
            DueRow,
            case((ReimbursementRow.state.in_(TRANSFERRED), DueRow.on_lines + DueRow.earlier), else_=0),
        ),
    )
    found: defaultdict[str, list[paper.Span]] = defaultdict(list)
    for of, fen in paid:
        by = of.voucher, of.starts_at
        sums = func.sum(of.claimed).label("claimed"), func.sum(fen).label("paid")
        query = select(*by, *sums).where(by[0].in_(vouchers)).group_by(*by).order_by(*by)
        if of is DueRow:
            query = query.outerjoin(ReimbursementRow, ReimbursementRow.id == DueRow.reimbursement)
        for row in tx.execute(query):
            found[row.voucher].append(paper.Span(row.starts_at, int(row.claimed), int(row.paid)))
    return found
