"""Jobs, pods and nodes as an API server of 1.34 gives them, as short as they can be: the fields that the adapter reads."""

from typing import Any

from caravan.contracts.dispatch import Submission
from caravan.contracts.spec import Container, Resources
from caravan.kernel import clock, ids
from services.broker.adapters.kubernetes.grant import grant
from services.broker.adapters.kubernetes.reference import (
    HELD,
    INDEX,
    INDICES,
    JOB_NAME,
    JOB_UID,
    KEPT,
    NODES,
    RELEASED,
    SITE,
    TAG,
    Reference,
)

ATTEMPT = "01a210da6c876c0b26f20b1a0491542a"
MARK = "sit_01a210da6c877000800000000000000a"
OURS = Reference("acme", f"{ATTEMPT}-0a1b2c3d", "6a2f2e8e-56a1-4f0a-8b5a-0d9b6f6c3c11")
CREATED, STARTED, ENDED = 1_795_556_700, 1_795_556_705, 1_795_556_765
SITE_SETTINGS: dict[str, Any] = {
    "api": {"by": "kubeconfig", "file": "kubeconfig"}, "image": "registry.test/busybox:1.35", "images": ["docker://registry.test"],
}  # fmt: skip
H100 = "acc_nvidia-h100-80g"


def at(second: int) -> str:
    return clock.from_seconds(second).strftime("%Y-%m-%dT%H:%M:%SZ")


def job(
    *,
    version: int = 10,
    suspended: bool = False,
    released: bool = True,
    finished: str | None = None,
    status: dict[str, int] | None = None,
    labels: dict[str, str | None] | None = None,
) -> dict[str, Any]:
    marks = {TAG: ATTEMPT, SITE: MARK} | ({RELEASED: "true"} if released else {}) | (labels or {})
    conditions = [{"type": "FailureTarget", "status": "True", "reason": "FailedIndexes"}]
    if finished:
        conditions.append({"type": finished, "status": "True", "reason": "FailedIndexes"})
    return {
        "metadata": {
            "name": OURS.name, "namespace": OURS.namespace, "uid": OURS.uid, "resourceVersion": str(version),
            "creationTimestamp": at(CREATED), "labels": {name: value for name, value in marks.items() if value is not None},
            "annotations": {INDICES: "0"},
        },
        "spec": {"suspend": suspended, "completions": 1, "parallelism": 1},
        "status": {"conditions": conditions, **(status or {})},
    }  # fmt: skip


def running(started: int = STARTED) -> dict[str, Any]:
    return {"running": {"startedAt": at(started)}}


def ended(
    code: int = 0, reason: str = "", message: str = "", started: str = at(STARTED), finished: int = ENDED
) -> dict[str, Any]:
    told = {
        "exitCode": code,
        "reason": reason or ("Error" if code else "Completed"),
        "startedAt": started,
        "finishedAt": at(finished),
    }
    return {"terminated": told | ({"message": message} if message else {})}


def unknown() -> dict[str, Any]:
    """What the kubelet says of a container that it never made, or has lost, as it ends the pod."""
    said = "The container could not be located when the pod was terminated"
    return {
        "terminated": {
            "exitCode": 137,
            "reason": "ContainerStatusUnknown",
            "message": said,
            "startedAt": None,
            "finishedAt": None,
        }
    }


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def pod(
    state: dict[str, Any] | None = None,
    phase: str = "",
    *,
    uid: str = "pod-1",
    version: int = 20,
    place: int = 0,
    indices: str = "0",
    nodes: int = 1,
    created: int = CREATED,
    deleted: int | None = None,
    conditions: dict[str, dict[str, str]] | None = None,
    requests: dict[str, str] | None = None,
    selector: dict[str, str] | None = None,
    node: str = "n0",
    script: bool = True,
    given_up: str = "",
    held: str = "",
    written: int | None = None,
    made: bool = False,
    deadline: int | None = None,
    **status: Any,
) -> dict[str, Any]:
    """`state`: of its container; its phase follows from it where nothing else is said. `written`: when the kubelet wrote it last."""
    kind = next(iter(state or {"waiting": {}}))
    code = (state or {}).get("terminated", {}).get("exitCode")
    follows = {"running": "Running", "waiting": "Pending"}.get(kind, "Failed" if code else "Succeeded")
    said = {"status": "True"} if kind == "running" else {"status": "False", "reason": "ContainersNotReady"}
    ready = {"Ready": said | {"lastTransitionTime": at(STARTED)}}
    container = {"name": "task", "state": state, **({"containerID": "containerd://1"} if made else {})}
    told = [{"type": name, **condition} for name, condition in (ready | (conditions or {})).items()]
    meta = {
        "name": f"{OURS.name}-{place}-abcde", "namespace": OURS.namespace, "uid": uid, "resourceVersion": str(version),
        "creationTimestamp": at(created),
        "annotations": {name: text for name, text in ((INDICES, indices), ("caravan/ended", given_up), (HELD, held)) if text},
        "finalizers": [KEPT],
        "labels": {TAG: ATTEMPT, SITE: MARK, JOB_UID: OURS.uid, JOB_NAME: OURS.name, INDEX: str(place)}
        | ({NODES: str(nodes)} if nodes > 1 else {}),
    }  # fmt: skip
    writers = [{"manager": "kubelet", "subresource": "status", "time": at(written)}] if written is not None else []
    return {
        "metadata": meta
        | ({"deletionTimestamp": at(deleted)} if deleted is not None else {})
        | {"managedFields": writers},
        "spec": {
            "containers": [{"name": "task", "resources": {"requests": requests or {"cpu": "2", "memory": "512Mi"}}}],
            "volumes": [{"name": "work"}, *([{"name": "job"}] if script else [])],
            **({"nodeName": node} if node else {}), **({"nodeSelector": selector} if selector else {}),
            **({"activeDeadlineSeconds": deadline} if deadline else {}),
        },
        "status": {
            "phase": phase or follows, "conditions": told,
            **({"containerStatuses": [container]} if state else {}), **status,
        },
    }  # fmt: skip


def meshed(one: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """The pod with a container that the cluster has put before its own, as a service mesh does, which stands so."""
    spec, told = one["spec"], one["status"]
    proxy = {"name": "istio-proxy", "resources": {"requests": {"cpu": "100m"}}}
    said = [{"name": "istio-proxy", "state": state}, *told["containerStatuses"]]
    return {
        **one,
        "spec": spec | {"containers": [proxy, *spec["containers"]]},
        "status": told | {"containerStatuses": said},
    }


def workload(
    *,
    version: int = 30,
    quota: tuple[str, str] | None = ("False", "insufficient unused quota for cpu in flavor plain, 1 more needed"),
    admitted: bool = False,
    evicted: str = "",
    past: tuple[str, ...] = (),
    active: bool = True,
    name: str = OURS.name,
    uid: str = "workload-1",
    namespace: str = OURS.namespace,
    priority: int | None = None,
    created: int = CREATED,
) -> dict[str, Any]:
    """Kueue's of OURS. `quota`: whether it has it, and what is said of that; `evicted`: the reason why it is (since a minute after it was
    made), `past`: why it ever was."""
    told = {
        "QuotaReserved": {"status": quota[0], "message": quota[1]} if quota else None,
        "Admitted": {"status": "True" if admitted else "False"},
        "Evicted": {"status": "True", "reason": evicted, "message": "Preempted to accommodate a workload",
                    "lastTransitionTime": at(created + 60)} if evicted else None,
    }  # fmt: skip
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": OURS.uid, "controller": True}
    return {
        "metadata": {
            "name": f"job-{name}-ae105", "namespace": namespace, "uid": uid, "resourceVersion": str(version),
            "creationTimestamp": at(created), "ownerReferences": [owner],
        },
        "spec": {"active": active, "queueName": "here", **({"priority": priority} if priority is not None else {})},
        "status": {
            "conditions": [{"type": name, **one} for name, one in told.items() if one],
            "schedulingStats": {"evictions": [{"reason": reason, "underlyingCause": "", "count": 1} for reason in past]},
        },
    }  # fmt: skip


def node(
    name: str = "n0",
    *,
    labels: dict[str, str] | None = None,
    taints: list[dict[str, str]] | None = None,
    ready: str = "True",
    cordoned: bool = False,
    extra: dict[str, str] | None = None,
) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"taints": taints or [], **({"unschedulable": True} if cordoned else {})},
        "status": {
            "allocatable": {"cpu": "7900m", "memory": "16281272Ki", "pods": "110"} | (extra or {}),
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }


def submission(
    *,
    script: str | None = "#!/bin/sh\necho hello\n",
    container: Container | None = None,
    indices: tuple[int, ...] = (0,),
    environment: dict[str, str] | None = None,
    target: dict[str, Any] | None = None,
    tenant: dict[str, Any] | None = None,
    **resources: Any,
) -> Submission:
    asked = Resources.model_validate({"walltime_seconds": 60, "memory_mib_per_node": 256} | resources)
    return Submission(
        tag=ATTEMPT, attempt=f"att_{ATTEMPT}", job=ids.new("job"), tenant=ids.new("ten"),
        tenant_settings=tenant or {"namespace": OURS.namespace}, offering=ids.new("off"), target=target or {}, name="名字",
        script=None if container else script, container=container, environment=environment or {}, resources=asked,
        grant=grant(asked, target or {}, SITE_SETTINGS), indices=indices, max_parallel=len(indices),
    )  # fmt: skip
