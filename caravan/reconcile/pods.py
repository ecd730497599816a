"""What a Kubernetes cluster still has of a site's pods: the list that `kubectl get pods -o json` writes. Pure.

Kubernetes keeps a pod for a while after its end, and one that was deleted not at all. Times are the kubelet's, in whole seconds, and so is
what was billed: the two are equal.
"""

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from caravan.kernel.clock import to_seconds
from caravan.reconcile.containers import Container
from caravan.sacct import Fault, UnreadableDump

ASK: Final = ("kubectl", "get", "pods", "--all-namespaces", "--selector=caravan/tag", "--output=json")
SITE: Final = "caravan/site"
"""Annotation: of whose site the pod is. The label of this name goes once nobody asks for the pod any more."""
NODES: Final = "caravan/nodes"
JOB_UID: Final = "batch.kubernetes.io/controller-uid"
INDEX: Final = "batch.kubernetes.io/job-completion-index"
_DAY: Final = 86_400
"""The kubelet writes 1970 for what it doesn't know."""
_QUANTITY: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?)(m|[kMGTPE]|[KMGTPE]i|e[0-9]+)?")
_POWERS: Final = ("K", "M", "G", "T", "P", "E")


def containers(text: str, resources: Collection[str]) -> Iterator[Container | Fault]:
    """One of each pod that says all that was billed; faults count pods from 1. `resources`: those that are the site's accelerators.

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
    labels = meta["labels"]
    container: Mapping[str, Any] = next(iter(status.get("containerStatuses") or ()), {})
    state = container.get("state") or {}
    running, ended = state.get("running") or {}, state.get("terminated") or {}
    started, finished = (
        _known(text) for text in (running.get("startedAt") or ended.get("startedAt"), ended.get("finishedAt"))
    )
    if finished is None and status.get("phase") in ("Succeeded", "Failed"):
        return None
    asked = {name: quantity(told) for name, told in (spec["containers"][0]["resources"].get("requests") or {}).items()}
    nodes = int(labels.get(NODES, 1))
    return Container(
        site=(meta.get("annotations") or {}).get(SITE) or labels.get(SITE, ""),
        pod=meta["uid"],
        job=labels[JOB_UID],
        nodes=nodes,
        rank=int(labels[INDEX]) % nodes,
        started=started,
        ended=finished,
        lost=False,
        cpus=math.ceil(asked.get("cpu", 0)),
        memory_mib=math.ceil(asked.get("memory", Decimal(0)) / 2**20),
        accelerators=tuple((name, math.ceil(told)) for name, told in sorted(asked.items()) if name in resources),
    )


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
    second = to_seconds(datetime.fromisoformat(text))
    return second if second >= _DAY else None
