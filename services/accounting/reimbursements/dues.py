"""What is due of vouchers whose programme reimburses: kept as periods close, and what that makes of vouchers. Within a transaction.

What is due of a voucher counts in `pledged`, filed or not, and what of that was paid in `redeemed`. What closed periods or the office take
back of what was paid already is owed by the organization: it is set off against what is due next, or repaid.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, Self

from sqlalchemy import ColumnElement, Row, func, insert, select, update
from sqlalchemy.orm import Session

from caravan.contracts.programmes import ProgrammeTerms
from caravan.contracts.reimbursements import DueSpan
from caravan.contracts.statements import PeriodState
from caravan.kernel import clock
from caravan.kernel.bulk import InsertMany
from caravan.kernel.database import table_of
from caravan.kernel.money import Money
from services.accounting.periods import service as periods
from services.accounting.periods.models import PeriodRow
from services.accounting.redemptions.claiming import Span, ends_at
from services.accounting.redemptions.models import ClawbackRow
from services.accounting.reimbursements.models import TRANSFERRED, DueRow, DueShareRow, ReimbursementRow
from services.accounting.vouchers.models import VoucherRow

DUES, DUE_SHARES, CLAWBACKS = table_of(DueRow), table_of(DueShareRow), table_of(ClawbackRow)
DUE: Final = DUES.c.on_lines + DUES.c.earlier
NO_PAPER: Final = ""
"""Instead of the period of a clawback: it stands on no statement, but is set off in the next reimbursement, or repaid."""
_SHARE: Final = InsertMany(DUE_SHARES)


def keep(tx: Session, dues: Sequence[Mapping[str, Any]], shares: Sequence[Mapping[str, Any]]) -> None:
    """Rows of both tables. Their vouchers are to be restated then."""
    if dues:
        tx.execute(insert(DUES), dues)
    _SHARE.run(tx, shares)


class Found(NamedTuple):
    """What an organization has due by a programme and hasn't filed: rows of spans that are over, with all of their periods closed; and what
    was clawed back. `waiting`: rows of other spans so far; `waits`: what of that is due, by when they are over.
    """

    rows: Sequence[Row[Any]]
    clawbacks: Sequence[Row[Any]]
    waiting: Sequence[Row[Any]]
    waits: Mapping[datetime, int]

    @property
    def all(self) -> Self:
        """With what waits, as if its spans were over."""
        return self._replace(rows=[*self.rows, *self.waiting], waiting=(), waits={})

    @property
    def clawed_back(self) -> int:
        return int(sum(row.amount for row in self.clawbacks))

    @property
    def amount(self) -> int:
        return int(sum(row.due for row in self.rows)) - self.clawed_back

    @property
    def spans(self) -> tuple[DueSpan, ...]:
        """Those of the rows."""
        claimed: Counter[tuple[str, int]] = Counter()
        due: Counter[tuple[str, int]] = Counter()
        for row in self.rows:
            claimed[row.voucher, row.starts_at] += row.claimed
            due[row.voucher, row.starts_at] += row.due
        return tuple(
            DueSpan(
                voucher=voucher,
                starts_at=clock.from_seconds(start),
                claimed=Money(claimed[voucher, start]),
                amount=Money(due[voucher, start]),
            )
            for voucher, start in sorted(claimed, key=lambda span: span[::-1])
        )


def unfiled(tx: Session, organization: str, programme: ProgrammeTerms, id: str, at: datetime) -> Found:
    """`id`: the programme's."""
    own = (DUES.c.organization == organization) & (DUES.c.programme == id) & DUES.c.reimbursement.is_(None)
    dues = tx.execute(select(DUES, DUE.label("due")).where(own).order_by(DUES.c.starts_at, DUES.c.voucher)).all()
    zone = periods.zone(tx)
    ends = {start: ends_at(Span("", start, 0), programme.settles, zone) for start in {row.starts_at for row in dues}}
    waits = {start for start, end in ends.items() if end > at or _has_open(tx, clock.from_seconds(start), end)}
    waiting: Counter[datetime] = Counter()
    for row in dues:
        if row.starts_at in waits:
            waiting[ends[row.starts_at]] += row.due
    mine = select(VoucherRow.id).where(VoucherRow.organization == organization, VoucherRow.programme == id)
    back = select(CLAWBACKS).where(CLAWBACKS.c.period == NO_PAPER, CLAWBACKS.c.voucher.in_(mine))
    parted: dict[bool, list[Row[Any]]] = {False: [], True: []}
    for row in dues:
        parted[row.starts_at in waits].append(row)
    return Found(parted[False], tx.execute(back).all(), parted[True], waiting)


def _has_open(tx: Session, start: datetime, end: datetime) -> bool:
    """Whether a period that begins in the span isn't closed."""
    begins = (PeriodRow.starts_at >= start) & (PeriodRow.starts_at < end)
    query = select(PeriodRow.id).where(begins, PeriodRow.state != PeriodState.CLOSED.value)
    return tx.execute(query.limit(1)).first() is not None


def restate(tx: Session, voucher: str) -> None:
    """Let a voucher's totals be what is due of it, and what of that was paid."""
    due, redeemed = totals(tx, voucher)
    values = {"pledged": due, "redeemed": redeemed}
    tx.execute(update(VoucherRow).where(VoucherRow.id == voucher).values(values))


def totals(tx: Session, voucher: str) -> tuple[int, int]:
    """What is due of a voucher in all, less what was clawed back; and what of that was paid. In fen."""
    of_it, back = DUES.c.voucher == voucher, CLAWBACKS.c.voucher == voucher
    due = _sum(tx, DUE, of_it) - _sum(tx, CLAWBACKS.c.amount, back)
    return due, max(0, min(due, paid(tx, voucher)))


def paid(tx: Session, voucher: str) -> int:
    """What was paid of a voucher, less what was set off or repaid, in fen: below zero where that was clawed back before it is paid."""
    of_it, back = DUES.c.voucher == voucher, CLAWBACKS.c.voucher == voucher
    claims = select(ReimbursementRow.id).where(ReimbursementRow.state.in_(TRANSFERRED))
    return _sum(tx, DUE, of_it & DUES.c.reimbursement.in_(claims)) - _sum(
        tx, CLAWBACKS.c.amount, back & CLAWBACKS.c.period.in_(claims)
    )


def _sum(tx: Session, of: ColumnElement[int], which: ColumnElement[bool]) -> int:
    return int(tx.execute(select(func.coalesce(func.sum(of), 0)).where(which)).scalar_one())
