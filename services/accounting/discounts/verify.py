"""Holding discounts against what they are computed from."""

from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.contracts.statements import PeriodState
from caravan.kernel.money import Money
from services.accounting.discounts.totals import Totals, stored, totals_of, wanted
from services.accounting.periods.models import PeriodRow


def verify(tx: Session) -> Iterator[tuple[str, str]]:
    """(organization, what is wrong) where the discounts of a closed period aren't those of what was billed for it."""
    closed = select(*PeriodRow.__table__.c).where(PeriodRow.state == PeriodState.CLOSED).order_by(PeriodRow.starts_at)
    for period in tx.execute(closed).all():
        there, right = stored(tx, period.id, None), wanted(tx, period, None)
        for group in sorted({*there, *right}):
            _, total = right.get(group, (None, Totals()))
            given = sum(one.amount for one in totals_of(there.get(group, ())))
            if given != total.amount:
                words = f"{period.name}, {group.component} of {group.offering}"
                yield group.organization, f"{words}: {Money(-given)} is taken off, and should be {Money(-total.amount)}"
