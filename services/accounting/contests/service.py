"""Contesting runs and deciding it. Both parties may read; finance reads all."""

from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, exists, insert, or_, select, update
from sqlalchemy.orm import Session

from caravan.contracts.contests import Contest, ContestDecision, ContestDraft, ContestState, Decision
from caravan.contracts.jobs import Outcome
from caravan.contracts.offerings import PreemptedBearer
from caravan.contracts.problems import ContestDecided, ContestOpen, ContestOverlaps, NotContestable, SecondPersonNeeded
from caravan.kernel import audit, ids
from caravan.kernel.pages import Listing, Page
from caravan.kernel.problems import NotFound
from caravan.kernel.runtime import Runtime
from caravan.kernel.tokens import Caller
from services.accounting.anomalies.tasks import billed_beside
from services.accounting.charging import due
from services.accounting.charging.due import Due
from services.accounting.charging.lines import provider_bears
from services.accounting.contests.models import ContestRow
from services.accounting.funds.service import unknown
from services.accounting.funds.settling import END
from services.accounting.usage.records import ATTEMPTS, RUNS


class ContestService:
    """What providers contest, finance decides and the parties read."""

    def __init__(self, runtime: Runtime) -> None:
        self._db = runtime.db
        self._now = runtime.now

    async def contest(self, draft: ContestDraft, caller: Caller) -> Contest:
        """Raises UnknownReference, NotContestable, ContestOpen."""
        return await self._db.write(contest, draft, caller, self._now())

    async def decide(self, id: str, decision: ContestDecision, caller: Caller) -> Contest:
        """Raises NotFound, ContestDecided, SecondPersonNeeded, ContestOverlaps."""
        return await self._db.write(decide, id, decision, caller.subject, self._now())

    async def get(self, id: str, caller: Caller) -> Contest:
        """Raises NotFound, also for a contest of others."""
        row = await self._db.read(lambda tx: tx.execute(_contests(caller).where(ContestRow.id == id)).one_or_none())
        if row is None:
            raise NotFound
        return _shown(row)

    async def list(self, listing: Listing, caller: Caller, run: str | None) -> Page[Contest]:
        """The caller's own (finance: all), the newest first."""
        query = _contests(caller).order_by(ContestRow.id.desc()).limit(listing.fetch)
        if run is not None:
            query = query.where(ContestRow.run == run)
        if listing.after:
            query = query.where(ContestRow.id < listing.after[0])
        rows = await self._db.read(lambda tx: tx.execute(query).all())
        return listing.page([_shown(row) for row in rows], key=lambda one: (one.id,))


def contest(tx: Session, draft: ContestDraft, caller: Caller, at: datetime) -> Contest:
    run = tx.execute(
        select(
            RUNS.c.job,
            RUNS.c.outcome,
            RUNS.c.upheld,
            ATTEMPTS.c.organization,
            ATTEMPTS.c.provider,
            ATTEMPTS.c.resale,
            ATTEMPTS.c.preempted_borne_by,
        )
        .join(ATTEMPTS, ATTEMPTS.c.id == RUNS.c.attempt)
        .where(RUNS.c.id == draft.run, ATTEMPTS.c.provider.in_(caller.providers()))
    ).one_or_none()
    if run is None:
        raise unknown("/run")
    outcome = Outcome(run.outcome) if run.outcome else None
    if outcome is None or run.upheld or provider_bears(outcome, PreemptedBearer(run.preempted_borne_by)) is None:
        raise NotContestable
    known = select(ContestRow.id).where(ContestRow.run == draft.run, ContestRow.state == ContestState.OPEN)
    if found := tx.execute(known).scalar_one_or_none():
        raise ContestOpen(contest=found)
    made = Contest(
        **dict(draft),
        id=ids.new("cts"),
        job=run.job,
        organization=run.resale["reseller"] if run.resale else run.organization,
        provider=run.provider,
        outcome=outcome,
        state=ContestState.OPEN,
        contested_at=at,
        contested_by=caller.subject,
    )
    tx.execute(insert(ContestRow).values(dict(made)))
    audit.record(tx, caller.subject, "contest_run", made.id, draft)
    return made


def decide(tx: Session, id: str, decision: ContestDecision, subject: str, at: datetime) -> Contest:
    row = tx.execute(select(*ContestRow.__table__.c).where(ContestRow.id == id).with_for_update()).one_or_none()
    if row is None:
        raise NotFound
    if row.state != ContestState.OPEN:
        raise ContestDecided
    if row.contested_by == subject:
        raise SecondPersonNeeded
    upheld = decision.decision is Decision.UPHOLD
    decided = {
        "state": ContestState.UPHELD if upheld else ContestState.DISMISSED,
        "words": decision.words,
        "decided_at": at,
        "decided_by": subject,
    }
    tx.execute(update(ContestRow).where(ContestRow.id == id).values(decided))
    if upheld:
        if not decision.overlap and (runs := billed_beside(tx, row.run)):
            raise ContestOverlaps(runs=tuple(runs))
        outcome = tx.execute(select(RUNS.c.outcome).where(RUNS.c.id == row.run).with_for_update()).scalar_one()
        tx.execute(update(RUNS).where(RUNS.c.id == row.run).values(upheld=True))
        due.mark(tx, [Due(row.job, row.run, END, outcome)])
    audit.record(tx, subject, "decide_contest", id, decision)
    return _shown(row).model_copy(update=decided)


def _contests(caller: Caller) -> Select[*tuple[Any, ...]]:
    """What the caller may read: a run that a reseller sold on is contested against that, and who bought it there pays for it, too."""
    query = select(*ContestRow.__table__.c)
    if caller.is_finance:
        return query
    organizations = caller.organizations()
    used = exists().where(
        RUNS.c.id == ContestRow.run, ATTEMPTS.c.id == RUNS.c.attempt, ATTEMPTS.c.organization.in_(organizations)
    )
    mine = ContestRow.organization.in_(organizations), ContestRow.provider.in_(caller.providers())
    return query.where(or_(*mine, used))


def _shown(row: Row[Any]) -> Contest:
    return Contest.model_validate(row._asdict())
