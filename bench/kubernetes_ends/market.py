"""A platform with a real Kubernetes site, its offerings, and an enterprise that may run anywhere on it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from bench.kubernetes_ends.asked import PRICES, Asked, Place
from bench.platform import Platform, let_in, until
from caravan.contracts.offerings import (
    Accelerator,
    AcceleratorUnit,
    AgentPlace,
    Capacity,
    Component,
    Limits,
    OfferingDraft,
    PriceListDraft,
    SiteDraft,
    Tariff,
    Tier,
)
from caravan.contracts.parties import ProviderDraft, ProviderKind
from caravan.contracts.spec import Array, Container, JobSpec, Resources, Where
from caravan.kernel import clock
from tests.backends.kubernetes.configuration import GPU, GPUS, H100
from tests.backends.kubernetes.image import BUSYBOX

MODEL: Final = "acc_h100"


@dataclass(frozen=True)
class Market:
    site: str
    provider: str
    organization: str
    project: str
    offerings: Mapping[Place, str]

    def spec(self, job: Asked) -> JobSpec:
        program = Container(image=f"docker://{BUSYBOX}", command=job.command) if job.command else None
        return JobSpec(
            name=job.name,
            project=self.project,
            script=None if program else job.script,
            container=program,
            resources=Resources(
                memory_mib_per_node=job.memory_mib,
                accelerators_per_node=job.accelerators,
                accelerator=MODEL if job.accelerators else None,
                walltime_seconds=job.walltime_seconds,
            ),
            array=Array(indices=tuple(job.ends), max_parallel=job.max_parallel) if len(job.ends) > 1 else None,
            where=Where(offerings=(self.offerings[job.place],)),
            max_attempts=1,
        )


async def opened(
    platform: Platform,
    settings: Mapping[str, Any],
    tenant: Mapping[str, Any],
    images: Mapping[Place, str],
    start_agent: Callable[[str], object],
) -> Market:
    """`settings` are the Kubernetes site's; `images` by offering, where it isn't the site's; `start_agent(site)` starts its agent."""
    admin = await platform.catalog("platform:admin", subject="operator")
    card = Accelerator(
        id=MODEL, vendor="NVIDIA", model="H100", memory_mib=81_920, unit=AcceleratorUnit.CARD, domestic=False
    )
    await admin.add_accelerator(card)
    provider = await admin.apply_provider(
        ProviderDraft(name="灞河智算 Bahe", kind=ProviderKind.COMPUTE_INFRASTRUCTURE, region="西安")
    )
    await admin.approve_provider(provider.id)
    seller = await platform.catalog(f"provider/{provider.id}:admin", subject="centre")
    site = await seller.create_site(
        SiteDraft(
            provider=provider.id, name="Kubernetes", region="西安", adapter="kubernetes", agent=AgentPlace.CENTRE,
            settings=dict(settings), accelerators={MODEL: f"{GPU}:{H100}"},
        )
    )  # fmt: skip
    start_agent(site.id)

    async def reported() -> bool:
        return (await seller.get_site(site.id)).inventory is not None

    await until(reported, "the site's agent reports")
    offerings: dict[Place, str] = {}
    places: tuple[Place, ...] = ("cpu", "gpu", "missing", "slow")
    for place in places:
        cards = GPUS if place == "gpu" else 0
        limits = Limits(
            nodes=1, cpus_per_node=2, memory_mib_per_node=1024, accelerators_per_node=cards, walltime_seconds=3600
        )
        offering = await seller.create_offering(
            OfferingDraft(
                site=site.id, name=place, tier=Tier.AI, accelerator=MODEL if cards else None, limits=limits,
                target={"image": images[place]} if place in images else {},
                capacity=Capacity(cpus=64, memory_mib=64_000, accelerators=8 * cards),
            )
        )  # fmt: skip
        since = clock.floor_hour(clock.now()) - timedelta(days=1)
        prices = {Component(one): Decimal(price) for one, price in PRICES.items()}
        await seller.publish_price_list(
            offering.id, PriceListDraft(tariffs=(Tariff(name="standard", starts_at=since, prices=prices),))
        )
        offerings[place] = (await seller.activate_offering(offering.id)).id
    organization, project = await let_in(platform, provider.id, site.id, tenant=tenant, deposit="10000.00")
    return Market(site.id, provider.id, organization, project, offerings)
