"""Reads runs with their share of what was billed."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Row, and_, exists, or_, select
from sqlalchemy.orm import Session, aliased

from caravan.contracts.jobs import Outcome
from caravan.contracts.runs import Share, SiteRun, SiteRuns
from caravan.contracts.statements import BearerReason
from caravan.contracts.usage import Span
from caravan.kernel.clock import to_seconds
from caravan.kernel.money import Money
from caravan.kernel.pages import Listing
from caravan.kernel.problems import NotFound
from caravan.kernel.runtime import Runtime
from caravan.kernel.tokens import Caller
from services.accounting.charging.book import LINES, key_of
from services.accounting.charging.lines import Key, assigned
from services.accounting.charging.service import Calendar
from services.accounting.charging.shares import Part, Total, shares
from services.accounting.funds import holds
from services.accounting.periods.models import SiteProgressRow
from services.accounting.usage import records
from services.accounting.usage.models import AttemptCopy, RunRow, UsageRow

HOUR_SECONDS = 3600


class RunService:
    def __init__(self, runtime: Runtime) -> None:
        self._db = runtime.db

    async def list(self, site: str, start: int, end: int, listing: Listing, caller: Caller) -> SiteRuns:
        """Runs with usage in [start, end), by the hour of the last of it. Raises NotFound: no such site, or not of the caller's."""
        return await self._db.read(_list, site, start, end, listing, None if caller.is_finance else caller.providers())


def _list(tx: Session, site: str, start: int, end: int, listing: Listing, providers: frozenset[str] | None) -> SiteRuns:
    progress = tx.execute(select(SiteProgressRow).where(SiteProgressRow.site == site)).scalar_one_or_none()
    if progress is None or (providers is not None and progress.provider not in providers):
        raise NotFound
    page = listing.page(_rows(tx, site, start, end, listing), key=lambda row: (row.hour, row.id))
    found = _shown(tx, page.items)
    asked = [run for run in found if any(_within(span, start, end) for span in run.spans)]
    return SiteRuns(items=asked, next=page.next, complete_through=progress.complete_through)


def _rows(tx: Session, site: str, start: int, end: int, listing: Listing) -> Sequence[Row[Any]]:
    """Each run once: with its last hour that may reach into [start, end).

    Hours are restated and added, and never removed: a run can move behind where a reader stands, and not before it.
    """
    usage, later = aliased(UsageRow), aliased(UsageRow)
    query = (
        select(usage.hour, RunRow.id, RunRow.attempt, RunRow.job, RunRow.identity, RunRow.outcome)
        .add_columns(AttemptCopy.organization, AttemptCopy.project)
        .join(RunRow, RunRow.id == usage.run)
        .join(AttemptCopy, AttemptCopy.id == RunRow.attempt)
        .where(AttemptCopy.site == site, usage.hour > start - HOUR_SECONDS, usage.hour < end)
        .where(~exists().where(later.run == usage.run, later.hour > usage.hour, later.hour < end))
        .order_by(usage.hour, usage.run)
        .limit(listing.fetch)
    )
    if listing.after:
        hour, run = listing.after
        query = query.where(usage.hour >= hour, or_(usage.hour > hour, and_(usage.hour == hour, usage.run > run)))
    return tx.execute(query).all()


def _shown(tx: Session, rows: Sequence[Row[Any]]) -> list[SiteRun]:
    spans: dict[str, list[Span]] = {}
    billed: defaultdict[str, list[Part]] = defaultdict(list)
    for job in sorted({row.job for row in rows}):
        facts = records.of_job(tx, job)
        for fact in sorted(facts, key=lambda fact: [to_seconds(span.start) for span in fact.spans]):
            spans.setdefault(fact.run, []).extend(fact.spans)
        hold = holds.find(tx, job)
        portions = assigned(Calendar(tx, facts).portions(facts), hold.amount) if hold else []
        for part in shares({fact.run for fact in facts}, portions, _totals(tx, job)):
            billed[part.run].append(part)
    return [
        SiteRun(
            run=row.id,
            attempt=row.attempt,
            job=row.job,
            organization=row.organization,
            project=row.project,
            identity=row.identity,
            outcome=Outcome(row.outcome) if row.outcome else None,
            spans=_joined(spans[row.id]),
            billed=_summed(billed[row.id]),
        )
        for row in rows
    ]


def _totals(tx: Session, job: str) -> dict[Key, Total]:
    totals: dict[Key, Total] = {}
    for row in tx.execute(select(LINES).where(LINES.c.job == job)):
        key = key_of(row)
        before = totals.get(key, Total(0, 0))
        totals[key] = Total(before.quantity + row.quantity, before.amount + row.amount)
    return totals


def _joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Without the edges of hours."""
    joined: list[Span] = []
    for span in spans:
        longer = joined[-1].model_copy(update={"end": span.end}) if joined else None
        if longer and joined[-1].end == span.start and longer == span.model_copy(update={"start": longer.start}):
            joined[-1] = longer
        else:
            joined.append(span)
    return tuple(joined)


def _summed(parts: Iterable[Part]) -> tuple[Share, ...]:
    sums: dict[tuple[Any, ...], Total] = {}
    for part in parts:
        key = part.key.component, part.key.bearer, part.key.reason
        before = sums.get(key, Total(0, 0))
        sums[key] = Total(before.quantity + part.quantity, before.amount + part.amount)
    return tuple(
        Share(
            component=component,
            bearer=bearer,
            reason=BearerReason(reason) if reason else None,
            quantity=total.quantity,
            amount=Money(total.amount),
        )
        for (component, bearer, reason), total in sorted(sums.items())
        if total != (0, 0)
    )


def _within(span: Span, start: int, end: int) -> bool:
    """Whether some of its seconds lie in [start, end)."""
    return to_seconds(span.start) < end and to_seconds(span.end) > start
