"""Lists what was set aside, and settles it as a person decides."""

from datetime import datetime
from typing import Any

from sqlalchemy import Row, insert, select, update
from sqlalchemy.orm import Session

from caravan.contracts.anomalies import Anomaly, AnomalyDecision, AnomalyReason, AnomalyState, Decision
from caravan.contracts.problems import AttemptMissing, IdentityTaken, WrongState
from caravan.contracts.usage import UsageRecord
from caravan.kernel import audit, clock, ids
from caravan.kernel.pages import Listing, Page
from caravan.kernel.problems import NotFound
from caravan.kernel.runtime import Runtime
from caravan.kernel.tokens import Caller
from services.accounting.anomalies.sifting import ANOMALIES, fingerprint
from services.accounting.usage import storing
from services.accounting.usage.records import RECORDS, NotHereYet

_DECIDED = {Decision.ACCEPT: AnomalyState.ACCEPTED, Decision.DISCARD: AnomalyState.DISCARDED}


class AnomalyService:
    """What finance settles, and sellers read."""

    def __init__(self, runtime: Runtime) -> None:
        self._db = runtime.db
        self._now = runtime.now

    async def list(
        self, listing: Listing, caller: Caller, state: AnomalyState | None, reason: AnomalyReason | None
    ) -> Page[Anomaly]:
        """All to finance; to a provider's admins those at its sites. The last found first."""
        providers = None if caller.is_finance else caller.providers()
        rows = await self._db.read(_anomalies, listing, providers, state, reason)
        return listing.page([_shown(row) for row in rows], key=lambda anomaly: (anomaly.id,))

    async def settle(self, anomaly: str, decision: AnomalyDecision, caller: Caller) -> Anomaly:
        """A repeat of the same decision changes nothing. Raises NotFound, WrongState, AttemptMissing, IdentityTaken.

        Two units of work where the identity is taken: what is refused for that is listed for that.
        """
        try:
            return await self._db.write(settle, anomaly, decision, caller.subject, self._now())
        except IdentityTaken:
            await self._db.write(_list_as_taken, anomaly)
            raise


def settle(tx: Session, anomaly: str, decision: AnomalyDecision, subject: str, at: datetime) -> Anomaly:
    """Bill what was set aside as it was stated, or keep it unbilled for good. Raises NotFound, WrongState, AttemptMissing,
    IdentityTaken."""
    state = _DECIDED[decision.decision]
    settled = {"state": state.value, "settled_at": at, "settled_by": subject, "words": decision.words}
    is_open = (ANOMALIES.c.id == anomaly) & (ANOMALIES.c.state == AnomalyState.OPEN)
    changed = tx.execute(update(ANOMALIES).where(is_open).values(settled).returning(ANOMALIES.c.id)).first()
    row = tx.execute(select(ANOMALIES).where(ANOMALIES.c.id == anomaly)).one_or_none()
    if row is None:
        raise NotFound
    if changed is None:
        if row.state != state:
            raise WrongState(state=row.state, allowed=(AnomalyState.OPEN.value,))
        return _shown(row)
    usage = UsageRecord.model_validate(row.usage)
    if decision.decision is Decision.ACCEPT:
        _keep_replaced(tx, row, usage, settled)
        try:
            storing.accept(tx, usage, at, AnomalyReason(row.reason))
        except NotHereYet:
            raise AttemptMissing from None
    else:
        storing.discard(tx, usage)
    audit.record(tx, subject, "settle_anomaly", anomaly, decision)
    return _shown(row)


def _list_as_taken(tx: Session, anomaly: str) -> None:
    is_open = (ANOMALIES.c.id == anomaly) & (ANOMALIES.c.state == AnomalyState.OPEN)
    tx.execute(update(ANOMALIES).where(is_open).values(reason=AnomalyReason.IDENTITY_TAKEN.value))


def _keep_replaced(tx: Session, row: Row[Any], usage: UsageRecord, settled: dict[str, Any]) -> None:
    """What stands in the accepted one's place at the same revision is not billed any more: keep it as discarded."""
    here = (RECORDS.c.run == row.run) & (RECORDS.c.hour == row.hour) & (RECORDS.c.revision == row.revision)
    stored = tx.execute(select(RECORDS.c.spans, RECORDS.c.run_started_at).where(here)).one_or_none()
    if stored is None:
        return
    began = clock.from_seconds(stored.run_started_at)
    replaced = usage.model_copy(update={"spans": stored.spans, "run_started_at": began})
    discarded = {"state": AnomalyState.DISCARDED.value, "fingerprint": fingerprint(stored.spans)}
    kept = row._asdict() | settled | discarded | {"id": ids.new("ano"), "usage": replaced.model_dump(mode="json")}
    tx.execute(insert(ANOMALIES).values(kept))


def _anomalies(
    tx: Session,
    listing: Listing,
    providers: frozenset[str] | None,
    state: AnomalyState | None,
    reason: AnomalyReason | None,
) -> list[Row[Any]]:
    query = select(ANOMALIES).order_by(ANOMALIES.c.id.desc()).limit(listing.fetch)
    if providers is not None:
        query = query.where(ANOMALIES.c.provider.in_(providers))
    for column, value in ((ANOMALIES.c.state, state), (ANOMALIES.c.reason, reason)):
        if value is not None:
            query = query.where(column == value)
    if listing.after:
        query = query.where(ANOMALIES.c.id < listing.after[0])
    return list(tx.execute(query).all())


def _shown(row: Row[Any]) -> Anomaly:
    values = row._asdict()
    return Anomaly.model_validate({name: values[name] for name in Anomaly.model_fields})
