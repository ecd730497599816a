"""What becomes of a submission that was staged: it is released or discarded, cancelled perhaps, and forgotten once its books are closed."""

import asyncio
from collections.abc import Collection
from typing import Final

from caravan.kernel.logs import get_logger
from services.broker.adapters.kubernetes import acts, reasons, records
from services.broker.adapters.kubernetes.failures import CONFLICT, GONE, INVALID
from services.broker.adapters.kubernetes.known import Known
from services.broker.adapters.kubernetes.objects import Objects, done
from services.broker.adapters.kubernetes.outputs import Outputs
from services.broker.adapters.kubernetes.records import Pod
from services.broker.adapters.kubernetes.reference import Reference
from services.broker.adapters.kubernetes.rest import MERGE, STRATEGIC, readable
from services.broker.adapters.kubernetes.settings import Settings
from services.broker.adapters.kubernetes.submissions import Submissions
from services.broker.adapters.kubernetes.watch import Watch
from services.broker.adapters.port import OutcomeUnknown, Rejected

log = get_logger(__name__)

DELETE_TRIES: Final = 5
"""The Job controller writes a Job's status a moment after it was staged, and as its pods start and end."""
CHANGED: Final = "the Job changed each time that it was to be deleted"
HOLD_SECONDS: Final = 2.0
"""A cancel waits so long for the output of what runs, which ends with its pods."""
KEEP_SECONDS: Final = 10.0
"""What is forgotten waits so long for its output to be copied. Where some is late its Job stays at the cluster for as long as output is
kept here."""


class Lives:
    """Of one site's submissions, by their references. All as the port's Backend has them."""

    def __init__(
        self, site: str, settings: Settings, submissions: Submissions, objects: Objects, outputs: Outputs, pods: Watch
    ) -> None:
        self._site = site
        self._settings = settings
        self._submissions = submissions
        self._objects = objects
        self._outputs = outputs
        self._pods = pods

    async def release(self, reference: str) -> None:
        ours = Reference.parse(reference)
        if ours is None or self._submissions.dropped(ours):
            raise Rejected("there is no such submission, or it was discarded")
        known = await self._objects.known(ours)
        if known.gone or known.job is None:
            raise Rejected("there is no such submission, or it was cancelled before it was released")
        if known.job.released:
            return
        answer = await self._objects.act("PATCH", ours, acts.release(ours, known.job.wanted), MERGE)
        # 422: another Job has its name
        if answer.is_a(GONE, INVALID, CONFLICT):
            raise Rejected("there is no such submission, or it was cancelled before it was released")
        if answer.failed is not None:
            raise answer.failed.of_act()
        with readable():
            self._submissions.take_job(records.job(answer.content))

    async def discard(self, reference: str) -> None:
        """Nobody releases what wasn't committed. What is staged by a look at it is deleted only if nothing of it has changed since: where
        something has, it's looked at again."""
        ours = Reference.parse(reference)
        if ours is None or self._submissions.dropped(ours):
            return
        for _ in range(DELETE_TRIES):
            known = await self._objects.read(ours)
            if known.released:
                return
            if known.gone or known.job is None or await self._objects.delete(ours, known.job.version):
                self._submissions.drop(ours)
                return
        raise OutcomeUnknown(CHANGED)

    async def cancel(self, reference: str) -> None:
        ours = Reference.parse(reference)
        if ours is None or self._submissions.dropped(ours):
            return
        known = self._submissions.get(ours)
        if known is None or known.job is None:
            known = await self._objects.read(ours)
        if not known.over:
            await self._outputs.hold(known.pods.values(), HOLD_SECONDS)
        for _ in range(DELETE_TRIES):
            if known.over or known.job is None:
                await self._end_pods(ours, known)
                return
            # where somebody else deletes it so that its pods are left, a second deletion succeeds and does nothing to them
            if await self._objects.delete(ours, known.job.version):
                return
            known = await self._objects.read(ours)
        raise OutcomeUnknown(CHANGED)

    async def _end_pods(self, ours: Reference, known: Known) -> None:
        """Whoever deletes a Job may leave its pods to run on. Raises Unavailable, OutcomeUnknown."""
        if not known.complete:
            await self._objects.read_pods((ours, known))
        left = [pod for pod in known.pods.values() if not pod.ended and pod.deleted is None]
        await asyncio.gather(
            *(self._objects.patch_pod(pod, acts.end_pod(pod.uid, reasons.CANCELLED), MERGE) for pod in left)
        )

    async def forget(self, reference: str) -> None:
        """The finalizers of its pods go. What has ended by itself stays at the cluster for a while, unwatched, and what was cancelled goes
        at once. The output of both is kept before, where the agent has a folder for it.

        No finalizer may be left behind: where the watch may not have told of all its pods, they are listed."""
        ours = Reference.parse(reference)
        if ours is None or self._submissions.dropped(ours):
            return
        known = self._submissions.get(ours)
        told = known is not None and known.complete and self._pods.well
        pods = [*known.pods.values()] if known is not None and told else await self._objects.list_pods(ours)
        kept = self._outputs.lasting and await self._keep(pods)
        stays = self._settings.keep_jobs_seconds if kept else self._settings.stays_seconds
        if known is None or not known.gone:
            answer = await self._objects.act("PATCH", ours, acts.forget(ours, stays), MERGE)
            done(answer, GONE, INVALID, CONFLICT)
        await asyncio.gather(*(self._objects.patch_pod(pod, acts.forget_pod(pod.uid), STRATEGIC) for pod in pods))
        self._submissions.drop(ours)

    async def _keep(self, pods: Collection[Pod]) -> bool:
        """Whether all of their output is kept by now. What is late goes on being copied."""
        try:
            return await asyncio.wait_for(self._outputs.keep(pods), KEEP_SECONDS)
        except TimeoutError:
            log.warning("kubernetes_logs_late", site=self._site, pods=len(pods))
            return False
