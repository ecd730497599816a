"""The catalog follows the broker's feed by the real client: descriptors, health and inventory arrive by themselves."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from caravan.client import AccountingClient, BrokerClient, CatalogClient, InProcess, Peers
from caravan.contracts.events import ADAPTER_ANNOUNCED, SITE_REPORTED
from caravan.contracts.offerings import Capacity, InventoryItem
from caravan.kernel import feed
from caravan.kernel.feed_router import feed_router
from caravan.kernel.metrics import Metrics
from caravan.kernel.migrations import on_connection
from caravan.kernel.runtime import Runtime
from caravan.kernel.settings import Settings
from caravan.kernel.tables import KERNEL
from caravan.kernel.tokens import create_signer
from caravan.kernel.web import ServiceApp, create_service_app, started
from services.catalog.app import create_app
from tests.catalog.world import DESCRIPTOR, Centre, a_report
from tests.support import Json, Running, database, development, ok, running, until


@pytest.fixture
async def other_broker(settings: Settings, new_database_url: Callable[[], str]) -> AsyncIterator[ServiceApp]:
    """A service that has nothing but the kernel's feed."""
    url = new_database_url()
    await asyncio.to_thread(on_connection, url, KERNEL.create_all)
    own, metrics = development(settings.data_dir, **database("broker", url)), Metrics()
    runtime = Runtime("broker", own, metrics)

    @asynccontextmanager
    async def lifespan(app: ServiceApp) -> AsyncIterator[None]:
        async with runtime.running():
            yield

    app = create_service_app("broker", "A feed", own, routers=[feed_router], provide=[runtime], lifespan=lifespan)
    async with started(app):
        yield app


@pytest.fixture
async def catalog(settings: Settings, other_broker: ServiceApp) -> AsyncIterator[Running]:
    def token() -> str:
        return create_signer(settings).service_token("catalog")

    transport = InProcess(other_broker)
    peers = Peers(
        catalog=CatalogClient("http://catalog", token, transport),
        broker=BrokerClient("http://broker", token, transport),
        accounting=AccountingClient("http://accounting", token, transport),
    )
    async with running(create_app(settings, peers)) as service:
        yield service
    await peers.aclose()


async def test_adapters_health_and_inventory_arrive_by_the_feed(catalog: Running, other_broker: ServiceApp) -> None:
    operator, db = catalog.person("operator", "platform:admin"), other_broker.provided[Runtime].db
    draft = {"name": "C", "kind": "other", "region": "西安"}
    provider = ok(await operator.post("/providers", draft), 201)["id"]
    ok(await operator.post(f"/providers/{provider}/approve"))
    centre = Centre(catalog, provider, catalog.person("admin", f"provider/{provider}:admin"))
    await db.write(feed.state, ADAPTER_ANNOUNCED, "toy", DESCRIPTOR)
    site_draft = {"provider": provider, "name": "S", "region": "西安", "adapter": "toy", "settings": {"folder": "/a"}}

    async def registered() -> bool:
        return (await centre.admin.post("/sites", site_draft)).status_code == 201

    await until(registered)
    (site,) = ok(await centre.admin.get("/sites"))["items"]
    parts = (InventoryItem(target={}, name="all", nodes=1, cpus_per_node=2, memory_mib_per_node=1024),)
    reported = a_report(site["id"], inventory=parts)
    await db.write(feed.state, SITE_REPORTED, site["id"], reported)

    async def seen() -> Json:
        return ok(await centre.admin.get(f"/sites/{site['id']}"))

    async def has_health() -> bool:
        return (await seen())["health"] is not None

    await until(has_health)
    expected = reported.model_dump(mode="json")
    now = await seen()
    assert (now["health"], now["inventory"], now["version"]) == (expected["health"], expected["inventory"], 2)

    free = Capacity(cpus=1, memory_mib=512)
    busy = a_report(site["id"], inventory=(parts[0].model_copy(update={"free": free}),))
    await db.write(feed.state, SITE_REPORTED, site["id"], busy)

    async def has_less_free() -> bool:
        return bool((await seen())["inventory"][0]["free"] == free.model_dump())

    await until(has_less_free)
    assert (await seen())["version"] == 2, "each job changes what is free"
