"""How a submission is put at the cluster so that it can't start: its Job, suspended, and what goes with it."""

import secrets
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from caravan.contracts.dispatch import Submission
from caravan.kernel import clock
from services.broker.adapters.kubernetes import inventory, manifest, records
from services.broker.adapters.kubernetes.devices import Devices
from services.broker.adapters.kubernetes.failures import CONFLICT, GONE
from services.broker.adapters.kubernetes.objects import Objects, jobs_path
from services.broker.adapters.kubernetes.reads import BELIEVED_SECONDS, Reads
from services.broker.adapters.kubernetes.reference import QUEUE, Reference
from services.broker.adapters.kubernetes.rest import Rest, readable
from services.broker.adapters.kubernetes.settings import Settings, Target, Tenant, said
from services.broker.adapters.kubernetes.submissions import Submissions
from services.broker.adapters.port import Rejected, Unavailable

DEFAULTED: Final = (
    "the tenant's namespace has a queue of Kueue's named `default`, which takes Jobs before they are released: the centre has to name it "
    "otherwise"
)


class Staging:
    """Of one site."""

    def __init__(
        self,
        site: str,
        settings: Settings,
        devices: Devices,
        rest: Rest,
        reads: Reads,
        submissions: Submissions,
        objects: Objects,
    ) -> None:
        self._site = site
        self._settings = settings
        self._devices = devices
        self._rest = rest
        self._reads = reads
        self._submissions = submissions
        self._objects = objects
        self._tried: dict[str, float] = {}
        """Namespaces in which a Job stays as it is staged, and when that was seen."""

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
        path = jobs_path(tenant.namespace)
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
            await self._objects.delete(job.reference, None)
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
        nodes = await self._reads.believed_nodes()
        grant = submission.grant
        device = self._devices.get(grant.accelerator) if grant.accelerator and grant.accelerators else None
        named = str(device) if device is not None else None
        (container,) = body["spec"]["template"]["spec"]["containers"]
        reason = inventory.why_not(grant, named, target.node_selector, nodes)
        reason = reason or await self._reads.why_not(namespace, container["resources"]["requests"])
        if reason is not None:
            raise Rejected(reason)
