"""A centre's part of what a tenant needs at a cluster: a namespace, and a volume that all its pods may write to."""

import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError

from caravan.kernel import ids
from tests.backends.kubernetes import Cluster

READY_SECONDS: Final = 30
RESTRICTED: Final = {"pod-security.kubernetes.io/enforce": "restricted"}


def namespace(cluster: Cluster, name: str) -> str:
    """A namespace that takes pods of the profile `restricted` alone, and is ready for them. It may be there already."""
    with suppress(HTTPError):
        cluster.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": RESTRICTED}})
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    _until(lambda: cluster.ask("GET", account), f"{account} is there")
    return name


def tenant(cluster: Cluster, name: str) -> dict[str, Any]:
    """A tenant's settings: the namespace, and a claim of its own on a folder of this machine that is empty yet."""
    namespace(cluster, name)
    folder = Path(tempfile.mkdtemp(prefix="work-", dir=cluster.folder))
    folder.chmod(0o777)
    claim = f"work-{ids.bare(ids.new('own'))}"
    size, modes = {"storage": "1Gi"}, ["ReadWriteMany"]
    volume = {
        "capacity": size, "accessModes": modes, "hostPath": {"path": str(folder), "type": "Directory"},
        "claimRef": {"namespace": name, "name": claim},
    }  # fmt: skip
    cluster.ask("POST", "/api/v1/persistentvolumes", {"metadata": {"name": claim}, "spec": volume})
    asked = {"accessModes": modes, "storageClassName": "", "volumeName": claim, "resources": {"requests": size}}
    claims = f"/api/v1/namespaces/{name}/persistentvolumeclaims"
    cluster.ask("POST", claims, {"metadata": {"name": claim}, "spec": asked})
    _until(lambda: _bound(cluster, f"{claims}/{claim}"), f"the claim {claim} is bound")
    return {"namespace": name, "claim": claim}


def _bound(cluster: Cluster, claim: str) -> bool:
    """Where several controllers write to a claim at once the one that binds it gives up, and looks again after 15 s or when it changes."""
    change = {"metadata": {"annotations": {"caravan.test/looked-at": str(time.monotonic())}}}
    found = cluster.ask("PATCH", claim, change, "application/merge-patch+json")
    return bool(found["status"].get("phase") == "Bound")


def _until(holds: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        with suppress(HTTPError):
            if holds():
                return
        assert time.monotonic() < deadline, f"not within {READY_SECONDS} s: {what}"
        time.sleep(0.1)
