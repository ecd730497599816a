"""Stores many facts of runs by a few statements, in the same transaction with the marks of what is to be charged."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from caravan.contracts.anomalies import AnomalyReason, DoubtedUsage
from caravan.contracts.offerings import PreemptedBearer
from caravan.contracts.problems import IdentityTaken
from caravan.contracts.usage import AttemptEnded, JobSettled, RunFinal, UsageRecord
from caravan.kernel import clock
from caravan.kernel.bulk import ChangeMany, InsertMany, SelectMany
from caravan.kernel.database import table_of
from caravan.kernel.feed import upsert
from services.accounting.anomalies import sifting
from services.accounting.anomalies.rounds import rounds
from services.accounting.anomalies.sifting import Place, Placed, Revision, place_of
from services.accounting.charging import due
from services.accounting.charging.due import Due
from services.accounting.funds import settling
from services.accounting.funds.models import HoldRow
from services.accounting.funds.settling import END, Awaited, Requested
from services.accounting.periods import service as periods
from services.accounting.usage import identities, many, records
from services.accounting.usage.many import Run, Stored
from services.accounting.usage.models import UsageExtent
from services.accounting.usage.records import ATTEMPTS, PRICE_LISTS, RECORDS, RUNS, NotHereYet, plain

_HOLDS: Final = table_of(HoldRow)
_WHOLESALE, _RESELLERS = PRICE_LISTS.alias(), _HOLDS.alias()
_KNOWN: Final = SelectMany(
    {"attempt": ATTEMPTS.c.id.type},
    lambda given: (
        select(
            ATTEMPTS.c.id,
            ATTEMPTS.c.job,
            ATTEMPTS.c.site,
            ATTEMPTS.c.provider,
            ATTEMPTS.c.organization,
            ATTEMPTS.c.resale,
            ATTEMPTS.c.placed_at,
            ATTEMPTS.c.preempted_borne_by,
            ATTEMPTS.c.price_list,
            PRICE_LISTS.c.id.label("priced"),
            _HOLDS.c.job.label("held"),
            ATTEMPTS.c.wholesale_list,
            _WHOLESALE.c.id.label("wholesale_priced"),
            _RESELLERS.c.job.label("wholesale_held"),
        )
        .join(given, ATTEMPTS.c.id == given.c.attempt)
        .outerjoin(PRICE_LISTS, PRICE_LISTS.c.id == ATTEMPTS.c.price_list)
        .outerjoin(_HOLDS, (_HOLDS.c.job == ATTEMPTS.c.job) & ~_HOLDS.c.resale)
        .outerjoin(_WHOLESALE, _WHOLESALE.c.id == ATTEMPTS.c.wholesale_list)
        .outerjoin(_RESELLERS, (_RESELLERS.c.job == ATTEMPTS.c.job) & _RESELLERS.c.resale)
    ),
)
_RUN: Final = {"run": RUNS.c.id.type}
_END: Final = ChangeMany(
    {**_RUN, "outcome": RUNS.c.outcome.type},
    lambda given: update(RUNS).where(RUNS.c.id == given.run).values(outcome=given.outcome),
)
_CLOSE: Final = ChangeMany(
    {"attempt": ATTEMPTS.c.id.type},
    lambda given: update(ATTEMPTS).where(ATTEMPTS.c.id == given.attempt).values(ended=True),
)
_LEAST: Final = ChangeMany(
    {"job": _HOLDS.c.job.type}, lambda given: update(_HOLDS).where(_HOLDS.c.job == given.job).values(minimum=True)
)
_STORE: Final = InsertMany(
    RECORDS,
    lambda new: new.on_conflict_do_update(
        index_elements=["run", "hour"],
        set_={name: new.excluded[name] for name in ("revision", "job", "run_started_at", "spans", "applied_at")},
    ),
)
_STATED: Final = SelectMany(
    {"job": RECORDS.c.job.type},
    lambda given: select(RECORDS.c.run, RECORDS.c.hour, RECORDS.c.revision).join(given, RECORDS.c.job == given.c.job),
)
_ENDED: Final = SelectMany(
    {"job": RUNS.c.job.type},
    lambda given: select(RUNS.c.id).join(given, RUNS.c.job == given.c.job).where(RUNS.c.outcome.is_not(None)),
)


def usage(
    tx: Session, stated: Sequence[UsageRecord], at: datetime, stated_at: Mapping[Revision, datetime] | None = None
) -> None:
    """Replace each hour whole, unless its revision or a later one is here already. What is odd is set aside. Raises NotHereYet.

    `stated_at`: of each when it was stated, which `at` is for others.
    """
    for some in _rounds(tx, stated):
        stored, before = many.hours(tx, some), sifting.seen(tx, some)
        news = {
            place: one
            for place, one in some.items()
            if not _is_here(one, stored.get(place)) and not sifting.is_held_back(one, before.get(place, ()))
        }
        _judge(tx, news, stored, before, at, stated_at or {})


def doubted(tx: Session, some: Sequence[DoubtedUsage], at: datetime) -> None:
    """Set aside what the broker knows better, unless it or a later revision is here already. Raises NotHereYet."""
    placed = _check_known(tx, [one.usage for one in some], held=True)
    stored = many.hours(tx, [place_of(one.usage) for one in some])
    news = [(one.usage, one.reason) for one in some if not _is_here(one.usage, stored.get(place_of(one.usage)))]
    sifting.set_aside(tx, news, placed, at)


def identify(tx: Session, some: Sequence[DoubtedUsage]) -> None:
    """Let the runs of what was set aside have their identity as if it were billed, unless another has it. Raises NotHereYet."""
    for part in _rounds(tx, [one.usage for one in some]):
        usages = [*part.values()]
        placed, runs = _check_known(tx, usages, held=False), many.runs(tx, {one.run for one in usages})
        _claim(tx, usages, placed, runs, identities.taken(tx, usages, placed, runs))


def _claim(
    tx: Session,
    stated: Iterable[UsageRecord],
    placed: Mapping[str, Placed],
    runs: Mapping[str, Run],
    taken: Collection[str],
) -> None:
    identities.make_known(tx, [one for one in stated if one.run not in taken], placed, runs)


def _rounds(tx: Session, stated: Sequence[UsageRecord]) -> list[dict[Place, UsageRecord]]:
    found = rounds(stated, many.runs(tx, {one.run for one in stated}))
    return [{place_of(one): one for one in some} for some in found]


def _judge(
    tx: Session,
    news: Mapping[Place, UsageRecord],
    stored: Mapping[Place, Stored],
    before: Mapping[Place, Sequence[Any]],
    at: datetime,
    stated_at: Mapping[Revision, datetime],
) -> None:
    placed = _check_known(tx, news.values(), held=True)
    runs = many.runs(tx, {run for run, _ in news})
    requested = settling.known(tx, {one.job for one in news.values()})
    late = [(one.job, *place) for place, one in news.items() if one.job in requested and place in stored]
    closed = {(run, hour) for _, run, hour in late} - settling.awaited(tx, late)
    taken = identities.taken(tx, news.values(), placed, runs)
    new = sifting.sift(tx, news, placed, runs, stored, before, closed, at, stated_at, taken)
    _claim(tx, news.values(), placed, runs, taken)
    _apply(tx, new, stored, at, requested)
    sifting.supersede(tx, [one for place, one in new.items() if place in before], at)


def accept(tx: Session, one: UsageRecord, at: datetime, reason: AnomalyReason) -> None:
    """Replace its hour by what was set aside for `reason`, whatever else speaks against it. Raises NotHereYet, IdentityTaken."""
    place = place_of(one)
    placed = _check_known(tx, [one], held=True)
    stored, runs = many.hours(tx, [place]), many.runs(tx, [one.run])
    taken = identities.taken(tx, [one], placed, runs)
    if taken and reason is not AnomalyReason.IDENTITY_TAKEN:
        raise IdentityTaken(run=taken[one.run])
    identities.make_known(tx, [one], placed, runs)
    _apply(tx, {place: one}, stored, at, settling.known(tx, [one.job]))
    sifting.supersede(tx, [one], at)


def discard(tx: Session, one: UsageRecord) -> None:
    """Nobody waits for it any more."""
    _arrived(tx, [(one.job, Awaited(*place_of(one), one.revision))], settling.known(tx, [one.job]))
    due.mark(tx, [due.a_look_at(one.job)])


def _is_here(one: UsageRecord, stored: Stored | None) -> bool:
    """Whether it says nothing new: a later revision, or just this, is stored."""
    if stored is None or stored.revision < one.revision:
        return False
    return stored.revision > one.revision or stored.spans == one.spans


def _apply(
    tx: Session,
    new: Mapping[Place, UsageRecord],
    stored: Mapping[Place, Stored],
    at: datetime,
    requested: Mapping[str, bool],
) -> None:
    held: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for (_, hour), one in new.items():
        if one.spans:
            held[hour].append((clock.to_seconds(one.spans[0].start), clock.to_seconds(one.spans[-1].end)))
    periods.make(tx, [(min(start for start, _ in some), max(end for _, end in some)) for some in held.values()])
    _STORE.run(
        tx,
        [
            {
                "run": one.run,
                "hour": hour,
                "revision": one.revision,
                "job": one.job,
                "run_started_at": clock.to_seconds(one.run_started_at),
                "spans": one.spans,
                "applied_at": at,
            }
            for (_, hour), one in new.items()
        ],
    )
    due.mark(
        tx,
        [
            Due(one.job, run, hour, plain(stored[run, hour].spans) if (run, hour) in stored else [])
            for (run, hour), one in new.items()
        ],
    )
    _arrived(tx, [(one.job, Awaited(run, hour, one.revision)) for (run, hour), one in new.items()], requested)
    if held:
        _extend(tx, max(end for _, end in held[max(held)]))


def ends(tx: Session, finals: Sequence[RunFinal], at: datetime) -> None:
    """How a run ended decides who bears it: what overlapped with one that the provider bears is billed, and of one that it bears no more
    what overlaps is set aside. Raises NotHereYet."""
    placed = _check_known(tx, finals, held=False)
    runs = identities.make_known(tx, finals, placed, many.runs(tx, {one.run for one in finals}))
    changed = {one.run: one for one in finals}
    for one in [one for one in changed.values() if one.outcome == runs[one.run].outcome]:
        del changed[one.run]
    _END.run(tx, [{"run": one.run, "outcome": one.outcome.value} for one in changed.values()])
    due.mark(tx, [Due(one.job, one.run, END, runs[one.run].charged_as) for one in changed.values()])
    what = [(one.job, Awaited(one.run, END, 0)) for one in changed.values()]
    _arrived(tx, what, settling.known(tx, {job for job, _ in what}))
    for one in changed.values():
        before, after = runs[one.run], runs[one.run]._replace(outcome=one.outcome)
        if _is_borne(before) and not _is_borne(after):
            _withdraw(tx, after, placed, at)
    borne = {one.job for one in changed.values() if runs[one.run].provider_bears(one.outcome) is not None}
    again = sifting.overlapping(tx, borne)
    for some in _rounds(tx, again):
        _judge(tx, some, many.hours(tx, some), sifting.seen(tx, some), at, {})


def _is_borne(run: Run) -> bool:
    """By its provider."""
    return run.provider_bears(run.charged_as) is not None


def _withdraw(tx: Session, run: Run, placed: Mapping[str, Placed], at: datetime) -> None:
    """Set aside the hours of a run that share seconds with what is billed of its task: as if they had been stated only now."""
    stored = [
        UsageRecord(
            hour=clock.from_seconds(row.hour),
            revision=row.revision,
            spans=row.spans,
            run=run.id,
            attempt=run.attempt,
            job=run.job,
            run_started_at=clock.from_seconds(row.run_started_at),
            backend_identity=run.identity,
            index=run.task_index,
        )
        for row in tx.execute(select(RECORDS).where(RECORDS.c.run == run.id, RECORDS.c.spans != ()))
    ]
    aside = sifting.shared_with_billed(tx, stored, {run.id: run})
    sifting.set_aside(tx, [(one, AnomalyReason.OVERLAPPING) for one in aside], placed, at)
    for one in aside:
        own = (RECORDS.c.run == run.id) & (RECORDS.c.hour == clock.to_seconds(one.hour))
        tx.execute(update(RECORDS).where(own).values(revision=one.revision - 1, spans=()))
    due.mark(tx, [Due(one.job, *place_of(one), plain(one.spans)) for one in aside])


def attempts_ended(tx: Session, ended: Sequence[AttemptEnded]) -> None:
    """From now on these are topped up to the minimum charge of their prices, if those have one, also by a correction.

    Raises NotHereYet.
    """
    _check_known(tx, ended, held=True)
    _CLOSE.run(tx, [{"attempt": one.attempt} for one in ended])
    terms = records.terms(tx, {one.attempt for one in ended})
    least = [one for one in ended if any(t.minimum_charge for found in terms[one.attempt].lists for t in found.tariffs)]
    _LEAST.run(tx, [{"job": job} for job in dict.fromkeys(one.job for one in least)])
    due.mark(tx, [due.a_look_at(one.job) for one in least])


def settlements(tx: Session, requests: Sequence[JobSettled]) -> None:
    """Free the rest of each hold when all that is listed has been charged. A repeat changes nothing."""
    jobs = {one.job: one for one in reversed(requests)}
    for job in settling.known(tx, jobs):
        del jobs[job]
    keys = [{"job": job} for job in jobs]
    here = sifting.discarded(tx, jobs)
    for row in _STATED.all(tx, keys):
        here[row.run, row.hour] = max(row.revision, here.get((row.run, row.hour), 0))
    ended = {row.id for row in _ENDED.all(tx, keys)}
    settling.request(tx, {job: Requested(one.hold_revision, _awaited(one, here, ended)) for job, one in jobs.items()})
    due.mark(tx, [due.a_look_at(job) for job in jobs])


def _awaited(settled: JobSettled, here: dict[tuple[str, int], int], ended: set[str]) -> list[Awaited]:
    listed = {
        Awaited(run.run, clock.to_seconds(datetime.fromisoformat(hour)), revision)
        for run in settled.runs
        for hour, revision in run.hours.items()
    }
    awaited = [one for one in listed if here.get((one.run, one.hour), 0) < one.revision]
    return awaited + [Awaited(run.run, END, 0) for run in settled.runs if run.run not in ended]


def _check_known(
    tx: Session, facts: Iterable[UsageRecord | RunFinal | AttemptEnded], *, held: bool
) -> dict[str, Placed]:
    """Their attempts, which are here with their price lists; with `held` also the holds of their jobs. Raises NotHereYet."""
    attempts = dict.fromkeys(one.attempt for one in facts)
    known = {row.id: row for row in _KNOWN.all(tx, [{"attempt": attempt} for attempt in attempts])}
    for attempt in attempts:
        row = known.get(attempt)
        if row is None:
            raise NotHereYet(f"attempt {attempt}")
        if row.priced is None:
            raise NotHereYet(f"price list {row.price_list}")
        if held and row.held is None:
            raise NotHereYet(f"hold of {row.job}")
        if row.wholesale_list is not None:
            if row.wholesale_priced is None:
                raise NotHereYet(f"price list {row.wholesale_list}")
            if held and row.wholesale_held is None:
                raise NotHereYet(f"hold of {row.job} on its reseller")
    return {
        attempt: Placed(
            row.site,
            row.provider,
            row.organization,
            row.resale and row.resale["reseller"],
            PreemptedBearer(row.preempted_borne_by),
            row.placed_at,
        )
        for attempt, row in known.items()
    }


def _arrived(tx: Session, what: Sequence[tuple[str, Awaited]], requested: Mapping[str, bool]) -> None:
    """`requested`: as `settling.known` has their jobs."""
    settling.arrived(tx, [(job, one) for job, one in what if requested.get(job)])


def _extend(tx: Session, end: int) -> None:
    """Usage up to `end` was stored."""
    extent = table_of(UsageExtent)
    new = upsert(tx, extent).values(id=1, ends_at=end)
    tx.execute(
        new.on_conflict_do_update(
            index_elements=["id"], set_={"ends_at": new.excluded.ends_at}, where=extent.c.ends_at < new.excluded.ends_at
        )
    )
