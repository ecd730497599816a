"""Keeps imported runs, and sums usage."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Select, delete, exists, insert, or_, select
from sqlalchemy.orm import Session

from caravan.contracts.imports import By, ImportBatch, ImportedRun, ImportOutcome, UsageSum, UsageSums
from caravan.contracts.prices import Component
from caravan.kernel import clock
from caravan.kernel.runtime import Runtime
from caravan.kernel.tokens import Caller
from caravan.pricing import Shape, units_of
from services.accounting.funds.service import unknown
from services.accounting.imports.models import ImportedRunRow
from services.accounting.imports.sums import Calendar
from services.accounting.periods.models import SiteProgressRow
from services.accounting.usage import copies
from services.accounting.usage.models import AttemptCopy, RunRow, UsageRow

HOUR_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Asked:
    """What is summed: days [first, end) of a zone; no components, no site: all."""

    by: By
    zone: ZoneInfo
    first: date
    end: date
    components: frozenset[Component]
    site: str | None


class _Key(NamedTuple):
    span: str
    site: str
    organization: str | None
    account: str | None
    component: Component


class ImportService:
    def __init__(self, runtime: Runtime) -> None:
        self._db = runtime.db

    async def add(self, batch: ImportBatch, caller: Caller) -> ImportOutcome:
        """Raises UnknownReference: the site has told accounting nothing, or isn't the caller's; or a run is mapped to what isn't here."""
        return await self._db.write(_add, batch, None if caller.is_finance else caller.providers())

    async def sums(self, asked: Asked, caller: Caller) -> UsageSums:
        """Of everybody to finance; to others of their organizations, and on their providers' sites."""
        parties = None if caller.is_finance else caller.organizations() | caller.providers()
        return await self._db.read(_sums, asked, parties)


def _add(tx: Session, batch: ImportBatch, providers: frozenset[str] | None) -> ImportOutcome:
    provider = tx.execute(
        select(SiteProgressRow.provider).where(SiteProgressRow.site == batch.site)
    ).scalar_one_or_none()
    if provider is None or (providers is not None and provider not in providers):
        raise unknown("/site")
    for organization, project in sorted({(run.organization, run.project) for run in batch.runs if run.organization}):
        if not copies.is_known(tx, organization, project):
            raise unknown("/runs")
    known = _known(tx, batch.site, batch.runs)
    counts = {"imported": 0, "changed": 0, "unchanged": 0}
    changed: dict[str, ImportedRun] = {}
    for run in batch.runs:
        before = known.get(run.identity)
        counts["imported" if before is None else "unchanged" if before == run else "changed"] += 1
        if before != run:
            known[run.identity] = changed[run.identity] = run
    if changed:
        _store(tx, batch.site, provider, changed)
    return ImportOutcome(**counts)


def _known(tx: Session, site: str, runs: Sequence[ImportedRun]) -> dict[str, ImportedRun]:
    rows = tx.scalars(
        select(ImportedRunRow).where(
            ImportedRunRow.site == site, ImportedRunRow.identity.in_({run.identity for run in runs})
        )
    )
    return {row.identity: _run(row) for row in rows}


def _run(row: ImportedRunRow) -> ImportedRun:
    fields = {name: getattr(row, name) for name in ImportedRun.model_fields}
    times = {"start": clock.from_seconds(row.start), "end": clock.from_seconds(row.end)}
    return ImportedRun.model_validate(fields | times)


def _store(tx: Session, site: str, provider: str, runs: Mapping[str, ImportedRun]) -> None:
    """Replace these runs whole."""
    tx.execute(delete(ImportedRunRow).where(ImportedRunRow.site == site, ImportedRunRow.identity.in_(runs)))
    times = {run: {"start": clock.to_seconds(one.start), "end": clock.to_seconds(one.end)} for run, one in runs.items()}
    rows = [{"site": site, "provider": provider, **one.model_dump(), **times[run]} for run, one in runs.items()]
    tx.execute(insert(ImportedRunRow), rows)


def _sums(tx: Session, asked: Asked, parties: frozenset[str] | None) -> UsageSums:
    calendar = Calendar(asked.by, asked.zone, asked.first, asked.end)
    sums: defaultdict[_Key, int] = defaultdict(int)
    for site, organization, account, held, start, end in (
        *_metered(tx, calendar, asked.site, parties),
        *_imported(tx, calendar, asked.site, parties),
    ):
        for span, seconds in calendar.split(start, end):
            for component, units in units_of(held):
                if not asked.components or component in asked.components:
                    sums[_Key(span, site, organization, account, component)] += units * seconds
    ordered = sorted(sums.items(), key=lambda one: tuple(part or "" for part in one[0]))
    return UsageSums(items=tuple(UsageSum(**key._asdict(), quantity=quantity) for key, quantity in ordered))


_Held = tuple[str, str | None, str | None, Shape, int, int]
_Rows = Select[*tuple[Any, ...]]


def _metered(tx: Session, calendar: Calendar, site: str | None, parties: frozenset[str] | None) -> Iterator[_Held]:
    query = (
        select(UsageRow.spans, AttemptCopy.site, AttemptCopy.organization)
        .join(RunRow, RunRow.id == UsageRow.run)
        .join(AttemptCopy, AttemptCopy.id == RunRow.attempt)
        .where(UsageRow.hour > calendar.start - HOUR_SECONDS, UsageRow.hour < calendar.end)
    )
    for row in tx.execute(_of(query, AttemptCopy, site, parties)):
        for span in row.spans:
            held = Shape(span.nodes, span.cpus, span.memory_mib, span.accelerators)
            yield row.site, row.organization, None, held, clock.to_seconds(span.start), clock.to_seconds(span.end)


def _imported(tx: Session, calendar: Calendar, site: str | None, parties: frozenset[str] | None) -> Iterator[_Held]:
    """Without those that were metered, too, and not set aside whole."""
    row = ImportedRunRow
    metered = exists().where(
        RunRow.identity == row.identity,
        RunRow.attempt == AttemptCopy.id,
        AttemptCopy.site == row.site,
        UsageRow.run == RunRow.id,
    )
    query = select(row).where(row.end > calendar.start, row.start < calendar.end, ~metered)
    for run in tx.scalars(_of(query, row, site, parties)):
        held = Shape(run.nodes, run.cpus, run.memory_mib, sum(run.accelerators.values()))
        account = run.account if run.organization is None else None
        yield run.site, run.organization, account, held, run.start, run.end


def _of(query: _Rows, table: Any, site: str | None, parties: frozenset[str] | None) -> _Rows:
    if site is not None:
        query = query.where(table.site == site)
    if parties is not None:
        query = query.where(or_(table.organization.in_(parties), table.provider.in_(parties)))
    return query
