"""Who and what the story is about, filled in chapter by chapter."""

from dataclasses import dataclass, field
from pathlib import Path

from bench.demo.platform import Platform
from bench.demo.telling import Teller
from caravan.client import Peers
from caravan.contracts.jobs import JobDetail, JobState
from caravan.contracts.offerings import Offering, Site
from caravan.contracts.parties import Organization, Project, Provider


@dataclass
class World:
    """One play of the story. What is not there yet is not to be asked for."""

    teller: Teller
    platform: Platform
    folder: Path
    operator: Peers
    finance: Peers
    centre: Peers = field(init=False)
    enterprise: Peers = field(init=False)
    provider: Provider = field(init=False)
    site: Site = field(init=False)
    offering: Offering = field(init=False)
    small: Offering = field(init=False)
    organization: Organization = field(init=False)
    project: Project = field(init=False)
    jobs: dict[str, str] = field(default_factory=dict)
    """Name -> id."""

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
