"""The site's Jobs and pods at its cluster, one by one: looked up where the watches haven't told of them, and changed as `acts.py` says."""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from services.broker.adapters.kubernetes import acts, records
from services.broker.adapters.kubernetes.failures import CONFLICT, GONE, INVALID, failure
from services.broker.adapters.kubernetes.known import Known
from services.broker.adapters.kubernetes.records import Pod
from services.broker.adapters.kubernetes.reference import JOB_UID, Reference
from services.broker.adapters.kubernetes.rest import Answer, Rest, readable
from services.broker.adapters.kubernetes.submissions import Submissions
from services.broker.adapters.port import Rejected, Unavailable

AT_ONCE: Final = 8
LISTED_TOGETHER: Final = 50
"""Submissions whose pods are asked for by one question: their uids stand in its address."""


class Objects:
    """Of one site. `submissions` hear of all that is read."""

    def __init__(self, site: str, rest: Rest, submissions: Submissions) -> None:
        self._site = site
        self._rest = rest
        self._submissions = submissions
        self._slots = asyncio.Semaphore(AT_ONCE)

    def told(self, ours: Reference) -> Known | None:
        """What the watches know of it. None: they haven't told of its Job, nor that it's gone."""
        known = self._submissions.get(ours)
        return None if known is None or (known.job is None and not known.gone) else known

    async def known(self, ours: Reference) -> Known:
        """As the watches told, or else as it's read. Raises Unavailable."""
        return self.told(ours) or await self.read(ours)

    async def read(self, ours: Reference) -> Known:
        """What isn't known from the watches: staged elsewhere a moment ago, or gone. Raises Unavailable.

        By a list: what we may list of the whole cluster goes on with a tenant's namespace, what we may get there doesn't."""
        answer = await self._in_turn(
            self._rest.read(jobs_path(ours.namespace), fieldSelector=f"metadata.name={ours.name}")
        )
        content = answer.read()
        with readable():
            jobs = [records.job(item) for item in content["items"]]
        for job in jobs:
            if job.reference == ours and job.site == self._site:
                self._submissions.take_job(job)
                return self._submissions.of(ours)
        known = self._submissions.get(ours) or Known()
        known.gone = True
        await self.read_pods((ours, known))
        return self._submissions.get(ours) or known

    async def read_pods_of(self, asked: Iterable[Reference]) -> None:
        """Together, where they are wanted. What can't be read now is left to be read alone."""
        found = ((ours, self._submissions.get(ours)) for ours in asked)
        with suppress(Unavailable):
            await self.read_pods(*((ours, known) for ours, known in found if known is not None and known.wants_pods))

    async def read_pods(self, *of: tuple[Reference, Known]) -> None:
        """Of submissions that can have no more of them. Raises Unavailable."""
        for pod in await self.list_pods(*(ours for ours, _ in of)):
            self._submissions.take_pod(pod)
        for ours, known in of:
            known.pods_read = True
            if known.gone and known.pods:
                self._submissions.lose_job(ours)

    async def list_pods(self, *of: Reference) -> list[Pod]:
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

    async def act(self, method: str, ours: Reference, body: Mapping[str, Any], kind: str) -> Answer:
        """On the Job. Where its namespace was deleted our rights in it went too, and the server says 403 of what is gone: so of that it's
        looked whether it is. Raises Unavailable, OutcomeUnknown."""
        answer = await self._rest.act(method, _job_path(ours), body, kind)
        if answer.lacks_rights and (await self.read(ours)).gone:
            return Answer(None, failure(GONE, None))
        return answer

    async def delete(self, ours: Reference, version: int | None) -> bool:
        """False: it has changed since it had this version, or was gone before. Raises Unavailable, OutcomeUnknown."""
        answer = await self.act("DELETE", ours, acts.delete(ours, version), "application/json")
        if answer.is_a(GONE, CONFLICT):
            return False
        done(answer)
        self._submissions.lose_job(ours)
        return True

    async def patch_pod(self, pod: Pod, patch: Mapping[str, Any], kind: str) -> None:
        """Of a pod that is gone nothing is changed. Raises Unavailable, OutcomeUnknown."""
        answer = await self._in_turn(self._rest.act("PATCH", pod_path(pod), patch, kind))
        if answer.lacks_rights and pod.uid not in {one.uid for one in await self.list_pods(pod.job)}:
            return
        done(answer, GONE, INVALID, CONFLICT)

    async def _in_turn(self, asked: Awaitable[Any]) -> Any:
        async with self._slots:
            return await asked


def jobs_path(namespace: str) -> str:
    return f"apis/batch/v1/namespaces/{namespace}/jobs"


def _job_path(reference: Reference) -> str:
    return f"{jobs_path(reference.namespace)}/{reference.name}"


def pod_path(pod: Pod) -> str:
    return f"api/v1/namespaces/{pod.job.namespace}/pods/{pod.name}"


def done(answer: Answer, *fine: int) -> None:
    """Of an act that can't be about the job's own faults. Raises Unavailable, OutcomeUnknown."""
    if answer.failed is not None and not answer.is_a(*fine):
        error = answer.failed.of_act()
        raise Unavailable(str(error)) if isinstance(error, Rejected) else error
