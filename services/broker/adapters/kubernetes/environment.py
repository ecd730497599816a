"""The environment of a task: what the job itself gives, and by what it's told which task it is. Pure."""

from typing import Any, Final

from caravan.contracts.dispatch import Submission
from services.broker.adapters.kubernetes.reference import INDEX, JOB_UID, OWN_INDEX, SITE
from services.broker.adapters.kubernetes.script import WORK

RESERVED: Final = frozenset(
    {
        "CARAVAN_ARRAY_INDEX", "CARAVAN_FIRST_NODE", "CARAVAN_JOB_UID", "CARAVAN_NODES", "CARAVAN_NODE_RANK", "CARAVAN_SITE",
        "CARAVAN_SUBMISSION", "JOB_COMPLETION_INDEX",
    }
)  # fmt: skip
"""Variables that say which task it is, whatever the job itself says of them."""


def own(submission: Submission) -> dict[str, str]:
    """The environment that the job itself gives: each name may be a ConfigMap's key, too."""
    return {name: value for name, value in submission.environment.items() if name not in RESERVED}


def told(submission: Submission, namespace: str, job: str) -> list[dict[str, Any]]:
    """As `env` of its container. `job`: the Job's name."""
    values = [{"name": name, "value": escaped(value)} for name, value in _values(submission).items()]
    return [*_where(submission, namespace, job), *values]


def gated(submission: Submission) -> bool:
    """Each pod has to be told its index of the array: Kubernetes only counts from 0, and there is no wrapper in a container."""
    indices = tuple(sorted(submission.indices))
    return submission.container is not None and len(indices) > 1 and indices != tuple(range(len(indices)))


def subdomain(job: str) -> str:
    """The name of the Service by which the nodes of one task find each other. Unlike a Job's, it begins with a letter."""
    return f"nodes-{job}"


def escaped(text: str) -> str:
    """As Kubernetes leaves it: `$(X)` of words and values is expanded, and `$$` is one `$`."""
    return text.replace("$", "$$")


def _where(submission: Submission, namespace: str, job: str) -> list[dict[str, Any]]:
    """Which task this is, and which of its nodes. The wrapper of a script says itself which index of the array it has; a container has no
    wrapper."""
    nodes = submission.resources.nodes
    where: list[dict[str, Any]] = [
        _field("CARAVAN_JOB_UID", "labels", JOB_UID),
        _field("CARAVAN_SITE", "annotations", SITE),
        {"name": "CARAVAN_SUBMISSION", "value": f"{namespace}.{job}.$(CARAVAN_JOB_UID)"},
        {"name": "CARAVAN_NODES", "value": str(nodes)},
    ]
    if nodes == 1:
        where += [{"name": "CARAVAN_NODE_RANK", "value": "0"}, {"name": "CARAVAN_FIRST_NODE", "value": "localhost"}]
    else:
        first = {"name": "CARAVAN_FIRST_NODE", "value": f"{job}-0.{subdomain(job)}"}
        where += [_field("CARAVAN_NODE_RANK", "labels", INDEX), first]
    if submission.container is None:
        return where
    if len(submission.indices) == 1:
        return [*where, {"name": "CARAVAN_ARRAY_INDEX", "value": str(submission.indices[0])}]
    place = ("annotations", OWN_INDEX) if gated(submission) else ("labels", INDEX)
    return [*where, _field("CARAVAN_ARRAY_INDEX", *place)]


def _field(name: str, where: str, key: str) -> dict[str, Any]:
    """A variable that has what the pod is marked with."""
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": f"metadata.{where}['{key}']"}}}


def _values(submission: Submission) -> dict[str, str]:
    home = {} if "HOME" in submission.environment else {"HOME": WORK}
    return home | {
        "CARAVAN_JOB": submission.job,
        "CARAVAN_ATTEMPT": submission.attempt,
        "CARAVAN_JOB_NAME": submission.name,
        "CARAVAN_CPUS": str(submission.grant.cpus),
        "CARAVAN_TASKS": str(submission.resources.tasks_per_node),
        "CARAVAN_MEMORY_MIB": str(submission.grant.memory_mib),
        "CARAVAN_WALLTIME_SECONDS": str(submission.resources.walltime_seconds),
    }
