"""The real broker with a catalog that has one fake site on sale and an accounting that grants every hold, for tests of agents."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select, update

from caravan.client import AccountingClient, BrokerClient, CatalogClient, InProcess, Peers, each
from caravan.contracts import events
from caravan.contracts.books import BooksRead
from caravan.contracts.dispatch import LeaseRequest, Report, SiteReport
from caravan.contracts.funds import HoldAnswer
from caravan.contracts.jobs import ArrayTask, Attempt, Job
from caravan.contracts.offerings import AgentPlace, Capacity, Limits, Offering, OfferingState, Site, SiteState, Tier
from caravan.contracts.parties import Project, Provider, ProviderKind, ProviderState, Tenant
from caravan.contracts.prices import Component, PriceList, Tariff
from caravan.contracts.spec import Array, JobSpec, Resources
from caravan.contracts.usage import AttemptEnded, AttemptPlaced, JobSettled, RunFinal, SiteProgress, UsageRecord
from caravan.kernel import ids
from caravan.kernel.events import Event
from caravan.kernel.money import Money
from caravan.kernel.runtime import Runtime
from caravan.kernel.settings import ServiceName
from caravan.kernel.tables import feed_cursors, leases
from caravan.kernel.tokens import Signer, create_signer
from caravan.kernel.web import ServiceApp
from services.broker.adapters.fake import adapter as fake_adapter
from services.broker.app import create_app
from services.broker.settings import Settings
from tests.support import running

MADE = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass
class Told:
    """What the broker's feed has said, as accounting reads it."""

    usage: dict[tuple[str, datetime], UsageRecord] = field(default_factory=dict)
    finals: dict[str, RunFinal] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    settled: dict[str, JobSettled] = field(default_factory=dict)
    progress: SiteProgress | None = None
    books: list[BooksRead] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def take(self, event: dict[str, Any]) -> None:
        data = event["data"]
        match event["type"]:
            case events.ATTEMPT_PLACED:
                placed = AttemptPlaced.model_validate(data)
                if placed.grant is None:
                    self.wrong.append(f"placed without its grant: {placed}")
            case events.USAGE_STATED:
                record = UsageRecord.model_validate(data)
                known = self.usage.get((record.run, record.hour))
                if known is not None and known.revision >= record.revision:
                    self.wrong.append(f"usage goes back: {record}")
                self.usage[record.run, record.hour] = record
            case events.RUN_FINAL:
                final = RunFinal.model_validate(data)
                if final.run in self.finals:
                    self.wrong.append(f"final twice: {final}")
                self.finals[final.run] = final
            case events.ATTEMPT_ENDED:
                ended = AttemptEnded.model_validate(data)
                if ended.attempt in self.ended or ended.job in self.settled:
                    self.wrong.append(f"ended twice, or after its job was settled: {ended}")
                self.ended.add(ended.attempt)
            case events.JOB_SETTLED:
                settled = JobSettled.model_validate(data)
                if settled.job in self.settled:
                    self.wrong.append(f"settled twice: {settled}")
                self.settled[settled.job] = settled
            case events.SITE_PROGRESS:
                self.progress = SiteProgress.model_validate(data)
            case events.BOOKS_READ:
                self.books.append(BooksRead.model_validate(data))

    def spans(self, job: str) -> list[tuple[datetime, datetime, int]]:
        """All that the job's runs were allocated, in order of run and time."""
        records = sorted((r for r in self.usage.values() if r.job == job), key=lambda r: (r.run, r.hour))
        return [(span.start, span.end, span.cpus) for record in records for span in record.spans]


class World:
    """The broker, its one site, and an enterprise that submits to it."""

    def __init__(self, app: ServiceApp, signer: Signer, site: Site, project: Project) -> None:
        self.app = app
        self.site = site
        self.told = Told()
        self._project = project
        self._signer = signer
        self._cursor: str | None = None
        organization = f"org/{project.organization}:member"
        self.member = self.client(signer.sign("member", [organization]))
        self._reader = self.client(signer.service_token("accounting"))

    def client(self, token: str) -> BrokerClient:
        return BrokerClient("http://broker", token, transport=InProcess(self.app))

    def agent_api(self) -> BrokerClient:
        return self.client(self._signer.sign("agent", [f"site/{self.site.id}:agent"]))

    async def submit(self, script: str, indices: Sequence[int] = (), max_parallel: int = 1) -> Job:
        array = Array(indices=tuple(indices), max_parallel=max_parallel) if indices else None
        resources = Resources(walltime_seconds=100_000)
        name, text = "test", f"#!/bin/sh\n{script}\n"
        return await self.member.submit_job(
            JobSpec(name=name, project=self._project.id, script=text, resources=resources, array=array)
        )

    async def tasks(self, job: Job) -> list[ArrayTask]:
        return [task async for task in each(self.member.list_job_tasks, job.id)]

    async def attempts(self, job: Job) -> list[Attempt]:
        return [attempt async for attempt in each(self.member.list_job_attempts, job.id)]

    async def follow(self) -> Told:
        """Read on in the broker's feed."""
        while True:
            page, following = await self._reader.feed(self._cursor, 0)
            for event in page:
                self.told.take(event)
            if following == self._cursor:
                return self.told
            self._cursor = following

    async def see(self) -> None:
        """Let the site have been seen once, so that jobs are placed there."""
        api = self.agent_api()
        lease = await api.take_lease(self.site.id, LeaseRequest(holder="setup", descriptor=fake_adapter.descriptor))
        await api.report(self.site.id, Report(epoch=lease.epoch, items=(), site=SiteReport(state=SiteState.HEALTHY)))
        await self.end_lease()

    async def end_lease(self) -> None:
        """Its time is over: whoever asks next may have it."""
        old = update(leases).where(leases.c.name == f"site:{self.site.id}").values(expires_at=MADE)
        await self.app.provided[Runtime].db.write(lambda tx: tx.execute(old) and None)


def _entities(fake: str) -> tuple[Site, Project, list[tuple[str, Any]]]:
    organization = ids.new("org")
    project = Project(organization=organization, name="芯片", id=ids.new("prj"), version=1, created_at=MADE)
    kind, state = ProviderKind.OTHER, ProviderState.APPROVED
    provider = Provider(
        name="中心", kind=kind, region="西安", id=ids.new("prv"), state=state, version=1, created_at=MADE
    )
    site = Site(
        provider=provider.id, name="一号", region="西安", adapter="fake", agent=AgentPlace.CENTRE, settings={"fake": fake},
        id=ids.new("sit"), version=1, created_at=MADE,
    )  # fmt: skip
    offering = Offering(
        site=site.id, name="通用", tier=Tier.HPC, capacity=Capacity(cpus=16, memory_mib=65_536), id=ids.new("off"),
        limits=Limits(nodes=1, cpus_per_node=16, memory_mib_per_node=65_536, walltime_seconds=200_000),
        provider=provider.id, state=OfferingState.ACTIVE, version=1, created_at=MADE,
    )  # fmt: skip
    tariff = Tariff.model_validate({"name": "t", "starts_at": MADE, "prices": {Component.CPU_CORE_HOUR: "36.00"}})
    prices = PriceList(tariffs=(tariff,), id=ids.new("prl"), offering=offering.id, revision=1, created_at=MADE)
    tenant = Tenant(site=site.id, organization=organization, id=ids.new("ten"), version=1, created_at=MADE)
    return site, project, [
        (events.PROJECT, project), (events.PROVIDER, provider), (events.SITE, site), (events.OFFERING, offering),
        (events.PRICE_LIST, prices), (events.TENANT, tenant),
    ]  # fmt: skip


def _catalog(entities: list[tuple[str, Any]]) -> Callable[[httpx.Request], Any]:
    given = [
        Event(id=ids.new("evt"), source="catalog", type=type_, subject=entity.id, time=MADE, data={}, position=1)
        .model_dump(mode="json") | {"data": entity.model_dump(mode="json")}
        for type_, entity in entities
    ]  # fmt: skip

    async def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/snapshot":
            return httpx.Response(200, json={"cursor": "g:1", "events": given, "next": None})
        await asyncio.sleep(0.2)
        return httpx.Response(200, json={"events": [], "next": "g:1"})

    return answer


async def _accounting(request: httpx.Request) -> httpx.Response:
    revision = json.loads(request.content)["revision"]
    answer = HoldAnswer(job=request.url.path.rpartition("/")[2], revision=revision, granted=True, fits=Money(10**12))
    return httpx.Response(200, content=answer.model_dump_json())


@asynccontextmanager
async def a_broker(folder: Path, database_url: str, fake: str) -> AsyncIterator[World]:
    """Start a broker on a migrated database whose catalog has the fake site of this name."""
    name: ServiceName = "broker"
    settings = Settings(
        mode="development", data_dir=folder, broker_database_url=database_url, embedded_agents=False, lease_seconds=30
    )
    site, project, entities = _entities(fake)
    signer = create_signer(settings)
    peers = Peers(
        catalog=CatalogClient("http://catalog", "t", transport=httpx.MockTransport(_catalog(entities))),
        broker=BrokerClient("http://broker", "t"),
        accounting=AccountingClient("http://accounting", "t", transport=httpx.MockTransport(_accounting)),
    )
    app = create_app(settings, peers)
    assert app.service == name
    async with running(app):
        db = app.provided[Runtime].db
        async with asyncio.timeout(10):
            while (await db.read(lambda tx: tx.scalar(select(feed_cursors.c.cursor)))) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        world = World(app, signer, site, project)
        await world.see()
        yield world
