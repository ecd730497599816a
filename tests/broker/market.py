"""The three services in one process, and markets made through their APIs whose sites the test plays itself (see `hand.py`)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send

from caravan.client import AccountingClient, BrokerClient, CatalogClient, InProcess, Peers
from caravan.client.inprocess import Reply
from caravan.contracts.funds import DepositDraft, Funds, Hold
from caravan.contracts.jobs import HoldState, Job, JobDetail, JobState
from caravan.contracts.offerings import (
    AdapterDescriptor,
    AgentPlace,
    Capacity,
    Limits,
    Offering,
    OfferingDraft,
    SiteDraft,
    Tier,
)
from caravan.contracts.parties import OrganizationDraft, ProjectDraft, ProviderDraft, ProviderKind, TenantDraft
from caravan.contracts.prices import Component, PriceListDraft, Tariff
from caravan.contracts.problems import AdapterUnknown, UnknownReference
from caravan.contracts.spec import Array, JobSpec, Resources, Where
from caravan.kernel import clock, ids
from caravan.kernel.money import Money
from caravan.kernel.problems import NotFound
from caravan.kernel.runtime import Runtime
from caravan.kernel.settings import ServiceName
from caravan.kernel.tokens import create_signer
from caravan.kernel.web import ServiceApp, started
from services.accounting.app import create_app as create_accounting
from services.broker.adapters.fake import adapter as fake
from services.broker.app import create_app as create_broker
from services.broker.settings import Settings
from services.catalog.app import create_app as create_catalog
from tests.broker.hand import Hand
from tests.support import Person

P = ParamSpec("P")
T = TypeVar("T")
SERVICES: tuple[ServiceName, ...] = ("catalog", "accounting", "broker")
PRICE = Decimal("36.00")
"""Of a core-hour: one fen a core-second."""
SCRIPT = "#!/bin/sh\ntrue\n"


class Wire(InProcess):
    """The way to a service in this process. It can be cut: then nothing arrives."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app)
        self.cut = False

    async def call(self, *request: Any, **options: Any) -> Reply:
        if self.cut:
            raise httpx.ConnectError("the wire is cut")
        return await super().call(*request, **options)


async def eventually(call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call until the service has heard of what is referred to."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await call(*args, **kwargs)
            except (UnknownReference, NotFound, AdapterUnknown):
                await asyncio.sleep(0.01)


async def until(holds: Callable[[], Awaitable[T | None]], seconds: float = 20) -> T:
    """Ask until it gives something true; TimeoutError when it doesn't in time."""
    async with asyncio.timeout(seconds):
        while not (found := await holds()):  # noqa: ASYNC110 - what is waited for is behind HTTP
            await asyncio.sleep(0.02)
        return found


def an_hour_on() -> datetime:
    """Accounting's time: what an agent states of runs that begin now is over, up to an hour."""
    return clock.now() + timedelta(hours=1)


class AnHourOn(BrokerClient):
    """The broker as accounting hears it, an hour on: what an agent states was over when it was stated."""

    async def feed(self, after: str | None, wait: float) -> tuple[list[dict[str, Any]], str]:
        events, following = await super().feed(after, wait)
        told = (datetime.fromisoformat(event["time"]) + timedelta(hours=1) for event in events)
        return [event | {"time": time.isoformat()} for event, time in zip(events, told, strict=True)], following


class Platform:
    """Three services that run, and clients of them. `to_accounting` is the broker's way there."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.signer = create_signer(settings)
        self.apps: dict[ServiceName, ServiceApp] = {}
        self.to_accounting: Wire

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Platform"]:
        wires: dict[tuple[ServiceName, ServiceName], Wire] = {}

        def wire(caller: ServiceName, called: ServiceName) -> Wire:
            async def call(scope: Scope, receive: Receive, send: Send) -> None:
                await self.apps[called](scope, receive, send)

            wires[caller, called] = Wire(call)
            return wires[caller, called]

        create: dict[str, Callable[..., ServiceApp]] = {
            "catalog": create_catalog,
            "accounting": partial(create_accounting, now=an_hour_on),
            "broker": create_broker,
        }
        for name in SERVICES:
            token = partial(self.signer.service_token, name)
            peers = Peers(
                catalog=CatalogClient("http://catalog", token, transport=wire(name, "catalog")),
                broker=(AnHourOn if name == "accounting" else BrokerClient)(
                    "http://broker", token, transport=wire(name, "broker")
                ),
                accounting=AccountingClient("http://accounting", token, transport=wire(name, "accounting")),
            )
            self.apps[name] = create[name](self.settings, peers)
        self.to_accounting = wires["broker", "accounting"]
        async with AsyncExitStack() as stack:
            for name in SERVICES:
                await stack.enter_async_context(started(self.apps[name]))
            yield self
            for one in wires.values():
                one.cut = True

    @property
    def runtime(self) -> Runtime:
        """The broker's."""
        runtime: Runtime = self.apps["broker"].provided[Runtime]
        return runtime

    def token(self, subject: str, *permissions: str) -> str:
        return self.signer.sign(subject, permissions, timedelta(hours=2))

    def person(self, subject: str, *permissions: str) -> Person:
        """Someone at the broker, for what its client has no method for."""
        http = httpx.AsyncClient(transport=httpx.ASGITransport(self.apps["broker"]), base_url="http://broker")
        return Person(http, self.token(subject, *permissions))

    def catalog(self, subject: str, *permissions: str) -> CatalogClient:
        return CatalogClient("http://catalog", self.token(subject, *permissions), transport=Wire(self.apps["catalog"]))

    def broker(self, subject: str, *permissions: str) -> BrokerClient:
        return BrokerClient("http://broker", self.token(subject, *permissions), transport=Wire(self.apps["broker"]))

    def accounting(self, subject: str, *permissions: str) -> AccountingClient:
        token = self.token(subject, *permissions)
        return AccountingClient("http://accounting", token, transport=Wire(self.apps["accounting"]))


@dataclass
class Customer:
    """An organization with a project and money, that submits."""

    platform: Platform
    organization: str
    project: str
    broker: BrokerClient
    finance: AccountingClient

    def spec(
        self,
        name: str = "test",
        *,
        indices: int = 0,
        max_parallel: int | None = None,
        walltime: int = 100,
        cpus: int = 1,
        offerings: tuple[str, ...] = (),
        **more: Any,
    ) -> JobSpec:
        array = Array(indices=tuple(range(indices)), max_parallel=max_parallel) if indices else None
        resources = Resources(cpus_per_task=cpus, walltime_seconds=walltime)
        values = {"name": name, "project": self.project, "script": SCRIPT, "resources": resources, "array": array}
        return JobSpec.model_validate(values | {"where": Where(offerings=offerings)} | more)

    async def submit(self, spec: JobSpec | None = None, **options: Any) -> Job:
        return await self.broker.submit_job(spec or self.spec(**options))

    async def job(self, job: str) -> JobDetail:
        return await self.broker.get_job(job)

    async def reaches(self, job: str, *states: JobState) -> JobDetail:
        async def there() -> JobDetail | None:
            found = await self.job(job)
            return found if found.state in states else None

        return await until(there)

    async def is_placed(self, job: str) -> bool:
        """Whether the job has an attempt, and its money is confirmed."""
        found = await self.job(job)
        return found.reason is None and found.hold.state is HoldState.GRANTED

    async def event_types(self, job: str) -> list[str]:
        return [event.type for event in (await self.broker.list_job_events(job, limit=200)).items]

    async def funds(self) -> Funds:
        return await self.finance.get_funds(self.organization)

    async def hold(self, job: str) -> Hold:
        return await self.finance.get_hold(job)

    async def hold_settles(self, job: str) -> Hold:
        async def settled() -> Hold | None:
            found = await self.hold(job)
            return found if found.status == "settled" else None

        return await until(settled)


@dataclass
class Market:
    """A provider with sites; offerings and customers are added as a test needs them."""

    platform: Platform
    admin: CatalogClient
    finance: AccountingClient
    provider: str = ""
    seller: CatalogClient = field(init=False)
    customers: list[Customer] = field(default_factory=list)

    async def open(self) -> None:
        draft = ProviderDraft(name="Centre 中心", kind=ProviderKind.COMPUTE_INFRASTRUCTURE, region="Xi'an")
        self.provider = (await self.admin.apply_provider(draft)).id
        await self.admin.approve_provider(self.provider)
        self.seller = self.platform.catalog("centre", f"provider/{self.provider}:admin")

    async def hand(self, site: str, descriptor: AdapterDescriptor = fake.descriptor) -> Hand:
        """The site's agent, with its lease."""
        hand = Hand(self.platform.broker("agent", f"site/{site}:agent"), site)
        await eventually(hand.take, descriptor)
        return hand

    async def site(self, *, settings: Mapping[str, Any] | None = None, adapter: str = "fake", **more: Any) -> str:
        """A site whose agent is at the centre: the test."""
        draft = SiteDraft(
            provider=self.provider, name="Site", region="Xi'an", adapter=adapter, settings=dict(settings or {}),
            agent=AgentPlace.CENTRE, **more,
        )  # fmt: skip
        return (await eventually(self.seller.create_site, draft)).id

    async def offering(
        self,
        site: str,
        *,
        cpus: int = 4,
        price: Decimal | str = PRICE,
        per_job: Decimal | str | None = None,
        minimum: str | None = None,
        queue_ahead: int = 0,
        active: bool = True,
        ends_after: timedelta | None = None,
        **more: Any,
    ) -> Offering:
        """An offering with one tariff, on sale."""
        limits = Limits(nodes=4, cpus_per_node=64, memory_mib_per_node=65_536, walltime_seconds=86_400)
        draft = {
            "site": site,
            "name": f"{cpus} cores",
            "tier": Tier.HPC,
            "limits": limits,
            "capacity": Capacity(cpus=cpus, memory_mib=1_048_576),
            "queue_ahead": queue_ahead,
        }
        offering = await self.seller.create_offering(OfferingDraft.model_validate(draft | more))
        start = clock.floor_second(clock.now())
        tariff = Tariff(
            name="standard",
            starts_at=start - timedelta(days=40),
            ends_at=None if ends_after is None else start + ends_after,
            prices={Component.CPU_CORE_HOUR: Decimal(price)}
            | ({} if per_job is None else {Component.JOB: Decimal(per_job)}),
            minimum_charge=None if minimum is None else Money.parse(minimum),
        )
        await self.seller.publish_price_list(offering.id, PriceListDraft(tariffs=(tariff,)))
        return await self.seller.activate_offering(offering.id) if active else offering

    async def customer(self, *sites: str, deposit: str = "10000.00") -> Customer:
        """A new organization, known at the sites, that the broker and accounting have heard of."""
        organization = (await self.admin.create_organization(OrganizationDraft(name="Robotics 机器人"))).id
        buyer = self.platform.catalog("enterprise", f"org/{organization}:admin")
        project = await buyer.create_project(ProjectDraft(organization=organization, name="Gripper"))
        for site in sites:
            await self.seller.create_tenant(TenantDraft(site=site, organization=organization))
        if Money.parse(deposit).fen:
            draft = DepositDraft(organization=organization, amount=Money.parse(deposit), reference=ids.new("dep"))
            await eventually(self.finance.record_deposit, draft)
        member = self.platform.broker("enterprise", f"org/{organization}:member")
        customer = Customer(self.platform, organization, project.id, member, self.finance)
        self.customers.append(customer)
        return customer


async def sold(customer: Customer, *offerings: str) -> None:
    """Wait until the broker would place the customer's smallest job on each of these."""

    async def all_offered() -> bool:
        quote = await eventually(customer.broker.create_quote, customer.spec(walltime=1))
        return set(offerings) <= {candidate.offering for candidate in quote.candidates}

    await until(all_offered)


@asynccontextmanager
async def platform_on(urls: Mapping[ServiceName, str], folder: Path) -> AsyncIterator[Platform]:
    """The three services on these databases, without agents."""
    databases: dict[str, Any] = {f"{service}_database_url": url for service, url in urls.items()}
    settings = Settings(
        mode="development", data_dir=folder, log_format="console", log_level="warning", embedded_agents=False,
        lease_seconds=600, **databases,
    )  # fmt: skip
    async with Platform(settings).running() as platform:
        yield platform
