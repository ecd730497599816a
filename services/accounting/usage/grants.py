"""When the granted time of runs was up, kept with those that have held something for longer. The rule is `charging.lines.time_up`."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy.orm import Session

from caravan.contracts.usage import Grant, Span
from services.accounting.charging.lines import time_up
from services.accounting.usage import many
from services.accounting.usage.many import Run


def renew(tx: Session, runs: Sequence[Run], grants: Mapping[str, Grant | None]) -> dict[str, int | None]:
    """Keep it as what is stored of the runs says now, and return it where that is something else. `grants`: by attempt.

    The hours are read only of runs between whose first and last second there is more time than was granted.
    """
    limited = {run.id: grant for run in runs if (grant := grants[run.attempt]) is not None}
    long = [run for run, seconds in many.lengths(tx, limited).items() if seconds > limited[run].max_seconds]
    held: defaultdict[str, list[Span]] = defaultdict(list)
    for (run, _), spans in many.all_hours(tx, long).items():
        held[run] += spans
    up = {run: time_up(held[run], limited[run]) for run in long}
    changed = {run.id: up.get(run.id) for run in runs if up.get(run.id) != run.time_up}
    many.keep_time_up(tx, changed)
    return changed
