"""From containers at Kubernetes to what the runs of a site held. Pure.

A run is a pod, by its uid; of a task with several nodes it's all of the task's pods that ran together, by their Job's uid and a number.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from math import inf
from typing import Final

from caravan.contracts.runs import SiteRun
from caravan.kernel.clock import to_seconds
from caravan.reconcile.rows import Kinds, Row

START_SECONDS: Final = 1
"""The kubelet has a container's start within this after its runtime, and in whole seconds; of its end it has the runtime's own time."""
_SEVERAL: Final = re.compile(r"(.+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class Container:
    """Of a pod, which has one. Times are epoch seconds."""

    site: str
    pod: str
    """Its uid, as all that follow."""
    job: str
    nodes: int
    """Of its task; each is a pod."""
    rank: int
    """Which of them it is."""
    started: int | None
    """None: it has not been, as far as these books go."""
    ended: int | None
    """None: it still runs."""
    lost: bool
    """Its node went, and nobody saw when it ended, nor how."""
    cpus: int
    memory_mib: int
    accelerators: Kinds | None
    righted: bool = False
    """Its times can't have been by more than nodes' clocks may differ, and are put right."""


def rows(
    containers: Iterable[Container],
    site: str,
    runs: Iterable[SiteRun],
    *,
    late: int = 0,
    keeps_all: bool = True,
) -> Iterator[Row]:
    """`late`: so many seconds after its record each has started. Of books that forget (`keeps_all` false) a run of which a pod is missing
    is left out. `runs` say which number the runs of several nodes have: those of before may be forgotten."""
    tasks: dict[str, list[Container]] = {}
    for one in dict.fromkeys(containers):
        if one.nodes > 1:
            tasks.setdefault(one.job, []).append(one)
        else:
            yield from _held(one.pod, [one], site, late)
    known = _reaches(runs) if tasks else {}
    for job, pods in tasks.items():
        left = dict(known.get(job, {}))
        others = count(max(left, default=0) + 1)
        for group in _apart(pods):
            if keeps_all or len(group) == group[0].nodes:
                yield from _held(f"{job}.{_number(group, left) or next(others)}", group, site, late)


def _apart(pods: Iterable[Container]) -> Iterator[list[Container]]:
    """A second container of a rank is of the next run, and all that start after it."""
    group: dict[int, Container] = {}
    for one in sorted(pods, key=lambda one: (inf if one.started is None else one.started, one.rank)):
        if one.rank in group:
            yield [*group.values()]
            group = {}
        group[one.rank] = one
    if group:
        yield [*group.values()]


def _reaches(runs: Iterable[SiteRun]) -> Mapping[str, Mapping[int, tuple[int, int]]]:
    """Job -> number of its run -> its first and its last second."""
    found: dict[str, dict[int, tuple[int, int]]] = {}
    for run in runs:
        told = _SEVERAL.fullmatch(run.identity or "")
        if told and run.spans:
            reach = to_seconds(run.spans[0].start), to_seconds(run.spans[-1].end)
            found.setdefault(told[1], {})[int(told[2])] = reach
    return found


def _number(group: Sequence[Container], left: dict[int, tuple[int, int]]) -> int | None:
    """Of the run that was there at the same time, which is taken out. None: there is none."""
    start = min((one.started for one in group if one.started is not None), default=0)
    end = max(inf if one.ended is None else one.ended for one in group)
    found = next((number for number, reach in sorted(left.items()) if reach[0] < end and start < reach[1]), None)
    if found is not None:
        del left[found]
    return found


def _held(identity: str, group: Sequence[Container], site: str, late: int) -> Iterator[Row]:
    """What they held together, in order and apart."""
    started = [(one, one.started + late) for one in group if one.started is not None]
    there = [(one, start, inf if one.ended is None else max(start, one.ended)) for one, start in started]
    edges = sorted({edge for _, start, end in there for edge in (start, end)})
    for start, end in pairwise(edges):
        held = [one for one, first, last in there if first <= start and end <= last]
        if held:
            yield Row(
                identity=identity,
                start=int(start),
                end=None if end == inf else int(end),
                nodes=len(held),
                cpus=sum(one.cpus for one in held),
                memory_mib=sum(one.memory_mib for one in held),
                accelerators=_cards(held),
                ours=any(one.site == site for one in held),
                lost=any(one.lost for one in group),
                righted=any(one.righted for one in group),
            )


def _cards(held: Sequence[Container]) -> Kinds | None:
    sums: Counter[str] = Counter()
    for one in held:
        if one.accelerators is None:
            return None
        sums.update(dict(one.accelerators))
    return tuple(sorted(sums.items()))
