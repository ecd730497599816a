"""The broker's side of dispatch. Every call names the lease's epoch; a stale one is refused before it is looked at."""

import base64
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog
from prometheus_client import Counter
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from caravan.contracts import events
from caravan.contracts.dispatch import (
    Commit,
    Committed,
    Desired,
    Grant,
    Lease,
    LeaseRequest,
    LogAnswer,
    LogRead,
    Report,
    Reported,
    SiteReport,
    Submission,
    Verdict,
    Work,
    WorkItem,
)
from caravan.contracts.jobs import Attempt, AttemptState, JobSpec, LogChunk
from caravan.contracts.offerings import InventoryItem, SiteHealth, SiteReported
from caravan.contracts.problems import LeaseLost, LeaseTaken, LogUnavailable, NoLogYet, WrongState
from caravan.contracts.usage import SiteProgress
from caravan.kernel import audit, clock, feed, ids, leases, steps
from caravan.kernel.database import Database, affected, database_now, signal
from caravan.kernel.metrics import Metrics
from caravan.kernel.problems import FieldError, Invalid, NotFound
from caravan.kernel.tokens import Caller
from services.broker.dispatch import reports
from services.broker.dispatch.models import LogReadRow, SiteRow
from services.broker.dispatch.wanted import site_row, topic
from services.broker.jobs import store
from services.broker.jobs.models import AttemptRow, JobRow, RunRow, TaskRow
from services.broker.jobs.reading import to_attempt
from services.broker.placement.copies import Catalog

WORK_PAGE: Final = 200
POLL_SECONDS: Final = 0.5
LOG_WAIT_SECONDS: Final = 10.0
SWEEP_SECONDS: Final = 30.0
GIVE_UP_SECONDS: Final = 10.0
log = structlog.get_logger(__name__)


def lease_name(site: str) -> str:
    return f"site:{site}"


@dataclass(frozen=True)
class LogWanted:
    """Which piece of which task's output; a negative offset counts from the end."""

    index: int
    stream: str
    offset: int
    limit: int


class DispatchService:
    """Leases, work, commits, reports and log reads of all sites. `adapters`: those installed here."""

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
        if known is None or not may_act(caller, site):
            raise NotFound
        held = leases.acquire(tx, lease_name(site), request.holder, timedelta(seconds=self._lease_seconds))
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

    def _check(self, tx: Session, site: str, epoch: int, caller: Caller) -> None:
        if not may_act(caller, site):
            raise NotFound
        try:
            leases.check(tx, lease_name(site), epoch)
        except leases.Fenced as fenced:
            raise LeaseLost(epoch=fenced.epoch) from None

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
        self._check(tx, site, epoch, caller)
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
            items=tuple(self._item(tx, row) for row in rows),
            log_reads=tuple(LogRead.model_validate(read.request | {"id": read.id}) for read in reads),
        )

    def _item(self, tx: Session, row: AttemptRow) -> WorkItem:
        runs = tx.execute(
            select(RunRow.backend_identity, RunRow.hours, RunRow.final).where(RunRow.attempt == row.id)
        ).all()
        return WorkItem(
            attempt=row.id,
            desired=Desired(row.desired),
            reference=row.reference,
            submission=self._submission(tx, row) if row.desired == Desired.RUN else None,
            observed=row.observation,
            stated={run.backend_identity: run.hours for run in runs},
            finals=tuple(run.backend_identity for run in runs if run.final),
        )

    def _submission(self, tx: Session, row: AttemptRow) -> Submission:
        view = self._catalog.view(tx)
        spec = JobSpec.model_validate_json(tx.execute(select(JobRow.spec).where(JobRow.id == row.job)).scalar_one())
        return Submission(
            tag=ids.bare(row.id),
            attempt=row.id,
            job=row.job,
            tenant=row.tenant,
            tenant_settings=view.tenants[row.tenant].settings,
            offering=row.offering,
            target=view.offerings[row.offering].target,
            name=spec.name,
            script=spec.script,
            environment=spec.environment,
            resources=spec.resources,
            grant=Grant.model_validate(row.grant),
            indices=tuple(row.indices),
            max_parallel=min(spec.max_parallel, len(row.indices)),
        )

    # Commit

    async def commit(self, site: str, commit: Commit, caller: Caller) -> Committed:
        """Make `reference` the attempt's one submission, unless there is one already or it isn't wanted any more."""
        await steps.reach("commit")
        return await self._db.write(self._commit, site, commit, caller)

    def _commit(self, tx: Session, site: str, commit: Commit, caller: Caller) -> Committed:
        self._check(tx, site, commit.epoch, caller)
        taken = affected(
            tx,
            update(AttemptRow)
            .where(
                AttemptRow.id == commit.attempt,
                AttemptRow.site == site,
                AttemptRow.reference.is_(None),
                AttemptRow.desired == Desired.RUN,
                AttemptRow.state == AttemptState.PLANNED,
                AttemptRow.work.is_not(None),
            )
            .values(reference=commit.reference, state=AttemptState.STAGED),
        )
        row = tx.execute(
            select(AttemptRow.reference, AttemptRow.desired, AttemptRow.job).where(
                AttemptRow.id == commit.attempt, AttemptRow.site == site
            )
        ).one_or_none()
        if row is None:
            raise NotFound
        if taken:
            store.note(tx, row.job, "attempt.staged", attempt=commit.attempt, reference=commit.reference)
        release = row.reference == commit.reference and row.desired == Desired.RUN
        return Committed(verdict=Verdict.RELEASE if release else Verdict.DISCARD, reference=row.reference)

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
        self._check(tx, site, report.epoch, caller)
        applied, rejected = 0, {}
        for position, item in enumerate(report.items):
            try:
                with tx.begin_nested():
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

    # Logs

    async def read_log(self, job: str, wanted: LogWanted, caller: Caller) -> LogChunk:
        """Have the site's agent read a task's output. Raises NotFound, NoLogYet, LogUnavailable (it didn't answer in time)."""
        read = await self._db.write(self._ask_log, job, wanted, caller)
        deadline = clock.monotonic() + LOG_WAIT_SECONDS
        try:
            while True:
                version = self._db.version(f"log:{read}")
                row = await self._db.read(lambda tx: tx.get(LogReadRow, read))
                if row is not None and row.answer is not None:
                    break
                left = deadline - clock.monotonic()
                if left <= 0 or self._db.closing:
                    raise LogUnavailable
                await self._db.wait(f"log:{read}", version, left if self._db.sqlite else min(left, 0.1))
        finally:
            await self._db.write(affected, delete(LogReadRow).where(LogReadRow.id == read))
        answer, data = row.answer, row.data or b""
        if answer["error"]:
            raise LogUnavailable(answer["error"])
        return LogChunk(
            index=wanted.index,
            stream=wanted.stream,
            offset=answer["offset"],
            next_offset=answer["offset"] + len(data),
            size=answer["size"],
            complete=answer["complete"] and answer["offset"] + len(data) >= answer["size"],
            text=data.decode("utf-8", "replace"),
        )

    def _ask_log(self, tx: Session, job: str, wanted: LogWanted, caller: Caller) -> str:
        owner = tx.execute(select(JobRow.organization).where(JobRow.id == job)).scalar_one_or_none()
        if owner is None or not caller.is_org_member(owner):
            raise NotFound
        task = tx.execute(
            select(AttemptRow.id, AttemptRow.site, AttemptRow.reference)
            .select_from(TaskRow)
            .outerjoin(AttemptRow, AttemptRow.id == TaskRow.attempt)
            .where(TaskRow.job == job, TaskRow.index == wanted.index)
        ).one_or_none()
        if task is None:
            raise NotFound
        if task.reference is None:
            raise NoLogYet
        read = ids.new("log")
        request = LogRead(
            id=read,
            attempt=task.id,
            reference=task.reference,
            index=wanted.index,
            stream="stderr" if wanted.stream == "stderr" else "stdout",
            offset=wanted.offset,
            limit=wanted.limit,
        )
        tx.add(LogReadRow(id=read, site=task.site, request=request.model_dump(mode="json"), asked_at=clock.now()))
        signal(tx, topic(task.site))
        return read

    async def answer_log(self, site: str, read: str, answer: LogAnswer, caller: Caller) -> None:
        """The agent's answer. One that nobody waits for any more is dropped. Raises Invalid when its data isn't base64."""
        try:
            data = base64.b64decode(answer.data, validate=True)
        except ValueError:
            detail = "Give the bytes in base64, with padding."
            raise Invalid(errors=[FieldError(pointer="/data", code="base64", detail=detail)]) from None

        def keep(tx: Session) -> None:
            self._check(tx, site, answer.epoch, caller)
            row = tx.get(LogReadRow, read)
            if row is None or row.site != site:
                return
            row.answer = answer.model_dump(mode="json", include={"offset", "size", "complete", "error"})
            row.data = data
            signal(tx, f"log:{read}")

        await self._db.write(keep)

    # A person's word

    async def lose(self, attempt: str, caller: Caller) -> Attempt:
        """End an attempt that nobody can find any more. Raises NotFound, WrongState (it has ended)."""
        return await self._db.write(self._lose, attempt, caller)

    def _lose(self, tx: Session, attempt: str, caller: Caller) -> Attempt:
        row = tx.get(AttemptRow, attempt)
        if row is None or not (caller.is_admin or caller.is_provider_admin(row.provider)):
            raise NotFound
        if row.state == AttemptState.ENDED or row.work is None:
            allowed = tuple(state for state in AttemptState if state is not AttemptState.ENDED)
            detail = "Its site has not heard of it yet: it waits for its money." if row.work is None else None
            raise WrongState(detail, state=row.state, allowed=allowed)
        reports.lose(tx, row, caller.subject)
        lost = to_attempt(row)
        audit.record(tx, caller.subject, "declare_attempt_lost", attempt, lost)
        return lost

    async def give_up(self) -> float:
        """Declare lost what silent sites were given, after their own `lost_after_seconds`. A loop's iteration."""
        for attempt in await self._db.read(self._silent):
            await self._db.write(self._lose_silent, attempt)
            log.warning("attempt_lost", attempt=attempt, why="its site has been silent for too long")
        return GIVE_UP_SECONDS

    def _silent(self, tx: Session) -> list[str]:
        """Open attempts of sites whose lease ended so long ago that they count as gone."""
        now = database_now(tx)
        gone = []
        for site in self._catalog.view(tx).sites.values():
            lease = leases.peek(tx, lease_name(site.id)) if site.lost_after_seconds else None
            if lease is not None and now - lease.expires_at > timedelta(seconds=site.lost_after_seconds or 0):
                gone.append(site.id)
        open_there = AttemptRow.site.in_(gone) & (AttemptRow.desired != Desired.NOTHING)
        return list(tx.scalars(select(AttemptRow.id).where(open_there, AttemptRow.state != AttemptState.ENDED)))

    def _lose_silent(self, tx: Session, attempt: str) -> None:
        row = tx.get_one(AttemptRow, attempt)
        if row.state != AttemptState.ENDED and row.work is not None and attempt in self._silent(tx):
            reports.lose(tx, row, "the platform")

    async def sweep(self) -> float:
        """Drop log reads that nobody waits for any more: their process died. A loop's iteration."""

        def drop(tx: Session) -> int:
            old = LogReadRow.asked_at < clock.now() - timedelta(seconds=2 * LOG_WAIT_SECONDS)
            return affected(tx, delete(LogReadRow).where(old))

        await self._db.write(drop)
        return SWEEP_SECONDS


def may_act(caller: Caller, site: str) -> bool:
    """The site's own agent, or the broker's embedded one."""
    return caller.is_agent(site) or caller.is_service("broker")
