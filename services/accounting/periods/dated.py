"""Dated terms, as tax rules and fee agreements are: they hold in [starts_at, ends_at).

A period goes by those that hold in its last second. What a closed one went by never changes: terms that would hold there are refused.
"""

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, func, or_, select
from sqlalchemy.orm import Session

from caravan.contracts.problems import PeriodFrozen
from caravan.contracts.statements import PeriodState
from caravan.kernel.problems import FieldError, Invalid
from services.accounting.periods.models import PeriodRow

SECOND: Final = timedelta(seconds=1)


def check(tx: Session, starts_at: datetime, ends_at: datetime | None) -> None:
    """Raises Invalid where the span is empty, PeriodFrozen where a closed period would go by what holds in it."""
    if ends_at is not None and ends_at <= starts_at:
        detail = "ends_at must be after starts_at"
        raise Invalid(errors=[FieldError(pointer="/ends_at", code="span", detail=detail)])
    closed = PeriodRow.state == PeriodState.CLOSED
    within = closed & (PeriodRow.ends_at > starts_at)
    if ends_at is not None:
        within &= PeriodRow.ends_at <= ends_at
    if tx.execute(select(PeriodRow.id).where(within).limit(1)).first() is not None:
        raise PeriodFrozen(earliest=tx.execute(select(func.max(PeriodRow.ends_at)).where(closed)).scalar_one())


def of_period(tx: Session, table: Any, ends_at: datetime, **equal: str) -> Row[Any] | None:
    """The row of `table` that a period which ends at `ends_at` goes by."""
    return holding(tx, table, ends_at - SECOND, **equal)


def holding(tx: Session, table: Any, at: datetime, **equal: str) -> Row[Any] | None:
    """The row of `table` that holds at `at`: the one that starts last, and of these the one that was posted last."""
    columns = table.__table__.c
    holds = (table.starts_at <= at) & or_(table.ends_at.is_(None), table.ends_at > at)
    query = select(*columns).where(holds, *(columns[name] == value for name, value in equal.items()))
    return tx.execute(query.order_by(table.starts_at.desc(), table.id.desc()).limit(1)).one_or_none()
