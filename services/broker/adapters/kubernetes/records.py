"""Jobs, pods and events as the API server has them, cut down to what is asked of them here. Pure.

All reading raises KeyError, TypeError, ValueError or AttributeError of what has another form. Times are epoch seconds.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from lightkube.utils.quantity import parse_quantity

from caravan.kernel import clock
from services.broker.adapters.kubernetes.reasons import MADE
from services.broker.adapters.kubernetes.reference import (
    ENDED,
    HELD,
    INDEX,
    INDICES,
    JOB_NAME,
    JOB_UID,
    NODES,
    OWN_INDEX,
    QUEUE,
    RELEASED,
    SITE,
    TAG,
    TASK,
    WANTED,
    Reference,
    index_at,
)

BEFORE_TIME: Final = 86_400
"""The kubelet writes 1970 for what it doesn't know: of a container that never started, when it did."""


@dataclass(frozen=True, slots=True)
class Job:
    reference: Reference
    version: int
    """Of the object: a higher one is newer."""
    tag: str
    site: str
    """Empty once it was forgotten."""
    created: int
    suspended: bool
    released: bool
    wanted: str
    """The queue that it is for, empty without."""
    queue: str
    """The queue that has it, empty without."""
    finished: str | None
    """`Complete` or `Failed`. FailureTarget and SuccessCriteriaMet come before these, while pods still end."""
    reason: str
    deleted: bool
    """It goes once others have done what they do first (a foreground deletion)."""
    pods: int
    """How many pods of it there are or were."""


@dataclass(frozen=True, slots=True)
class Pod:
    uid: str
    name: str
    version: int
    job: Reference
    site: str
    index: int
    """Of the array."""
    rank: int
    """Which of the task's nodes it is, from 0."""
    nodes: int
    """How many the task has."""
    created: int
    gated: bool
    """It waits to be told its index."""
    node: str
    """That it is on, empty before."""
    bound: int
    """When it got that, as long as that is known: else when it was made. By the API server's clock."""
    told: int | None = field(compare=False)
    """When its status was last written, which is how the kubelet tells of it, by the same clock: the same again is no change."""
    phase: str
    reason: str
    message: str
    disrupted: str
    """Why the cluster took it away: the reason of DisruptionTarget."""
    unschedulable: str
    """The scheduler's words."""
    deleted: int | None
    """When it is gone at the latest."""
    deadline: int | None
    """When its node ends it at the latest, by the node's clock."""
    waits: str
    """Why its container doesn't run yet: `ImagePullBackOff`."""
    started: int | None
    finished: int | None
    """Of its container, by its node's clock (`clocks.py`); started is None where it never ran, also if it is finished."""
    exit_code: int | None
    end: str
    """The kubelet's word for the container's end: `OOMKilled`."""
    said: str
    """Of the container that waits or has ended."""
    given_up: str
    """Why we had the kubelet end it, by our own note: what it waited for in vain, which the kubelet forgets then, or a cancel."""
    lost: int | None
    """When its node or the cluster took it for lost, where nobody says when its container ended."""
    silent: int | None
    """Since when its node isn't heard of. The kubelet may come back, and say what became of it."""
    script: bool
    held: tuple[str, int] | None
    """The catalog's accelerator, and how many. None: it doesn't say so."""
    requests: tuple[tuple[str, int], ...]
    selector: tuple[tuple[str, str], ...]

    @property
    def speaks(self) -> bool:
        """Its output is that of the task: of several nodes, the first one's is."""
        return self.rank == 0

    @property
    def ended(self) -> bool:
        """Nothing of it runs or will run."""
        over = self.finished is not None or self.phase in ("Succeeded", "Failed")
        return over or (self.deleted is not None and not self.node)


@dataclass(frozen=True, slots=True)
class Complaint:
    """An event: why the Job controller can't make pods of a Job."""

    job: Reference
    words: str


def job(content: Mapping[str, Any]) -> Job:
    meta, spec, status = content["metadata"], content["spec"], content.get("status") or {}
    labels = meta.get("labels") or {}
    finished = [one for one in status.get("conditions") or () if one["type"] in ("Complete", "Failed") and _true(one)]
    return Job(
        reference=Reference(meta["namespace"], meta["name"], meta["uid"]),
        version=int(meta["resourceVersion"]),
        tag=labels.get(TAG, ""),
        site=labels.get(SITE, ""),
        created=_second(meta["creationTimestamp"]),
        suspended=bool(spec.get("suspend")),
        released=RELEASED in labels,
        wanted=(meta.get("annotations") or {}).get(WANTED, ""),
        queue=labels.get(QUEUE, ""),
        finished=finished[0]["type"] if finished else None,
        reason=finished[0].get("reason") or "" if finished else "",
        deleted="deletionTimestamp" in meta,
        pods=sum(int(status.get(name) or 0) for name in ("active", "succeeded", "failed", "terminating")),
    )


def pod(content: Mapping[str, Any]) -> Pod:
    meta, spec, status = content["metadata"], content["spec"], content.get("status") or {}
    labels, conditions = meta["labels"], {one["type"]: one for one in status.get("conditions") or ()}
    container = _task(status.get("containerStatuses") or ())
    state = container.get("state") or {}
    nodes = int(labels.get(NODES, 1))
    place, rank = divmod(int(labels[INDEX]), nodes)
    waiting, running, ended = state.get("waiting") or {}, state.get("running") or {}, state.get("terminated") or {}
    started = _known(running.get("startedAt") or ended.get("startedAt"))
    scheduled, disrupted = conditions.get("PodScheduled", {}), conditions.get("DisruptionTarget", {})
    return Pod(
        uid=meta["uid"],
        name=meta["name"],
        version=int(meta["resourceVersion"]),
        job=Reference(meta["namespace"], labels[JOB_NAME], labels[JOB_UID]),
        site=labels.get(SITE, ""),
        index=index_at(place, meta["annotations"][INDICES]),
        rank=rank,
        nodes=nodes,
        created=_second(meta["creationTimestamp"]),
        gated=any(gate["name"] == OWN_INDEX for gate in spec.get("schedulingGates") or ()),
        node=spec.get("nodeName") or "",
        bound=_second((_true(scheduled) and scheduled.get("lastTransitionTime")) or meta["creationTimestamp"]),
        told=_told(meta.get("managedFields") or ()),
        phase=status.get("phase") or "",
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        disrupted=disrupted.get("reason") or "" if _true(disrupted) else "",
        unschedulable=scheduled.get("message") or "" if scheduled.get("reason") == "Unschedulable" else "",
        deleted=_second(meta["deletionTimestamp"]) if "deletionTimestamp" in meta else None,
        deadline=_deadline(spec, status),
        waits=waiting.get("reason") or (MADE if "waiting" in state and container.get("containerID") else ""),
        started=started,
        finished=_known(ended.get("finishedAt")),
        exit_code=ended.get("exitCode"),
        end=ended.get("reason") or "",
        said=(waiting.get("message") or ended.get("message") or "").strip(),
        given_up=meta["annotations"].get(ENDED, ""),
        lost=_lost(conditions),
        silent=_silent(conditions.get("Ready", {})),
        script=any(volume["name"] == "job" for volume in spec.get("volumes") or ()),
        held=_held(meta["annotations"].get(HELD)),
        requests=tuple(sorted(asked(_task(spec["containers"])["resources"].get("requests") or {}).items())),
        selector=tuple(sorted((spec.get("nodeSelector") or {}).items())),
    )


def complaint(content: Mapping[str, Any]) -> Complaint:
    of = content["involvedObject"]
    return Complaint(Reference(of["namespace"], of["name"], of["uid"]), content.get("message") or "")


def asked(resources: Mapping[str, str]) -> dict[str, int]:
    """Of a pod: CPUs and memory, in MiB, rounded up, and whole numbers of all else."""
    return {name: math.ceil(amount) for name, amount in amounts(resources).items()}


def had(resources: Mapping[str, str]) -> dict[str, int]:
    """Of a node: the same rounded down."""
    return {name: math.floor(amount) for name, amount in amounts(resources).items()}


def amounts(resources: Mapping[str, str]) -> dict[str, Decimal]:
    """CPUs, memory in MiB, and all else in its own unit."""
    return {name: _amount(name, text) for name, text in resources.items()}


def _amount(name: str, text: str) -> Decimal:
    amount = parse_quantity(text)
    if amount is None:
        raise ValueError("a resource without a quantity")
    return amount / 2**20 if name == "memory" else amount


def _task(containers: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Of a pod's containers, or of what is said of them, that of the job itself: others are in any order."""
    return next((one for one in containers if one["name"] == TASK), {"resources": {}})


def _told(entries: Iterable[Mapping[str, Any]]) -> int | None:
    """The API server notes when each of those who write a pod did so last."""
    times = [one.get("time") for one in entries if one.get("subresource") == "status"]
    return max((_second(time) for time in times if time), default=None)


def _held(text: str | None) -> tuple[str, int] | None:
    if text is None:
        return None
    count, _, accelerator = text.partition(" ")
    return accelerator, int(count)


def _deadline(spec: Mapping[str, Any], status: Mapping[str, Any]) -> int | None:
    seconds, start = spec.get("activeDeadlineSeconds"), status.get("startTime")
    return _second(start) + int(seconds) if seconds and start else None


def _lost(conditions: Mapping[str, Mapping[str, Any]]) -> int | None:
    """The node's silence makes its pods not ready; the disruption comes minutes later. Long before that a pod may be not ready by the
    kubelet's word, for a container that is beside its own."""
    ready, disrupted = conditions.get("Ready", {}), conditions.get("DisruptionTarget", {}).get("lastTransitionTime")
    if disrupted:
        return min(_second(disrupted), _silent(ready) or _second(disrupted))
    unready = None if _true(ready) else ready.get("lastTransitionTime")
    return _second(unready) if unready else None


def _silent(ready: Mapping[str, Any]) -> int | None:
    """Seen on 1.34: of a node that it doesn't hear of the node controller makes all pods not ready, and gives no reason. The kubelet gives
    one, and lets a pod that is being deleted be ready until its containers have ended."""
    since = ready.get("lastTransitionTime")
    return _second(since) if since and ready.get("status") == "False" and not ready.get("reason") else None


def _true(condition: Mapping[str, Any]) -> bool:
    return condition.get("status") == "True"


def _known(text: str | None) -> int | None:
    second = _second(text) if text else 0
    return second if second >= BEFORE_TIME else None


def _second(text: str) -> int:
    """RFC 3339, whole seconds."""
    return clock.to_seconds(datetime.fromisoformat(text))
