"""Pods that wait for the agent: for their index, or for what they will never get."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from caravan.kernel import clock
from caravan.kernel.logs import get_logger
from services.broker.adapters.kubernetes import acts, reasons
from services.broker.adapters.kubernetes.objects import Objects
from services.broker.adapters.kubernetes.records import Pod
from services.broker.adapters.kubernetes.rest import MERGE, STRATEGIC
from services.broker.adapters.kubernetes.submissions import Submissions
from services.broker.adapters.port import BackendError

log = get_logger(__name__)

TEND_SECONDS: Final = 1.0
"""Between looks for them."""


class Tending:
    """Of one site. `image_seconds`: how long an image or a container is waited for."""

    def __init__(self, site: str, image_seconds: int, submissions: Submissions, objects: Objects) -> None:
        self._site = site
        self._image_seconds = image_seconds
        self._submissions = submissions
        self._objects = objects
        self._stuck_since: dict[str, float] = {}
        """Pods that may wait for ever: by uid."""

    async def tend(self) -> float:
        """Tell pods their index where they wait for that. End those whose image can't be had, or whose container can't be made, once they
        have waited for that long enough."""
        at = clock.monotonic()
        gated = self._submissions.gated()
        await asyncio.gather(*(self._try_on(pod, acts.number_pod(pod.uid, pod.index), STRATEGIC) for pod in gated))
        stuck = {pod.uid: pod for pod in self._submissions.stuck()}
        self._stuck_since = {uid: self._stuck_since.get(uid, at) for uid in stuck}
        for uid, pod in stuck.items():
            if at - self._stuck_since[uid] >= self._image_seconds:
                await self._try_on(pod, acts.end_pod(uid, reasons.given_up(pod.waits, pod.said)), MERGE)
        return TEND_SECONDS

    async def _try_on(self, pod: Pod, patch: Mapping[str, Any], kind: str) -> None:
        """What doesn't come about now does the next time."""
        try:
            await self._objects.patch_pod(pod, patch, kind)
        except BackendError as error:
            log.warning("kubernetes_pod_not_changed", site=self._site, pod=pod.name, reason=str(error))
