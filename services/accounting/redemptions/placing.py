"""On which lines it stands what vouchers pay, where closes and credit notes pay more or less for lines of earlier periods.

Within a transaction. What stands on a line in all is what its own close has paid of it, and what is kept here.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Row, Table, and_, case, func, select
from sqlalchemy.orm import Session

from caravan.contracts.programmes import Mode, ProgrammeTerms
from caravan.kernel import clock
from caravan.kernel.bulk import InsertMany
from caravan.kernel.database import table_of
from services.accounting.charging.models import LineRow
from services.accounting.credit_notes.models import CreditNoteRow
from services.accounting.periods.models import PeriodRow
from services.accounting.programmes.claims import Part, spread
from services.accounting.redemptions.claiming import Span, ends_at
from services.accounting.redemptions.models import EarlierRow, LineShareRow, SettlementRow
from services.accounting.reimbursements.models import DueRow, DueShareRow

EARLIER, LINES = table_of(EarlierRow), table_of(LineRow)
NO_LINE: Final = ""
_SHARES: Final = {Mode.DEDUCTED: table_of(LineShareRow), Mode.REIMBURSED: table_of(DueShareRow)}
_SETTLED: Final = {Mode.DEDUCTED: table_of(SettlementRow), Mode.REIMBURSED: table_of(DueRow)}
_KEEP: Final = InsertMany(EARLIER)


def place(tx: Session, period: str, span: Span, terms: ProgrammeTerms, zone: ZoneInfo) -> None:
    """Keep for which lines the close of `period` pays more or less of a claim by these terms. Its own lines and settlement are there."""
    settled, rows = _SETTLED[terms.mode], _lines(tx, span, terms, zone)
    given_back, moved = _given_back(tx, span, settled), _moved(tx, span)
    parts = [Part(row.id, _end(row), row.share + given_back.get(row.id, 0)) for row in rows]
    before = [row.paid + moved.get(row.id, 0) for row in rows]
    of_claim = (settled.c.voucher == span.voucher) & (settled.c.starts_at == span.start)
    pays = int(tx.execute(select(func.sum(settled.c.on_lines + settled.c.earlier)).where(of_claim)).scalar_one() or 0)
    stands = spread(parts, pays, before)
    moves = {part.line: fen - was for part, fen, was in zip(parts, stands, before, strict=True)}
    _keep(tx, period, span, moves | {NO_LINE: pays - sum(stands) - moved.get(NO_LINE, 0)})


def take_back(tx: Session, note: str, span: Span, line: str, paid: int, pays: int) -> None:
    """Keep that the credit note `note` takes back `pays` of a claim: of `line`, whose own close has `paid` so much, as far as that stands
    there."""
    takes = min(pays, max(0, paid + _moved(tx, span).get(line, 0)))
    _keep(tx, note, span, {line: -takes, NO_LINE: takes - pays})


def rests(tx: Session, vouchers: Collection[str]) -> set[tuple[str, int]]:
    """The claims, (voucher, start), of which some stands on no line yet."""
    claim = EARLIER.c.voucher, EARLIER.c.starts_at
    query = select(*claim).where(EARLIER.c.voucher.in_(vouchers), EARLIER.c.line == NO_LINE).group_by(*claim)
    return {(row.voucher, row.starts_at) for row in tx.execute(query.having(func.sum(EARLIER.c.fen) != 0))}


def _keep(tx: Session, period: str, span: Span, moves: Mapping[str, int]) -> None:
    own = {"voucher": span.voucher, "period": period, "starts_at": span.start}
    _KEEP.run(tx, [{**own, "line": line, "fen": fen} for line, fen in moves.items() if fen])


def _lines(tx: Session, span: Span, terms: ProgrammeTerms, zone: ZoneInfo) -> list[Row[Any]]:
    """Those with a share of the claim, and what of it their own close has paid."""
    shares = _SHARES[terms.mode]
    of = case((LINES.c.corrects != "", LINES.c.corrects), else_=LINES.c.period)
    within = (PeriodRow.starts_at >= clock.from_seconds(span.start)) & (
        PeriodRow.starts_at < ends_at(span, terms.settles, zone)
    )
    query = (
        select(LINES.c.id, shares.c.share, shares.c.paid, shares.c.ends_at, PeriodRow.starts_at)
        .join(shares, shares.c.line == LINES.c.id)
        .join(PeriodRow, PeriodRow.id == of)
        .where(shares.c.voucher == span.voucher, within)
    )
    return [*tx.execute(query)]


def _end(row: Row[Any]) -> int:
    return clock.to_seconds(row.starts_at) if row.ends_at is None else int(row.ends_at)


def _given_back(tx: Session, span: Span, settled: Table) -> dict[str, int]:
    """By line, how much less (so below zero) credit notes have made its share."""
    query = (
        select(CreditNoteRow.line, func.sum(settled.c.claimed))
        .join(settled, settled.c.period == CreditNoteRow.id)
        .where(settled.c.voucher == span.voucher, settled.c.starts_at == span.start)
    )
    return {line: int(fen) for line, fen in tx.execute(query.group_by(CreditNoteRow.line))}


def _moved(tx: Session, span: Span) -> dict[str, int]:
    """By line, what was kept of a claim."""
    own = (EARLIER.c.voucher == span.voucher) & (EARLIER.c.starts_at == span.start)
    query = select(EARLIER.c.line, func.sum(EARLIER.c.fen)).where(own).group_by(EARLIER.c.line)
    return {line: int(fen) for line, fen in tx.execute(query)}


def wrong(tx: Session) -> Iterator[tuple[str, str]]:
    """(voucher, what is wrong) where what is kept by line isn't what was settled for earlier periods."""
    claim = EARLIER.c.voucher, EARLIER.c.period, EARLIER.c.starts_at
    by_claim = select(*claim, func.sum(EARLIER.c.fen).label("fen")).group_by(*claim).subquery()
    kept = func.coalesce(by_claim.c.fen, 0)
    for of in _SETTLED.values():
        same = [of.c[name] == by_claim.c[name] for name in ("voucher", "period", "starts_at")]
        both = select(of.c.voucher, of.c.period, of.c.earlier, kept).outerjoin(by_claim, and_(*same))
        for voucher, period, earlier, fen in tx.execute(both.where(of.c.earlier != kept)):
            yield voucher, f"{int(fen)} fen stand on earlier lines by {period}, and {earlier} were settled"
