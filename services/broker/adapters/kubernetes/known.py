"""What is known of one submission, and how it stands by that. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from caravan.kernel import clock
from services.broker.adapters.kubernetes import nodes, reasons
from services.broker.adapters.kubernetes.devices import Devices
from services.broker.adapters.kubernetes.queues import TAKEN_BACK, Workload
from services.broker.adapters.kubernetes.records import Job, Pod
from services.broker.adapters.kubernetes.reference import Reference
from services.broker.adapters.kubernetes.runs import run_seen
from services.broker.adapters.port import NotSeen, RunSeen, Seen


@dataclass(eq=False)
class Known:
    """A submission: its Job, as it was last when it is gone, and its pods."""

    job: Job | None = None
    gone: bool = False
    """There is no such Job any more."""
    pods: dict[str, Pod] = field(default_factory=dict)
    complaint: str = ""
    """Why no pods of it are made."""
    workload: Workload | None = None
    """What Kueue said of it last."""
    place: int | None = None
    """Its place in Kueue's queue, as it was told last."""
    pods_read: bool = False
    """Since no more of them can come, all were read."""

    @property
    def released(self) -> bool:
        return bool(self.pods) or (self.job is not None and (self.job.released or not self.job.suspended))

    @property
    def over(self) -> bool:
        """No more pods of it can come."""
        return self.gone or (self.job is not None and (self.job.deleted or self.job.finished is not None))

    @property
    def wants_pods(self) -> bool:
        """Pods are missing that its Job speaks of, or nothing says that none are: what is known of Jobs and of pods comes by two ways,
        and the one may be behind."""
        if not self.over or self.pods_read or not self.released:
            return False
        complete = self.job is not None and not self.gone and self.job.finished is not None
        return not complete or self._counted < (self.job.pods if self.job else 0)

    @property
    def complete(self) -> bool:
        """No more pods of it can come, and they are all known: as many as its Job counts, or they were read since."""
        job = self.job
        counted = job is not None and job.finished is not None and self._counted == len(self.pods) == job.pods
        return self.over and (self.pods_read or counted)

    @property
    def _counted(self) -> int:
        """Pods that its Job surely counts as ended: it doesn't count those that were deleted as it was suspended."""
        return sum(pod.ended and pod.deleted is None for pod in self.pods.values())

    def seen(self, reference: Reference, second: int, devices: Devices, grace_seconds: int) -> Seen | NotSeen:
        """`second`: the cluster's clock, up to which all of it is known."""
        if self.job is None and not self.pods:
            return NotSeen(True, "the cluster has no such Job, and no pods of it")
        runs = sorted(self.runs(second, devices, grace_seconds), key=lambda run: (run.index, run.started_at))
        ended = self.over and not self.wants_pods and all(pod.ended for pod in self.pods.values())
        running = any(run.ended_at is None for run in runs)
        return Seen(
            reference=str(reference),
            released=self.released,
            queued=self.released and not ended and not running,
            ended=ended,
            runs=tuple(runs),
            seen_at=clock.from_seconds(second),
            detail="" if ended or running else self._why(),
        )

    def runs(self, second: int, devices: Devices, grace_seconds: int) -> Iterable[RunSeen]:
        """Of its pods."""
        back = self._taken_back()
        if any(pod.nodes > 1 for pod in self.pods.values()):
            return nodes.runs_seen(self.pods.values(), self.over, second, devices, grace_seconds, back)
        told = (run_seen(pod, second, devices, grace_seconds, back.get(pod.uid, "")) for pod in self.pods.values())
        return (run for run in told if run is not None)

    def _taken_back(self) -> dict[str, str]:
        """Why Kueue took its Job back, by the pods that may have ended by that: another one in their place follows, or will."""
        if self.job is None or not self.job.queue:
            return {}
        last: dict[tuple[int, int], int] = {}
        for pod in self.pods.values():
            last[pod.index, pod.rank] = max(pod.created, last.get((pod.index, pod.rank), 0))
        words = (self.workload.taken_back if self.workload is not None else "") or TAKEN_BACK
        pods = self.pods.values()
        return {pod.uid: words for pod in pods if self.job.suspended or pod.created < last[pod.index, pod.rank]}

    def _why(self) -> str:
        """Why nothing of it runs."""
        if self.job is not None and self.job.released and self.job.suspended:
            if not self.job.queue:
                return reasons.plain("Suspended")
            return self.workload.waits(self.place) if self.workload is not None else reasons.plain("Queued")
        waiting = [pod for pod in self.pods.values() if not pod.ended]
        for pod in waiting:
            if pod.unschedulable:
                return reasons.plain("Unschedulable", pod.unschedulable)
            if pod.waits in reasons.BROKEN:
                return reasons.plain(pod.waits, pod.said)
        if waiting:
            return reasons.plain("Starting")
        return reasons.refused(self.complaint) if self.complaint else ""
