"""What charging is to bring into the lines: of each job, the records that they are made of and those that are stored now."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy.orm import Session

from caravan.contracts.jobs import Outcome
from caravan.contracts.usage import Span
from services.accounting.charging import due
from services.accounting.charging.due import Due
from services.accounting.charging.lines import Record, Start, starting
from services.accounting.funds.settling import END
from services.accounting.usage import grants, many, records, starts
from services.accounting.usage.many import Run
from services.accounting.usage.records import spans_of


@dataclass
class Change:
    """Some of a job's records, with the price per job where it falls: as the lines have them, and as they are."""

    before: list[Record] = field(default_factory=list)
    after: list[Record] = field(default_factory=list)


def of(tx: Session, marks: Sequence[Due]) -> dict[str, Change]:
    """By job. `marks`: of each run all or none. Where its runs are billed from, and when their time was up, is kept anew."""
    usage = {(one.run, one.hour): one for one in marks if one.run and one.hour != END}
    ended = {one.run: _outcome(one.before) for one in marks if one.run and one.hour == END}
    runs = many.runs(tx, {one.run for one in marks if one.run})
    bears = {run: one.provider_bears for run, one in runs.items()}
    moved = {run for run, outcome in ended.items() if bears[run](outcome) is not bears[run](runs[run].charged_as)}
    held = {place: stored.spans for place, stored in many.hours(tx, usage).items()}
    was = {place: spans_of(one.before) for place, one in usage.items()}
    terms = records.terms(tx, {run.attempt for run in runs.values()})
    up = grants.renew(tx, list(runs.values()), {attempt: one.grant for attempt, one in terms.items()})
    rest = {place: spans for place, spans in many.all_hours(tx, {*moved, *up}).items() if place not in held}
    changes: dict[str, Change] = {one.job: Change() for one in marks}
    for place, spans in (held | rest).items():
        run = runs[place[0]]
        was_so = Record(
            run.id, None, was.get(place, spans), terms[run.attempt], ended.get(run.id, run.charged_as), run.time_up
        )
        changes[run.job].before.append(was_so)
        time_up = up.get(run.id, run.time_up)
        changes[run.job].after.append(replace(was_so, spans=spans, outcome=run.charged_as, time_up=time_up))
    _move_starts(tx, changes, runs, held, rest, moved)
    return changes


def _move_starts(
    tx: Session,
    changes: Mapping[str, Change],
    runs: Mapping[str, Run],
    held: Mapping[tuple[str, int], tuple[Span, ...]],
    rest: Iterable[tuple[str, int]],
    moved: set[str],
) -> None:
    """Where the price of a job falls elsewhere now, say so in its records, and add those that only this changes."""
    stated: defaultdict[str, dict[int, tuple[Span, ...]]] = defaultdict(dict)
    for (run, hour), spans in held.items():
        stated[run][hour] = spans
    before = many.starts(tx, changes)
    if not starts.renew(tx, runs.values(), stated, moved):
        return
    after = many.starts(tx, changes)
    shifts = {job: (before.get(job), after.get(job)) for job in changes if before.get(job) != after.get(job)}
    ends = {(job, start) for job, shift in shifts.items() for start in shift if start is not None}
    here = {*held, *rest}
    for job, record in _others(tx, [(job, start) for job, start in ends if (start.run, start.hour) not in here]):
        changes[job].before.append(record)
        changes[job].after.append(record)
    for job, (was, now) in shifts.items():
        changes[job].before = [starting(record, was) for record in changes[job].before]
        changes[job].after = [starting(record, now) for record in changes[job].after]


def _others(tx: Session, places: Sequence[tuple[str, Start]]) -> list[tuple[str, Record]]:
    """The records in which jobs' prices fall or fell, as the lines have them: what is due of other runs is charged later."""
    if not places:
        return []
    waiting = {(one.run, one.hour): one.before for one in due.of_runs(tx, [(job, start.run) for job, start in places])}
    runs = many.runs(tx, {start.run for _, start in places})
    stored = many.hours(tx, [(start.run, start.hour) for _, start in places])
    terms = records.terms(tx, {run.attempt for run in runs.values()})
    found = []
    for job, start in places:
        run, place = runs[start.run], (start.run, start.hour)
        outcome = _outcome(waiting[run.id, END]) if (run.id, END) in waiting else run.charged_as
        spans = spans_of(waiting[place]) if place in waiting else stored[place].spans
        found.append((job, Record(run.id, None, spans, terms[run.attempt], outcome, run.time_up)))
    return found


def _outcome(stored: Any) -> Outcome | None:
    return Outcome(stored) if stored else None
