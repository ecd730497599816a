"""The loop that reconciles once in each night, in the quiet hour: what has changed, and on the first of a month all that is stored."""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from caravan.contracts.reconciliations import Finding, ReconciliationScope, SiteReconciliation
from caravan.kernel import clock, ids, leases
from caravan.kernel.database import Database
from caravan.kernel.logs import get_logger
from caravan.kernel.metrics import Metrics
from services.accounting.charging.recomputing import BATCH
from services.accounting.ledger import verify
from services.accounting.periods import service as periods
from services.accounting.reconciliations import booked, changed
from services.accounting.reconciliations.booked import SiteDay
from services.accounting.reconciliations.models import ReconciliationRow

LOOP: Final = "reconciling"
LEASE_TTL: Final = timedelta(minutes=10)
LOOK_SECONDS: Final = 60.0
log = get_logger(__name__)


class Begun(NamedTuple):
    """`since`: the last reconciliation that found nothing, at `since_at`; None: all is to be looked at."""

    seal: int
    since: int | None
    since_at: datetime


class Nightly:
    """One process reconciles, by a lease. A day of a site's own books is held against what was stated once: in the first night behind it
    in which it is here. A night in which none ran is made up for in the next."""

    def __init__(self, db: Database, holder: str, now: clock.Clock, metrics: Metrics, hour: int) -> None:
        """`hour`: the quiet one, by the zone in which months are cut."""
        self._db = db
        self._holder = holder
        self._now = now
        self._hour = hour
        self._findings = metrics.gauge(
            "reconciliation_findings", "What the last reconciliation of the books found; anything but 0 wants a person."
        )

    async def iteration(self) -> float:
        """Reconcile, if it is the hour and this night nobody has. Returns the seconds until the next look."""
        now = self._now()
        if await self._db.read(self._due, now) and (begun := await self._db.write(self._begin, now)):
            await self._reconcile(begun)
        self._findings.set(await self._db.read(_last_found))
        return LOOK_SECONDS

    def _due(self, tx: Session, now: datetime) -> bool:
        local = now.astimezone(periods.zone(tx))
        ran = select(ReconciliationRow.id).where(
            ReconciliationRow.at >= local.replace(minute=0, second=0, microsecond=0)
        )
        return local.hour == self._hour and tx.execute(ran.limit(1)).first() is None

    def _begin(self, tx: Session, now: datetime) -> Begun | None:
        """None: another has begun."""
        if leases.acquire(tx, LOOP, self._holder, LEASE_TTL).holder != self._holder or not self._due(tx, now):
            return None
        good = tx.execute(
            select(ReconciliationRow.seal, ReconciliationRow.at)
            .where(ReconciliationRow.found == ReconciliationRow.differing)
            .order_by(ReconciliationRow.id.desc())
            .limit(1)
        ).one_or_none()
        if good is None or now.astimezone(periods.zone(tx)).day == 1:
            return Begun(changed.last_seal(tx), None, now)
        return Begun(changed.last_seal(tx), good.seal, good.at)

    async def _reconcile(self, begun: Begun) -> None:
        findings: list[Finding]
        if begun.since is None:
            report = await self._db.read(verify.report)
            checked, findings = report.jobs, [*report.findings]
        else:
            since = begun.since
            jobs = await self._db.read(changed.jobs, since, begun.since_at)
            checked = len(jobs)
            findings = await self._db.read(lambda tx: [*verify.chain(tx, since), *changed.of_funds(tx, since)])
            for start in range(0, checked, BATCH):
                await self._db.write(leases.acquire, LOOP, self._holder, LEASE_TTL)
                findings += await self._db.read(changed.of_jobs, jobs[start : start + BATCH])
        compared: list[tuple[SiteDay, SiteReconciliation]] = []
        for day in await self._db.read(booked.told):
            await self._db.write(leases.acquire, LOOP, self._holder, LEASE_TTL)
            said, differences = await self._db.read(booked.compared, day)
            compared.append((day, said))
            findings += differences
        untold = await self._db.read(booked.untold)
        findings += untold
        differing = sum(said.differing for _, said in compared) + len(untold)
        await self._db.write(_keep, begun, checked, findings, differing, compared, self._now())
        if findings:
            log.error("reconciliation_findings", found=len(findings), first=findings[0].model_dump())


def _keep(
    tx: Session,
    begun: Begun,
    checked: int,
    findings: list[Finding],
    differing: int,
    compared: list[tuple[SiteDay, SiteReconciliation]],
    at: datetime,
) -> None:
    for day, _ in compared:
        booked.forget(tx, day)
    scope = ReconciliationScope.ALL if begun.since is None else ReconciliationScope.CHANGED
    tx.execute(
        insert(ReconciliationRow).values(
            id=ids.new("rec"),
            scope=scope.value,
            at=at,
            seal=begun.seal,
            checked=checked,
            found=len(findings),
            differing=differing,
            sites=[said.model_dump(mode="json") for _, said in compared],
            findings=[one.model_dump(mode="json") for one in findings[: verify.SHOWN]],
        )
    )


def _last_found(tx: Session) -> int:
    last = select(ReconciliationRow.found).order_by(ReconciliationRow.id.desc()).limit(1)
    return tx.execute(last).scalar_one_or_none() or 0
