"""Which lines of earlier periods it is that vouchers pay more or less for. Within a transaction."""

from collections.abc import Iterator, Mapping
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Row, and_, case, func, select
from sqlalchemy.orm import Session

from caravan.contracts.programmes import Mode, ProgrammeTerms
from caravan.contracts.statements import LineKind
from caravan.kernel import clock
from caravan.kernel.bulk import InsertMany
from caravan.kernel.database import table_of
from services.accounting.credit_notes.models import CreditNoteRow
from services.accounting.periods.models import PeriodRow
from services.accounting.programmes.claims import Part, spread
from services.accounting.redemptions.claiming import Span, ends_at
from services.accounting.redemptions.closed_lines import LINES, ends_of
from services.accounting.redemptions.models import EarlierRow, LineShareRow, SettlementRow
from services.accounting.reimbursements.models import DueRow, DueShareRow

EARLIER: Final = table_of(EarlierRow)
_KEEP: Final = InsertMany(EARLIER)


def place(tx: Session, period: str, span: Span, earlier: int, terms: ProgrammeTerms, zone: ZoneInfo) -> None:
    """Keep for which lines the close of `period` pays `earlier` fen (not 0) of a claim by these terms. Nothing is kept where that is for
    none of them: a claim whose lines come to less than nothing pays nothing, and one may have been settled before this was kept."""
    rows = _lines(tx, period, span, terms, zone)
    given_back, moved = _given_back(tx, span, terms.mode), _moved(tx, span.voucher)
    ends = ends_of(tx, [row for row in rows if row.kind == LineKind.USAGE])
    parts = [
        Part(
            row.id,
            ends.get((row.corrects or row.period, row.job), clock.to_seconds(row.starts_at)),
            row.share + given_back.get(row.id, 0),
        )
        for row in rows
    ]
    before = [row.paid + moved.get(row.id, 0) for row in rows]
    pays = sum(before) + earlier
    stands = spread(parts, pays, before)
    if sum(stands) == pays:
        moves = {part.line: fen - was for part, fen, was in zip(parts, stands, before, strict=True)}
        keep(tx, period, span, moves)


def keep(tx: Session, period: str, span: Span, moves: Mapping[str, int]) -> None:
    """What of a claim the close of `period`, or the credit note, pays more or less for each line, in fen."""
    own = {"voucher": span.voucher, "period": period, "starts_at": span.start}
    _KEEP.run(tx, [{**own, "line": line, "fen": fen} for line, fen in moves.items() if fen])


def _lines(tx: Session, period: str, span: Span, terms: ProgrammeTerms, zone: ZoneInfo) -> list[Row[Any]]:
    """Those of periods that were closed before with a share of the claim, and what of it was paid then."""
    shares = table_of(DueShareRow if terms.mode is Mode.REIMBURSED else LineShareRow)
    of = case((LINES.c.corrects != "", LINES.c.corrects), else_=LINES.c.period)
    within = (PeriodRow.starts_at >= clock.from_seconds(span.start)) & (
        PeriodRow.starts_at < ends_at(span, terms.settles, zone)
    )
    query = (
        select(LINES, shares.c.share, shares.c.paid, PeriodRow.starts_at)
        .join(shares, shares.c.line == LINES.c.id)
        .join(PeriodRow, PeriodRow.id == of)
        .where(shares.c.voucher == span.voucher, LINES.c.period != period, within)
    )
    return [*tx.execute(query)]


def _given_back(tx: Session, span: Span, mode: Mode) -> dict[str, int]:
    """By line, how much less (so below zero) credit notes have made its share."""
    settled = table_of(DueRow if mode is Mode.REIMBURSED else SettlementRow)
    query = (
        select(CreditNoteRow.line, func.sum(settled.c.claimed))
        .join(settled, settled.c.period == CreditNoteRow.id)
        .where(settled.c.voucher == span.voucher, settled.c.starts_at == span.start)
    )
    return {line: int(fen) for line, fen in tx.execute(query.group_by(CreditNoteRow.line))}


def _moved(tx: Session, voucher: str) -> dict[str, int]:
    """By line, what later closes and credit notes have paid more of it than its own."""
    query = select(EARLIER.c.line, func.sum(EARLIER.c.fen)).where(EARLIER.c.voucher == voucher)
    return {line: int(fen) for line, fen in tx.execute(query.group_by(EARLIER.c.line))}


def wrong(tx: Session) -> Iterator[tuple[str, str]]:
    """(voucher, what is wrong) where what is kept by line isn't what was settled for earlier periods."""
    claim = EARLIER.c.voucher, EARLIER.c.period, EARLIER.c.starts_at
    by_claim = select(*claim, func.sum(EARLIER.c.fen).label("fen")).group_by(*claim).subquery()
    for of in table_of(SettlementRow), table_of(DueRow):
        same = [of.c[name] == by_claim.c[name] for name in ("voucher", "period", "starts_at")]
        differs = select(of.c.voucher, of.c.period, of.c.earlier, by_claim.c.fen).join(by_claim, and_(*same))
        for voucher, period, earlier, fen in tx.execute(differs.where(of.c.earlier != by_claim.c.fen)):
            yield voucher, f"{int(fen)} fen stand on earlier lines by {period}, and {earlier} were settled"
