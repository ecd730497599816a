"""What is known of the site's submissions, and how each stands by that. Decisions only: what asks the API server is `watch.py`."""

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from caravan.kernel import clock
from services.broker.adapters.kubernetes import clocks, nodes, reasons
from services.broker.adapters.kubernetes.devices import Devices
from services.broker.adapters.kubernetes.lines import Lines, LocalQueue, told
from services.broker.adapters.kubernetes.queues import TAKEN_BACK, Workload
from services.broker.adapters.kubernetes.records import Complaint, Job, Pod
from services.broker.adapters.kubernetes.reference import Reference
from services.broker.adapters.kubernetes.runs import run_seen
from services.broker.adapters.port import NotSeen, RunSeen, Seen, Staged


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
        return not complete or sum(pod.ended for pod in self.pods.values()) < (self.job.pods if self.job else 0)

    @property
    def complete(self) -> bool:
        """No more pods of it can come, and they are all known: as many as its Job counts, or they were read since."""
        ended = sum(pod.ended for pod in self.pods.values())
        counted = self.job is not None and self.job.finished is not None and ended == len(self.pods) == self.job.pods
        return self.over and (self.pods_read or counted)

    def seen(self, reference: Reference, second: int, devices: Devices, grace_seconds: int) -> Seen | NotSeen:
        """`second`: the cluster's clock, up to which all of it is known."""
        if self.job is None and not self.pods:
            return NotSeen(True, "the cluster has no such Job, and no pods of it")
        runs = sorted(self._runs(second, devices, grace_seconds), key=lambda run: (run.index, run.started_at))
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

    def _runs(self, second: int, devices: Devices, grace_seconds: int) -> Iterable[RunSeen]:
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


GONE_KEPT: Final = 10_000
"""Of submissions that were let go it is known that nothing is to be seen, whatever is heard of them late."""


class Submissions:
    """All of one site. What is told of them may come late, doubled, or in another order.

    Each is known by its whole reference: a Job's uid alone is what anybody may write on a pod in a namespace of their own.
    """

    def __init__(self) -> None:
        self._known: dict[Reference, Known] = {}
        self._changed: set[str] = set()
        self.news = asyncio.Event()
        """Set whenever something changes. Whoever waits for it clears it."""
        self._dropped: dict[str, None] = {}
        """In the order in which they went."""
        self._unclaimed: dict[Reference, Workload] = {}
        """Of Jobs that were not heard of yet."""
        self._waiting: dict[str, Pod] = {}
        """Those of all pods that wait for their index, or for what they may never get: by uid."""
        self.lines = Lines()

    def get(self, reference: Reference) -> Known | None:
        return self._known.get(reference)

    def of(self, reference: Reference) -> Known:
        return self._known.setdefault(reference, Known(workload=self._unclaimed.pop(reference, None)))

    def dropped(self, reference: Reference) -> bool:
        return reference.uid in self._dropped

    def drop(self, reference: Reference) -> None:
        """Nothing is to be seen of it any more: it was discarded or forgotten."""
        self._dropped[reference.uid] = None
        if len(self._dropped) > GONE_KEPT:
            del self._dropped[next(iter(self._dropped))]
        known = self._known.pop(reference, Known())
        for uid in known.pods:
            self._waiting.pop(uid, None)
        self._changed.discard(str(reference))

    def changed(self) -> list[str]:
        """References of what has changed since the last call."""
        told, self._changed = self._changed, set()
        return [*told]

    def _change(self, reference: Reference) -> None:
        self._changed.add(str(reference))
        self.news.set()

    def staged(self) -> list[Staged]:
        """What waits to be released."""
        jobs = [known.job for known in self._known.values() if known.job is not None and not known.released]
        return [
            Staged(job.tag, str(job.reference), clock.from_seconds(job.created))
            for job in jobs
            if not self._known[job.reference].over
        ]

    def take_job(self, job: Job, *, gone: bool = False) -> None:
        if self.dropped(job.reference):
            return
        if not job.site:
            self.drop(job.reference)
            return
        known = self.of(job.reference)
        before = known.job
        if before is None or job.version > before.version:
            known.job = job
            if before is None or replace(before, version=job.version) != job:
                self._change(job.reference)
        if gone:
            self.lose_job(job.reference)

    def lose_job(self, reference: Reference) -> None:
        """It is known to be gone."""
        known = self.of(reference)
        if not known.gone:
            known.gone = True
            self._change(reference)

    def keep_jobs(self, uids: Collection[str], version: int) -> None:
        """These are all that there were at this version: what is older and isn't among them is gone."""
        for reference, known in self._known.items():
            if known.job is not None and reference.uid not in uids and known.job.version <= version:
                self.lose_job(reference)

    def take_pod(self, pod: Pod, *, gone: bool = False, second: int = 0) -> None:
        """`gone`: that was the last of it, at `second` or before."""
        if self.dropped(pod.job) or not pod.site:
            return
        known = self.of(pod.job)
        before = known.pods.get(pod.uid)
        if before is not None and pod.version < before.version:
            pod = before
        if before is not None and before.ended and before.deleted is None:
            # what had ended by itself wasn't ended by its deletion
            pod = replace(pod, deleted=None)
        if before is not None and pod.started is None:
            # a kubelet that was started anew may have lost sight of it
            pod = replace(pod, started=before.started)
        if gone and not pod.ended:
            pod = replace(pod, node="", deleted=second if pod.deleted is None else min(pod.deleted, second))
        known.pods[pod.uid] = pod
        if (pod.gated or pod.waits in reasons.BROKEN) and not pod.ended and pod.deleted is None:
            self._waiting[pod.uid] = pod
        else:
            self._waiting.pop(pod.uid, None)
        if before is None or replace(before, version=pod.version) != pod:
            self._change(pod.job)

    def keep_pods(self, uids: Collection[str], version: int, second: int) -> None:
        """As `keep_jobs`."""
        for known in self._known.values():
            for pod in [pod for uid, pod in known.pods.items() if uid not in uids and pod.version <= version]:
                self.take_pod(pod, gone=True, second=second)

    def stuck(self) -> list[Pod]:
        """Pods that may wait for ever."""
        return [pod for pod in self._waiting.values() if pod.waits in reasons.BROKEN and self._is_ours(pod)]

    def silent_nodes(self) -> set[str]:
        """Nodes on which something ran when they were last heard of."""
        pods = (pod for known in self._known.values() for pod in known.pods.values())
        return {pod.node for pod in pods if pod.silent is not None and pod.started is not None and not pod.ended}

    def wrong_nodes(self) -> set[str]:
        """Nodes whose clock must be wrong, by what has run there."""
        pods = (pod for known in self._known.values() for pod in known.pods.values())
        return {pod.node for pod in pods if pod.node and clocks.ahead(pod)}

    def gated(self) -> list[Pod]:
        """Pods that wait to be told their index."""
        return [pod for pod in self._waiting.values() if pod.gated and self._is_ours(pod)]

    def _is_ours(self, pod: Pod) -> bool:
        """Anybody may put our labels on a pod of their own: ours have a Job, or were asked for by their reference when that was gone."""
        known = self._known.get(pod.job)
        return known is not None and (known.job is not None or known.gone)

    def take_workload(self, workload: Workload, *, gone: bool = False) -> None:
        """What Kueue said of a Job outlives its Workload."""
        known = self._known.get(workload.job)
        if known is None:
            self._unclaimed.pop(workload.job, None)
            if not gone and not self.dropped(workload.job):
                self._unclaimed[workload.job] = workload
            return
        before = known.workload
        if before is None or workload.version > before.version:
            known.workload = workload
            if not self.lines.waits(workload.uid):
                known.place = None
            if before is None or replace(before, version=workload.version) != workload:
                self._change(workload.job)

    def keep_workloads(self, uids: Collection[str], version: int) -> None:
        """As `keep_jobs`."""
        there = {job: one for job, one in self._unclaimed.items() if one.uid in uids or one.version > version}
        self._unclaimed = there
        self.lines.keep(uids)

    def tell_places(self, behind: Mapping[LocalQueue, str]) -> None:
        """In Kueue's queues, where they have changed. `behind`: as in Lines."""
        self.lines.moved = False
        for reference, known in self._known.items():
            place = self.lines.place(known.workload.uid, behind) if known.workload is not None else None
            shown = told(place) if place is not None else None
            if shown != known.place:
                known.place = shown
                self._change(reference)

    def take_complaint(self, complaint: Complaint) -> None:
        known = self._known.get(complaint.job)
        if known is not None and known.complaint != complaint.words:
            known.complaint = complaint.words
            self._change(complaint.job)
