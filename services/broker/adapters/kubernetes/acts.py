"""What is asked of the API server to change a Job and its pods. Pure.

Each names the uid of what it means: who bears its name by then isn't touched.
"""

from typing import Any, Final

from services.broker.adapters.kubernetes.reference import ENDED, KEPT, OWN_INDEX, QUEUE, RELEASED, SITE, Reference

UNTRACKED: Final[list[dict[str, Any]]] = [{}]
"""As `managedFields`: the API server no longer keeps who wrote which field, which is half of a Job and a third of the work of changing it.
Whoever uses server-side apply on it has it begin again (kubernetes.io, Server-Side Apply, "Clearing managedFields")."""


def release(reference: Reference, queue: str) -> dict[str, Any]:
    """A merge patch of the Job. It changes nothing of what was released before. `queue`: of Kueue, which from now on decides when the Job
    starts; empty without."""
    meta: dict[str, Any] = {"uid": reference.uid, "labels": {RELEASED: "true"}, "managedFields": UNTRACKED}
    if queue:
        return {"metadata": meta | {"labels": {RELEASED: "true", QUEUE: queue}}}
    return {"metadata": meta, "spec": {"suspend": False}}


def delete(reference: Reference, version: int | None = None) -> dict[str, Any]:
    """The body of a DELETE of the Job. Its pods go with it: over REST they would be left running without a word. `version`: only if
    the Job hasn't changed since."""
    only = {"uid": reference.uid} | ({} if version is None else {"resourceVersion": str(version)})
    return {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background", "preconditions": only}


def forget(reference: Reference, seconds: int) -> dict[str, Any]:
    """A merge patch of the Job: it is no longer watched, and Kubernetes itself deletes it, and all that is its, after so many seconds."""
    return {
        "metadata": {"uid": reference.uid, "labels": {SITE: None}},
        "spec": {"ttlSecondsAfterFinished": seconds},
    }


def forget_pod(uid: str) -> dict[str, Any]:
    """A strategic merge patch of a pod: its record may go. Other finalizers stay."""
    return {"metadata": {"uid": uid, "labels": {SITE: None}, "$deleteFromPrimitiveList/finalizers": [KEPT]}}


def number_pod(uid: str, index: int) -> dict[str, Any]:
    """A strategic merge patch of a pod that waits for it: it is told its index of the array, and may be scheduled. In one write: who
    schedules and starts it has seen both."""
    gate = {"name": OWN_INDEX, "$patch": "delete"}
    return {"metadata": {"uid": uid, "annotations": {OWN_INDEX: str(index)}}, "spec": {"schedulingGates": [gate]}}


def end_pod(uid: str, why: str) -> dict[str, Any]:
    """A merge patch of a pod that waits for what it will never get, or whose Job can't be deleted any more: the kubelet ends it, and it
    stays. Of a pod's spec nothing but its time limit can be changed, and that only be lowered."""
    return {"metadata": {"uid": uid, "annotations": {ENDED: why}}, "spec": {"activeDeadlineSeconds": 1}}
