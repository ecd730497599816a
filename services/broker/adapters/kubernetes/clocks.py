"""Nodes' clocks: the kubelet's times are by its node's own, all else here is by the cluster's (the API server's). Pure.

Nothing is billed by a clock that must be wrong: a container can't have started before its pod had a node, nor can the kubelet have told of
what was still to come. By as much as is impossible the times of a container are moved, so that they lie as far apart as they did; where the
clock was set meanwhile they lie too far apart for that, and each is cut at what is possible. Less than the lag of the books is left as it
is, and what a wrong clock says that could be true isn't noticed.
"""

from dataclasses import replace
from typing import Final

from services.broker.adapters.kubernetes.records import Pod

LAG_SECONDS: Final = 120
"""How far the cluster's books may be behind: usage before that is said to be complete."""


def ahead(pod: Pod) -> int:
    """Seconds by which its node's clock is ahead of the cluster's at the least, negative where it is behind; 0: it may well be right."""
    times = [second for second in (pod.started, pod.finished) if second is not None]
    if not times:
        return 0
    early = pod.bound - min(times)
    if early > LAG_SECONDS:
        return -early
    late = max(times) - pod.told if pod.told is not None else 0
    return late if late > LAG_SECONDS else 0


def righted(pod: Pod) -> Pod:
    """The pod with its node's times by the cluster's clock: its container's, and its deadline, which lies to them as it did."""
    off = ahead(pod)
    if not off:
        return pod
    started, finished, deadline = (_moved(pod, second, off) for second in (pod.started, pod.finished, pod.deadline))
    return replace(pod, started=started, finished=finished, deadline=deadline)


def _moved(pod: Pod, second: int | None, off: int) -> int | None:
    if second is None:
        return None
    moved = max(pod.bound, second - off)
    return moved if pod.told is None else min(moved, pod.told)
