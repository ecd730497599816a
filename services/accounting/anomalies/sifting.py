"""Parts a batch of stated usage into what is trusted and what is set aside, by a few look-ups for all of it."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from caravan.contracts.anomalies import AnomalyReason, AnomalyState
from caravan.contracts.offerings import PreemptedBearer
from caravan.contracts.usage import Span, UsageRecord
from caravan.kernel import ids
from caravan.kernel.bulk import ChangeMany, InsertMany, SelectMany
from caravan.kernel.clock import from_seconds, to_seconds
from caravan.kernel.database import table_of
from services.accounting.anomalies.models import AnomalyRow
from services.accounting.anomalies.odd import Known, odd, shared
from services.accounting.anomalies.tasks import Tasks
from services.accounting.usage.many import Run, Stored
from services.accounting.usage.records import plain, spans_of

Place = tuple[str, int]
"""A run and its hour, in seconds since the epoch."""
Revision = tuple[str, datetime, int]
"""A run, its hour, and which revision of it."""
ANOMALIES: Final = table_of(AnomalyRow)
_PLACE: Final = {"run": ANOMALIES.c.run.type, "hour": ANOMALIES.c.hour.type}
_SEEN: Final = SelectMany(
    _PLACE,
    lambda given: select(*ANOMALIES.c).join(
        given, (ANOMALIES.c.run == given.c.run) & (ANOMALIES.c.hour == given.c.hour)
    ),
)
_SET_ASIDE: Final = InsertMany(
    ANOMALIES,
    lambda new: new.on_conflict_do_update(
        index_elements=["run", "hour", "revision", "fingerprint"],
        set_={
            name: new.excluded[name]
            for name in ("reason", "state", "settled_at", "site", "provider", "organization", "reseller")
        },
        where=(ANOMALIES.c.state == AnomalyState.OPEN) | (ANOMALIES.c.state == AnomalyState.SUPERSEDED),
    ),
)
_SUPERSEDE: Final = ChangeMany(
    {
        **_PLACE,
        "revision": ANOMALIES.c.revision.type,
        "fingerprint": ANOMALIES.c.fingerprint.type,
        "at": ANOMALIES.c.found_at.type,
    },
    lambda given: (
        update(ANOMALIES)
        .where(
            ANOMALIES.c.run == given.run,
            ANOMALIES.c.hour == given.hour,
            ANOMALIES.c.state == AnomalyState.OPEN,
            (ANOMALIES.c.revision < given.revision)
            | ((ANOMALIES.c.revision == given.revision) & (ANOMALIES.c.fingerprint == given.fingerprint)),
        )
        .values(state=AnomalyState.SUPERSEDED.value, settled_at=given.at)
    ),
)
_DISCARDED: Final = SelectMany(
    {"job": ANOMALIES.c.job.type},
    lambda given: (
        select(ANOMALIES.c.run, ANOMALIES.c.hour, func.max(ANOMALIES.c.revision).label("revision"))
        .join(given, ANOMALIES.c.job == given.c.job)
        .where(ANOMALIES.c.state == AnomalyState.DISCARDED)
        .group_by(ANOMALIES.c.run, ANOMALIES.c.hour)
    ),
)
_OVERLAPPING: Final = SelectMany(
    {"job": ANOMALIES.c.job.type},
    lambda given: (
        select(ANOMALIES.c.usage)
        .join(given, ANOMALIES.c.job == given.c.job)
        .where(ANOMALIES.c.state == AnomalyState.OPEN, ANOMALIES.c.reason == AnomalyReason.OVERLAPPING)
        .order_by(ANOMALIES.c.id)
    ),
)
log = structlog.get_logger(__name__)


class Placed(NamedTuple):
    """Whom an attempt's usage concerns, who bears of its runs what is preempted, and when it was placed, if that is known."""

    site: str
    provider: str
    organization: str
    reseller: str | None
    preempted_borne_by: PreemptedBearer
    at: datetime | None


def place_of(usage: UsageRecord) -> Place:
    return usage.run, to_seconds(usage.hour)


def revision_of(usage: UsageRecord) -> Revision:
    return usage.run, usage.hour, usage.revision


def seen(tx: Session, places: Collection[Place]) -> Mapping[Place, Sequence[Any]]:
    """What was ever set aside of these hours of runs."""
    found: defaultdict[Place, list[Any]] = defaultdict(list)
    for row in _SEEN.all(tx, [{"run": run, "hour": hour} for run, hour in places]):
        found[row.run, row.hour].append(row)
    return found


def is_held_back(usage: UsageRecord, rows: Iterable[Any]) -> bool:
    """Whether just this was set aside before, and does more than wait for its attempt."""
    waits = AnomalyReason.NO_ATTEMPT, AnomalyState.OPEN
    return any(
        row.revision == usage.revision
        and (row.reason, row.state) != waits
        and row.fingerprint == fingerprint(usage.spans)
        for row in rows
    )


def sift(
    tx: Session,
    stated: Mapping[Place, UsageRecord],
    placed: Mapping[str, Placed],
    runs: Mapping[str, Run],
    stored: Mapping[Place, Stored],
    before: Mapping[Place, Sequence[Any]],
    closed: Collection[Place],
    at: datetime,
    stated_at: Mapping[Revision, datetime],
    taken: Collection[str],
) -> dict[Place, UsageRecord]:
    """Set aside what can't be trusted, and give the rest.

    All of it is news and of one round (`rounds`), and `placed` has its attempts. `runs`, `stored` and `before` are what is known of its
    runs and hours; the jobs of `closed` were settled with what is stored there. `stated_at` has when each was stated, as far as that is
    known: it is judged as of then, others as of `at`. `taken`: the runs whose identity of the backend's another has.
    """
    tasks = Tasks(tx, stated.values(), runs)
    trusted: dict[Place, UsageRecord] = {}
    aside = []
    for place, one in stated.items():
        others = [spans_of(row.usage["spans"]) for row in before.get(place, ()) if _speaks(row, one)]
        if place in stored and stored[place].revision == one.revision:
            others.append(stored[place].spans)
        known = Known(
            stated_at.get(revision_of(one), at),
            others,
            one.run in taken,
            tasks.beside(one),
            placed[one.attempt].at,
            from_seconds(stored[place].started) if place in stored else None,
            stored[place].spans if place in stored else (),
            stored[place].spans if place in closed else (),
        )
        reason = odd(one, known)
        if reason is None:
            trusted[place] = one
        else:
            aside.append((one, reason))
    set_aside(tx, aside, placed, at)
    return trusted


def set_aside(
    tx: Session, odd_ones: Iterable[tuple[UsageRecord, AnomalyReason]], placed: Mapping[str, Placed], at: datetime
) -> None:
    """Keep them until a person settles them. What a person has settled already stays settled."""
    rows = {}
    for one, reason in odd_ones:
        run, hour = place_of(one)
        mark, whose = fingerprint(one.spans), placed.get(one.attempt)
        rows[run, hour, one.revision, mark] = {
            "id": ids.new("ano"),
            "reason": reason.value,
            "state": AnomalyState.OPEN.value,
            "run": run,
            "hour": hour,
            "revision": one.revision,
            "fingerprint": mark,
            "job": one.job,
            "usage": one.model_dump(mode="json"),
            "site": whose.site if whose else None,
            "provider": whose.provider if whose else None,
            "organization": whose.organization if whose else None,
            "reseller": whose.reseller if whose else None,
            "found_at": at,
        }
        log.warning("usage_set_aside", reason=reason.value, run=run, hour=hour, revision=one.revision, job=one.job)
    _SET_ASIDE.run(tx, list(rows.values()))


def supersede(tx: Session, applied: Iterable[UsageRecord], at: datetime) -> None:
    """Close what these make needless: earlier revisions, and what is itself applied now. Of each hour one."""
    marks = []
    for one in applied:
        run, hour = place_of(one)
        marks.append(
            {"run": run, "hour": hour, "revision": one.revision, "fingerprint": fingerprint(one.spans), "at": at}
        )
    _SUPERSEDE.run(tx, marks)


def discarded(tx: Session, jobs: Collection[str]) -> dict[Place, int]:
    """The highest revision that a person has discarded, of each hour that has one."""
    return {(row.run, row.hour): row.revision for row in _DISCARDED.all(tx, [{"job": job} for job in jobs])}


def overlapping(tx: Session, jobs: Collection[str]) -> list[UsageRecord]:
    """What waits for a person because it overlaps with another run of its task, in the order in which it was found."""
    return [UsageRecord.model_validate(row.usage) for row in _OVERLAPPING.all(tx, [{"job": job} for job in jobs])]


def shared_with_billed(tx: Session, stored: Sequence[UsageRecord], runs: Mapping[str, Run]) -> list[UsageRecord]:
    """Of usage that is stored, by `runs`, what shares a second with what is billed of other runs of their tasks; but for what a person has
    accepted."""
    tasks, before = Tasks(tx, stored, runs), seen(tx, [place_of(one) for one in stored])
    return [
        one
        for one in stored
        if any(any(shared(one.spans, other)) for other in tasks.beside(one))
        and not any(_is_accepted(row, one) for row in before.get(place_of(one), ()))
    ]


def _is_accepted(row: Any, usage: UsageRecord) -> bool:
    same = (row.revision, row.fingerprint) == (usage.revision, fingerprint(usage.spans))
    return same and row.state == AnomalyState.ACCEPTED


def fingerprint(spans: tuple[Span, ...]) -> str:
    text = json.dumps(plain(spans), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _speaks(row: Any, usage: UsageRecord) -> bool:
    """Whether what was set aside says something of the same revision; what waits for its attempt is itself stated again."""
    waits = row.reason == AnomalyReason.NO_ATTEMPT and row.state == AnomalyState.OPEN
    return bool(row.revision == usage.revision and row.state != AnomalyState.SUPERSEDED and not waits)
