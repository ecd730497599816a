"""The port's Backend over one cluster's API server."""

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator, Awaitable, Collection, Iterator, Mapping, Sequence
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
from services.broker.adapters.kubernetes import acts, health, inventory, manifest, queues, reasons, records
from services.broker.adapters.kubernetes.connection import connect
from services.broker.adapters.kubernetes.copies import FOLLOW
from services.broker.adapters.kubernetes.devices import Devices
from services.broker.adapters.kubernetes.failures import CONFLICT, GONE, INVALID, failure
from services.broker.adapters.kubernetes.inventory import Node
from services.broker.adapters.kubernetes.known import Known, Submissions
from services.broker.adapters.kubernetes.outputs import Outputs
from services.broker.adapters.kubernetes.reads import BELIEVED_SECONDS, Reads
from services.broker.adapters.kubernetes.records import Pod
from services.broker.adapters.kubernetes.reference import JOB_UID, QUEUE, SITE, TASK, Reference
from services.broker.adapters.kubernetes.rest import MERGE, STRATEGIC, Answer, Rest, readable
from services.broker.adapters.kubernetes.settings import Settings, Target, Tenant, said
from services.broker.adapters.kubernetes.watch import Watch
from services.broker.adapters.port import (
    BackendError,
    LogBytes,
    NotSeen,
    OutcomeUnknown,
    Rejected,
    Seen,
    SiteContext,
    SiteRefused,
    Staged,
    Unavailable,
)

log = get_logger(__name__)

JOBS: Final = "apis/batch/v1/jobs"
PODS: Final = "api/v1/pods"
EVENTS: Final = "api/v1/events"
NO_PODS: Final = {"fieldSelector": "involvedObject.kind=Job,reason=FailedCreate"}
"""Events by which the Job controller says that it can't make pods: nothing else does."""
TEND_SECONDS: Final = 1.0
"""Between looks for pods that wait for their index, or for what they will never get."""
CLOCK_SECONDS: Final = 5.0
"""How long the server's clock is gone on with, from one answer to the next."""
DISCARD_TRIES: Final = 5
"""The Job controller writes a Job's status a moment after it was staged."""
PLACES_SECONDS: Final = 10.0
"""Between tellings of places in Kueue's queues."""
AT_ONCE: Final = 8
LISTED_TOGETHER: Final = 50
"""Submissions whose pods are asked for by one question: their uids stand in its address."""
HOLD_SECONDS: Final = 2.0
"""A cancel waits so long for the output of what runs, which ends with its pods."""
KEEP_SECONDS: Final = 10.0
"""What is forgotten waits so long for its output to be copied. Where some is late its Job stays at the cluster for as long as output is
kept here."""
QUIET_SECONDS: Final = 600.0
"""A program may write nothing for so long, and its log is still followed by the same request."""
DEFAULTED: Final = (
    "the tenant's namespace has a queue of Kueue's named `default`, which takes Jobs before they are released: the centre has to name it "
    "otherwise"
)


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
        self._reads = Reads(rest)
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
        self._tried: dict[str, float] = {}
        """Namespaces in which a Job stays as it is staged, and when that was seen."""
        self._nodes: tuple[Node, ...] = ()
        self._nodes_at = float("-inf")
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._watching: asyncio.Task[None] | None = None
        self._loops = Loops(CollectorRegistry())
        self._stuck_since: dict[str, float] = {}
        """Pods that may wait for ever: by uid."""

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Inside, the cluster is watched."""
        task = self._watching = asyncio.create_task(self._watch(), name=f"watch:{self._site}")
        self._loops.start("tend", self._tend)
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

    async def _tend(self) -> float:
        """Tell pods their index where they wait for that. End those whose image can't be had, or whose container can't be made, once they
        have waited for that long enough."""
        at = clock.monotonic()
        gated = self._submissions.gated()
        await asyncio.gather(*(self._try_on(pod, acts.number_pod(pod.uid, pod.index), STRATEGIC) for pod in gated))
        stuck = {pod.uid: pod for pod in self._submissions.stuck()}
        self._stuck_since = {uid: self._stuck_since.get(uid, at) for uid in stuck}
        for uid, pod in stuck.items():
            if at - self._stuck_since[uid] >= self._settings.image_seconds:
                await self._try_on(pod, acts.end_pod(uid, reasons.given_up(pod.waits, pod.said)), MERGE)
        return TEND_SECONDS

    async def _tell_places(self, workloads: Watch) -> float:
        """The place of what waits in Kueue's queues, wherever one has moved: a job moves by what happens to others, so that of a quick
        queue each job would be news all the time. A new place is news only now and then, rounded, and what else is told goes with it."""
        if self._submissions.lines.moved:
            with suppress(Unavailable):
                await workloads.ready()
                self._submissions.tell_places(await self._reads.behind())
        return PLACES_SECONDS

    async def _try_on(self, pod: Pod, patch: Mapping[str, Any], kind: str) -> None:
        """What doesn't come about now does the next time."""
        try:
            await self._patch_pod(pod, patch, kind)
        except BackendError as error:
            log.warning("kubernetes_pod_not_changed", site=self._site, pod=pod.name, reason=str(error))

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
        nodes, limits = await self._read_nodes(), await self._reads.quotas(self._settings.queue)
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
            await self._believed_nodes(),
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
        """The Job first, which owns all else: whatever is left behind goes with it."""
        try:
            tenant = Tenant.model_validate(submission.tenant_settings)
            target = Target.model_validate(submission.target)
        except ValidationError as error:
            raise Rejected(f"the mapping of the tenant or the offering's target is wrong: {said(error)}") from error
        nonce = secrets.token_hex(4)
        body = manifest.job(submission, nonce, self._site, self._settings, tenant, self._devices)
        await self._check(submission, target, tenant.namespace, body)
        path = _jobs(tenant.namespace)
        await self._try(path, body)
        answer = await self._rest.act("POST", path, body, fieldValidation="Strict")
        if answer.lacks_rights:
            # seen on 1.34: so says an API server, too, that has just started and hasn't read who may do what
            if not await self._rest.ready():
                raise Unavailable("the API server is not ready yet")
            answer = await self._rest.act("POST", path, body, fieldValidation="Strict")
        if answer.is_a(GONE):
            raise Rejected(f"the tenant's namespace {tenant.namespace} isn't there: the centre has to make it")
        if answer.lacks_rights:
            raise Rejected(
                f"the platform may make no Jobs in the tenant's namespace {tenant.namespace}: the centre has to allow it"
            )
        if answer.failed is not None:
            raise answer.failed.of_act()
        with readable():
            job = records.job(answer.content)
        if job.queue:
            await self._delete(job.reference, None)
            raise Rejected(DEFAULTED)
        for files in manifest.files(submission, job.reference):
            await self._add("configmaps", job.reference, files)
        await self._add("services", job.reference, manifest.service(submission, job.reference))
        self._submissions.take_job(job)
        return str(job.reference)

    async def _try(self, path: str, body: Mapping[str, Any]) -> None:
        """Kueue gives Jobs that name no queue the one named `default`, where a namespace has it, and then might start what is staged
        before anybody could delete it: so each namespace is tried now and then by what stays a trial. Raises Rejected, Unavailable,
        OutcomeUnknown; whatever else is wrong is for who stages in earnest to find."""
        if clock.monotonic() - self._tried.get(path, float("-inf")) < BELIEVED_SECONDS:
            return
        answer = await self._rest.act("POST", path, body, dryRun="All")
        if answer.failed is not None:
            return
        with readable():
            defaulted = QUEUE in answer.content["metadata"]["labels"]
        if defaulted:
            raise Rejected(DEFAULTED)
        self._tried[path] = clock.monotonic()

    async def _add(self, kind: str, reference: Reference, body: Mapping[str, Any] | None) -> None:
        """What the Job owns, if there is any. Raises Rejected, Unavailable, OutcomeUnknown."""
        if body is None:
            return
        answer = await self._rest.act("POST", f"api/v1/namespaces/{reference.namespace}/{kind}", body)
        if answer.failed is not None and not answer.is_a(CONFLICT):
            raise answer.failed.of_act()

    async def _check(self, submission: Submission, target: Target, namespace: str, body: Mapping[str, Any]) -> None:
        """What Kubernetes would take now and never start. Raises Rejected, Unavailable."""
        nodes = await self._believed_nodes()
        grant = submission.grant
        device = self._devices.get(grant.accelerator) if grant.accelerator and grant.accelerators else None
        named = str(device) if device is not None else None
        (container,) = body["spec"]["template"]["spec"]["containers"]
        reason = inventory.why_not(grant, named, target.node_selector, nodes)
        reason = reason or await self._reads.why_not(namespace, container["resources"]["requests"])
        if reason is not None:
            raise Rejected(reason)

    async def _believed_nodes(self) -> tuple[Node, ...]:
        if clock.monotonic() - self._nodes_at >= BELIEVED_SECONDS:
            await self._read_nodes()
        return self._nodes

    async def _read_nodes(self) -> tuple[Node, ...]:
        self._nodes = await self._reads.nodes(self._devices)
        self._nodes_at = clock.monotonic()
        return self._nodes

    async def release(self, reference: str) -> None:
        ours = Reference.parse(reference)
        if ours is None or self._submissions.dropped(ours):
            raise Rejected("there is no such submission, or it was discarded")
        known = self._submissions.get(ours)
        if known is None or (known.job is None and not known.gone):
            known = await self._read(ours)
        if known.gone or known.job is None:
            raise Rejected("there is no such submission, or it was cancelled before it was released")
        if known.job.released:
            return
        answer = await self._act("PATCH", ours, acts.release(ours, known.job.wanted), MERGE)
        # 422: another Job has its name
        if answer.is_a(GONE, INVALID, CONFLICT):
            raise Rejected("there is no such submission, or it was cancelled before it was released")
        if answer.failed is not None:
            raise answer.failed.of_act()
        with readable():
            self._submissions.take_job(records.job(answer.content))

    async def cancel(self, reference: str) -> None:
        ours = Reference.parse(reference)
        if ours is None or self._submissions.dropped(ours):
            return
        known = self._submissions.get(ours)
        if known is None or known.job is None:
            known = await self._read(ours)
        if not known.over:
            await self._outputs.hold(known.pods.values(), HOLD_SECONDS)
            if await self._delete(ours, None):
                return
            known = await self._read(ours)
        await self._end_pods(ours, known)

    async def _end_pods(self, ours: Reference, known: Known) -> None:
        """Whoever deletes a Job may leave its pods to run on. Raises Unavailable, OutcomeUnknown."""
        if not known.complete:
            await self._read_pods((ours, known))
        left = [pod for pod in known.pods.values() if not pod.ended and pod.deleted is None]
        await asyncio.gather(*(self._patch_pod(pod, acts.end_pod(pod.uid, reasons.CANCELLED), MERGE) for pod in left))

    async def discard(self, reference: str) -> None:
        """Nobody releases what wasn't committed. What is staged by a look at it is deleted only if nothing of it has changed since: where
        something has, it's looked at again."""
        ours = Reference.parse(reference)
        if ours is None or self._submissions.dropped(ours):
            return
        for _ in range(DISCARD_TRIES):
            known = await self._read(ours)
            if known.released:
                return
            if known.gone or known.job is None or await self._delete(ours, known.job.version):
                self._submissions.drop(ours)
                return
        raise OutcomeUnknown("the Job changed each time that it was to be deleted")

    async def _delete(self, ours: Reference, version: int | None) -> bool:
        """False: it has changed since it had this version, or was gone before. Raises Unavailable, OutcomeUnknown."""
        answer = await self._act("DELETE", ours, acts.delete(ours, version), "application/json")
        if answer.is_a(GONE, CONFLICT):
            return False
        _done(answer)
        self._submissions.lose_job(ours)
        return True

    async def observe(self, references: Sequence[str]) -> Mapping[str, Seen | NotSeen]:
        if self._watching is None or self._watching.done():
            raise Unavailable("the cluster isn't watched any more: this is a fault of the adapter")
        await asyncio.gather(self._jobs.ready(), self._pods.ready())
        await self._read_pods_of(references)
        told = dict(zip(references, await asyncio.gather(*map(self._try_observe, references)), strict=True))
        failed = [one for one in told.values() if isinstance(one, Unavailable)]
        if failed and len(failed) == len(told):
            raise failed[0]
        return {reference: one for reference, one in told.items() if not isinstance(one, Unavailable)}

    async def _try_observe(self, reference: str) -> Seen | NotSeen | Unavailable:
        """One that can't be read keeps no other from being seen."""
        try:
            return await self._observe(reference)
        except Unavailable as error:
            log.warning("kubernetes_submission_not_read", site=self._site, reference=reference, reason=str(error))
            return error

    async def _observe(self, reference: str) -> Seen | NotSeen:
        ours = Reference.parse(reference)
        if ours is None or self._submissions.dropped(ours):
            return NotSeen(True, "there is no such submission")
        known = self._submissions.get(ours)
        if known is None or (known.job is None and not known.gone):
            known = await self._read(ours)
        if known.wants_pods:
            await self._read_pods((ours, known))
        return known.seen(ours, self._pods.second, self._devices, self._settings.grace_seconds)

    async def _read(self, ours: Reference) -> Known:
        """What isn't known from the watches: staged elsewhere a moment ago, or gone. Raises Unavailable.

        By a list: what we may list of the whole cluster goes on with a tenant's namespace, what we may get there doesn't."""
        answer = await self._in_turn(self._rest.read(_jobs(ours.namespace), fieldSelector=f"metadata.name={ours.name}"))
        content = answer.read()
        with readable():
            jobs = [records.job(item) for item in content["items"]]
        for job in jobs:
            if job.reference == ours and job.site == self._site:
                self._submissions.take_job(job)
                return self._submissions.of(ours)
        known = self._submissions.get(ours) or Known()
        known.gone = True
        await self._read_pods((ours, known))
        return self._submissions.get(ours) or known

    async def _read_pods_of(self, references: Sequence[str]) -> None:
        """Together, where they are wanted. What can't be read now is left to be read alone."""
        parsed = [ours for reference in references if (ours := Reference.parse(reference)) is not None]
        of = [
            (ours, known) for ours in parsed if (known := self._submissions.get(ours)) is not None and known.wants_pods
        ]
        with suppress(Unavailable):
            await self._read_pods(*of)

    async def _read_pods(self, *of: tuple[Reference, Known]) -> None:
        """Of submissions that can have no more of them. Raises Unavailable."""
        for pod in await self._list_pods(*(ours for ours, _ in of)):
            self._submissions.take_pod(pod)
        for ours, known in of:
            known.pods_read = True
            if known.gone and known.pods:
                self._submissions.lose_job(ours)

    async def _list_pods(self, *of: Reference) -> list[Pod]:
        """In one question for many: the API server looks at all pods of a namespace to find some. Raises Unavailable."""
        uids: dict[str, list[str]] = {}
        for ours in of:
            uids.setdefault(ours.namespace, []).append(ours.uid)
        asked = [
            self._rest.read(f"api/v1/namespaces/{namespace}/pods", labelSelector=f"{JOB_UID} in ({','.join(some)})")
            for namespace, all_uids in uids.items()
            for some in (all_uids[at : at + LISTED_TOGETHER] for at in range(0, len(all_uids), LISTED_TOGETHER))
        ]
        contents = [answer.read() for answer in await asyncio.gather(*map(self._in_turn, asked))]
        with readable():
            return [records.pod(item) for content in contents for item in content["items"]]

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
        pods = [*known.pods.values()] if known is not None else await self._list_pods(ours)
        mine = [pod for pod in pods if pod.index == index and pod.speaks and pod.started is not None]
        if not mine:
            raise FileNotFoundError(f"no output of {reference} yet")
        last = max(mine, key=lambda pod: pod.started or 0)
        if stream == "stderr":
            return LogBytes(b"", 0, 0, last.ended)
        return await self._outputs.read(last, offset, limit)

    def _stream_log(self, pod: Pod, how: Mapping[str, str]) -> AbstractAsyncContextManager[httpx.Response]:
        silent = QUIET_SECONDS if how == FOLLOW else self._settings.timeout_seconds
        return self._rest.stream(f"{_pod(pod)}/log", silent, container=TASK, **how)

    async def forget(self, reference: str) -> None:
        """The finalizers of its pods go. What has ended by itself stays at the cluster for a while, unwatched, and what was cancelled goes
        at once. The output of both is kept before, where the agent has a folder for it.

        No finalizer may be left behind: where the watch may not have told of all its pods, they are listed."""
        ours = Reference.parse(reference)
        if ours is None or self._submissions.dropped(ours):
            return
        known = self._submissions.get(ours)
        told = known is not None and known.complete and self._pods.well
        pods = [*known.pods.values()] if known is not None and told else await self._list_pods(ours)
        kept = self._outputs.lasting and await self._keep(pods)
        stays = self._settings.keep_jobs_seconds if kept else self._settings.stays_seconds
        if known is None or not known.gone:
            answer = await self._act("PATCH", ours, acts.forget(ours, stays), MERGE)
            _done(answer, GONE, INVALID, CONFLICT)
        await asyncio.gather(*(self._patch_pod(pod, acts.forget_pod(pod.uid), STRATEGIC) for pod in pods))
        self._submissions.drop(ours)

    async def _keep(self, pods: Collection[Pod]) -> bool:
        """Whether all of their output is kept by now. What is late goes on being copied."""
        try:
            return await asyncio.wait_for(self._outputs.keep(pods), KEEP_SECONDS)
        except TimeoutError:
            log.warning("kubernetes_logs_late", site=self._site, pods=len(pods))
            return False

    async def _patch_pod(self, pod: Pod, patch: Mapping[str, Any], kind: str) -> None:
        """Of a pod that is gone nothing is changed. Raises Unavailable, OutcomeUnknown."""
        answer = await self._in_turn(self._rest.act("PATCH", _pod(pod), patch, kind))
        if answer.lacks_rights and pod.uid not in {one.uid for one in await self._list_pods(pod.job)}:
            return
        _done(answer, GONE, INVALID, CONFLICT)

    async def _act(self, method: str, ours: Reference, body: Mapping[str, Any], kind: str) -> Answer:
        """On the Job. Where its namespace was deleted our rights in it went too, and the server says 403 of what is gone: so of that it's
        looked whether it is. Raises Unavailable, OutcomeUnknown."""
        answer = await self._rest.act(method, _job(ours), body, kind)
        if answer.lacks_rights and (await self._read(ours)).gone:
            return Answer(None, failure(GONE, None))
        return answer

    async def _in_turn(self, asked: Awaitable[Any]) -> Any:
        async with self._slots:
            return await asked


def _jobs(namespace: str) -> str:
    return f"apis/batch/v1/namespaces/{namespace}/jobs"


def _job(reference: Reference) -> str:
    return f"{_jobs(reference.namespace)}/{reference.name}"


def _pod(pod: Pod) -> str:
    return f"api/v1/namespaces/{pod.job.namespace}/pods/{pod.name}"


def _done(answer: Answer, *fine: int) -> None:
    """Of an act that can't be about the job's own faults. Raises Unavailable, OutcomeUnknown."""
    if answer.failed is not None and not answer.is_a(*fine):
        error = answer.failed.of_act()
        raise Unavailable(str(error)) if isinstance(error, Rejected) else error


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
