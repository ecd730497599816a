"""What a credit note gives back of a line that vouchers have paid a part of: that part is their programmes' again. Within a transaction.

The claim that the line belongs to is less by its share, so its caps and its year have it again. What that makes of floors and caps is
settled by the next close.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import Row, ScalarSelect, func, insert, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from caravan.contracts.programmes import Mode, ProgrammeTerms
from caravan.kernel.money import Money
from services.accounting.funds import holds
from services.accounting.ledger import service as ledger
from services.accounting.periods import service as periods
from services.accounting.programmes.models import ProgrammeRow
from services.accounting.redemptions import clawing, placing
from services.accounting.redemptions.claiming import Span, span_of
from services.accounting.redemptions.models import LineShareRow, SettlementRow
from services.accounting.redemptions.service import Moved, move
from services.accounting.reimbursements import dues
from services.accounting.reimbursements.models import DueRow, DueShareRow
from services.accounting.vouchers.models import VoucherRow


def give_back(tx: Session, line: Row[Any], note: str, part: Callable[[int], int], at: datetime) -> Money | None:
    """Let vouchers pay less of `line` (a row of `lines`), of which the credit note `note` gives some back. Returns by how much those
    pay less that deduct; None: they have no part of it.

    `part`: what of an amount that belongs to the whole line, in fen, belongs to what is given back.
    """
    starts_at, zone = periods.find(tx, line.corrects or line.period).starts_at, periods.zone(tx)
    share = paid = 0
    back: int | None = None
    for row in _vouchers_of(tx, line):
        terms = ProgrammeTerms.model_validate(row.terms)
        span = span_of(row.id, terms.settles, starts_at, zone)
        # together once rounded, and never more than what is given back, nor than the claim pays by now
        claimed, of_line = part(share + row.share) - part(share), part(paid + row.paid) - part(paid)
        pays = min(of_line, _pays(tx, span))
        share, paid = share + row.share, paid + row.paid
        values = {
            "period": note,
            "voucher": row.id,
            "starts_at": span.start,
            "year": span.year,
            "organization": row.organization,
            "programme": row.programme,
            "claimed": -claimed,
            "on_lines": 0,
            "earlier": -pays,
        }
        tx.execute(update(VoucherRow).where(VoucherRow.id == row.id).values(unsettled=True))
        placing.take_back(tx, note, span, line.id, row.paid, pays)
        if terms.mode is Mode.REIMBURSED:
            dues.keep(tx, [values], ())
            clawing.undo(tx, row, dues.NO_PAPER, at)
            dues.restate(tx, row.id)
            continue
        back = (back or 0) + pays
        tx.execute(insert(SettlementRow).values(values))
        more = clawing.undo(tx, row, periods.open_period(tx), at) - pays
        moved = Moved(more, more)
        move(tx, row, moved)
        holds.add_grants(tx, row.organization, moved)
        if more:
            ledger.redemption(
                tx,
                organization=row.organization,
                programme=row.programme,
                delta_fen=more,
                reference=note,
                at=at,
            )
    return None if back is None else Money(back)


def _pays(tx: Session, span: Span) -> int:
    """What a claim pays, or makes due, in fen: a close may have taken back what stands on its lines."""
    sums = (
        select(func.sum(of.on_lines + of.earlier)).where(of.voucher == span.voucher, of.starts_at == span.start)
        for of in (SettlementRow, DueRow)
    )
    return sum(int(tx.execute(fen).scalar_one() or 0) for fen in sums)


def _vouchers_of(tx: Session, line: Row[Any]) -> list[Row[Any]]:
    """Those that have a share of it: the ones that deduct before those that reimburse, each the one that was issued first before others."""
    return [
        row
        for shares in (LineShareRow, DueShareRow)
        for row in tx.execute(
            select(VoucherRow.__table__, ProgrammeRow.terms, shares.share, shares.paid)
            .join(ProgrammeRow, ProgrammeRow.id == VoucherRow.programme)
            .join(shares, shares.voucher == VoucherRow.id)
            .where(shares.line == line.id)
            .order_by(VoucherRow.id)
        )
    ]


def given_back(note: InstrumentedAttribute[str]) -> ScalarSelect[int]:
    """What `give_back` has returned of a note, in fen, for a query of notes."""
    return select(-func.sum(SettlementRow.earlier)).where(SettlementRow.period == note).scalar_subquery()
