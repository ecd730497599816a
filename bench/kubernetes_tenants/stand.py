"""A platform with the cluster as its site, and a job of each of two organizations at work there, full of secret words."""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from bench.case import Trial
from bench.customers import PATIENCE_SECONDS, Customer
from bench.demo.stages import Kubernetes
from bench.kubernetes_tenants.ways import KINDS, LOOK
from bench.leaking import Words
from bench.platform import Market, Platform, let_in, open_market, until
from tests.backends.kubernetes import Cluster
from tests.backends.kubernetes.image import BUSYBOX
from tests.backends.kubernetes_site import tenant

NAMESPACES: Final = ("alice", "bob")


@dataclass(frozen=True)
class Tenant:
    """An organization, by the name of its namespace, and its job once it has said its word."""

    customer: Customer
    settings: Mapping[str, Any]
    folder: Path
    """Its claim's, on this machine."""
    job: str
    kubernetes_job: str
    pod: str

    @property
    def namespace(self) -> str:
        return self.customer.name


class Stand:
    """Both jobs run on until `look`: the one machine has no room for others meanwhile."""

    def __init__(self, trial: Trial, platform: Platform, cluster: Cluster) -> None:
        self.trial, self.platform, self.cluster = trial, platform, cluster
        self.words = Words(trial.random)
        self.tenants: tuple[Tenant, ...] = ()
        self._market: Market

    async def open(self, stage: Kubernetes) -> None:
        """Let both organizations in, and start their jobs. The site's agent ends with the stage."""
        alice, bob = await asyncio.gather(*(asyncio.to_thread(tenant, self.cluster, name) for name in NAMESPACES))
        self._market = market = await open_market(
            self.platform, adapter=stage.adapter, cpus=32, site_settings=stage.settings, tenant=alice,
            start_agent=lambda site: stage.run_agent(site, self.platform),
        )  # fmt: skip
        first = Customer(self.platform, alice["namespace"], market.organization, market.project)
        second = await self.let_in(bob, "Weihe Materials 渭河材料")
        self.tenants = tuple(await asyncio.gather(self._started(first, alice), self._started(second, bob)))

    async def let_in(self, settings: Mapping[str, Any], name: str) -> Customer:
        """Another organization."""
        provider, site = self._market.provider, self._market.site
        ids = await let_in(self.platform, provider, site, tenant=settings, name=name)
        return Customer(self.platform, settings["namespace"], *ids)

    async def ask(self, *asked: Any) -> Any:
        """The API server, as its administrator."""
        return await asyncio.to_thread(self.cluster.ask, *asked)

    async def _started(self, customer: Customer, settings: Mapping[str, Any]) -> Tenant:
        namespace = customer.name
        words = {kind: self.words.new(namespace, kind) for kind in KINDS}
        secret = {"metadata": {"name": "theirs"}, "stringData": {"key": words["secret"]}}
        await self.ask("POST", f"/api/v1/namespaces/{namespace}/secrets", secret)
        begin, end = words["output"][:12], words["output"][12:]
        script = (
            f"#!/bin/sh\n# {words['script']}\necho {words['file']} >mine\nprintf '%s%s\\n' {begin} {end}\n"
            f"sh -c 'until test -e go; do sleep 0.2; done' {words['argument']}\n"
            f"sh -c 'until test -e end; do sleep 0.2; done' {words['argument']} &\n{LOOK}\ntouch looked\nwait\n"
        )
        job = await customer.submitted(script, words["name"], {"API_KEY": words["environment"]})

        async def said() -> bool:
            return words["output"] in await customer.log(job)

        await until(said, f"{namespace}'s job to say something", PATIENCE_SECONDS)
        path = f"/api/v1/namespaces/{namespace}/pods"
        (pod,) = [one for one in (await self.ask("GET", path))["items"] if one["status"]["phase"] == "Running"]
        of = pod["metadata"]["labels"]["batch.kubernetes.io/job-name"]
        volume = await self.ask("GET", f"/api/v1/persistentvolumes/{settings['claim']}")
        folder = Path(volume["spec"]["hostPath"]["path"])
        return Tenant(customer, settings, folder, job, of, pod["metadata"]["name"])

    async def look(self) -> list[str]:
        """Both jobs look around, each while the other runs, and end: what each has said."""
        for one in self.tenants:
            (one.folder / "go").touch()

        async def both() -> bool:
            return all((one.folder / "looked").exists() for one in self.tenants)

        await until(both, "both jobs to look around", PATIENCE_SECONDS)
        for one in self.tenants:
            (one.folder / "end").touch()
        for one in self.tenants:
            await one.customer.settled(one.job)
        return [await one.customer.log(one.job) for one in self.tenants]

    async def by_a_pod_with_a_token(self, namespace: str, script: str) -> str:
        """What a pod says that nobody denied its service account's token. It is of the profile `restricted` otherwise."""
        path = f"/api/v1/namespaces/{namespace}/pods"
        security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        container = {"name": "main", "image": BUSYBOX, "command": ["sh", "-c", script], "securityContext": security}
        spec = {
            "containers": [container],
            "restartPolicy": "Never",
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65534, "seccompProfile": {"type": "RuntimeDefault"}},
        }
        await self.ask("POST", path, {"metadata": {"name": "with-token"}, "spec": spec})

        async def over() -> bool:
            return (await self.ask("GET", f"{path}/with-token"))["status"]["phase"] in ("Succeeded", "Failed")

        await until(over, "a pod to end", PATIENCE_SECONDS)
        return await asyncio.to_thread(_text, self.cluster, f"{path}/with-token/log")


def _text(cluster: Cluster, path: str) -> str:
    tls = ssl.create_default_context(cafile=str(cluster.authority))
    with httpx.Client(verify=tls, headers=cluster.headers()) as http:
        return http.get(f"{cluster.url}{path}").text
