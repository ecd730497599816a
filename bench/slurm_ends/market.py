"""A platform with a real Slurm site, its offerings, and an enterprise that may run anywhere on it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bench.accelerated import MODEL, open_site
from bench.platform import Platform, eventually, let_in, put_on_sale, until
from bench.slurm_ends.asked import CORES_PER_NODE, PRICES, Asked, Place
from caravan.contracts.offerings import Capacity, Limits, OfferingDraft, Tier
from caravan.contracts.spec import Array, JobSpec, Resources, Where

TARGETS: Final[Mapping[Place, Mapping[str, Any]]] = {
    "batch": {"partition": "batch"},
    "again": {"partition": "batch", "requeue": True},
    "gpu": {"partition": "gpu"},
    "shut": {"partition": "npu"},
    "limited": {"partition": "batch", "account": "proj2"},
}


@dataclass(frozen=True)
class Market:
    site: str
    organization: str
    project: str
    offerings: Mapping[Place, str]
    pause_seconds: int
    """How long jobs take that end by themselves."""

    def spec(self, job: Asked) -> JobSpec:
        return JobSpec(
            name=job.name,
            project=self.project,
            script=job.script,
            environment={"PAUSE": str(self.pause_seconds)},
            resources=Resources(
                nodes=job.nodes,
                cpus_per_task=CORES_PER_NODE,
                memory_mib_per_node=256,
                accelerators_per_node=job.accelerators_per_node,
                accelerator=MODEL if job.accelerators_per_node else None,
                walltime_seconds=job.walltime_seconds,
            ),
            array=Array(indices=tuple(job.ends), max_parallel=job.max_parallel) if job.array else None,
            where=Where(offerings=(self.offerings[job.place],)),
            max_attempts=1,
        )


async def opened(
    platform: Platform,
    settings: Mapping[str, Any],
    start_agent: Callable[[str], object],
    pause_seconds: int,
    jobs: Iterable[Asked],
) -> Market:
    """`settings` are the Slurm site's; `start_agent(site)` starts its agent. Waits until each offering takes its `jobs`."""
    device = "gres/gpu:h100"
    seller, site = await open_site(platform, "渭河超算 Weihe", "slurm", settings, device, start_agent)
    offerings: dict[Place, str] = {}
    for place, target in TARGETS.items():
        cards = 8 if place == "gpu" else 0
        offering = await seller.create_offering(
            OfferingDraft(
                site=site.id,
                name=place,
                tier=Tier.HPC,
                target=dict(target),
                accelerator=MODEL if cards else None,
                limits=Limits(
                    nodes=2,
                    cpus_per_node=32,
                    memory_mib_per_node=64_000,
                    accelerators_per_node=cards,
                    walltime_seconds=3600,
                ),
                capacity=Capacity(cpus=128, memory_mib=256_000, accelerators=2 * cards),
            )
        )
        await put_on_sale(seller, offering.id, PRICES)
        offerings[place] = offering.id
    organization, project = await let_in(platform, site.provider, site.id, tenant={"user": "alice"}, deposit="10000.00")
    market = Market(site.id, organization, project, offerings, pause_seconds)
    customer = await platform.broker(f"org/{organization}:admin", subject="enterprise")
    for job in {job.place: job for job in jobs}.values():

        async def sold(job: Asked = job) -> bool:
            return bool((await eventually(customer.create_quote, market.spec(job))).candidates)

        await until(sold, f"{job.place} takes jobs")
    return market
