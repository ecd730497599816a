"""Who and what the story is about, filled in chapter by chapter."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.demo.stages import Stage
from bench.demo.telling import Teller
from bench.platform import SERVICES, Platform
from caravan.client import AccountingClient, BrokerClient, CatalogClient, Peers
from caravan.contracts.jobs import JobDetail, JobState
from caravan.contracts.offerings import Offering, Site
from caravan.contracts.parties import Organization, Project, Provider
from caravan.kernel import clock


@dataclass(frozen=True)
class Hall:
    """A site of the centre's that is open, and the offering there that the story is about."""

    stage: Stage
    site: Site
    offering: Offering


@dataclass
class World:
    """One play of the story. What is not there yet is not to be asked for."""

    teller: Teller
    platform: Platform
    stage: Stage
    folder: Path
    stack: AsyncExitStack
    more_stages: Sequence[Stage] = ()
    """Where one more job runs on each, once the centre has opened a hall there."""
    operator: Peers = field(init=False)
    finance: Peers = field(init=False)
    centre: Peers = field(init=False)
    enterprise: Peers = field(init=False)
    provider: Provider = field(init=False)
    site: Site = field(init=False)
    offering: Offering = field(init=False)
    small: Offering = field(init=False)
    organization: Organization = field(init=False)
    project: Project = field(init=False)
    halls: list[Hall] = field(default_factory=list)
    jobs: dict[str, str] = field(default_factory=dict)
    """Name -> id."""

    @property
    def patience_seconds(self) -> float:
        """Within it, all usage of any hall has been stated after a job's end."""
        return max(hall.stage.patience_seconds for hall in self.halls)

    async def person(self, subject: str, *permissions: str) -> Peers:
        """The three APIs as this person sees them, with a token such as `caravan token` prints."""
        platform, stack = self.platform, self.stack
        token = platform.token(*permissions, subject=subject)
        return Peers(
            catalog=await stack.enter_async_context(CatalogClient(platform.url("catalog"), token)),
            broker=await stack.enter_async_context(BrokerClient(platform.url("broker"), token)),
            accounting=await stack.enter_async_context(AccountingClient(platform.url("accounting"), token)),
        )

    async def begin(self) -> float:
        """Start the platform for its operator and its finance; returns the seconds until it was ready."""
        seconds = await self.start()
        self.operator = await self.person("operator", "platform:admin")
        self.finance = await self.person("finance", "platform:finance")
        return seconds

    async def start(self) -> float:
        """Start the platform, or start it again; returns the seconds until it was ready."""
        began = clock.monotonic()
        await asyncio.to_thread(self.platform.start)
        return clock.monotonic() - began

    def pids(self) -> str:
        """Of the platform's processes."""
        pids = [self.platform.pid(service) for service in SERVICES]
        return f"pid {', '.join(map(str, dict.fromkeys(pids)))}"

    async def ended(self, name: str, seconds: float = 60) -> JobDetail:
        """The job once it has ended."""

        async def look() -> JobDetail | None:
            job = await self.enterprise.broker.get_job(self.jobs[name])
            return job if job.state.final else None

        return await self.teller.until(look, f"{name} 运行至结束 runs to its end", seconds)

    async def running(self, name: str) -> JobDetail:
        """The job once it runs."""

        async def look() -> JobDetail | None:
            job = await self.enterprise.broker.get_job(self.jobs[name])
            return job if job.state is JobState.RUNNING or job.state.final else None

        return await self.teller.until(look, f"{name} 启动 starts")
