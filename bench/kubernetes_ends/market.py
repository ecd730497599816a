"""A platform with a real Kubernetes site, its offerings, and an enterprise that may run anywhere on it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.accelerated import MODEL, open_site
from bench.kubernetes_ends.asked import Asked, Place
from bench.platform import Platform, let_in, put_on_sale
from bench.slurm_ends.asked import PRICES
from caravan.contracts.offerings import Capacity, Limits, OfferingDraft, Tier
from caravan.contracts.spec import Array, Container, JobSpec, Resources, Where
from tests.backends.kubernetes.configuration import GPU, GPUS, H100
from tests.backends.kubernetes.image import BUSYBOX


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
    device = f"{GPU}:{H100}"
    seller, site = await open_site(platform, "灞河智算 Bahe", "kubernetes", settings, device, start_agent)
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
        await put_on_sale(seller, offering.id, PRICES)
        offerings[place] = offering.id
    organization, project = await let_in(platform, site.provider, site.id, tenant=tenant, deposit="10000.00")
    return Market(site.id, site.provider, organization, project, offerings)
