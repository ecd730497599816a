"""All submissions of a site, by what is told of them. Decisions only: what asks the API server is `watch.py` and `objects.py`."""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Final

from caravan.kernel import clock
from services.broker.adapters.kubernetes import clocks, reasons
from services.broker.adapters.kubernetes.known import Known
from services.broker.adapters.kubernetes.lines import Lines, LocalQueue, told
from services.broker.adapters.kubernetes.queues import Workload
from services.broker.adapters.kubernetes.records import Complaint, Job, Pod
from services.broker.adapters.kubernetes.reference import Reference
from services.broker.adapters.port import Staged

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
