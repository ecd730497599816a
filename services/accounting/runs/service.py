"""Reads runs with what they are priced at, and the lines of their jobs. A page costs what its own runs and their jobs' lines are."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, exists, or_, select
from sqlalchemy.orm import Session, aliased

from caravan.contracts.jobs import Outcome
from caravan.contracts.runs import Priced, SiteRun, SiteRuns
from caravan.contracts.statements import UsageLine
from caravan.contracts.usage import Span
from caravan.kernel.clock import to_seconds
from caravan.kernel.pages import Listing
from caravan.kernel.problems import NotFound
from caravan.kernel.runtime import Runtime
from caravan.kernel.tokens import Caller
from services.accounting.charging.book import LINES
from services.accounting.charging.lines import Key, Record, starting
from services.accounting.charging.reading import shown_of_job
from services.accounting.charging.service import Calendar
from services.accounting.periods.models import SiteProgressRow
from services.accounting.runs.stated import joined
from services.accounting.usage import records
from services.accounting.usage.models import AttemptCopy, RunRow, UsageRow

HOUR_SECONDS = 3600


class RunService:
    def __init__(self, runtime: Runtime) -> None:
        self._db = runtime.db

    async def list(
        self, site: str, start: int, end: int, job: str | None, listing: Listing, caller: Caller
    ) -> SiteRuns:
        """Runs with usage in [start, end), by the hour of the last of it. Raises NotFound: no such site, or not of the caller's."""
        providers = None if caller.is_finance else caller.providers()
        return await self._db.read(_list, site, start, end, job, listing, providers)


def _list(
    tx: Session, site: str, start: int, end: int, job: str | None, listing: Listing, providers: frozenset[str] | None
) -> SiteRuns:
    progress = tx.execute(select(SiteProgressRow).where(SiteProgressRow.site == site)).scalar_one_or_none()
    if progress is None or (providers is not None and progress.provider not in providers):
        raise NotFound
    page = listing.page(_rows(tx, site, start, end, job, listing), key=lambda row: (row.hour, row.id))
    found = [run for run in _shown(tx, page.items) if any(_within(span, start, end) for span in run.spans)]
    return SiteRuns(items=found, next=page.next, lines=_lines(tx, found), complete_through=progress.complete_through)


def _rows(tx: Session, site: str, start: int, end: int, job: str | None, listing: Listing) -> Sequence[Row[Any]]:
    """Each run once: with its last hour that may reach into [start, end).

    Hours are restated and added, and never removed: a run can move behind where a reader stands, and not before it.
    """
    usage, later = aliased(UsageRow), aliased(UsageRow)
    hour, run = listing.after or (0, "")
    first = max(hour, start - HOUR_SECONDS + 1)
    query = (
        select(usage.hour, RunRow.id)
        .add_columns(RunRow.attempt, RunRow.job, RunRow.identity, RunRow.outcome)
        .join(RunRow, RunRow.id == usage.run)
        .join(AttemptCopy, AttemptCopy.id == RunRow.attempt)
        .where(AttemptCopy.site == site, usage.hour >= first, usage.hour < end)
        .where(or_(usage.hour > hour, usage.run > run))
        .where(~exists().where(later.run == usage.run, later.hour > usage.hour, later.hour < end))
        .order_by(usage.hour, usage.run)
        .limit(listing.fetch)
    )
    if job is not None:
        query = query.where(usage.job == job)
    return tx.execute(query).all()


def _shown(tx: Session, rows: Sequence[Row[Any]]) -> list[SiteRun]:
    facts = _as_sold(tx, records.of_runs(tx, [row.id for row in rows]), {row.id: row.job for row in rows})
    terms = {fact.run: fact.terms for fact in facts}
    spans: defaultdict[str, list[Span]] = defaultdict(list)
    for fact in sorted(facts, key=lambda fact: [to_seconds(span.start) for span in fact.spans]):
        spans[fact.run].extend(fact.spans)
    priced: defaultdict[str, Counter[Key]] = defaultdict(Counter)
    for portion in Calendar(tx, facts).portions(facts):
        priced[portion.run][portion.key] += portion.quantity
    return [
        SiteRun(
            run=row.id,
            attempt=row.attempt,
            job=row.job,
            organization=terms[row.id].organization,
            project=terms[row.id].project,
            identity=row.identity,
            outcome=Outcome(row.outcome) if row.outcome else None,
            spans=joined(spans[row.id]),
            priced=tuple(_priced(key, quantity) for key, quantity in sorted(priced[row.id].items())),
        )
        for row in rows
    ]


def _as_sold(tx: Session, facts: Sequence[Record], jobs: Mapping[str, str]) -> list[Record]:
    """By the terms of the provider, which may have sold it to a reseller: then the price per job falls where it does in that's set."""
    resold = {jobs[fact.run] for fact in facts if fact.terms.wholesale is not None}
    starts = {job: records.resold_start_of(tx, job) for job in resold}
    return [
        fact
        if fact.terms.wholesale is None
        else starting(replace(fact, terms=fact.terms.wholesale), starts[jobs[fact.run]])
        for fact in facts
    ]


def _lines(tx: Session, runs: Iterable[SiteRun]) -> tuple[UsageLine, ...]:
    """Of the runs' jobs under the runs' price lists."""
    wanted = {(run.job, part.price_list) for run in runs for part in run.priced}
    jobs, price_lists = ({one[column] for one in wanted} for column in (0, 1))
    query = select(LINES).where(LINES.c.job.in_(jobs), LINES.c.price_list.in_(price_lists)).order_by(LINES.c.id)
    return tuple(shown_of_job(row) for row in tx.execute(query) if (row.job, row.price_list) in wanted)


def _priced(key: Key, quantity: int) -> Priced:
    return Priced(
        period=key.period,
        price_list=key.price_list,
        component=key.component,
        accelerator=key.accelerator or None,
        tariff=key.tariff,
        window=key.window,
        unit_price=key.unit_price,
        quantity=quantity,
    )


def _within(span: Span, start: int, end: int) -> bool:
    """Whether some of its seconds lie in [start, end)."""
    return to_seconds(span.start) < end and to_seconds(span.end) > start
