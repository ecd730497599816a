"""What an organization bears in a period, as claims see it: read as the period closes, or after that. Times are seconds since the epoch."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import FromClause, Row, Select, func, select
from sqlalchemy.orm import Session

from caravan.contracts.prices import Component
from caravan.contracts.statements import BearerKind, LineKind
from caravan.kernel import clock
from caravan.kernel.bulk import SelectMany
from caravan.kernel.database import table_of
from services.accounting.charging.models import LineRow
from services.accounting.funds.models import HoldRow
from services.accounting.periods import service as periods
from services.accounting.periods.models import PeriodRow
from services.accounting.redemptions import supplies
from services.accounting.redemptions.claiming import Group, UsageLine
from services.accounting.usage.models import PriceListCopy
from services.accounting.usage.records import RECORDS

LINES = table_of(LineRow)


def _last_hours(given: FromClause) -> Select[Any]:
    within = (RECORDS.c.hour > given.c.start - clock.HOUR_SECONDS) & (RECORDS.c.hour < given.c.end)
    held = select(RECORDS.c.job, func.max(RECORDS.c.hour).label("hour")).join(given, RECORDS.c.job == given.c.job)
    last = held.where(within, RECORDS.c.spans != ()).group_by(RECORDS.c.job).subquery()
    same = (last.c.job == RECORDS.c.job) & (last.c.hour == RECORDS.c.hour)
    return select(RECORDS.c.job, RECORDS.c.spans).join(last, same)


_LAST_HOURS: Final = SelectMany(
    {"job": RECORDS.c.job.type, "start": RECORDS.c.hour.type, "end": RECORDS.c.hour.type}, _last_hours
)
"""What the last hours hold in which jobs used something between two times."""


def read(tx: Session, period: str, organization: str) -> Sequence[Row[Any]]:
    """Rows of `lines`, by id, with their offering, when their job was submitted, and where they correct a period that one's `starts_at` and
    `closed_at`.

    What a reseller buys to sell it on is not among them: no voucher of its own pays for that.
    """
    columns = (*LINES.c, HoldRow.submitted_at, PeriodRow.starts_at, PeriodRow.closed_at, PriceListCopy.offering)
    own = (LINES.c.period == period) & (LINES.c.organization == organization)
    return tx.execute(
        select(*columns)
        .join(PriceListCopy, PriceListCopy.id == LINES.c.price_list)
        .outerjoin(HoldRow, (HoldRow.job == LINES.c.job) & (HoldRow.organization == LINES.c.organization))
        .outerjoin(PeriodRow, PeriodRow.id == LINES.c.corrects)
        .where(own, LINES.c.bearer == BearerKind.ORGANIZATION.value, HoldRow.resale.is_not(True))
        .order_by(LINES.c.id)
    ).all()


def used(tx: Session, period: Row[Any], rows: Iterable[Row[Any]]) -> list[UsageLine]:
    """Those of jobs that cost something. `period` is a row of `periods`, and `rows` were read of it."""
    lines = [line for line in rows if line.kind == LineKind.USAGE and line.amount]
    found = supplies.of_price_lists(tx, {line.price_list for line in lines})
    ends = _ends(tx, lines)
    return [
        UsageLine(
            id=line.id,
            job=line.job,
            group=group(line),
            starts_at=line.starts_at or period.starts_at,
            submitted_at=clock.to_seconds(line.submitted_at),
            ends_at=ends[line.corrects or line.period, line.job],
            used=supply.used(Component(line.component), line.reseller)
            if (supply := found.get(line.price_list)) is not None
            else None,
            amount=line.amount,
            closed_at=line.closed_at,
        )
        for line in lines
    ]


def discounts(rows: Iterable[Row[Any]]) -> list[Row[Any]]:
    """Those that are volume discounts."""
    return [line for line in rows if line.kind == LineKind.VOLUME_DISCOUNT]


def group(line: Row[Any]) -> Group:
    return Group(line.corrects or line.period, line.offering, line.component, line.reseller)


def _ends(tx: Session, lines: Iterable[Row[Any]]) -> dict[tuple[str, str], int]:
    """When the usage of each job in each period ended."""
    jobs: defaultdict[str, set[str]] = defaultdict(set)
    for line in lines:
        jobs[line.corrects or line.period].add(line.job)
    found: dict[tuple[str, str], int] = {}
    for period, some in jobs.items():
        row = periods.find(tx, period)
        start, end = clock.to_seconds(row.starts_at), clock.to_seconds(row.ends_at)
        found |= {(period, job): start for job in some}
        for of in _LAST_HOURS.all(tx, [{"job": job, "start": start, "end": end} for job in some]):
            ended = max((clock.to_seconds(span.end) for span in of.spans), default=start)
            found[period, of.job] = max(found[period, of.job], min(ended, end))
    return found
