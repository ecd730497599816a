"""The broker's facts, stored. All facts of one job have one subject, so they come in order; each one here also bears any other order.

A fact that refers to what isn't here yet raises NotHereYet: the follower parks it, and tries again when more has come. What is stored
is marked as due: `charging` brings it into the lines.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel
from sqlalchemy.orm import Session

from caravan.contracts import events
from caravan.contracts.anomalies import DoubtedUsage
from caravan.contracts.usage import (
    AttemptEnded,
    AttemptPlaced,
    JobNamed,
    JobSettled,
    RunFinal,
    SiteProgress,
    UsageRecord,
)
from caravan.kernel import clock
from caravan.kernel.bulk import InsertMany
from caravan.kernel.database import table_of
from caravan.kernel.follow import Together
from services.accounting.anomalies.sifting import Revision, revision_of
from services.accounting.periods.service import expect_progress, keep_progress
from services.accounting.usage import storing
from services.accounting.usage.models import AttemptCopy, JobName

_CONTRACTS: Final[Mapping[str, type[BaseModel]]] = {
    events.ATTEMPT_PLACED: AttemptPlaced,
    events.JOB_NAMED: JobNamed,
    events.USAGE_DOUBTED: DoubtedUsage,
    events.USAGE_STATED: UsageRecord,
    events.RUN_FINAL: RunFinal,
    events.ATTEMPT_ENDED: AttemptEnded,
    events.JOB_SETTLED: JobSettled,
    events.SITE_PROGRESS: SiteProgress,
}
_PLACED: Final = InsertMany(table_of(AttemptCopy), lambda new: new.on_conflict_do_nothing())
_NAMED: Final = InsertMany(table_of(JobName), lambda new: new.on_conflict_do_nothing())


class Facts:
    """Handlers for a follower of the broker. `now` dates what is made of the facts; it decides only of usage whose event has no time."""

    def __init__(self, now: clock.Clock) -> None:
        self._now = now

    def handlers(self) -> dict[str, Together]:
        return dict.fromkeys(_CONTRACTS, Together(self.store))

    def store(self, tx: Session, facts: Sequence[dict[str, Any]]) -> None:
        """Store them and mark what is to be charged. What they refer to may stand behind them."""
        of: defaultdict[str, list[Any]] = defaultdict(list)
        stated_at: dict[Revision, datetime] = {}
        for event in facts:
            fact = _CONTRACTS[event["type"]].model_validate(event["data"])
            of[event["type"]].append(fact)
            if isinstance(fact, UsageRecord) and event.get("time") is not None:
                stated_at.setdefault(revision_of(fact), _instant(event["time"]))
        at = self._now()
        _placed(tx, of[events.ATTEMPT_PLACED], at)
        # the name is kept for good: it stands on sealed statements
        _NAMED.run(tx, [named.model_dump() for named in of[events.JOB_NAMED]])
        # before the rest: what is stated of the same hours behind it makes it needless
        storing.doubted(tx, of[events.USAGE_DOUBTED], at)
        storing.usage(tx, of[events.USAGE_STATED], at, stated_at)
        # behind the rest: what may be billed by itself goes ahead of what waits for a person
        storing.identify(tx, of[events.USAGE_DOUBTED])
        storing.ends(tx, of[events.RUN_FINAL], at)
        storing.attempts_ended(tx, of[events.ATTEMPT_ENDED])
        storing.settlements(tx, of[events.JOB_SETTLED])
        keep_progress(tx, of[events.SITE_PROGRESS], at)


def _instant(time: datetime | str) -> datetime:
    """The time of an envelope: a text, as JSON has it."""
    return datetime.fromisoformat(time) if isinstance(time, str) else time


def _placed(tx: Session, attempts: Sequence[AttemptPlaced], at: datetime) -> None:
    _PLACED.run(
        tx,
        [
            one.model_dump(exclude={"attempt"})
            | {"id": one.attempt, "wholesale_list": one.resale and one.resale.price_list}
            for one in attempts
        ],
    )
    for site, provider in {one.site: one.provider for one in attempts}.items():
        expect_progress(tx, site, provider, at)
