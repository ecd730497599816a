"""A centre's part at a test cluster: the agent's rights and its token, and for each tenant a namespace and a volume for all its pods."""

import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError

import yaml

from caravan.kernel import ids
from tests.backends.kubernetes import Cluster

READY_SECONDS: Final = 30
MANIFESTS: Final = Path(__file__).parents[2] / "deploy/kubernetes-site"
RIGHTS: Final = MANIFESTS / "rights.yaml"
TENANT: Final = MANIFESTS / "tenant.yaml"
PLURALS: Final = {"NetworkPolicy": "networkpolicies"}
"""Where an `s` isn't all."""
AGENT: Final = "alice"
"""As whom the agent comes: with the rights of RIGHTS, and no others."""


def server(cluster: Cluster) -> dict[str, Any]:
    """How a site's settings name the API server; the token and the authority lie in `secrets`."""
    return {"by": "server", "server": cluster.url, "ca": "ca.crt", "token": "token"}


def secrets(cluster: Cluster) -> Path:
    """The agent's folder of secrets. It has its rights at the cluster from now on."""
    folder = Path(cluster.folder, "agent")
    if not folder.exists():
        for document in _documents(RIGHTS):
            _apply(cluster, document)
        folder.mkdir()
        (folder / "token").write_text(cluster.token(AGENT))
        (folder / "ca.crt").write_bytes(cluster.authority.read_bytes())
    return folder


def namespace(cluster: Cluster, name: str) -> str:
    """A tenant's namespace as TENANT has it, ready for pods. It may be there already."""
    for document in _documents(TENANT):
        _apply(cluster, _named(document, name))
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


def _documents(manifest: Path) -> list[dict[str, Any]]:
    return [*yaml.safe_load_all(manifest.read_text())]


def _named(document: dict[str, Any], name: str) -> dict[str, Any]:
    """Of another tenant than acme."""
    meta = {key: name if value == "acme" else value for key, value in document["metadata"].items()}
    return document | {"metadata": meta}


def _apply(cluster: Cluster, document: dict[str, Any]) -> None:
    """Where it isn't there yet. What the agent's service account may do, AGENT may."""
    group = document["apiVersion"]
    if "subjects" in document:
        document = document | {"subjects": [{"kind": "User", "name": AGENT}]}
    base = f"/api/{group}" if "/" not in group else f"/apis/{group}"
    inside = document["metadata"].get("namespace")
    path = f"{base}/namespaces/{inside}" if inside else base
    try:
        kind = document["kind"]
        cluster.ask("POST", f"{path}/{PLURALS.get(kind, f'{kind.lower()}s')}", document)
    except HTTPError as error:
        if error.code != 409:
            raise


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
