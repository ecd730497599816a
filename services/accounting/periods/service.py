"""Where a second of usage lies, where a correction goes, and how periods are cut.

`locate`, `known` and `open_period` are called within other rooms' transactions. Periods are made when they are first needed, a whole
month at a time: they never overlap, and a month that nothing was needed of may be missing.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Row, func, insert, select, update
from sqlalchemy.orm import Session

from caravan.contracts.problems import PeriodCutRefused, WrongState
from caravan.contracts.statements import PeriodState
from caravan.contracts.usage import SiteProgress
from caravan.kernel import clock, ids
from caravan.kernel.bulk import InsertMany
from caravan.kernel.database import table_of
from caravan.kernel.feed import upsert
from caravan.kernel.prepared import Upsert
from caravan.kernel.problems import NotFound
from services.accounting.periods.models import PeriodRow, SiteProgressRow, Zone
from services.accounting.periods.months import month_of, part_name

_PROGRESS: Final = table_of(SiteProgressRow)
_TOLD: Final = InsertMany(
    _PROGRESS,
    lambda new: new.on_conflict_do_update(
        index_elements=["site"],
        set_={name: new.excluded[name] for name in ("provider", "complete_through", "moved_at", "version")},
        where=_PROGRESS.c.version < new.excluded.version,
    ),
)
_EXPECT: Final = Upsert(lambda insert: insert(_PROGRESS).on_conflict_do_nothing())


class Located(NamedTuple):
    """The part of a span that lies in one period: [start, end) in UTC seconds."""

    period: str
    start: int
    end: int
    closed: bool


def locate(tx: Session, start: int, end: int) -> list[Located]:
    """Split [start, end), UTC seconds, at the edges of periods, in order; makes the periods that are missing.

    `closed` parts take no lines: what was late for them goes to `open_period`. A closing period still takes lines.
    """
    rows = _overlapping(tx, start, end)
    if not _tiles(rows, start, end):
        _make_missing(tx, start, end)
        rows = _overlapping(tx, start, end)
    return _parts(rows, start, end)


def known(tx: Session, start: int, end: int) -> list[Located]:
    """The same of the periods that there are: what was charged lies in them, whatever months are missing in between."""
    return _parts(_overlapping(tx, start, end), start, end)


def make(tx: Session, spans: Collection[tuple[int, int]]) -> None:
    """Make the periods that these spans, [start, end) in UTC seconds, need."""
    if not spans:
        return
    there = known(tx, min(start for start, _ in spans), max(end for _, end in spans))
    for start, end in spans:
        seconds = sum(
            min(part.end, end) - max(part.start, start) for part in there if part.start < end and start < part.end
        )
        if seconds < end - start:
            locate(tx, start, end)


def open_period(tx: Session) -> str:
    """The period that adjustments go to: the one behind all that are closing or closed. Asked when one is.

    It changes only when one more closes, so that what corrects a line stands in order, each behind the one before.
    """
    edge: datetime = tx.execute(
        select(func.max(PeriodRow.ends_at)).where(PeriodRow.state != PeriodState.OPEN)
    ).scalar_one()
    at = clock.to_seconds(edge)
    return locate(tx, at, at + 1)[0].period


def zone(tx: Session) -> ZoneInfo:
    """The zone in which months are cut, as `prepare` has fixed it."""
    return ZoneInfo(tx.execute(select(Zone.zone)).scalar_one())


def prepare(tx: Session, name: str) -> None:
    """Fix the zone in which months are cut, at a start. Raises RuntimeError when periods were made in another one."""
    stored = tx.execute(select(Zone.zone)).scalar_one_or_none()
    if stored == name:
        return
    if stored is not None and tx.execute(select(PeriodRow.id).limit(1)).first() is not None:
        raise RuntimeError(f"CARAVAN_ZONE is {name}, but this database's periods are months of {stored}: set it back")
    tx.execute(
        upsert(tx, Zone).values(id=1, zone=name).on_conflict_do_update(index_elements=["id"], set_={"zone": name})
    )


def find(tx: Session, period: str) -> Row[Any]:
    """The period's row. Raises NotFound."""
    row = tx.execute(select(*PeriodRow.__table__.c).where(PeriodRow.id == period)).one_or_none()
    if row is None:
        raise NotFound()
    return row


def closed(tx: Session) -> Sequence[Row[Any]]:
    """The closed periods (rows of `periods`), in the order of time."""
    query = select(*PeriodRow.__table__.c).where(PeriodRow.state == PeriodState.CLOSED)
    return tx.execute(query.order_by(PeriodRow.starts_at)).all()


def within(tx: Session, start: int, end: int) -> Sequence[Row[Any]]:
    """The periods (rows of `periods`) with seconds in [start, end), UTC seconds, in the order of time; none is made."""
    reached = PeriodRow.starts_at < clock.from_seconds(end), PeriodRow.ends_at > clock.from_seconds(start)
    return tx.execute(select(*PeriodRow.__table__.c).where(*reached).order_by(PeriodRow.starts_at)).all()


def cut(tx: Session, period: str, at: datetime, latest_applied: int | None) -> bool:
    """End the open `period` at `at`; the rest of it becomes the next period. False when it was cut there already.

    `latest_applied` is the latest second of applied usage. Raises PeriodCutRefused when `at` isn't after it, or not inside the period;
    WrongState when the period isn't open.
    """
    row = find(tx, period)
    rest = select(PeriodRow.id).where(PeriodRow.month == row.month, PeriodRow.starts_at == at)
    if row.ends_at == at and tx.execute(rest).first() is not None:
        return False
    if row.state != PeriodState.OPEN:
        raise WrongState(state=row.state, allowed=(PeriodState.OPEN.value,))
    start, end, second = clock.to_seconds(row.starts_at), clock.to_seconds(row.ends_at), clock.to_seconds(at)
    earliest = 1 + (start if latest_applied is None else max(start, latest_applied))
    if not earliest <= second < end:
        raise PeriodCutRefused(earliest=clock.from_seconds(earliest))
    tx.execute(update(PeriodRow).where(PeriodRow.id == period).values(ends_at=at, version=row.version + 1))
    part = tx.execute(select(func.max(PeriodRow.part)).where(PeriodRow.month == row.month)).scalar_one()
    _insert(tx, row.month, part + 1, second, end)
    return True


def expect_progress(tx: Session, site: str, provider: str, at: datetime) -> None:
    """The site was given something to run: until it tells its progress, none of its usage is complete."""
    _EXPECT.run(tx, site=site, provider=provider, complete_through=clock.EPOCH, moved_at=at, version=0)


def keep_progress(tx: Session, told: Sequence[SiteProgress], at: datetime) -> None:
    """Keep copies of how far sites' usage is complete; an older version changes nothing."""
    newest = {one.site: one for one in sorted(told, key=lambda one: one.version)}
    _TOLD.run(tx, [one.model_dump() | {"moved_at": at} for one in newest.values()])


def _overlapping(tx: Session, start: int, end: int) -> Sequence[Row[str, datetime, datetime, str]]:
    starts, ends = clock.from_seconds(start), clock.from_seconds(end)
    columns = select(PeriodRow.id, PeriodRow.starts_at, PeriodRow.ends_at, PeriodRow.state)
    return tx.execute(
        columns.where(PeriodRow.starts_at < ends, PeriodRow.ends_at > starts).order_by(PeriodRow.starts_at)
    ).all()


def _parts(rows: Sequence[Row[str, datetime, datetime, str]], start: int, end: int) -> list[Located]:
    return [
        Located(
            row.id,
            max(start, clock.to_seconds(row.starts_at)),
            min(end, clock.to_seconds(row.ends_at)),
            row.state == PeriodState.CLOSED,
        )
        for row in rows
    ]


def _tiles(rows: Sequence[Row[str, datetime, datetime, str]], start: int, end: int) -> bool:
    return (
        bool(rows)
        and rows[0].starts_at <= clock.from_seconds(start)
        and rows[-1].ends_at >= clock.from_seconds(end)
        and all(before.ends_at == after.starts_at for before, after in pairwise(rows))
    )


def _make_missing(tx: Session, start: int, end: int) -> None:
    months, at = zone(tx), start
    while at < end:
        month = month_of(at, months)
        if not _has_parts(tx, month.name):
            _insert(tx, month.name, 1, month.start, month.end)
        at = month.end


def _has_parts(tx: Session, month: str) -> bool:
    return tx.execute(select(PeriodRow.id).where(PeriodRow.month == month).limit(1)).first() is not None


def _insert(tx: Session, month: str, part: int, start: int, end: int) -> None:
    tx.execute(
        insert(PeriodRow).values(
            id=ids.new("per"),
            name=part_name(month, part),
            month=month,
            part=part,
            starts_at=clock.from_seconds(start),
            ends_at=clock.from_seconds(end),
            state=PeriodState.OPEN.value,
            late_sites=[],
            set_aside={},
            version=1,
        )
    )
