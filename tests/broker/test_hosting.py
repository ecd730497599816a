"""Agents inside the broker: started for the sites that want one, and stopped so that the next ones can begin at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from caravan.contracts.offerings import AgentPlace, SiteDraft, SiteHealth
from caravan.kernel import leases
from caravan.kernel.database import database_now
from caravan.kernel.metrics import Metrics
from services.broker.adapters.fake import adapter as fake
from services.broker.adapters.local import adapter as local
from services.broker.dispatch.leasing import lease_name
from services.broker.hosting import AgentHost
from services.broker.placement.copies import Catalog
from tests.broker.market import Market, eventually, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


@asynccontextmanager
async def hosting(market: Market, *, jobs_on_this_machine: bool = True) -> AsyncIterator[AgentHost]:
    """A broker's agents, beside those of the platform under test, which has none."""
    broker = market.platform.broker("service:broker", "service:broker")
    host = AgentHost(
        market.platform.runtime,
        Catalog(),
        broker,
        {"fake": fake, "local": local},
        Metrics(),
        jobs_on_this_machine=jobs_on_this_machine,
    )

    async def again() -> None:
        while True:
            await host.iteration()

    task = asyncio.create_task(again())
    try:
        yield host
    finally:
        task.cancel()
        await asyncio.wait([task])
        await host.stop()


async def test_agents_that_stop_cleanly_leave_no_lease_to_wait_for(market: Market) -> None:
    draft = SiteDraft(provider=market.provider, name="Site", region="Xi'an", adapter="fake", agent=AgentPlace.PLATFORM)
    site = (await eventually(market.seller.create_site, draft)).id
    db = market.platform.runtime.db

    async def held() -> leases.Held | None:
        return await db.read(lambda tx: leases.peek(tx, lease_name(site)))

    async with hosting(market):
        first = await until(held)
        assert first.expires_at > await db.read(database_now)
    assert (await db.read(lambda tx: leases.peek(tx, lease_name(site)))).expires_at <= await db.read(database_now)  # type: ignore[union-attr]
    async with hosting(market):

        async def taken_over() -> bool:
            now = await held()
            return now is not None and now.epoch > first.epoch and now.holder != first.holder

        await until(taken_over)
    await moves_to_its_centre(market, site)


async def moves_to_its_centre(market: Market, site: str) -> None:
    current = await market.seller.get_site(site)
    values = current.model_dump(include=set(SiteDraft.model_fields)) | {"agent": AgentPlace.CENTRE}
    await market.seller.update_site(site, SiteDraft.model_validate(values), current.version)


async def test_jobs_run_on_the_brokers_machine_only_where_its_operator_agrees(market: Market, tmp_path: Path) -> None:
    draft = SiteDraft(
        provider=market.provider, name="Here", region="Xi'an", adapter="local", agent=AgentPlace.PLATFORM,
        settings={"folder": str(tmp_path / "site"), "i_accept_jobs_on_this_machine": True},
    )  # fmt: skip
    site = (await eventually(market.seller.create_site, draft)).id

    async def health() -> SiteHealth | None:
        return (await market.seller.get_site(site)).health

    async def healthy() -> bool:
        found = await health()
        return found is not None and found.state == "healthy"

    async with hosting(market, jobs_on_this_machine=False):
        refused = await until(health)
        assert refused.state == "refused"
        assert "CARAVAN_JOBS_ON_THIS_MACHINE=true" in refused.detail and "`caravan agent`" in refused.detail
    async with hosting(market):
        await until(healthy)
    await moves_to_its_centre(market, site)
