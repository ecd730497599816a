"""One running platform for the session: `caravan serve` as a user starts it, with something on sale and someone to buy it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from bench.platform import Market, Platform, open_market, until
from caravan.contracts.funds import BudgetDraft
from caravan.contracts.offerings import Capacity, Limits, OfferingDraft, Tier
from caravan.contracts.prices import Component, PriceListDraft, Tariff
from caravan.kernel import clock
from caravan.kernel.money import Money


@dataclass(frozen=True)
class Town:
    """The platform, what is on sale there, and the tokens of the audiences."""

    platform: Platform
    market: Market
    enterprise: str
    finance: str

    @property
    def url(self) -> str:
        return self.platform.url("catalog").removesuffix("/catalog")


async def _furnish(platform: Platform) -> Market:
    market = await open_market(platform, cpus=8, memory_mib=4096)
    centre = await platform.catalog(f"provider/{market.provider}:admin")
    small = await centre.create_offering(
        OfferingDraft(
            site=market.site,
            name="单核小作业 Single-core jobs",
            tier=Tier.CLOUD,
            limits=Limits(nodes=1, cpus_per_node=1, memory_mib_per_node=512, walltime_seconds=86_400),
            capacity=Capacity(cpus=1, memory_mib=512),
        )
    )
    since = clock.floor_hour(clock.now() - timedelta(days=1))
    dear = Tariff(name="dear", starts_at=since, prices={Component.CPU_CORE_HOUR: Decimal("72.00")})
    await centre.publish_price_list(small.id, PriceListDraft(tariffs=(dear,)))
    await centre.activate_offering(small.id)

    async def its_site_is_known_to_be_well() -> bool:
        return all(found.site_health is not None for found in (await centre.search_offerings()).items)

    await until(its_site_is_known_to_be_well, "the catalog to hear of the site's health")
    accounting = await platform.accounting(f"org/{market.organization}:admin")
    await accounting.create_budget(
        BudgetDraft(
            organization=market.organization,
            project=market.project,
            name="本季 Quarter",
            limit=Money.parse("20.00"),
            starts_at=since,
        )
    )
    return market


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with opened(tmp_path_factory.mktemp("town")) as made:
        yield made


@contextmanager
def opened(folder: Path) -> Iterator[Town]:
    """A town of its own: periods close in one whose sites all go on telling what was used there."""
    with asyncio.Runner() as runner:
        platform = Platform(folder).start()
        try:
            market = runner.run(_furnish(platform))
            yield Town(
                platform,
                market,
                enterprise=platform.token(f"org/{market.organization}:admin", subject="enterprise"),
                finance=platform.token("platform:finance", subject="finance"),
            )
        finally:
            runner.run(platform.__aexit__())
