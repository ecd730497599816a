"""What a test asks a cluster with, and the Jobs that it asks for."""

import ssl
from typing import Any

import httpx

from tests.backends.kubernetes.cluster import Cluster
from tests.backends.kubernetes.configuration import ADMIN
from tests.backends.kubernetes.image import BUSYBOX

JOBS = "/apis/batch/v1/namespaces/default/jobs"
PODS = "/api/v1/namespaces/default/pods"


def client(cluster: Cluster, user: str = ADMIN) -> httpx.AsyncClient:
    """Asks the apiserver as `user`."""
    return httpx.AsyncClient(
        base_url=cluster.url,
        headers=cluster.headers(user),
        verify=ssl.create_default_context(cafile=cluster.authority),
        timeout=60,
        trust_env=False,
    )


def job(name: str, *command: str, resources: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """A Job of one pod, which is tried once: `command` in busybox, with `resources` as its limits. `spec` is more of the pod's."""
    container = {"name": "main", "image": BUSYBOX, "command": command, "resources": {"limits": resources or {}}}
    pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container], **spec}
    return {"metadata": {"name": name}, "spec": {"backoffLimit": 0, "template": {"spec": pod}}}
