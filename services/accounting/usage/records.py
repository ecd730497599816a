"""Usage records as charging needs them: with the terms they are charged by and the outcome of their run."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Select, select
from sqlalchemy.orm import Session

from caravan.contracts.jobs import Outcome
from caravan.contracts.offerings import PriceList
from caravan.contracts.usage import Span
from services.accounting.charging.lines import Record, Terms
from services.accounting.usage.models import AttemptCopy, PriceListCopy, RunRow, UsageRow


class NotHereYet(LookupError):
    """A fact refers to something that has not arrived: the follower parks it and tries again."""


def terms_of(tx: Session, attempt: str) -> Terms:
    """By what an attempt's runs are charged. Raises NotHereYet."""
    placed = tx.execute(select(AttemptCopy.__table__).where(AttemptCopy.id == attempt)).one_or_none()
    if placed is None:
        raise NotHereYet(f"attempt {attempt}")
    document = tx.execute(
        select(PriceListCopy.document).where(PriceListCopy.id == placed.price_list)
    ).scalar_one_or_none()
    if document is None:
        raise NotHereYet(f"price list {placed.price_list}")
    return Terms(placed.organization, placed.project, placed.provider, PriceList.model_validate(document))


def of_job(tx: Session, job: str) -> list[Record]:
    """All usage records of a job."""
    return _read(tx, _stored().where(UsageRow.job == job))


def of_run(tx: Session, run: str) -> list[Record]:
    """All usage records of a run."""
    return _read(tx, _stored().where(UsageRow.run == run))


def spans_of(stored: Any) -> tuple[Span, ...]:
    """A record's spans from their stored form."""
    return tuple(Span.model_validate(span) for span in stored)


def _stored() -> Select[Any]:
    return select(UsageRow.run, UsageRow.run_started_at, UsageRow.spans, RunRow.attempt, RunRow.outcome).join(
        RunRow, RunRow.id == UsageRow.run
    )


def _read(tx: Session, query: Select[Any]) -> list[Record]:
    rows: Sequence[Row[Any]] = tx.execute(query).all()
    terms = {attempt: terms_of(tx, attempt) for attempt in {row.attempt for row in rows}}
    return [
        Record(
            run=row.run,
            run_started_at=row.run_started_at,
            spans=spans_of(row.spans),
            terms=terms[row.attempt],
            outcome=Outcome(row.outcome) if row.outcome else None,
        )
        for row in rows
    ]
