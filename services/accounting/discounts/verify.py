"""Holding discounts against what they are computed from."""

from collections.abc import Iterator

from sqlalchemy.orm import Session

from caravan.kernel.money import Money
from services.accounting.corrections.approved import SETTLED
from services.accounting.discounts.totals import Totals, schedules, stored, totals_of, wanted
from services.accounting.periods import service as periods


def verify(tx: Session) -> Iterator[tuple[str, str]]:
    """(organization, what is wrong) where the discounts of a closed period aren't those of what was billed for it.

    What was corrected since the last close is settled by the next one.
    """
    for period in periods.closed(tx):
        there, right = stored(tx, period.id, None), wanted(tx, period.id, schedules(tx, period, SETTLED), None)
        for group in sorted({*there, *right}):
            total = right.get(group, Totals())
            given = sum(one.amount for one in totals_of(there.get(group, ())))
            if given != total.amount:
                words = f"{period.name}, {group.component} of {group.offering}"
                yield group.organization, f"{words}: {Money(-given)} is taken off, and should be {Money(-total.amount)}"
