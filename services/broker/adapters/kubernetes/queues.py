"""What Kueue says of a Job: why it waits, and why it was taken back. Pure.

Kueue (its API v1beta2, seen on 0.17) owns `suspend` of a Job that names a queue, and has a Workload for it. It takes a Job back by
suspending it: that deletes its pods, and each index gets another one when the Job is admitted again. Whoever deletes a pod of a running
Job ends its index for good.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.broker.adapters.kubernetes import reasons
from services.broker.adapters.kubernetes.ends import PREEMPTED
from services.broker.adapters.kubernetes.reference import Reference

WORKLOADS: Final = "apis/kueue.x-k8s.io/v1beta2/workloads"
EVICTIONS: Final[dict[str, str]] = {
    "Preempted": PREEMPTED,
    "PodsReadyTimeout": "taken back by the site's queue: its pods weren't ready in time",
    "AdmissionCheck": "taken back by the site's queue: an admission check fails",
    "ClusterQueueStopped": "taken back by the site's queue, which the centre has stopped",
    "LocalQueueStopped": "taken back by the site's queue, which the centre has stopped",
    "NodeFailures": "its node was lost",
    "Deactivated": "taken back by the site's queue, which has put it aside",
}
"""Reason of an eviction -> what it means."""
TAKEN_BACK: Final = "taken back by the site's queue"


@dataclass(frozen=True, slots=True)
class Workload:
    uid: str
    job: Reference
    version: int
    word: str
    """Why its Job waits, if it does: of `reasons`."""
    said: str
    """Kueue's own words for that."""
    evictions: tuple[str, ...]
    """Reasons for which it was taken back so far, each once."""

    @property
    def taken_back(self) -> str:
        return "; or ".join(dict.fromkeys(EVICTIONS.get(one, f"{TAKEN_BACK}: {one}") for one in self.evictions))

    def waits(self, place: int | None) -> str:
        """Why its Job waits, and at which place if it's known."""
        return reasons.plain(self.word, self.said, place)


def workload(content: Mapping[str, Any]) -> Workload | None:
    """None: of no Job of ours. Raises as `records`."""
    meta, status = content["metadata"], content.get("status") or {}
    owner = next((one for one in meta.get("ownerReferences") or () if one["kind"] == "Job"), None)
    reference = Reference.parse(f"{meta['namespace']}.{owner['name']}.{owner['uid']}") if owner else None
    if reference is None:
        return None
    past = (status.get("schedulingStats") or {}).get("evictions") or ()
    word, said = _waits(content["spec"], {one["type"]: one for one in status.get("conditions") or ()})
    return Workload(
        uid=meta["uid"],
        job=reference,
        version=int(meta["resourceVersion"]),
        word=word,
        said=said,
        evictions=tuple(sorted({one["reason"] for one in past})),
    )


def _waits(spec: Mapping[str, Any], conditions: Mapping[str, Mapping[str, Any]]) -> tuple[str, str]:
    """What Kueue says of an eviction names other jobs, and isn't for who waits."""
    quota, evicted = conditions.get("QuotaReserved", {}), conditions.get("Evicted", {})
    said = quota.get("message") or ""
    if spec.get("active") is False:
        return "Deactivated", ""
    if quota.get("status") == "True":
        admitted = conditions.get("Admitted", {})
        return "Starting" if admitted.get("status") == "True" else "AdmissionChecks", ""
    if evicted.get("status") == "True":
        return "Preempted" if evicted.get("reason") == "Preempted" else "Requeued", said
    return "Queued", said
