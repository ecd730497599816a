"""The first audience: a compute centre that wants to sell."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from bench.demo.stages import Stage
from bench.demo.telling import WentWrong, clock, cores, yes
from bench.demo.world import Hall, World
from caravan.contracts.offerings import Capacity, InventoryItem, Limits, Offering, OfferingDraft, Site, SiteDraft, Tier
from caravan.contracts.parties import ProviderDraft, ProviderKind, TenantDraft, credit_code_check
from caravan.contracts.prices import Component, PriceList, PriceListDraft, Tariff
from caravan.kernel import clock as time

PRICE, DEARER = Decimal("36.00"), Decimal("72.00")
NUMERALS: Final = "一二三"
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
    hall = await opens_a_hall(world, world.stage)
    world.site, drafted = hall.site, hall.offering
    teller.say(f"From that inventory the catalog drafts [bold]{drafted.name}[/]; the centre adds a small one by hand.")
    small = await world.centre.catalog.create_offering(
        OfferingDraft(
            site=world.site.id,
            name="单核小作业 Single-core jobs",
            tier=Tier.CLOUD,
            target=dict(world.stage.target),
            limits=Limits(nodes=1, cpus_per_node=1, memory_mib_per_node=512, walltime_seconds=30),
            capacity=Capacity(cpus=1, memory_mib=512),
        )
    )
    await prices(world, drafted, PRICE)
    await prices(world, small, DEARER)
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


async def opens_a_hall(world: World, stage: Stage) -> Hall:
    """Register a site; draft offerings from what its agent reports, one of which the story is about."""
    number = len(world.halls) + 1
    draft = SiteDraft(
        provider=world.provider.id,
        name=f"{NUMERALS[number - 1]}号机房 Hall {number}",
        region="西安 Xi'an",
        adapter=stage.adapter,
        agent=stage.agent,
        settings=dict(stage.settings),
    )
    created = await world.teller.known(lambda: world.centre.catalog.create_site(draft), "站点 site")
    stage.run_agent(created.id, world.platform)
    site, inventory = await _reported(world, created.id)
    health = site.health.state if site.health else "?"
    parts = [f"{i.name} with {i.cpus_per_node} cores and {i.memory_mib_per_node:,} MiB" for i in inventory]
    world.teller.say(
        f"It registers the site [bold]{site.name}[/], adapter [bold]{site.adapter}[/]. "
        f"The site's agent reports: [green]{health}[/], {'; '.join(parts)}."
    )
    hall = Hall(stage, site, stage.sold(await world.centre.catalog.draft_offerings(site.id)))
    world.halls.append(hall)
    return hall


async def prices(world: World, offering: Offering, core_hour: Decimal) -> PriceList:
    """Publish a price list of cores alone, in force since the hour began."""
    since = time.floor_hour(time.now())
    tariff = Tariff(name="standard", starts_at=since, prices={Component.CPU_CORE_HOUR: core_hour})
    return await world.centre.catalog.publish_price_list(offering.id, PriceListDraft(tariffs=(tariff,)))


async def lets_in(world: World, hall: Hall) -> None:
    """The enterprise may use this hall from now on."""
    settings = dict(hall.stage.tenant)
    draft = TenantDraft(site=hall.site.id, organization=world.organization.id, settings=settings)
    await world.centre.catalog.create_tenant(draft)


async def _reported(world: World, id: str) -> tuple[Site, tuple[InventoryItem, ...]]:
    """The site once its agent has said what there is."""

    async def look() -> tuple[Site, tuple[InventoryItem, ...]] | None:
        site = await world.centre.catalog.get_site(id)
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
