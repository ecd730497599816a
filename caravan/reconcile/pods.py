"""What a Kubernetes cluster still has of a site's pods: the list that `kubectl get pods -o json` writes. Pure.

Kubernetes keeps a pod for a while after its end, and one that was deleted not at all. Times are the kubelet's, in whole seconds, and so is
what was billed: the two are equal. The kubelet has them by its node's clock, and nothing is billed by one that must be wrong: it may be off
from the cluster's by LAG_SECONDS, and by more only as far as that is possible. A container starts after its pod got its node, and ends
before the kubelet told of it; both times are the API server's own, and stand in the pod.
"""

import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from caravan.kernel.clock import to_seconds
from caravan.reconcile.containers import Container
from caravan.reconcile.rows import Kinds
from caravan.sacct import Fault, UnreadableDump

ASK: Final = (
    "kubectl", "get", "pods", "--all-namespaces", "--selector=caravan/tag", "--show-managed-fields", "--output=json"
)  # fmt: skip
SITE: Final = "caravan/site"
"""Annotation: of whose site the pod is. The label of this name goes once nobody asks for the pod any more."""
NODES: Final = "caravan/nodes"
HELD: Final = "caravan/accelerators"
"""Annotation: how many, and which the catalog's was as the job came there, `2 acc_nvidia-h100`. What the site calls it may have changed."""
TASK: Final = "task"
"""The job's own container. The kubelet sorts them by name, and the cluster may have put others beside it, which nobody is billed for."""
JOB_UID: Final = "batch.kubernetes.io/controller-uid"
INDEX: Final = "batch.kubernetes.io/job-completion-index"
LAG_SECONDS: Final = 120
"""By so much a node's clock may be wrong and be billed by: the cluster's books may be as far behind."""
_DAY: Final = 86_400
"""The kubelet writes 1970 for what it doesn't know."""
_QUANTITY: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?)(m|[kMGTPE]|[KMGTPE]i|e[0-9]+)?")
_POWERS: Final = ("K", "M", "G", "T", "P", "E")


def containers(text: str, resources: Collection[str]) -> Iterator[Container | Fault]:
    """One of each pod that says all that was billed; faults count pods from 1. `resources`: those that are the site's accelerators, for
    pods that don't say themselves what they have.

    Raises UnreadableDump.
    """
    try:
        items = json.loads(text)["items"]
        numbered = [*enumerate(items, 1)]
    except (ValueError, KeyError, TypeError):
        raise UnreadableDump(f"This is no list of pods. Write it by `{' '.join(ASK)}`.") from None
    for number, pod in numbered:
        try:
            found = _container(pod, resources)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            yield Fault(number, "form", f"{type(error).__name__}: {error}")
            continue
        if found is not None:
            yield found


def resources(names: Collection[str]) -> frozenset[str]:
    """By what the catalog calls the site's accelerators: `nvidia.com/gpu` of `nvidia.com/gpu:NVIDIA-H100-80GB-HBM3`."""
    return frozenset(name.partition(":")[0] for name in names)


def _container(pod: Mapping[str, Any], resources: Collection[str]) -> Container | None:
    """None: nobody says when it ended, so that what was billed is seen by nothing here."""
    meta, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    labels, notes = meta["labels"], meta.get("annotations") or {}
    state = (_task(status.get("containerStatuses") or ()) or {}).get("state") or {}
    running, ended = state.get("running") or {}, state.get("terminated") or {}
    started, finished = (
        _known(text) for text in (running.get("startedAt") or ended.get("startedAt"), ended.get("finishedAt"))
    )
    if finished is None and status.get("phase") in ("Succeeded", "Failed"):
        return None
    started, finished, righted = _possible(pod, started, finished)
    task = _task(spec["containers"])
    if task is None:
        raise ValueError(f"there is no container {TASK}")
    asked = {name: quantity(told) for name, told in (task["resources"].get("requests") or {}).items()}
    nodes = int(labels.get(NODES, 1))
    return Container(
        site=notes.get(SITE) or labels.get(SITE, ""),
        pod=meta["uid"],
        job=labels[JOB_UID],
        nodes=nodes,
        rank=int(labels[INDEX]) % nodes,
        started=started,
        ended=finished,
        lost=False,
        cpus=math.ceil(asked.get("cpu", 0)),
        memory_mib=math.ceil(asked.get("memory", Decimal(0)) / 2**20),
        accelerators=_held(notes.get(HELD), asked, resources),
        righted=righted,
    )


def _task(containers: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Of a pod's containers, or of what is said of them."""
    return next((one for one in containers if one["name"] == TASK), None)


def _held(told: str | None, asked: Mapping[str, Decimal], resources: Collection[str]) -> Kinds:
    if told is None:
        return tuple((name, math.ceil(amount)) for name, amount in sorted(asked.items()) if name in resources)
    count, accelerator = told.split(" ")
    return ((accelerator, int(count)),)


def _possible(pod: Mapping[str, Any], started: int | None, ended: int | None) -> tuple[int | None, int | None, bool]:
    """The two as they can be by the cluster's clock, and whether that is something else. They are moved together, by as much as is
    impossible; what is impossible still, as the clock was set meanwhile, is cut."""
    times = [second for second in (started, ended) if second is not None]
    if not times:
        return started, ended, False
    bound, told = _bound(pod), _told(pod)
    early, late = bound - min(times), max(times) - told
    off = -early if early > LAG_SECONDS else late if late > LAG_SECONDS else 0

    def moved(second: int | None) -> int | None:
        return None if second is None else int(min(max(bound, second - off), told))

    return (moved(started), moved(ended), True) if off else (started, ended, False)


def _bound(pod: Mapping[str, Any]) -> int:
    """When it got its node, or was made, where that isn't known any more."""
    conditions = {one["type"]: one for one in (pod.get("status") or {}).get("conditions") or ()}
    scheduled = conditions.get("PodScheduled", {})
    at = scheduled.get("lastTransitionTime") if scheduled.get("status") == "True" else None
    return _second(at or pod["metadata"]["creationTimestamp"])


def _told(pod: Mapping[str, Any]) -> float:
    """When its status was last written. Endless where it isn't told: kubectl leaves that out unless it's asked for it."""
    written = [
        one.get("time") for one in pod["metadata"].get("managedFields") or () if one.get("subresource") == "status"
    ]
    return max((_second(at) for at in written if at), default=math.inf)


def quantity(text: str | int) -> Decimal:
    """Of `500m`, `4`, `64Mi`, `1e3` (apimachinery's resource.Quantity). Raises ValueError."""
    told = _QUANTITY.fullmatch(str(text))
    if not told:
        raise ValueError(f"{text!r} is no quantity like 4, 500m or 64Mi")
    amount, unit = Decimal(told[1]), told[2] or ""
    if unit == "m":
        return amount / 1000
    if unit.startswith("e"):
        return amount * Decimal(10) ** int(unit[1:])
    if unit.endswith("i"):
        return amount * Decimal(1024) ** (_POWERS.index(unit[0]) + 1)
    return amount * Decimal(1000) ** (_POWERS.index(unit.upper()) + 1) if unit else amount


def _known(text: str | None) -> int | None:
    if not text:
        return None
    second = _second(text)
    return second if second >= _DAY else None


def _second(text: str) -> int:
    return to_seconds(datetime.fromisoformat(text))
