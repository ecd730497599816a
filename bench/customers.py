"""An organization as it uses the platform: it submits scripts, waits for them and reads what they say."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bench.platform import Platform, until
from caravan.client import BrokerClient
from caravan.contracts.problems import NoLogYet
from caravan.contracts.spec import JobSpec, Resources

PATIENCE_SECONDS: Final = 300
"""Within it a job has settled, whatever cluster it ran at."""


@dataclass(frozen=True)
class Customer:
    """`name` is what its site knows it by: a Unix user, a namespace."""

    platform: Platform
    name: str
    organization: str
    project: str

    async def broker(self) -> BrokerClient:
        return await self.platform.broker(f"org/{self.organization}:member")

    async def submitted(self, script: str, name: str, environment: Mapping[str, str] | None = None) -> str:
        """The new job's id."""
        spec = JobSpec(
            name=name,
            project=self.project,
            script=script,
            environment=dict(environment or {}),
            resources=Resources(walltime_seconds=600, memory_mib_per_node=64),
        )
        return (await (await self.broker()).submit_job(spec)).id

    async def settled(self, job: str) -> None:
        """Wait until it is."""
        broker = await self.broker()

        async def settled() -> bool:
            return (await broker.get_job(job)).settled_at is not None

        await until(settled, "a job to settle", PATIENCE_SECONDS)

    async def log(self, job: str) -> str:
        """What it has said; nothing as long as it hasn't started."""
        try:
            return (await (await self.broker()).read_job_log(job)).text
        except NoLogYet:
            return ""

    async def said(self, script: str) -> str:
        """What a job of this script says until its end."""
        job = await self.submitted(script, "curious")
        await self.settled(job)
        return await self.log(job)
