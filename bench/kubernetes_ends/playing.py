"""Runs the jobs on one cluster: submits them, does to them what people do, and collects what is told of them afterwards."""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final

from bench.accelerated import MODEL
from bench.agents import Agents
from bench.case import Trial
from bench.kubernetes_ends import market, python
from bench.kubernetes_ends.asked import (
    CANCEL_PENDING,
    CANCEL_PULLING,
    CANCEL_RUNNING,
    DISK_MIB,
    NO_ROOM,
    SUSPENDED,
    Asked,
    Place,
)
from bench.kubernetes_ends.compare import compare, runs
from bench.platform import Platform, until
from bench.reconciling import kubernetes_reconciled
from bench.slurm_ends.compare import Compared
from bench.slurm_ends.telling import Telling
from caravan.client import BrokerClient
from tests.backends.kubernetes import Cluster
from tests.backends.kubernetes.image import BUSYBOX
from tests.backends.kubernetes_site import secrets, server, tenant

ENDS_SECONDS: Final = 300
SOME_SECONDS: Final = 2
"""So long a job runs before it's cancelled or suspended, to have something to bill."""
LAST: Final = (CANCEL_PENDING, NO_ROOM, CANCEL_PULLING)
"""These find things as others have left them."""
SUSPEND: Final = "application/merge-patch+json"
IMAGE_SECONDS: Final = 3


async def played(trial: Trial, platform: Platform, cluster: Cluster, jobs: Sequence[Asked]) -> Compared:
    """With an agent of its own."""
    with ExitStack() as ends:
        registry = ends.enter_context(socket.create_server(("127.0.0.1", 0)))
        registry.setblocking(False)
        return await Play(trial, platform, cluster, registry, jobs).run(ends)


class Play:
    """One cluster, one platform, and the jobs by name. `registry`: of images, which never answers."""

    def __init__(
        self, trial: Trial, platform: Platform, cluster: Cluster, registry: socket.socket, jobs: Sequence[Asked]
    ) -> None:
        self._trial, self._cluster, self._platform, self._registry = trial, cluster, platform, registry
        self._jobs = jobs
        self._ids: dict[str, str] = {}
        self._broker: BrokerClient
        self._telling: Telling
        self._market: market.Market

    async def run(self, ends: ExitStack) -> Compared:
        cluster, platform = self._cluster, self._platform
        kept = self._trial.folder / "output"
        environment = {"CARAVAN_AGENT_SECRETS": str(secrets(cluster)), "CARAVAN_AGENT_OUTPUT": str(kept)}
        agents = ends.enter_context(Agents(platform, "kubernetes", environment))
        settings = {
            "api": server(cluster), "image": BUSYBOX, "images": ["docker://caravan.test"], "pull_images": "if_missing",
            "start_seconds": 2, "grace_seconds": 2, "image_seconds": IMAGE_SECONDS,
        }  # fmt: skip
        slow = f"127.0.0.1:{self._registry.getsockname()[1]}/slow:1"
        images: dict[Place, str] = {"missing": "caravan.test/missing:1", "slow": slow}
        self._market = await market.opened(platform, settings, self._tenant(), images, agents.start)
        self._broker = await platform.broker(f"org/{self._market.organization}:admin", subject="enterprise")
        accounting = await platform.accounting("platform:finance", subject="finance")
        self._telling = Telling(self._broker, accounting, self._market.organization, self._ids)
        await self._submit([job.name for job in self._jobs if job.name not in LAST])
        self._trial.say(f"{len(self._ids)} jobs submitted")
        await asyncio.gather(self._fill_the_node(), self._pull(), self._suspend())
        await until(self._telling.all_charged, "all jobs have ended and are charged", ENDS_SECONDS)
        self._trial.say("all are charged")
        told = await self._telling.told()
        compared = compare(self._jobs, self._ids, told, runs(cluster.containers()), MODEL)
        site, billed = self._market.site, sum(len(one.usage) for one in told.values())
        differs = await kubernetes_reconciled(platform, self._market.provider, site, cluster, billed)
        compared.equal("all jobs", "what caravan reconcile finds", [], differs)
        return compared

    def _tenant(self) -> dict[str, str]:
        """A namespace whose pods may write so much to disk, and a working folder with a Python in it."""
        made = tenant(self._cluster, "ends")
        limit = {"default": {"ephemeral-storage": f"{DISK_MIB}Mi"}, "defaultRequest": {"ephemeral-storage": "1Mi"}}
        body = {"metadata": {"name": "disk"}, "spec": {"limits": [{"type": "Container", **limit}]}}
        self._cluster.ask("POST", f"/api/v1/namespaces/{made['namespace']}/limitranges", body)
        volume = self._cluster.ask("GET", f"/api/v1/persistentvolumes/{made['claim']}")
        python.put(Path(volume["spec"]["hostPath"]["path"], "python"))
        return made

    async def _submit(self, names: Sequence[str]) -> None:
        for job in self._jobs:
            if job.name in names:
                self._ids[job.name] = (await self._broker.submit_job(self._market.spec(job))).id

    async def _fill_the_node(self) -> None:
        """One has all accelerators: others wait, and say why. One of these is cancelled, and then the first one."""
        await self._telling.runs(CANCEL_RUNNING)
        await self._submit([CANCEL_PENDING, NO_ROOM])
        await asyncio.gather(*(self._telling.listen(job.name, job.waits) for job in self._jobs if job.waits))
        await self._broker.cancel_job(self._ids[CANCEL_PENDING])
        await asyncio.sleep(SOME_SECONDS)
        await self._broker.cancel_job(self._ids[CANCEL_RUNNING])

    async def _pull(self) -> None:
        """Cancel one whose image is on its way. A kubelet pulls one at a time, so the one that isn't anywhere comes first; and it lets a
        pod go only once its pull is over."""
        await until(partial(self._final, "no-image"), "the image that isn't anywhere was given up", ENDS_SECONDS)
        await self._submit([CANCEL_PULLING])
        asked, _ = await asyncio.wait_for(asyncio.get_running_loop().sock_accept(self._registry), ENDS_SECONDS)
        with asked:
            await self._broker.cancel_job(self._ids[CANCEL_PULLING])
            await asyncio.sleep(SOME_SECONDS)
            self._registry.close()

    async def _suspend(self) -> None:
        """A centre's operator does, and resumes it."""
        if SUSPENDED not in self._ids:
            return
        await self._telling.runs(SUSPENDED)
        await asyncio.sleep(SOME_SECONDS)
        (attempt,) = (await self._broker.list_job_attempts(self._ids[SUSPENDED])).items
        namespace, name, _ = (attempt.reference or "").split(".")
        path = f"/apis/batch/v1/namespaces/{namespace}/jobs/{name}"
        for suspend in (True, False):
            change = {"spec": {"suspend": suspend}}
            await asyncio.to_thread(self._cluster.ask, "PATCH", path, change, SUSPEND)
            await asyncio.sleep(SOME_SECONDS)

    async def _final(self, name: str) -> bool:
        return (await self._broker.get_job(self._ids[name])).state.final
