"""In which order stated usage is judged: what comes in one page as if each had come alone."""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from caravan.contracts.usage import UsageRecord
from services.accounting.usage.many import Run


class _Last(NamedTuple):
    """Who last spoke of something, from which round on, and in which at most."""

    who: Hashable
    first: int
    last: int


def rounds(stated: Sequence[UsageRecord], runs: Mapping[str, Run]) -> list[list[UsageRecord]]:
    """Parts them into rounds, to be judged one behind the other: nothing in a round bears on anything else in it, and what bears on
    something that was stated behind it is in an earlier round. `runs`: as they are stored.
    """
    told: defaultdict[str, set[Any]] = defaultdict(set)
    for run in runs.values():
        told[run.id].add((run.identity, run.task_index))
    for one in stated:
        told[one.run].add((one.backend_identity, one.index))
    changing = {one.job for one in stated if len(told[one.run]) > 1}
    spoken: dict[Hashable, _Last] = {}
    found: list[list[UsageRecord]] = []
    for number, one in enumerate(stated):
        about = dict(_about(one, number, one.job in changing))
        lasts = {what: spoken.get(what) for what in about}
        first = {
            what: 0 if last is None else last.first if last.who == about[what] else last.last + 1
            for what, last in lasts.items()
        }
        at = max(first.values())
        for what, last in lasts.items():
            until = last.last if last is not None and last.who == about[what] else at
            spoken[what] = _Last(about[what], first[what], max(until, at))
        if at == len(found):
            found.append([])
        found[at].append(one)
    return found


def _about(one: UsageRecord, number: int, changing: bool) -> Iterator[tuple[Hashable, Hashable]]:
    """What it bears on, and as whom: what several say of the same as the same doesn't bear on each other.

    `changing`: of a run of its job another identity or array task becomes known here.
    """
    yield ("hour", one.run, one.hour), number
    if one.index is not None:
        yield ("task", one.job, one.index, one.hour), one.run
    if one.backend_identity is not None:
        yield ("identity", one.backend_identity), one.run
    if changing:
        yield ("job", one.job), number
