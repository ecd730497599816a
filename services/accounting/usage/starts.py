"""Where a job's price falls, kept with its runs: each with the first second that it held, unless the provider bears it.

So charging finds it by one look-up, however many runs the job has. The rule itself is `charging.lines.first_start`.
"""

from collections.abc import Collection, Iterable, Mapping

from sqlalchemy.orm import Session

from caravan.contracts.usage import Span
from caravan.kernel.clock import HOUR_SECONDS, to_seconds
from services.accounting.usage import many
from services.accounting.usage.many import Run

Stated = Mapping[int, tuple[Span, ...]]
"""What a run holds now, in those hours that lines are not made of yet."""


def renew(tx: Session, runs: Collection[Run], stated: Mapping[str, Stated], moved: Collection[str]) -> bool:
    """Keep with each run where it is billed from now, and say whether any has changed. `moved`: runs that have changed their bearer.

    The stored hours are looked at only of runs of which that can't be told from what is new.
    """
    billed = [run for run in runs if run.provider_bears(run.charged_as) is None]
    firsts = many.first_held(tx, [run.id for run in billed if run.id in moved or _is_gone(run, stated.get(run.id, {}))])
    for run in billed:
        if run.id not in firsts:
            firsts[run.id] = min(_seconds(run, stated.get(run.id, {})), default=None)
    changed = {run.id: firsts.get(run.id) for run in runs if firsts.get(run.id) != run.billable_from}
    many.keep_starts(tx, changed)
    return bool(changed)


def _is_gone(run: Run, stated: Stated) -> bool:
    """Whether what the run was billed from is stated anew, and nothing is held in its hour any more or before it."""
    if run.billable_from is None:
        return False
    hour = run.billable_from - run.billable_from % HOUR_SECONDS
    return hour in stated and not any(spans for at, spans in stated.items() if at <= hour)


def _seconds(run: Run, stated: Stated) -> Iterable[int]:
    """Some that the run held, the first of all among them."""
    for spans in stated.values():
        if spans:
            yield to_seconds(spans[0].start)
    if run.billable_from is not None and run.billable_from - run.billable_from % HOUR_SECONDS not in stated:
        yield run.billable_from
