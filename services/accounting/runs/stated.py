"""What was stated of a site's runs, without prices: for the night's reconciliation with the site's own books."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from caravan.contracts.jobs import Outcome
from caravan.contracts.runs import SiteRun
from caravan.contracts.usage import Span
from caravan.kernel.clock import HOUR_SECONDS
from services.accounting.usage.records import ATTEMPTS, RECORDS, RUNS

_BATCH: Final = 500


def of_site(tx: Session, site: str, start: int, end: int) -> list[SiteRun]:
    """Those with usage in the hours of [start, end), in epoch seconds, each whole."""
    hours = (RECORDS.c.hour > start - HOUR_SECONDS, RECORDS.c.hour < end)
    used = select(RECORDS.c.run).where(*hours).join(RUNS, RUNS.c.id == RECORDS.c.run)
    used = used.join(ATTEMPTS, ATTEMPTS.c.id == RUNS.c.attempt).where(ATTEMPTS.c.site == site)
    return [run for _, run in _read(tx, RUNS.c.id, tx.scalars(used.distinct()).all())]


def of_identities(tx: Session, identities: Iterable[str]) -> list[tuple[str, SiteRun]]:
    """At whatever site, with the site of each."""
    return _read(tx, RUNS.c.identity, sorted(set(identities)))


def _read(tx: Session, column: ColumnElement[Any], values: Sequence[str]) -> list[tuple[str, SiteRun]]:
    some = (values[at : at + _BATCH] for at in range(0, len(values), _BATCH))
    return [found for batch in some for found in _batch(tx, column.in_(batch))]


def _batch(tx: Session, wanted: ColumnElement[bool]) -> Iterator[tuple[str, SiteRun]]:
    query = select(RUNS.c.id, RUNS.c.attempt, RUNS.c.job, RUNS.c.identity, RUNS.c.outcome)
    query = query.add_columns(ATTEMPTS.c.site, ATTEMPTS.c.organization, ATTEMPTS.c.project).where(wanted)
    rows = tx.execute(query.join(ATTEMPTS, ATTEMPTS.c.id == RUNS.c.attempt)).all()
    spans = _spans(tx, [row.id for row in rows])
    for row in rows:
        yield (
            row.site,
            SiteRun(
                run=row.id,
                attempt=row.attempt,
                job=row.job,
                organization=row.organization,
                project=row.project,
                identity=row.identity,
                outcome=Outcome(row.outcome) if row.outcome else None,
                spans=joined(spans[row.id]),
                priced=(),
            ),
        )


def _spans(tx: Session, runs: Collection[str]) -> dict[str, list[Span]]:
    found: defaultdict[str, list[Span]] = defaultdict(list)
    query = select(RECORDS.c.run, RECORDS.c.spans).where(RECORDS.c.run.in_(runs)).order_by(RECORDS.c.hour)
    for row in tx.execute(query):
        found[row.run].extend(row.spans)
    return found


def joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Without the edges of hours."""
    found: list[Span] = []
    for span in spans:
        longer = found[-1].model_copy(update={"end": span.end}) if found else None
        if longer and found[-1].end == span.start and longer == span.model_copy(update={"start": longer.start}):
            found[-1] = longer
        else:
            found.append(span)
    return tuple(found)
