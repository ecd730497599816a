"""The broker's side of dispatch. Every call names the lease's epoch; a stale one is refused before it is looked at."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any, Final

import structlog
from prometheus_client import Counter
from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from caravan.contracts import events
from caravan.contracts.dispatch import (
    Commit,
    CommitAnswers,
    CommitBatch,
    Committed,
    Desired,
    Grant,
    Lease,
    LeaseRequest,
    LogRead,
    Report,
    Reported,
    SiteReport,
    Submission,
    Verdict,
    Work,
    WorkItem,
)
from caravan.contracts.jobs import AttemptState
from caravan.contracts.offerings import InventoryItem, SiteHealth, SiteReported, SiteState
from caravan.contracts.problems import LeaseLost, LeaseTaken
from caravan.contracts.spec import JobSpec
from caravan.contracts.usage import SiteProgress
from caravan.kernel import clock, feed, ids, leases, steps
from caravan.kernel.database import Database, savepoint, table_of
from caravan.kernel.metrics import Metrics
from caravan.kernel.prepared import Prepared
from caravan.kernel.problems import NotFound
from caravan.kernel.tokens import Caller
from services.broker.dispatch import leasing, reports, stating
from services.broker.dispatch.models import LogReadRow, SiteRow
from services.broker.dispatch.wanted import site_row, topic
from services.broker.jobs import store
from services.broker.jobs.models import AttemptRow, JobRow, RunRow
from services.broker.placement.copies import Catalog, CatalogView

WORK_PAGE: Final = 200
POLL_SECONDS: Final = 0.5
TAKES_NO_JOBS: Final = frozenset({SiteState.UNAVAILABLE, SiteState.REFUSED})
log = structlog.get_logger(__name__)
_attempts = table_of(AttemptRow)
_MINE: Final = (_attempts.c.id == bindparam("of_attempt"), _attempts.c.site == bindparam("of_site"))
_COMMIT: Final = Prepared(
    update(_attempts).where(
        *_MINE,
        _attempts.c.reference.is_(None),
        _attempts.c.desired == Desired.RUN,
        _attempts.c.state == AttemptState.PLANNED,
        _attempts.c.work.is_not(None),
    )
)
_COMMITTED: Final = Prepared(select(_attempts.c.reference, _attempts.c.desired, _attempts.c.job).where(*_MINE))


class DispatchService:
    """Leases, work, commits and reports of all sites. `adapters`: those installed here."""

    def __init__(
        self, db: Database, catalog: Catalog, metrics: Metrics, lease_seconds: int, adapters: Collection[str]
    ) -> None:
        self._db = db
        self._catalog = catalog
        self._lease_seconds = lease_seconds
        self._adapters = adapters
        self._refused: Counter = metrics.counter("report_items_refused", "Reported items that can't be true.", "kind")

    # Lease

    async def lease(self, site: str, request: LeaseRequest, caller: Caller) -> Lease:
        """Take or renew the site's lease. Raises NotFound, LeaseTaken (another holds it), LeaseLost (renewing an old epoch)."""
        return await self._db.write(self._lease, site, request, caller)

    def _lease(self, tx: Session, site: str, request: LeaseRequest, caller: Caller) -> Lease:
        known = self._catalog.view(tx).sites.get(site)
        if known is None or not leasing.may_act(caller, site):
            raise NotFound
        held = leases.acquire(tx, leasing.lease_name(site), request.holder, timedelta(seconds=self._lease_seconds))
        if held.holder != request.holder:
            raise LeaseTaken(until=held.expires_at)
        if request.epoch is not None and request.epoch != held.epoch:
            raise LeaseLost(epoch=held.epoch)
        row = site_row(tx, site)
        descriptor = request.descriptor
        if (row.adapter, row.adapter_version) != (descriptor.name, descriptor.version):
            row.adapter, row.adapter_version = descriptor.name, descriptor.version
            if descriptor.name not in self._adapters:  # What the broker has itself, it announces itself.
                feed.state(tx, events.ADAPTER_ANNOUNCED, f"adapter:{descriptor.name}", descriptor)
        return Lease(
            site=site,
            epoch=held.epoch,
            ttl_seconds=self._lease_seconds,
            adapter=known.adapter,
            settings=known.settings,
            accelerators=known.accelerators,
        )

    async def release(self, site: str, epoch: int, caller: Caller) -> None:
        """End the lease now; what was begun under it may still be stated. Raises NotFound, LeaseLost."""
        await self._db.write(self._release, site, epoch, caller)

    def _release(self, tx: Session, site: str, epoch: int, caller: Caller) -> None:
        leasing.fence(tx, site, epoch, caller)
        leases.release(tx, leasing.lease_name(site), epoch)

    # Work

    async def work(self, site: str, epoch: int, after: int, wait_seconds: float, caller: Caller) -> Work:
        """What changed for the site after `after`; waits for it up to `wait_seconds`. 0 gives all that is open."""
        deadline = clock.monotonic() + wait_seconds
        while True:
            version = self._db.version(topic(site))
            work = await self._db.read(self._work, site, epoch, after, caller)
            left = deadline - clock.monotonic()
            if work.items or work.log_reads or left <= 0 or self._db.closing:
                return work
            await self._db.wait(topic(site), version, left if self._db.sqlite else min(left, POLL_SECONDS))

    def _work(self, tx: Session, site: str, epoch: int, after: int, caller: Caller) -> Work:
        leasing.check(tx, site, epoch, caller)
        wanted = select(AttemptRow).where(AttemptRow.site == site, AttemptRow.work > after)
        rows = tx.scalars(wanted.order_by(AttemptRow.work).limit(WORK_PAGE)).all()
        more = len(rows) == WORK_PAGE
        # What has no place after this one can't get a smaller one later: places are given under the site's row.
        last = tx.execute(select(SiteRow.work).where(SiteRow.site == site)).scalar_one_or_none()
        reads = tx.scalars(select(LogReadRow).where(LogReadRow.site == site, LogReadRow.answer.is_(None))).all()
        return Work(
            epoch=epoch,
            next=rows[-1].work or after if more else max(after, last or 0),
            more=more,
            items=self._items(tx, rows),
            log_reads=tuple(LogRead.model_validate(read.request | {"id": read.id}) for read in reads),
        )

    def _items(self, tx: Session, rows: Sequence[AttemptRow]) -> tuple[WorkItem, ...]:
        view = self._catalog.view(tx)
        of_run = select(
            RunRow.attempt, RunRow.backend_identity, RunRow.observation, RunRow.hours, RunRow.aside, RunRow.final
        )
        runs: dict[str, list[Any]] = defaultdict(list)
        for run in tx.execute(of_run.where(RunRow.attempt.in_([row.id for row in rows]))).all() if rows else ():
            runs[run.attempt].append(run)
        to_run = [row.job for row in rows if row.desired == Desired.RUN]
        specs = tx.execute(select(JobRow.id, JobRow.spec).where(JobRow.id.in_(to_run))).all() if to_run else ()
        spec_of = {job: JobSpec.model_validate_json(spec) for job, spec in specs}
        return tuple(
            WorkItem(
                attempt=row.id,
                desired=Desired(row.desired),
                reference=row.reference,
                submission=self._submission(view, row, spec_of[row.job]) if row.desired == Desired.RUN else None,
                observed=max([row.observation, *(run.observation for run in runs[row.id])]),
                stated={run.backend_identity: stating.heard(run.hours, run.aside) for run in runs[row.id]},
                finals=tuple(run.backend_identity for run in runs[row.id] if run.final),
            )
            for row in rows
        )

    def _submission(self, view: CatalogView, row: AttemptRow, spec: JobSpec) -> Submission:
        return Submission(
            tag=ids.bare(row.id),
            attempt=row.id,
            job=row.job,
            tenant=row.tenant,
            tenant_settings=view.tenants[row.tenant].settings,
            offering=row.offering,
            target=view.offerings[row.offering].target_with(spec.options),
            name=spec.name,
            script=spec.script,
            container=spec.container,
            environment=spec.environment,
            resources=spec.resources,
            grant=Grant.model_validate(row.grant),
            indices=tuple(row.indices),
            max_parallel=min(spec.max_parallel, len(row.indices)),
        )

    # Commit

    async def commit(self, site: str, batch: CommitBatch, caller: Caller) -> CommitAnswers:
        """Make each `reference` its attempt's one submission, unless there is one already or it isn't wanted any more. Raises LeaseLost."""
        await steps.reach("commit")
        return await self._db.write(self._commit, site, batch, caller)

    def _commit(self, tx: Session, site: str, batch: CommitBatch, caller: Caller) -> CommitAnswers:
        leasing.fence(tx, site, batch.epoch, caller)
        return CommitAnswers(items=tuple(_commit_one(tx, site, commit) for commit in batch.commits))

    # Report

    async def report(self, site: str, report: Report, caller: Caller) -> Reported:
        """Apply a batch, in order, each item by itself. Raises LeaseLost: nothing of the batch was applied."""
        reported = await self._db.write(self._report, site, report, caller)
        for position, words in reported.rejected.items():
            kind = report.items[position].type
            self._refused.labels(kind).inc()
            log.warning("report_item_refused", site=site, kind=kind, attempt=report.items[position].attempt, why=words)
        return reported

    def _report(self, tx: Session, site: str, report: Report, caller: Caller) -> Reported:
        leasing.fence(tx, site, report.epoch, caller)
        applied, rejected = 0, {}
        with reports.loaded(tx, report.items):
            for position, item in enumerate(report.items):
                try:
                    with savepoint(tx):
                        applied += reports.apply(tx, site, item)
                except reports.CannotBe as error:
                    rejected[position] = str(error)
        if report.site is not None:
            self._site(tx, site, report.site)
        if report.usage_complete_through is not None and not rejected:
            self._progress(tx, site, report)
        return Reported(applied=applied, rejected=rejected)

    def _site(self, tx: Session, site: str, said: SiteReport) -> None:
        row, now = site_row(tx, site), clock.now()
        inventory = None if said.inventory is None else [item.model_dump(mode="json") for item in said.inventory]
        changed = (row.health, row.detail) != (said.state, said.detail) or inventory not in (None, row.inventory)
        if row.health in TAKES_NO_JOBS and said.state not in TAKES_NO_JOBS:
            for sold in self._catalog.view(tx).sold:
                if sold.site.id == site:
                    store.offering_changed(tx, sold.offering.id)
        row.health, row.detail, row.seen_at = said.state, said.detail, now
        if inventory is not None:
            row.inventory = inventory
        if changed:
            row.version += 1
            known = None if row.inventory is None else tuple(InventoryItem.model_validate(i) for i in row.inventory)
            feed.state(
                tx,
                events.SITE_REPORTED,
                site,
                SiteReported(
                    site=site,
                    version=row.version,
                    health=SiteHealth(state=said.state, detail=said.detail, seen_at=now),
                    inventory=known,
                ),
            )

    def _progress(self, tx: Session, site: str, report: Report) -> None:
        row, through = site_row(tx, site), report.usage_complete_through
        known = self._catalog.view(tx).sites.get(site)
        if through is None or known is None or (row.complete_through is not None and through <= row.complete_through):
            return
        row.complete_through = through
        row.progress_version += 1
        feed.state(
            tx,
            events.SITE_PROGRESS,
            f"progress:{site}",
            SiteProgress(site=site, provider=known.provider, complete_through=through, version=row.progress_version),
        )


def _commit_one(tx: Session, site: str, commit: Commit) -> Committed:
    mine = {"of_attempt": commit.attempt, "of_site": site}
    taken = _COMMIT.run(tx, **mine, reference=commit.reference, state=AttemptState.STAGED)
    row = _COMMITTED.first(tx, **mine)
    if row is None:
        return Committed(verdict=Verdict.DISCARD, reference=None)
    if taken:
        store.note(tx, row.job, "attempt.staged", attempt=commit.attempt, reference=commit.reference)
    release = row.reference == commit.reference and row.desired == Desired.RUN
    return Committed(verdict=Verdict.RELEASE if release else Verdict.DISCARD, reference=row.reference)
