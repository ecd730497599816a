"""Kueue beside the control plane: what it needs of the apiserver, with its webhooks at an address of this machine.

Its manifests are YAML, which the apiserver reads for us: a dry run gives it back as JSON.
"""

import base64
import json
from pathlib import Path
from typing import Any

NAMESPACE = "kueue-system"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WEBHOOKS = tuple(
    f"/apis/admissionregistration.k8s.io/v1/{kind}webhookconfigurations" for kind in ("mutating", "validating")
)
GROUPS = {"batch", "kueue.x-k8s.io"}
"""Those whose objects Kueue is asked about: of workloads, it manages Jobs."""
CONVERTED = {"clusterqueues", "cohorts", "localqueues", "multikueueclusters", "workloads"}
"""What Kueue converts between versions (config/components/crd/kustomization.yaml in it)."""


def documents(manifests: Path) -> list[tuple[str, bytes]]:
    """Each object of Kueue's that the apiserver needs, in YAML, with the path to send it to."""
    crds = [(CRDS, file.read_bytes()) for file in sorted((manifests / "crd/bases").iterdir())]
    webhooks = (manifests / "webhook/manifests.yaml").read_bytes().removeprefix(b"---\n").split(b"\n---\n")
    return [*crds, *zip(WEBHOOKS, webhooks, strict=True)]


def adapted(read: dict[str, Any], port: int, authority: Path) -> dict[str, Any]:
    """An object as a dry run gave it, to be sent in earnest: Kueue answers at that port, by a certificate of the authority's."""
    vouched = base64.b64encode(authority.read_bytes()).decode()

    def at(path: str) -> dict[str, str]:
        return {"url": f"https://127.0.0.1:{port}{path}", "caBundle": vouched}

    metadata = {name: read["metadata"][name] for name in ("name", "annotations") if name in read["metadata"]}
    made = {"apiVersion": read["apiVersion"], "kind": read["kind"], "metadata": metadata}
    if "webhooks" in read:
        asked = [hook for hook in read["webhooks"] if all(GROUPS.issuperset(on["apiGroups"]) for on in hook["rules"])]
        return {**made, "webhooks": [{**hook, "clientConfig": at(_path(hook))} for hook in asked]}
    spec = dict(read["spec"])
    if spec["names"]["plural"] in CONVERTED:
        webhook = {"clientConfig": at("/convert"), "conversionReviewVersions": ["v1"]}
        spec["conversion"] = {"strategy": "Webhook", "webhook": webhook}
    return {**made, "spec": spec}


def configuration(folder: Path, port: int, health_port: int) -> str:
    """Kueue's own. `folder` has its certificate."""
    return json.dumps(
        {
            "apiVersion": "config.kueue.x-k8s.io/v1beta2",
            "kind": "Configuration",
            "namespace": NAMESPACE,
            "health": {"healthProbeBindAddress": f"127.0.0.1:{health_port}"},
            "metrics": {"bindAddress": "0"},
            "webhook": {"host": "127.0.0.1", "port": port, "certDir": f"{folder}"},
            "leaderElection": {"leaderElect": False},
            "internalCertManagement": {"enable": False},
            "clientConnection": {"qps": 200, "burst": 400},
            "integrations": {"frameworks": ["batch/job"]},
            "featureGates": {"VisibilityOnDemand": False},
        }
    )


def _path(hook: dict[str, Any]) -> str:
    return str(hook["clientConfig"]["service"]["path"])
