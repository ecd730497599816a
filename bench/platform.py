"""A real platform for demos, proofs and end-to-end tests: `caravan serve` as processes of their own, on loopback.

`Platform` starts, kills and restarts it, in one process or one for each service, and gives clients with any permissions.
`open_market` makes what a job needs: provider, site, offering, prices, organization, project, deposit.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, ParamSpec, Self, TypeVar

import httpx

from caravan.client import AccountingClient, BrokerClient, CatalogClient
from caravan.contracts.funds import DepositDraft
from caravan.contracts.offerings import AgentPlace, Capacity, Limits, OfferingDraft, SiteDraft, Tier
from caravan.contracts.parties import OrganizationDraft, ProjectDraft, ProviderDraft, ProviderKind, TenantDraft
from caravan.contracts.prices import Component, PriceListDraft, Tariff
from caravan.contracts.problems import AdapterUnknown, UnknownReference
from caravan.contracts.spec import JobSpec, Resources
from caravan.kernel import clock
from caravan.kernel.money import Money
from caravan.kernel.problems import NotFound
from caravan.kernel.settings import ServiceName, Settings
from caravan.kernel.tokens import Signer, create_signer

SERVICES: Final[tuple[ServiceName, ...]] = ("catalog", "accounting", "broker")
START_SECONDS: Final = 60
SETTLE_SECONDS: Final = 30
P = ParamSpec("P")
T = TypeVar("T")
QUICK_AGENTS: Final = {
    "CARAVAN_AGENT_OBSERVE_SECONDS": "0.1",
    "CARAVAN_AGENT_PROGRESS_SECONDS": "0.5",
    "CARAVAN_AGENT_RETRY_SECONDS": "0.5",
    "CARAVAN_LEASE_SECONDS": "5",
}


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@dataclass
class Platform:
    """One installation under `folder`. `split`: one process for each service. `databases`: PostgreSQL URLs, else SQLite files."""

    folder: Path
    split: bool = False
    databases: Mapping[ServiceName, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        ports = free_ports(3 if self.split else 1)
        self._ports = dict(zip(SERVICES, ports * 3 if not self.split else ports, strict=False))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._clients = AsyncExitStack()
        self.settings = Settings(mode="development", data_dir=self.data, log_format="console")

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "platform.log"

    def url(self, service: ServiceName) -> str:
        base = f"http://127.0.0.1:{self._ports[service]}"
        return base if self.split else f"{base}/{service}"

    @property
    def signer(self) -> Signer:
        """Signs with the installation's development key."""
        return create_signer(self.settings)

    # Processes

    def start(self, **environment: str) -> Self:
        """Start what isn't running and wait until all services are ready. Raises RuntimeError with the log's end."""
        self.launch(**environment)
        self._wait_ready()
        return self

    def launch(self, **environment: str) -> None:
        """Start what isn't running, and don't wait."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("CARAVAN_")}
        env |= QUICK_AGENTS | {
            "CARAVAN_MODE": "development",
            "CARAVAN_DATA_DIR": str(self.data),
            "PYTHONUNBUFFERED": "1",
        }
        env |= {f"CARAVAN_{service.upper()}_DATABASE_URL": url for service, url in self.databases.items()}
        if self.split:
            env |= {f"CARAVAN_{service.upper()}_URL": self.url(service) for service in SERVICES}
        env |= {**self.environment, **environment}
        for name in SERVICES if self.split else ("all",):
            if name not in self._processes:
                port = next(port for service, port in self._ports.items() if name in ("all", service))
                command = [sys.executable, "-m", "caravan.cli", "serve", name, "--port", str(port)]
                with self.log.open("ab") as log:
                    self._processes[name] = subprocess.Popen(
                        command,
                        env=env,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        cwd=self.folder,
                        start_new_session=True,
                    )

    def _wait_ready(self) -> None:
        deadline = clock.monotonic() + START_SECONDS
        # one client: to make one costs more than to ask, and takes the CPU from what is starting
        with httpx.Client(verify=False, trust_env=False, timeout=5) as http:
            for service in SERVICES:
                while not self._ready(http, service):
                    dead = [name for name, process in self._processes.items() if process.poll() is not None]
                    if dead or clock.monotonic() > deadline:
                        raise RuntimeError(f"{service} did not become ready ({dead or 'in time'}):\n{self.log_tail()}")
                    time.sleep(0.05)

    def _ready(self, http: httpx.Client, service: ServiceName) -> bool:
        try:
            return http.get(f"{self.url(service)}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def log_tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def pid(self, service: str = "all") -> int:
        return self._processes[service if self.split else "all"].pid

    def kill(self, service: str | None = None) -> None:
        """kill -9 of all of it, or of one service."""
        self._end(signal.SIGKILL, service)

    def stop(self, service: str | None = None) -> None:
        """SIGTERM, and wait for the clean end."""
        self._end(signal.SIGTERM, service)

    def _end(self, how: signal.Signals, service: str | None) -> None:
        names = list(self._processes) if service is None else [service]
        ending = [self._processes.pop(name) for name in names]
        for process in ending:
            process.send_signal(how)
        for process in ending:
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def restart(self, **environment: str) -> None:
        """Start again after `kill` or `stop`, on the same ports and files."""
        self.start(**environment)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._clients.aclose()
        if self._processes:
            self.stop()

    # Callers

    def token(self, *permissions: str, subject: str = "somebody") -> str:
        return self.signer.sign(subject, permissions, timedelta(hours=2))

    async def catalog(self, *permissions: str, subject: str = "somebody") -> CatalogClient:
        return await self._clients.enter_async_context(
            CatalogClient(self.url("catalog"), self.token(*permissions, subject=subject))
        )

    async def broker(self, *permissions: str, subject: str = "somebody") -> BrokerClient:
        return await self._clients.enter_async_context(
            BrokerClient(self.url("broker"), self.token(*permissions, subject=subject))
        )

    async def accounting(self, *permissions: str, subject: str = "somebody") -> AccountingClient:
        return await self._clients.enter_async_context(
            AccountingClient(self.url("accounting"), self.token(*permissions, subject=subject))
        )


async def eventually(call: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call until the service has heard of what is referred to: services follow each other, so that takes a moment."""
    deadline = clock.monotonic() + SETTLE_SECONDS
    while True:
        try:
            return await call(*args, **kwargs)
        except (UnknownReference, NotFound, AdapterUnknown):
            if clock.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


async def until(holds: Callable[[], Awaitable[T | None]], what: str, seconds: float = 60) -> T:
    """Poll until `holds` gives something true. Raises TimeoutError that says what was waited for."""
    deadline = clock.monotonic() + seconds
    while not (found := await holds()):
        if clock.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s in vain: {what}")
        await asyncio.sleep(0.05)
    return found


@dataclass(frozen=True)
class Market:
    """Ids of what `open_market` made."""

    provider: str
    site: str
    offering: str
    price_list: str
    organization: str
    project: str


async def open_market(
    platform: Platform,
    *,
    nodes: int = 1,
    cpus: int = 64,
    memory_mib: int = 65_536,
    deposit: str = "100000.00",
    prices: Mapping[str, str] | None = None,
    adapter: str = "local",
    site_settings: Mapping[str, Any] | None = None,
    tenant: Mapping[str, Any] | None = None,
    target: Mapping[str, Any] | None = None,
    queue_ahead: int = 0,
    start_agent: Callable[[str], object] | None = None,
) -> Market:
    """A provider with a site (a local one) and one active offering, an organization with a project and money. Waits until it can be used.

    `nodes`: the most that a task may have.
    `start_agent(site)`: the site's agent is at the centre, and this starts it; else it runs inside the broker.
    """
    admin = await platform.catalog("platform:admin", subject="operator")
    provider = await admin.apply_provider(
        ProviderDraft(name="Chang'an Computing 长安算力", kind=ProviderKind.COMPUTE_INFRASTRUCTURE, region="Xi'an")
    )
    await admin.approve_provider(provider.id)
    seller = await platform.catalog(f"provider/{provider.id}:admin", subject="centre")
    local = {"folder": str(platform.folder / "site"), "cpus": cpus, "memory_mib": memory_mib}
    site = await eventually(
        seller.create_site,
        SiteDraft(
            provider=provider.id,
            name="Cluster",
            region="Xi'an",
            adapter=adapter,
            agent=AgentPlace.CENTRE if start_agent else AgentPlace.PLATFORM,
            settings={**(local if adapter == "local" else {}), **(site_settings or {})},
        ),
    )
    if start_agent is not None:
        start_agent(site.id)
    offering = await seller.create_offering(
        OfferingDraft(
            site=site.id,
            name="General",
            tier=Tier.HPC,
            limits=Limits(nodes=nodes, cpus_per_node=cpus, memory_mib_per_node=memory_mib, walltime_seconds=86_400),
            target=dict(target or {}),
            capacity=Capacity(cpus=cpus, memory_mib=memory_mib),
            queue_ahead=queue_ahead,
        )
    )
    price_list = await put_on_sale(seller, offering.id, prices or {"cpu_core_hour": "36.00"})
    organization, project = await let_in(platform, provider.id, site.id, tenant=tenant or {}, deposit=deposit)
    return Market(provider.id, site.id, offering.id, price_list, organization, project)


async def put_on_sale(seller: CatalogClient, offering: str, prices: Mapping[str, str]) -> str:
    """At one tariff, since 40 days ago. Returns the price list's id. `prices`: component -> yuan."""
    start = clock.floor_second(clock.now()) - timedelta(days=40)
    unit = {Component(name): Decimal(price) for name, price in prices.items()}
    tariff = Tariff(name="standard", starts_at=start, prices=unit)
    price_list = await seller.publish_price_list(offering, PriceListDraft(tariffs=(tariff,)))
    await seller.activate_offering(offering)
    return price_list.id


async def let_in(
    platform: Platform,
    provider: str,
    site: str,
    *,
    tenant: Mapping[str, Any],
    name: str = "Qinling Robotics 秦岭机器人",
    deposit: str = "100000.00",
) -> tuple[str, str]:
    """An organization with money, a project, and a tenant of these settings at the site. Waits until a plain job of its can run somewhere.

    Returns its id and its project's.
    """
    admin = await platform.catalog("platform:admin", subject="operator")
    organization = (await admin.create_organization(OrganizationDraft(name=name))).id
    buyer = await platform.catalog(f"org/{organization}:admin", subject="enterprise")
    project = (await buyer.create_project(ProjectDraft(organization=organization, name="Gripper"))).id
    seller = await platform.catalog(f"provider/{provider}:admin", subject="centre")
    await seller.create_tenant(TenantDraft(site=site, organization=organization, settings=dict(tenant)))
    finance = await platform.accounting("platform:finance", subject="finance")
    await eventually(
        finance.record_deposit,
        DepositDraft(organization=organization, amount=Money.parse(deposit), reference=f"opening of {organization}"),
    )
    customer = await platform.broker(f"org/{organization}:admin", subject="enterprise")
    probe = JobSpec(name="probe", project=project, script="true", resources=Resources(walltime_seconds=1))

    async def open_for_business() -> bool:
        return bool((await eventually(customer.create_quote, probe)).candidates)

    await until(open_for_business, "an offering to become a candidate")
    return organization, project
