"""The port's Backend over one cluster's API server."""

import asyncio
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from caravan.contracts.dispatch import Submission
from caravan.contracts.offerings import InventoryItem
from caravan.kernel import clock
from caravan.kernel.logs import get_logger
from caravan.kernel.loops import Loops
from services.broker.adapters.kubernetes import health, inventory, queues, records
from services.broker.adapters.kubernetes.connection import connect
from services.broker.adapters.kubernetes.copies import FOLLOW
from services.broker.adapters.kubernetes.devices import Devices
from services.broker.adapters.kubernetes.known import Known
from services.broker.adapters.kubernetes.lives import Lives
from services.broker.adapters.kubernetes.objects import Objects, pod_path
from services.broker.adapters.kubernetes.outputs import Outputs
from services.broker.adapters.kubernetes.reads import Reads
from services.broker.adapters.kubernetes.records import Pod
from services.broker.adapters.kubernetes.reference import SITE, TASK, Reference
from services.broker.adapters.kubernetes.rest import Rest
from services.broker.adapters.kubernetes.settings import Settings, said
from services.broker.adapters.kubernetes.staging import Staging
from services.broker.adapters.kubernetes.submissions import Submissions
from services.broker.adapters.kubernetes.tending import Tending
from services.broker.adapters.kubernetes.watch import Watch
from services.broker.adapters.port import (
    Books,
    LogBytes,
    NotSeen,
    Seen,
    SiteContext,
    SiteRefused,
    Staged,
    Unavailable,
    booked,
)

log = get_logger(__name__)

JOBS: Final = "apis/batch/v1/jobs"
PODS: Final = "api/v1/pods"
EVENTS: Final = "api/v1/events"
NO_PODS: Final = {"fieldSelector": "involvedObject.kind=Job,reason=FailedCreate"}
"""Events by which the Job controller says that it can't make pods: nothing else does."""
CLOCK_SECONDS: Final = 5.0
"""How long the server's clock is gone on with, from one answer to the next."""
PLACES_SECONDS: Final = 10.0
"""Between tellings of places in Kueue's queues."""
QUIET_SECONDS: Final = 600.0
"""A program may write nothing for so long, and its log is still followed by the same request."""


class KubernetesBackend:
    """One cluster. Several of them, also in several processes, may work on it at once."""

    def __init__(
        self, site: str, settings: Settings, devices: Devices, rest: Rest, folder: Path, *, lasting: bool = False
    ) -> None:
        """`folder`: for copies of output. `lasting`: the site's next agent finds them there."""
        self._site = site
        self._settings = settings
        self._devices = devices
        self._rest = rest
        self._reads = Reads(rest, devices)
        self._submissions = Submissions()
        self._outputs = Outputs(folder, self._stream_log, settings.keep_output_mib, lasting=lasting)
        ours = {"labelSelector": f"{SITE}={site}"}
        self._jobs = Watch(rest, JOBS, ours, self._take_job, self._submissions.keep_jobs)
        self._pods = Watch(rest, PODS, ours, self._take_pod, self._keep_pods)
        self._events = Watch(rest, EVENTS, NO_PODS, self._take_event, lambda uids, version: None)
        self._watches = [self._jobs, self._pods, self._events]
        self._workloads: Watch | None = None
        if settings.queue is not None:
            keep = self._submissions.keep_workloads
            self._workloads = Watch(rest, queues.WORKLOADS, {}, self._take_workload, keep)
            self._watches.append(self._workloads)
        self._objects = Objects(site, rest, self._submissions)
        self._staging = Staging(site, settings, devices, rest, self._reads, self._submissions, self._objects)
        self._lives = Lives(site, settings, self._submissions, self._objects, self._outputs, self._pods)
        self._tending = Tending(site, settings.image_seconds, self._submissions, self._objects)
        self._watching: asyncio.Task[None] | None = None
        self._loops = Loops(CollectorRegistry())

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Inside, the cluster is watched."""
        task = self._watching = asyncio.create_task(self._watch(), name=f"watch:{self._site}")
        self._loops.start("tend", self._tending.tend)
        if self._workloads is not None:
            self._loops.start("places", partial(self._tell_places, self._workloads))
        self._loops.start("sweep", partial(self._outputs.sweep, self._settings.keep_output_seconds))
        try:
            yield
        finally:
            await self._loops.stop()
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled() and task.exception() is not None:
                log.error("kubernetes_watch_failed", site=self._site, error=repr(task.exception()))
            await self._outputs.close()

    async def _watch(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for one in self._watches:
                tasks.create_task(one.run())

    async def _tell_places(self, workloads: Watch) -> float:
        """The place of what waits in Kueue's queues, wherever one has moved: a job moves by what happens to others, so that of a quick
        queue each job would be news all the time. A new place is news only now and then, rounded, and what else is told goes with it."""
        if self._submissions.lines.moved:
            with suppress(Unavailable):
                await workloads.ready()
                self._submissions.tell_places(await self._reads.behind())
        return PLACES_SECONDS

    def _take_job(self, kind: str, content: Mapping[str, Any]) -> None:
        self._submissions.take_job(records.job(content), gone=kind == "DELETED")

    def _take_pod(self, kind: str, content: Mapping[str, Any]) -> None:
        pod = records.pod(content)
        self._submissions.take_pod(pod, gone=kind == "DELETED", second=self._rest.second)
        if pod.site:
            self._outputs.see(pod)

    def _keep_pods(self, uids: Collection[str], version: int) -> None:
        self._submissions.keep_pods(uids, version, self._rest.second)

    def _take_event(self, kind: str, content: Mapping[str, Any]) -> None:
        if kind != "DELETED":
            self._submissions.take_complaint(records.complaint(content))

    def _take_workload(self, kind: str, content: Mapping[str, Any]) -> None:
        self._submissions.lines.take(content, gone=kind == "DELETED")
        workload = queues.workload(content)
        if workload is not None:
            self._submissions.take_workload(workload, gone=kind == "DELETED")

    async def inventory(self) -> tuple[InventoryItem, ...]:
        nodes, limits = await self._reads.nodes(), await self._reads.quotas(self._settings.queue)
        return inventory.items(nodes, await self._reads.used(), limits)

    async def probe(self) -> tuple[str, ...]:
        asked_at, before = clock.monotonic(), clock.to_seconds(clock.now())
        second = await self._rest.now()
        took, after = clock.monotonic() - asked_at, clock.to_seconds(clock.now())
        # how long the answer took is no skew
        ahead = second - min(max(second, before), after)
        watches = (one.fault for one in self._watches)
        return health.faults(
            took,
            ahead,
            await self._reads.believed_nodes(),
            watches,
            silent=self._submissions.silent_nodes(),
            wrong=self._submissions.wrong_nodes(),
            failing=self._loops.failing(),
        )

    async def now(self) -> datetime:
        """As it was told a moment ago, if the watches are well: agents ask all the time."""
        if self._rest.silent_seconds < CLOCK_SECONDS and all(one.well for one in self._watches):
            return clock.from_seconds(self._rest.second)
        return clock.from_seconds(await self._rest.now())

    async def stage(self, submission: Submission) -> str:
        return await self._staging.stage(submission)

    async def release(self, reference: str) -> None:
        await self._lives.release(reference)

    async def discard(self, reference: str) -> None:
        await self._lives.discard(reference)

    async def cancel(self, reference: str) -> None:
        await self._lives.cancel(reference)

    async def forget(self, reference: str) -> None:
        await self._lives.forget(reference)

    async def observe(self, references: Sequence[str]) -> Mapping[str, Seen | NotSeen]:
        if self._watching is None or self._watching.done():
            raise Unavailable("the cluster isn't watched any more: this is a fault of the adapter")
        # without the last, a run that was preempted would end by the site's doing
        told_by = [self._jobs, self._pods, *([self._workloads] if self._workloads is not None else [])]
        await asyncio.gather(*(one.ready() for one in told_by))
        asked = {reference: Reference.parse(reference) for reference in references}
        await self._objects.read_pods_of(ours for ours in asked.values() if ours is not None)
        told: dict[str, Seen | NotSeen | Unavailable | None] = {
            reference: self._told(ours) for reference, ours in asked.items()
        }
        unread = [ours for reference, ours in asked.items() if ours is not None and told[reference] is None]
        told |= zip(map(str, unread), await asyncio.gather(*map(self._look, unread)), strict=True)
        failed = [one for one in told.values() if isinstance(one, Unavailable)]
        if failed and len(failed) == len(told):
            raise failed[0]
        return {reference: one for reference, one in told.items() if isinstance(one, Seen | NotSeen)}

    def _told(self, ours: Reference | None) -> Seen | NotSeen | None:
        """By the watches. None: something of it has to be read."""
        if ours is None or self._submissions.dropped(ours):
            return NotSeen(True, "there is no such submission")
        known = self._objects.told(ours)
        return None if known is None or known.wants_pods else self._seen(ours, known)

    async def _look(self, ours: Reference) -> Seen | NotSeen | Unavailable:
        """One that can't be read keeps no other from being seen."""
        try:
            known = await self._objects.known(ours)
            if known.wants_pods:
                await self._objects.read_pods((ours, known))
        except Unavailable as error:
            log.warning("kubernetes_submission_not_read", site=self._site, reference=str(ours), reason=str(error))
            return error
        return self._seen(ours, known)

    def _seen(self, ours: Reference, known: Known) -> Seen | NotSeen:
        return known.seen(ours, self._pods.second, self._devices, self._settings.grace_seconds)

    async def changed(self, since: float | None) -> Sequence[str] | None:
        changed = self._submissions.changed()
        return None if since is None else changed

    async def news(self) -> None:
        await self._submissions.news.wait()
        self._submissions.news.clear()

    async def staged(self) -> Sequence[Staged]:
        await self._jobs.ready()
        return self._submissions.staged()

    async def read_log(self, reference: str, index: int, stream: str, offset: int, limit: int) -> LogBytes:
        """The kubelet keeps one log of both: all of it is stdout here, and stderr is empty. Of several nodes it is that of the first."""
        ours = Reference.parse(reference)
        if ours is None or stream not in ("stdout", "stderr"):
            raise FileNotFoundError(f"no {stream} of {reference}")
        known = self._submissions.get(ours)
        if known is None and stream == "stdout":
            with suppress(FileNotFoundError):
                return await self._outputs.read_kept(ours, index, offset, limit)
        if known is None:
            pods = await self._objects.list_pods(ours)
        else:
            await self._pods.ready()
            pods = [*known.pods.values()]
        mine = [pod for pod in pods if pod.index == index and pod.speaks and pod.started is not None]
        if not mine:
            raise FileNotFoundError(f"no output of {reference} yet")
        last = max(mine, key=lambda pod: pod.started or 0)
        if stream == "stderr":
            return LogBytes(b"", 0, 0, last.ended)
        return await self._outputs.read(last, offset, limit)

    async def books(self, start: datetime, end: datetime) -> Books:
        """Of the pods that the cluster still has: it keeps them for `keep_jobs_seconds`, and deleted ones not at all. Of several nodes
        a run of which a pod is missing is left out."""
        of_job: defaultdict[Reference, dict[str, Pod]] = defaultdict(dict)
        for pod in await self._reads.pods_of(self._site):
            of_job[pod.job][pod.uid] = pod
        whole = (pods for pods in of_job.values() if len(pods) >= next(iter(pods.values())).nodes)
        runs = [
            run
            for pods in whole
            for run in Known(gone=True, pods=pods).runs(self._rest.second, self._devices, self._settings.grace_seconds)
        ]
        return Books(tuple(row for run in runs for row in booked(run, start, end)), keeps_all=False)

    def _stream_log(self, pod: Pod, how: Mapping[str, str]) -> AbstractAsyncContextManager[httpx.Response]:
        silent = QUIET_SECONDS if how == FOLLOW else self._settings.timeout_seconds
        return self._rest.stream(f"{pod_path(pod)}/log", silent, container=TASK, **how)


@asynccontextmanager
async def open_site(context: SiteContext) -> AsyncIterator[KubernetesBackend]:
    """Check the settings and the secrets; the cluster itself may be away. Raises SiteRefused."""
    try:
        settings = Settings.model_validate(dict(context.settings))
    except ValidationError as error:
        raise SiteRefused(f"the site's settings are wrong: {said(error)}") from error
    rest = Rest(await asyncio.to_thread(connect, settings, context))
    devices = Devices(context.accelerators, settings.labels, settings.slices)
    try:
        with _folder(context) as folder:
            backend = KubernetesBackend(
                context.site, settings, devices, rest, folder, lasting=context.output is not None
            )
            async with backend.watching():
                yield backend
    finally:
        await rest.close()


@contextmanager
def _folder(context: SiteContext) -> Iterator[Path]:
    """For the site's output; without one of the agent's, for as long as it acts. Raises SiteRefused."""
    if context.output is None:
        with tempfile.TemporaryDirectory(prefix="caravan-output-") as folder:
            yield Path(folder)
        return
    folder_of_site = context.output / context.site
    try:
        folder_of_site.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SiteRefused(f"the agent's folder for output can't be used: {error.strerror}") from error
    yield folder_of_site
