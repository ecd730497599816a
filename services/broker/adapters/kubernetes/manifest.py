"""From a Submission to the objects that stage it: a suspended Job, and the ConfigMaps with its script and its environment. Pure."""

import json
from collections.abc import Mapping
from typing import Any, Final

from caravan.contracts.dispatch import Submission
from services.broker.adapters.kubernetes import environment, script
from services.broker.adapters.kubernetes.devices import Devices
from services.broker.adapters.kubernetes.grant import limit_seconds
from services.broker.adapters.kubernetes.reference import (
    HELD,
    INDICES,
    JOB_UID,
    KEPT,
    NODES,
    OWN_INDEX,
    SITE,
    TAG,
    TASK,
    WANTED,
    Reference,
    ranges,
)
from services.broker.adapters.kubernetes.settings import Settings, Target, Tenant, Toleration
from services.broker.adapters.port import Rejected

PULL: Final = {"always": "Always", "if_missing": "IfNotPresent"}
"""Of images that jobs name; which image a script runs in is the centre's to say. A node that has an image would else run it for whoever
names it, as it asks for no credentials then: another tenant's private one, too, and also where an offering names no secret. To ask the
registry costs a request for each pod, since nothing that the node has is pulled again (kubernetes.io, Images, "Image pull policy")."""
INDICES_BYTES: Final = 65_536
"""Each pod of an array carries them in an annotation; all annotations of an object have 256 KiB together."""
PODS_BYTES: Final = 64 * 2**20
"""Of one Job: the cluster keeps all its pods until it was billed, and each has all that the template has. A 32nd of what etcd takes before
it refuses every write to the cluster, if nobody has given it more: 2 GiB (etcd.io, System limits)."""


def job(
    submission: Submission, nonce: str, site: str, settings: Settings, tenant: Tenant, devices: Devices
) -> dict[str, Any]:
    """The body of `POST jobs`. `nonce`: 8 hexadecimal digits of this staging's own.

    The queue that it is for stands in an annotation: had it the label, Kueue might start it before it is released.

    One pod for each index at a time: one that fails ends its index and no other (`backoffLimitPerIndex`), and is only replaced, if
    somebody resumes what was suspended, once it has ended. Of a task with several nodes each is a pod, all at once, and one that fails
    ends the others (`backoffLimit`). The time limit is the pod's and not the Job's, which would delete the pod
    with its log. Raises Rejected.
    """
    target = Target.model_validate(submission.target)
    marks = {SITE: site, TAG: submission.tag}
    indices = ranges(submission.indices)
    if len(indices) > INDICES_BYTES:
        raise Rejected("the array's indexes lie too far apart: as ranges they have more than 65,536 characters")
    nodes, tasks = submission.resources.nodes, len(submission.indices)
    if nodes > 1 < tasks:
        raise Rejected("tasks of an array have one node each here")
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": limit_seconds(submission.resources, settings),
        "terminationGracePeriodSeconds": settings.grace_seconds,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": target.pod_security,
        "volumes": [_work(tenant)],
        "containers": [_container(submission, nonce, settings, tenant, target, devices)],
    }
    if submission.script is not None:
        files = {"name": _name(submission, nonce), "defaultMode": 0o444}
        spec["volumes"].append({"name": "job", "configMap": files})
    if nodes > 1:
        spec["subdomain"] = environment.subdomain(_name(submission, nonce))
    if environment.gated(submission):
        spec["schedulingGates"] = [{"name": OWN_INDEX}]
    selector = target.node_selector | _selector(submission, devices)
    wanted = {
        "nodeSelector": selector,
        "tolerations": [toleration(one) for one in target.tolerations],
        "priorityClassName": target.priority_class,
        "runtimeClassName": target.runtime_class,
        "serviceAccountName": target.service_account,
        "imagePullSecrets": [{"name": name} for name in target.image_pull_secrets],
    }
    spec |= {name: value for name, value in wanted.items() if value}
    template = {
        "metadata": {
            "labels": marks | ({NODES: str(nodes)} if nodes > 1 else {}),
            "annotations": {INDICES: indices, SITE: site} | _held(submission),
            "finalizers": [KEPT],
        },
        "spec": spec,
    }
    _must_fit(template, nodes * tasks)
    failures = {"backoffLimit": 0} if nodes > 1 else {"backoffLimitPerIndex": 0}
    queue = target.queue or settings.queue
    notes = {INDICES: indices, "caravan/job": submission.job, "caravan/name": submission.name}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": _name(submission, nonce),
            "namespace": tenant.namespace,
            "labels": marks,
            "annotations": notes | ({WANTED: queue} if queue else {}),
        },
        "spec": {
            "suspend": True,
            "completionMode": "Indexed",
            "completions": nodes * tasks,
            "parallelism": nodes * min(submission.max_parallel, tasks),
            **failures,
            "podReplacementPolicy": "Failed",
            "template": template,
        },
    }


def files(submission: Submission, reference: Reference) -> list[dict[str, Any]]:
    """Bodies of `POST configmaps`: the script and the environment, as far as there are any, of a Job that is there already, and with which
    they go. All its pods read the same ones."""
    made: dict[str, dict[str, str]] = {}
    if submission.script is not None:
        wrapper = script.wrapper(submission.script, ranges(submission.indices))
        made[reference.name] = {"run": wrapper, "script": submission.script}
    if own := environment.own(submission):
        made[_variables(reference.name)] = own
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _of(reference, name), "data": data}
        for name, data in made.items()
    ]


def service(submission: Submission, reference: Reference) -> dict[str, Any] | None:
    """The body of `POST services`: by it the nodes of one task find each other, ready or not. Also the Job's. None: it has one node."""
    if submission.resources.nodes == 1:
        return None
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _of(reference, environment.subdomain(reference.name)),
        "spec": {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": {JOB_UID: reference.uid}},
    }


def _of(reference: Reference, name: str) -> dict[str, Any]:
    """The metadata of what goes with the Job."""
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": reference.name, "uid": reference.uid}
    return {"name": name, "namespace": reference.namespace, "ownerReferences": [owner]}


def toleration(asked: Toleration) -> dict[str, str]:
    return asked.model_dump(exclude_none=True)


def _name(submission: Submission, nonce: str) -> str:
    return f"{submission.tag}-{nonce}"


def _variables(job: str) -> str:
    return f"{job}-environment"


def _must_fit(template: Mapping[str, Any], pods: int) -> None:
    """Raises Rejected."""
    size = len(json.dumps(template, ensure_ascii=False).encode()) * pods
    if size > PODS_BYTES:
        raise Rejected(
            f"the cluster would keep {-(-size // 2**20)} MiB of the {pods} pods of this job, and may keep {PODS_BYTES >> 20} MiB: "
            "give an array of fewer indexes, or of such that follow each other, or fewer words in the container's command and args"
        )


def _work(tenant: Tenant) -> dict[str, Any]:
    if tenant.claim is None:
        return {"name": "work", "emptyDir": {}}
    return {"name": "work", "persistentVolumeClaim": {"claimName": tenant.claim}}


def _container(
    submission: Submission, nonce: str, settings: Settings, tenant: Tenant, target: Target, devices: Devices
) -> dict[str, Any]:
    resources = _resources(submission, settings, devices)
    mounts = [{"name": "work", "mountPath": script.WORK}]
    job = _name(submission, nonce)
    shared = {
        "name": TASK,
        "workingDir": script.WORK,
        "env": environment.told(submission, tenant.namespace, job),
        # nothing in it is expanded, and what `env` has goes before it
        "envFrom": [{"configMapRef": {"name": _variables(job)}}] if environment.own(submission) else [],
        "resources": {"requests": resources, "limits": resources},
        "securityContext": target.container_security,
    }
    if submission.container is None:
        image = target.image or settings.image
        if image is None:
            raise Rejected("neither the offering nor the site says which image scripts run in")
        mounts.append({"name": "job", "mountPath": script.FOLDER})
        return {**shared, "image": image, "command": ["/bin/sh", f"{script.FOLDER}/run"], "volumeMounts": mounts}
    if settings.images is None or not submission.container.among(settings.images):
        raise Rejected("the site's settings don't have containers of this image run")
    words = {"command": submission.container.command, "args": submission.container.args}
    image = submission.container.image.removeprefix("docker://")
    said = {name: [environment.escaped(word) for word in told] for name, told in words.items() if told}
    return {**shared, "image": image, "imagePullPolicy": PULL[settings.pull_images], **said, "volumeMounts": mounts}


def _resources(submission: Submission, settings: Settings, devices: Devices) -> dict[str, str]:
    """Of one node. What is asked for is what is allowed: nothing is shared with others, and nothing is billed that wasn't held.

    The kubelet holds against the limit of disk all that the pod writes, in its working folder, too, where that is an emptyDir.
    """
    grant = submission.grant
    asked = {"cpu": str(grant.cpus // grant.nodes), "memory": f"{grant.memory_mib // grant.nodes}Mi"}
    if settings.disk_mib is not None:
        asked["ephemeral-storage"] = f"{settings.disk_mib}Mi"
    if not grant.accelerators:
        return asked
    kind = grant.accelerator
    if kind is None or devices.get(kind) is None:
        raise Rejected(f"the site doesn't say what its cluster calls the accelerator {kind}")
    return asked | {
        name: str(count) for name, count in devices.resources(kind, grant.accelerators // grant.nodes).items()
    }


def _held(submission: Submission) -> dict[str, str]:
    """What a pod has is said on it, and stays: what the site calls its accelerators may change while it runs."""
    grant = submission.grant
    return {HELD: f"{grant.accelerators // grant.nodes} {grant.accelerator}"} if grant.accelerators else {}


def _selector(submission: Submission, devices: Devices) -> dict[str, str]:
    kind = submission.grant.accelerator
    if not submission.grant.accelerators or kind is None:
        return {}
    try:
        return devices.selector(kind)
    except KeyError as missing:
        raise Rejected(f"the site doesn't say which label of a node names the model of {missing}") from None
