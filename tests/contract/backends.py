"""The backends that the contract suite runs over, and what each of them can show.

A new backend adds a harness to HARNESSES, and is in every test whose capabilities it has: `executes` (scripts really run), `here` (they
run on this machine, where tests see their processes), `outlives` (the backend goes on without the process that opened it), `nodes` (a
task may have several).
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from caravan.contracts.dispatch import Submission
from caravan.contracts.spec import Resources
from caravan.kernel import ids
from services.broker.adapters import fake, kubernetes, local, slurm
from services.broker.adapters.port import Adapter, Backend, RunSeen, Seen, SiteContext
from tests.backends.kubernetes import Cluster as KubernetesCluster
from tests.backends.kubernetes.image import BUSYBOX
from tests.backends.kubernetes_site import secrets, server, tenant
from tests.backends.slurm import RELEASES, Release
from tests.backends.slurm import Cluster as SlurmCluster

T = TypeVar("T")
DEADLINE_SECONDS = 30.0


async def eventually(look: Callable[[], Any], what: str, seconds: float = DEADLINE_SECONDS) -> Any:
    """The first true answer of `look` (awaited if need be). Fails after the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        answer = look()
        if asyncio.iscoroutine(answer):
            answer = await answer
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.02)


@dataclass
class Harness:
    """One adapter with a site of its own."""

    adapter: Adapter
    context: SiteContext
    tenant: str = field(default_factory=lambda: ids.new("ten"))
    tenants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What tenants are at the site, where it needs to be told."""
    deadline_seconds: float = DEADLINE_SECONDS
    """For whatever happens there."""
    noticed_seconds: float = 0.5
    """What runs for so long is surely seen running."""

    def open(self) -> AbstractAsyncContextManager[Backend]:
        return self.adapter.open(self.context)

    def submission(
        self,
        script: str,
        *,
        indices: Sequence[int] = (0,),
        max_parallel: int | None = None,
        environment: dict[str, str] | None = None,
        walltime_seconds: int = 60,
        memory_mib: int = 256,
        nodes: int = 1,
        tenant: str | None = None,
    ) -> Submission:
        resources = Resources(walltime_seconds=walltime_seconds, memory_mib_per_node=memory_mib, nodes=nodes)
        attempt = ids.new("att")
        return Submission(
            tag=ids.bare(attempt),
            attempt=attempt,
            job=ids.new("job"),
            tenant=tenant or self.tenant,
            tenant_settings=dict(self.tenants.get(tenant or self.tenant, {})),
            offering=ids.new("off"),
            target={},
            name="contract",
            script=script,
            environment=environment or {},
            resources=resources,
            grant=self.adapter.grant(resources, {}, self.context.settings),
            indices=tuple(indices),
            max_parallel=max_parallel or len(indices),
        )


class Site:
    """An open backend with what tests ask of it again and again."""

    def __init__(self, harness: Harness, backend: Backend) -> None:
        self.harness = harness
        self.backend = backend
        self.staged: list[str] = []

    async def stage(self, script: str, **how: Any) -> str:
        self.staged.append(await self.backend.stage(self.harness.submission(script, **how)))
        return self.staged[-1]

    async def clear(self) -> None:
        """Leave nothing running, whatever the test came to."""
        for reference in self.staged:
            await self.backend.cancel(reference)

    async def start(self, script: str, **how: Any) -> str:
        reference = await self.stage(script, **how)
        await self.backend.release(reference)
        return reference

    async def seen(self, reference: str) -> Seen:
        found = (await self.backend.observe([reference]))[reference]
        assert isinstance(found, Seen), found
        return found

    async def running(self, reference: str, *, count: int = 1) -> Seen:
        async def look() -> Seen | None:
            seen = await self.seen(reference)
            return seen if sum(run.ended_at is None for run in seen.runs) >= count else None

        return await self._typed(Seen, look, f"{reference} runs")

    async def ended(self, reference: str) -> Seen:
        """Once it has ended and its books are final."""

        async def look() -> Seen | None:
            seen = await self.seen(reference)
            return seen if seen.ended and all(run.final for run in seen.runs) else None

        return await self._typed(Seen, look, f"{reference} ends")

    async def run(self, script: str, **how: Any) -> RunSeen:
        """Run a script of one task to its end."""
        seen = await self.ended(await self.start(script, **how))
        assert len(seen.runs) == 1, seen
        return seen.runs[0]

    async def text(self, reference: str, index: int = 0, stream: str = "stdout") -> str:
        return (await self.backend.read_log(reference, index, stream, 0, 1_000_000)).data.decode()

    async def has_said(self, reference: str, word: str, index: int = 0, lines: int = 1) -> str:
        """The output of a task, once it holds this word and so many whole lines."""

        async def look() -> str | None:
            try:
                text = await self.text(reference, index)
            except FileNotFoundError:
                return None
            return text if word in text and text.count("\n") >= lines else None

        return await self._typed(str, look, f"{reference} says {word}")

    async def _typed(self, kind: type[T], look: Callable[[], Any], what: str) -> T:
        answer = await eventually(look, what, self.harness.deadline_seconds)
        assert isinstance(answer, kind)
        return answer


Fixture = Callable[[str], Any]
"""Gives a fixture by its name: only what asks for a cluster starts one."""


def _fake(folder: Path, fixture: Fixture) -> Harness:
    return Harness(fake.adapter, SiteContext(site=ids.new("sit"), settings={}))


def _local(folder: Path, fixture: Fixture) -> Harness:
    settings = {"folder": str(folder / "site"), "i_accept_jobs_on_this_machine": True, "kill_grace_seconds": 1}
    return Harness(local.adapter, SiteContext(site=ids.new("sit"), settings=settings))


def _slurm(release: Release) -> Callable[[Path, Fixture], Harness]:
    def harness(folder: Path, fixture: Fixture) -> Harness:
        cluster: SlurmCluster = fixture("slurm_cluster")(release)
        site = tempfile.mkdtemp(dir=cluster.work)
        os.chmod(site, 0o755)
        for user, uid in USERS.items():
            os.mkdir(f"{site}/{user}", 0o700)
            os.chown(f"{site}/{user}", uid, uid)
        settings = {
            "url": cluster.url,
            "cluster": "caravan",
            "user": "slurm",
            "token": {"key_file": "jwt_hs256.key"},
            "folder": site,
            "partition": "batch",
            "kill_wait_seconds": 2,
        }
        context = SiteContext(site=ids.new("sit"), settings=settings, secrets=cluster.etc)
        tenants = {ids.new("ten"): {"user": user} for user in USERS}
        # a time limit of one minute ends a job after up to 90 s
        return Harness(slurm.adapter, context, next(iter(tenants)), tenants, deadline_seconds=180)

    return harness


def _kubernetes(folder: Path, fixture: Fixture) -> Harness:
    cluster: KubernetesCluster = fixture("kubernetes")
    settings = {
        "api": server(cluster),
        "image": BUSYBOX,
        "start_seconds": 2,
        "grace_seconds": 2,
    }
    tenants = {ids.new("ten"): tenant(cluster, user) for user in USERS}
    context = SiteContext(site=ids.new("sit"), settings=settings, secrets=secrets(cluster))
    # the kubelet looks at its containers once a second, and at more of them at once later
    return Harness(kubernetes.adapter, context, next(iter(tenants)), tenants, deadline_seconds=60, noticed_seconds=3)


USERS = {"alice": 47001, "bob": 47002}
HARNESSES: dict[str, tuple[Callable[[Path, Fixture], Harness], frozenset[str]]] = {
    "fake": (_fake, frozenset({"nodes"})),
    "local": (_local, frozenset({"executes", "here", "outlives"})),
    "kubernetes": (_kubernetes, frozenset({"executes", "outlives", "nodes"})),
    **{f"slurm-{one.name}": (_slurm(one), frozenset({"executes", "outlives", "nodes"})) for one in RELEASES},
}


def having(*capabilities: str) -> pytest.MarkDecorator:
    """Run a test over the backends that have all of these."""
    names = [name for name, (_, can) in HARNESSES.items() if can >= set(capabilities)]
    return pytest.mark.parametrize("harness", names, indirect=True)


every = having()
