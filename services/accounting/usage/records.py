"""Usage records as charging needs them: with the terms they are charged by and the outcome of their run."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import Row, Select, bindparam, func, select
from sqlalchemy.orm import Session

from caravan.contracts.jobs import Outcome
from caravan.contracts.offerings import PreemptedBearer
from caravan.contracts.prices import Buyer, PriceList
from caravan.contracts.usage import Grant, Resale, Span
from caravan.kernel.database import table_of
from caravan.kernel.prepared import Prepared
from caravan.pricing import prices_for
from services.accounting.charging.lines import Record, Start, Terms, first_start, starting, timed
from services.accounting.charging.pieces import Piece
from services.accounting.corrections.approved import Correction, approved
from services.accounting.usage.models import AttemptCopy, PriceListCopy, RunRow, UsageRow

ATTEMPTS, PRICE_LISTS, RUNS, RECORDS = (
    table_of(AttemptCopy),
    table_of(PriceListCopy),
    table_of(RunRow),
    table_of(UsageRow),
)
_START: Final = Prepared(
    select(RUNS.c.billable_from, RUNS.c.id)
    .where(RUNS.c.job == bindparam("of_job"), RUNS.c.billable_from.is_not(None))
    .order_by(RUNS.c.billable_from, RUNS.c.id)
    .limit(1)
)
_RESOLD_START: Final = (
    select(RUNS.c.billable_from, RUNS.c.id)
    .join(ATTEMPTS, ATTEMPTS.c.id == RUNS.c.attempt)
    .where(RUNS.c.billable_from.is_not(None), ATTEMPTS.c.wholesale_list.is_not(None))
    .order_by(RUNS.c.billable_from, RUNS.c.id)
    .limit(1)
)


class NotHereYet(LookupError):
    """A fact refers to something that has not arrived: the follower parks it and tries again."""


def price_list_of(tx: Session, id: str) -> PriceList:
    """A price list by which something was charged."""
    return _price_list(tx.execute(select(PRICE_LISTS.c.document).where(PRICE_LISTS.c.id == id)).scalar_one())


def terms(tx: Session, attempts: Collection[str], proposed: Correction | None = None) -> dict[str, Terms]:
    """By what the runs of each are charged, were `proposed` approved now. Runs are stored only when this is here."""
    placed = tx.execute(select(ATTEMPTS).where(ATTEMPTS.c.id.in_(attempts))).all()
    corrections = [*approved(tx, {row.offering for row in placed}), *([proposed] if proposed else [])]
    wanted = {row.price_list for row in placed} | {row.wholesale_list for row in placed if row.wholesale_list}
    wanted |= {one.price_list for one in corrections}
    documents = tx.execute(select(PRICE_LISTS.c.id, PRICE_LISTS.c.document).where(PRICE_LISTS.c.id.in_(wanted)))
    lists = {row.id: row.document for row in documents}
    return {row.id: _terms(row, lists, corrections) for row in placed}


def _terms(placed: Any, documents: Mapping[str, str], corrections: Iterable[Correction]) -> Terms:
    """What the organization pays by, and where a reseller sells, what that does."""
    own = _bought(placed, placed, placed.organization, documents, corrections)
    if placed.resale is None:
        return own
    resale = Resale.model_validate(placed.resale)
    return replace(
        own, reseller=resale.reseller, wholesale=_bought(placed, resale, resale.reseller, documents, corrections)
    )


def _bought(
    placed: Any, by: Any, organization: str, documents: Mapping[str, str], corrections: Iterable[Correction]
) -> Terms:
    """`by`: what has the project and the prices. Of the corrections those that concern them, which are of the same seller's prices;
    each list is what it is for its buyer."""

    def prices(price_list: str) -> PriceList:
        document = documents[price_list]
        named = _named(document)
        return _prices_for(
            document,
            organization if organization in named.organizations else None,
            by.price_class if by.price_class in named.classes else None,
            tuple((field, value) for field, value in sorted(by.options.items()) if field in named.options),
        )

    pinned = prices(by.price_list)
    return Terms(
        organization,
        by.project,
        placed.provider,
        pinned,
        placed.id,
        placed.ended,
        tuple(
            Piece(one.start, one.end, right)
            for one in corrections
            if one.concerns(placed.offering, by.price_list)
            and (right := prices(one.price_list)).reseller == pinned.reseller
        ),
        None if placed.grant is None else Grant.model_validate(placed.grant),
        preempted_borne_by=PreemptedBearer(placed.preempted_borne_by),
    )


@lru_cache(maxsize=1024)
def _prices_for(
    document: str, organization: str | None, price_class: str | None, options: tuple[tuple[str, str], ...]
) -> PriceList:
    """What the list is for an attempt: as it was placed, whatever class its organization has now."""
    buyer = Buyer(organization=organization, price_class=price_class, options=dict(options))
    return prices_for(_price_list(document), buyer)


class _Named(NamedTuple):
    """What some tariff of a list goes by: whatever else differs in who buys, the prices are the same."""

    organizations: frozenset[str]
    classes: frozenset[str]
    options: frozenset[str]


@lru_cache(maxsize=1024)
def _named(document: str) -> _Named:
    tariffs = _price_list(document).tariffs
    buyers = [tariff.buyers for tariff in tariffs if tariff.buyers is not None]
    return _Named(
        frozenset(organization for one in buyers for organization in one.organizations),
        frozenset(name for one in buyers for name in one.classes),
        frozenset(field for tariff in tariffs for field in tariff.options),
    )


@lru_cache(maxsize=256)
def _price_list(document: str) -> PriceList:
    """Read once for many facts: a list may have hundreds of tariffs."""
    return PriceList.model_validate_json(document)


def of_job(tx: Session, job: str, proposed: Correction | None = None) -> list[Record]:
    """All usage records of a job, by the terms that would hold were `proposed` approved now."""
    return _started([record for _, record in _read(tx, _stored().where(RECORDS.c.job == job), proposed)])


def of_jobs(tx: Session, jobs: Collection[str]) -> dict[str, list[Record]]:
    """All usage records of each of some jobs."""
    found: dict[str, list[Record]] = {job: [] for job in jobs}
    for job, record in _read(tx, _stored().where(RECORDS.c.job.in_(jobs))):
        found[job].append(record)
    return {job: _started(own) for job, own in found.items()}


def _started(of_job: Sequence[Record]) -> list[Record]:
    """All records of a job, with where its price falls in them, and when the time of its runs was up."""
    start = first_start(of_job)
    return [starting(record, start) for record in timed(of_job)]


def of_run(tx: Session, run: str) -> list[Record]:
    """All usage records of a run."""
    return of_runs(tx, [run])


def of_runs(tx: Session, runs: Collection[str]) -> list[Record]:
    """All usage records of some runs."""
    found = _read(tx, _stored().where(RECORDS.c.run.in_(runs)))
    starts = {job: start_of(tx, job) for job in {job for job, _ in found}}
    return [
        starting(record, starts[job])
        for (job, _), record in zip(found, timed([record for _, record in found]), strict=True)
    ]


def start_of(tx: Session, job: str) -> Start | None:
    """Where the price of the job falls, as it is kept with its runs: the least of them, without reading the others."""
    row = _START.first(tx, of_job=job)
    return None if row is None else Start(row.billable_from, row.id)


def resold_start_of(tx: Session, job: str) -> Start | None:
    """Where the price of the job falls in what a reseller buys of it."""
    row = tx.execute(_RESOLD_START.where(RUNS.c.job == job)).first()
    return None if row is None else Start(row.billable_from, row.id)


def sold_in_part(tx: Session, jobs: Collection[str]) -> set[str]:
    """Those of the jobs of which a reseller sold some runs and the provider itself others: the price per job may fall apart in the sets."""
    if not jobs:
        return set()
    resold = func.count(ATTEMPTS.c.wholesale_list)
    both = select(RUNS.c.job).join(ATTEMPTS, ATTEMPTS.c.id == RUNS.c.attempt).where(RUNS.c.job.in_(jobs))
    return set(tx.scalars(both.group_by(RUNS.c.job).having(resold > 0, resold < func.count())))


def spans_of(plain: Any) -> tuple[Span, ...]:
    """Spans of what JSON says of them, kept within something else."""
    return tuple(Span.model_validate(span) for span in plain)


def plain(spans: Iterable[Span]) -> list[dict[str, Any]]:
    """The inverse of `spans_of`."""
    return [span.model_dump(mode="json") for span in spans]


def _stored() -> Select[Any]:
    columns = (RECORDS.c.run, RECORDS.c.job, RECORDS.c.spans, RUNS.c.attempt, RUNS.c.outcome, RUNS.c.upheld)
    return select(*columns).join(RUNS, RUNS.c.id == RECORDS.c.run)


def _read(tx: Session, query: Select[Any], proposed: Correction | None = None) -> list[tuple[str, Record]]:
    """With the job of each. Nothing is said of the price per job."""
    rows: Sequence[Row[Any]] = tx.execute(query).all()
    of_attempt = terms(tx, {row.attempt for row in rows}, proposed)
    return [
        (
            row.job,
            Record(
                run=row.run,
                job_second=None,
                spans=row.spans,
                terms=of_attempt[row.attempt],
                outcome=Outcome(row.outcome) if row.outcome and not row.upheld else None,
            ),
        )
        for row in rows
    ]
