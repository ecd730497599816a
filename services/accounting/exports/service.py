"""Reading what an outsider needs to charge all usage again."""

from typing import Any

from sqlalchemy import Row, or_, select
from sqlalchemy.orm import Session, aliased

from caravan.contracts.corrections import CorrectionTerms
from caravan.contracts.jobs import Outcome
from caravan.contracts.prices import PriceList
from caravan.contracts.usage import ExportedUsage, UsageExport, UsageRecord
from caravan.kernel.clock import floor_second, from_seconds
from caravan.kernel.money import Money
from caravan.kernel.runtime import Runtime
from services.accounting.charging.models import LineRow
from services.accounting.corrections.approved import Correction, approved
from services.accounting.funds.models import HoldRow
from services.accounting.usage.models import AttemptCopy, PriceListCopy, RunRow, UsageRow


class ExportService:
    """Usage with its terms. One consistent snapshot."""

    def __init__(self, runtime: Runtime) -> None:
        self._db = runtime.db

    async def usage(self, period: str | None) -> UsageExport:
        """All usage, or of a period: all usage of each job that has a line in it, whatever it lies in."""
        return await self._db.read(_usage, period)


def _usage(tx: Session, period: str | None) -> UsageExport:
    resale = aliased(HoldRow)
    query = (
        select(
            UsageRow.__table__,
            RunRow.attempt,
            RunRow.outcome,
            RunRow.upheld,
            RunRow.identity,
            RunRow.task_index,
            AttemptCopy.organization,
            AttemptCopy.project,
            AttemptCopy.provider,
            AttemptCopy.offering,
            AttemptCopy.price_list,
            AttemptCopy.price_class,
            AttemptCopy.options,
            AttemptCopy.grant,
            AttemptCopy.ended,
            AttemptCopy.resale,
            AttemptCopy.preempted_borne_by,
            HoldRow.amount.label("hold_amount"),
            resale.amount.label("resale_hold_amount"),
        )
        .join(RunRow, RunRow.id == UsageRow.run)
        .join(AttemptCopy, AttemptCopy.id == RunRow.attempt)
        .join(HoldRow, (HoldRow.job == UsageRow.job) & ~HoldRow.resale)
        .outerjoin(resale, (resale.job == UsageRow.job) & resale.resale)
        .order_by(UsageRow.job, UsageRow.run, UsageRow.hour)
    )
    if period is not None:
        jobs = select(LineRow.job).where(LineRow.period == period)
        query = query.where(UsageRow.job.in_(jobs.scalar_subquery()))
    usage = tuple(_exported(row) for row in tx.execute(query))
    offerings = {one.offering for one in usage}
    corrections = approved(tx, offerings)
    priced_by = {*(one.price_list for one in usage), *(one.price_list for one in corrections)}
    priced_by |= {one.resale.price_list for one in usage if one.resale}
    discounted = select(PriceListCopy.offering).where(
        PriceListCopy.volume_discounts != {}, PriceListCopy.offering.in_(offerings)
    )
    documents = tx.scalars(
        select(PriceListCopy.document)
        .where(or_(PriceListCopy.id.in_(priced_by), PriceListCopy.offering.in_(discounted)))
        .order_by(PriceListCopy.id)
    )
    return UsageExport(
        usage=usage,
        price_lists=tuple(PriceList.model_validate_json(document) for document in documents),
        corrections=tuple(_terms(correction) for correction in corrections),
    )


def _terms(correction: Correction) -> CorrectionTerms:
    return CorrectionTerms(
        offering=correction.offering,
        starts_at=from_seconds(correction.start),
        ends_at=from_seconds(correction.end),
        price_list=correction.price_list,
        replaces="all" if correction.replaces is None else tuple(sorted(correction.replaces)),
    )


def _exported(row: Row[Any]) -> ExportedUsage:
    return ExportedUsage(
        record=UsageRecord(
            hour=from_seconds(row.hour),
            revision=row.revision,
            spans=row.spans,
            run=row.run,
            attempt=row.attempt,
            job=row.job,
            run_started_at=from_seconds(row.run_started_at),
            backend_identity=row.identity,
            index=row.task_index,
        ),
        organization=row.organization,
        project=row.project,
        provider=row.provider,
        offering=row.offering,
        price_list=row.price_list,
        price_class=row.price_class,
        options=row.options,
        grant=row.grant,
        outcome=Outcome(row.outcome) if row.outcome else None,
        contest_upheld=row.upheld,
        preempted_borne_by=row.preempted_borne_by,
        attempt_ended=row.ended,
        hold_amount=Money(row.hold_amount),
        resale=row.resale,
        resale_hold_amount=Money(row.resale_hold_amount) if row.resale else None,
        applied_at=floor_second(row.applied_at),
    )
