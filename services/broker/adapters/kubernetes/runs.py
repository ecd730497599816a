"""From a pod to a run as the port has it, and what it held when. Pure.

Billed is what the pod asked for, from its container's start to its end as the kubelet has them: waiting, pulling the image and what
comes after are not. What its node doesn't speak of any more isn't billed from then on, until the node does, or the pod is taken for lost.
A second pod of an index is a second run. Of several nodes: `nodes.py`.
"""

from caravan.contracts.jobs import Outcome, RunState
from caravan.contracts.usage import Span
from caravan.kernel import clock
from services.broker.adapters.kubernetes import clocks
from services.broker.adapters.kubernetes.devices import Devices
from services.broker.adapters.kubernetes.ends import end, taken_away
from services.broker.adapters.kubernetes.records import Pod
from services.broker.adapters.port import RunSeen


def run_seen(pod: Pod, until: int, devices: Devices, grace_seconds: int, taken_back: str) -> RunSeen | None:
    """`until`: the cluster's clock in epoch seconds, where what runs is cut. `taken_back`: why the site's queue deleted the pod, if it did;
    another one follows. None: it never ran, and nothing is to be said of that.
    """
    pod = clocks.righted(pod)
    ended = pod.ended
    found = end(pod, grace_seconds) if ended else None
    if pod.started is None and (found is None or found.outcome is Outcome.CANCELLED):
        return None
    if found is not None and found.outcome is Outcome.CANCELLED and taken_back:
        found = taken_away(taken_back)
    stopped = _stopped(pod) if ended else None
    until = until if pod.silent is None else min(until, pod.silent)
    started = pod.started if pod.started is not None else stopped or until
    return RunSeen(
        index=pod.index,
        identity=pod.uid,
        state=RunState.ENDED if ended else RunState.RUNNING,
        started_at=clock.from_seconds(started),
        ended_at=clock.from_seconds(max(started, stopped or started)) if ended else None,
        outcome=found.outcome if found else None,
        exit_code=found.exit_code if found else None,
        signal=found.signal if found else None,
        detail=found.detail if found else "",
        spans=_spans(pod, started, (stopped or started) if ended else until, devices),
        final=ended,
    )


def _stopped(pod: Pod) -> int | None:
    """When its container ended; of a node that went silent, when that was noticed; else when its pod was to be gone."""
    told = (pod.finished, pod.lost, pod.deleted)
    return next((second for second in told if second is not None), None)


def _spans(pod: Pod, start: int, stop: int, devices: Devices) -> tuple[Span, ...]:
    if stop <= start:
        return ()
    requests = dict(pod.requests)
    accelerator, count = pod.held or devices.held(requests, dict(pod.selector))
    return (
        Span(
            start=clock.from_seconds(start),
            end=clock.from_seconds(stop),
            nodes=1,
            cpus=requests.get("cpu", 0),
            memory_mib=requests.get("memory", 0),
            accelerators=count,
            accelerator=accelerator,
        ),
    )
