"""Tasks of several nodes: their pods, one for each node, are one run. Pure.

A task's pods are those of one Job, which ends them all once one of them has failed (`backoffLimit: 0`). Who suspends the Job ends them
all, too, and who resumes it has them start anew: that is a second run. What a run holds changes as its pods start and end.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise

from caravan.contracts.jobs import Outcome, RunState
from caravan.contracts.usage import Span
from caravan.kernel import clock
from services.broker.adapters.kubernetes.devices import Devices
from services.broker.adapters.kubernetes.ends import End
from services.broker.adapters.kubernetes.records import Pod
from services.broker.adapters.kubernetes.runs import run_seen
from services.broker.adapters.port import RunSeen

Started = list[tuple[Pod, RunSeen]]
"""Pods, each with the run that it would be by itself."""


def runs_seen(
    pods: Iterable[Pod], over: bool, until: int, devices: Devices, grace_seconds: int, taken_back: Mapping[str, str]
) -> Iterator[RunSeen]:
    """Of a task's pods. `over`: no more of them can come. `taken_back`: by the pod's uid. All else is as `run_seen` has it.

    A run's identity is its Job's uid with its number.
    """
    alone = {pod: run_seen(pod, until, devices, grace_seconds, taken_back.get(pod.uid, "")) for pod in pods}
    # what was deleted before it started is of no run
    groups = [*_apart([pod for pod, seen in alone.items() if seen is not None or not pod.ended])]
    succeeded: set[int] = set()
    number = 0
    for place, group in enumerate(groups, 1):
        started = [(pod, seen) for pod in group if (seen := alone[pod]) is not None]
        if not started:
            continue
        number += 1
        succeeded |= {pod.rank for pod, seen in started if seen.outcome is Outcome.SUCCEEDED}
        whole = len(succeeded) == group[0].nodes
        no_more = over or whole or place < len(groups) or bool(_failed(started))
        end = _end(started, whole) if no_more and all(pod.ended for pod in group) else None
        yield RunSeen(
            index=group[0].index,
            identity=f"{group[0].job.uid}.{number}",
            state=RunState.RUNNING if end is None else RunState.ENDED,
            started_at=min(seen.started_at for _, seen in started),
            ended_at=None if end is None else max(_ends(started)),
            outcome=None if end is None else end.outcome,
            exit_code=None if end is None else end.exit_code,
            signal=None if end is None else end.signal,
            detail="" if end is None else end.detail,
            spans=summed([span for _, seen in started for span in seen.spans]),
            final=end is not None,
        )


def _apart(pods: Iterable[Pod]) -> Iterator[list[Pod]]:
    """A second pod of a rank is of the next run, and all that are made after it: Kubernetes only makes it once the first has ended."""
    group: dict[int, Pod] = {}
    for pod in sorted(pods, key=lambda pod: (pod.created, pod.rank)):
        if pod.rank in group:
            yield [*group.values()]
            group = {}
        group[pod.rank] = pod
    if group:
        yield [*group.values()]


def _failed(started: Started) -> Started:
    return [(pod, seen) for pod, seen in started if seen.outcome not in (None, Outcome.SUCCEEDED)]


def _ends(started: Started) -> list[datetime]:
    return [seen.ended_at for _, seen in started if seen.ended_at is not None]


def _end(started: Started, whole: bool) -> End:
    """That of the pod that failed first: the others were ended for it. `whole`: each node of the task has succeeded by now."""
    failed = _failed(started)
    if not failed:
        return End(Outcome.SUCCEEDED, "", 0) if whole else End(Outcome.CANCELLED, "not all of its nodes ran")
    by_themselves = [(pod, seen) for pod, seen in failed if seen.outcome is not Outcome.CANCELLED]
    pod, seen = min(by_themselves or failed, key=lambda one: (*_ends([one]), one[0].rank))
    assert seen.outcome is not None
    return End(seen.outcome, f"node {pod.rank}: {seen.detail}", seen.exit_code, seen.signal)


def summed(spans: Sequence[Span]) -> tuple[Span, ...]:
    """What pods of one shape held together, in order and apart."""
    change: Counter[int] = Counter()
    for span in spans:
        change[clock.to_seconds(span.start)] += 1
        change[clock.to_seconds(span.end)] -= 1
    found, count = [], 0
    for start, end in pairwise(sorted(change)):
        count += change[start]
        if count:
            found.append(_times(spans[0], count, start, end))
    return tuple(found)


def _times(one: Span, count: int, start: int, end: int) -> Span:
    return Span(
        start=clock.from_seconds(start),
        end=clock.from_seconds(end),
        nodes=count * one.nodes,
        cpus=count * one.cpus,
        memory_mib=count * one.memory_mib,
        accelerators=count * one.accelerators,
        accelerator=one.accelerator,
    )
