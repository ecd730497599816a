"""Each way that an agent may show who it is, at a real API server."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightkube import KubeConfig

from caravan.kernel import ids
from services.broker.adapters.kubernetes.backend import open_site
from services.broker.adapters.port import SiteContext, Unavailable
from tests.backends.kubernetes import Cluster
from tests.backends.kubernetes_site import AGENT, secrets, server
from tests.contract.backends import eventually


@pytest.fixture
def folder(kubernetes: Cluster, tmp_path: Path) -> Path:
    """Of secrets: the authority is there, and nothing yet that says who comes."""
    secrets(kubernetes)
    (tmp_path / "ca.crt").write_bytes(kubernetes.authority.read_bytes())
    return tmp_path


async def works(folder: Path, api: dict[str, Any]) -> bool:
    """Whether the site's nodes are seen."""
    context = SiteContext(
        site=ids.bare(ids.new("sit")), settings={"api": api}, secrets=folder, jobs_on_this_machine=True
    )
    async with open_site(context) as backend:
        return bool(await backend.inventory())


def certify(folder: Path, kubernetes: Cluster, user: str) -> None:
    """A client certificate of the cluster's authority, for `user`."""
    keys = Path(kubernetes.folder, "keys")
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "1",
            "-subj", f"/CN={user}", "-addext", "extendedKeyUsage=clientAuth", "-CA", keys / "authority.crt",
            "-CAkey", keys / "authority.key", "-keyout", folder / "client.key", "-out", folder / "client.crt",
        ],
        check=True, capture_output=True,
    )  # fmt: skip


def account(kubernetes: Cluster) -> str:
    """A service account with the agent's rights; its path."""
    name, group = f"agent-{ids.bare(ids.new('own'))}", "rbac.authorization.k8s.io"
    kubernetes.ask("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": name}})
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "caravan-site"},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}],
    }
    kubernetes.ask("POST", f"/apis/{group}/v1/clusterrolebindings", binding)
    return f"/api/v1/namespaces/default/serviceaccounts/{name}"


def token(kubernetes: Cluster, of: str, bound: str | None = None) -> str:
    """One of a service account's. It ends with the Secret that it is bound to."""
    spec: dict[str, Any] = {}
    if bound is not None:
        kubernetes.ask("POST", "/api/v1/namespaces/default/secrets", {"metadata": {"name": bound}})
        spec = {"boundObjectRef": {"apiVersion": "v1", "kind": "Secret", "name": bound}}
    return str(kubernetes.ask("POST", f"{of}/token", {"spec": spec})["status"]["token"])


async def test_a_client_certificate_is_enough(kubernetes: Cluster, folder: Path) -> None:
    certify(folder, kubernetes, AGENT)
    by = {
        "by": "server", "server": kubernetes.url, "ca": "ca.crt", "certificate": "client.crt", "key": "client.key",
    }  # fmt: skip
    assert await works(folder, by)
    certify(folder, kubernetes, "nobody")
    with pytest.raises(Unavailable, match="nobody"):
        await works(folder, by)


async def test_a_kubeconfig_may_hold_a_certificate_or_a_token(kubernetes: Cluster, folder: Path) -> None:
    certify(folder, kubernetes, AGENT)
    certificate = {
        "client-certificate": str(folder / "client.crt"),
        "client-key": str(folder / "client.key"),
    }
    for user in (certificate, {"token": kubernetes.token(AGENT)}):
        config = {
            "current-context": "site",
            "contexts": [{"name": "site", "context": {"cluster": "site", "user": "agent"}}],
            "clusters": [
                {
                    "name": "site",
                    "cluster": {"server": kubernetes.url, "certificate-authority": str(folder / "ca.crt")},
                }
            ],
            "users": [{"name": "agent", "user": user}],
        }
        (folder / "config").write_text(yaml.safe_dump(config))
        assert await works(folder, {"by": "kubeconfig", "file": "config"})


async def test_an_agent_inside_the_cluster_comes_as_its_service_account(
    kubernetes: Cluster, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what the kubelet gives each pod: files at a known place, and the API server's address in the environment."""
    (folder / "token").write_text(token(kubernetes, account(kubernetes)))
    (folder / "namespace").write_text("default")
    by_files = KubeConfig.from_service_account
    monkeypatch.setattr(KubeConfig, "from_service_account", lambda: by_files(folder))
    host, _, port = kubernetes.url.removeprefix("https://").partition(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    assert await works(folder, {"by": "in-cluster"})


async def test_a_token_that_was_rotated_is_read_again(kubernetes: Cluster, folder: Path) -> None:
    """The first one is worth nothing any more, and the site is never opened again."""
    of, bound = account(kubernetes), f"rotated-{ids.bare(ids.new('own'))}"
    first = token(kubernetes, of, bound)
    (folder / "token").write_text(first)
    context = SiteContext(site=ids.bare(ids.new("sit")), settings={"api": server(kubernetes)}, secrets=folder)

    def refused() -> bool:
        review = kubernetes.ask("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": first}})
        return not review["status"].get("authenticated")

    async with open_site(context) as backend:
        assert await backend.inventory()
        kubernetes.ask("DELETE", f"/api/v1/namespaces/default/secrets/{bound}")
        await eventually(refused, "the first token is refused")
        with pytest.raises(Unavailable, match="401"):
            await backend.inventory()
        (folder / "token").unlink()
        with pytest.raises(Unavailable):
            await backend.inventory()
        (folder / "token").write_text(token(kubernetes, of))
        assert await backend.inventory()
