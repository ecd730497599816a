"""The first audience: a compute centre that wants to sell."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from bench.demo.telling import WentWrong, clock, cores, yes
from bench.demo.world import World
from caravan.contracts.offerings import (
    Capacity,
    Component,
    InventoryItem,
    Limits,
    OfferingDraft,
    PriceListDraft,
    Site,
    SiteDraft,
    Tariff,
    Tier,
)
from caravan.contracts.parties import ProviderDraft, ProviderKind, credit_code_check
from caravan.kernel import clock as time

PRICE, DEARER = Decimal("36.00"), Decimal("72.00")
NOTICE_SECONDS: Final = 10
"""How long before it a price change is announced: the big job starts before it and ends after it."""


def code(body: str) -> str:
    """A unified social credit code with its check character."""
    return body + credit_code_check(body)


async def joins(world: World) -> None:
    """A centre applies, is approved, registers its site, and offers what the site says it has."""
    teller = world.teller
    teller.chapter("算力中心入驻", "A centre joins: applies, is approved, registers a site, prices and publishes")
    applicant = await world.person("wang@weihe.example")
    draft = ProviderDraft(
        name="渭河超算中心 Weihe Supercomputing",
        kind=ProviderKind.COMPUTE_INFRASTRUCTURE,
        region="西安 Xi'an",
        credit_code=code("91610131MA6WH0001"),
        tax_rate=600,
    )
    applied = await applicant.catalog.apply_provider(draft)
    world.provider = await world.operator.catalog.approve_provider(applied.id)
    world.centre = await world.person("wang@weihe.example", f"provider/{applied.id}:admin")
    teller.say(
        f"[bold]{draft.name}[/] applies ({applied.state.value}); the platform's operator says yes: "
        f"[green]{world.provider.state.value}[/]."
    )
    hall = SiteDraft(
        provider=world.provider.id,
        name="一号机房 Hall 1",
        region="西安 Xi'an",
        adapter=world.stage.adapter,
        agent=world.stage.agent,
        settings=dict(world.stage.settings),
    )
    world.site = await teller.known(lambda: world.centre.catalog.create_site(hall), "站点 site")
    world.stage.run_agent(world.site.id, world.platform)
    site, inventory = await _reported(world)
    health = site.health.state if site.health else "?"
    parts = [f"{i.name} with {i.cpus_per_node} cores and {i.memory_mib_per_node:,} MiB" for i in inventory]
    teller.say(
        f"It registers the site [bold]{site.name}[/], adapter [bold]{site.adapter}[/]. "
        f"The site's agent reports: [green]{health}[/], {'; '.join(parts)}."
    )
    drafted = world.stage.sold(await world.centre.catalog.draft_offerings(site.id))
    teller.say(f"From that inventory the catalog drafts [bold]{drafted.name}[/]; the centre adds a small one by hand.")
    small = await world.centre.catalog.create_offering(
        OfferingDraft(
            site=site.id,
            name="单核小作业 Single-core jobs",
            tier=Tier.CLOUD,
            target=dict(world.stage.target),
            limits=Limits(nodes=1, cpus_per_node=1, memory_mib_per_node=512, walltime_seconds=30),
            capacity=Capacity(cpus=1, memory_mib=512),
        )
    )
    since = time.floor_hour(time.now())
    for offering, price in ((drafted, PRICE), (small, DEARER)):
        tariff = Tariff(name="standard", starts_at=since, prices={Component.CPU_CORE_HOUR: price})
        await world.centre.catalog.publish_price_list(offering.id, PriceListDraft(tariffs=(tariff,)))
    world.offering = await world.centre.catalog.activate_offering(drafted.id)
    world.small = await world.centre.catalog.activate_offering(small.id)
    teller.table(
        (
            "产品 offering",
            "层级 tier",
            "单作业上限 a job at most",
            ">每核时 per core-hour",
            ">每核秒 per core-second",
            "!状态 state",
        ),
        [
            (
                one.name,
                one.tier.value,
                f"{cores(one.limits.cpus_per_node)}, {one.limits.memory_mib_per_node:,} MiB, {one.limits.walltime_seconds:,} s",
                str(price),
                str(price / 3600),
                yes(one.state.value),
            )
            for one, price in ((world.offering, PRICE), (world.small, DEARER))
        ],
    )


async def _reported(world: World) -> tuple[Site, tuple[InventoryItem, ...]]:
    """The site once its agent has said what there is."""

    async def look() -> tuple[Site, tuple[InventoryItem, ...]] | None:
        site = await world.centre.catalog.get_site(world.site.id)
        if site.health and site.health.state == "refused":
            raise WentWrong(f"the site is refused: {site.health.detail}")
        return (site, site.inventory) if site.health and site.inventory else None

    return await world.teller.until(look, "站点代理上报 the site's agent reports")


async def announces_a_price_change(world: World) -> datetime:
    """A new price list, dearer from a second that is near. Returns that second."""
    edge = time.floor_second(time.now()) + timedelta(seconds=NOTICE_SECONDS)
    old = Tariff(
        name="standard", starts_at=time.floor_hour(edge - timedelta(hours=1)), ends_at=edge,
        prices={Component.CPU_CORE_HOUR: PRICE},
    )  # fmt: skip
    new = Tariff(name="summer", starts_at=edge, prices={Component.CPU_CORE_HOUR: DEARER})
    published = await world.centre.catalog.publish_price_list(world.offering.id, PriceListDraft(tariffs=(old, new)))
    world.teller.say(
        f"The centre announces a price change (price list revision {published.revision}): "
        f"[bold]{PRICE}[/] → [bold]{DEARER}[/] a core-hour from [bold]{clock(edge)}[/] on."
    )
    return edge
