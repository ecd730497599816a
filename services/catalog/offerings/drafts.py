"""What a site's inventory would be sold as: a first draft for its provider to go over. Pure."""

from collections.abc import Mapping
from typing import Final

from caravan.contracts.offerings import Capacity, InventoryItem, Limits, OfferingDraft, Tier

WALLTIME_SECONDS: Final = 24 * 3600


def draft_of(site: str, site_name: str, item: InventoryItem, accelerators: Mapping[str, str]) -> OfferingDraft:
    """An offering of the whole part, whose jobs may take as much and as long as its backend lets them; a day where that has no end.

    `accelerators` are the site's: id -> backend name. Accelerators that the site doesn't name are left out of the draft, and its
    description says so.
    """
    most = item.limits
    named = {backend: id for id, backend in accelerators.items()}
    accelerator = named.get(item.accelerator_backend_name or "") if item.accelerators_per_node else None
    per_node = item.accelerators_per_node if accelerator else 0
    description = ""
    if item.accelerators_per_node and accelerator is None:
        description = (
            f"Its {item.accelerator_backend_name or 'accelerators'} ({item.accelerators_per_node} per node) are not sold here: "
            "name them in the site's accelerators, then draft again."
        )
    return OfferingDraft(
        site=site,
        name=f"{site_name} {item.name}"[:200].strip(),
        description=description,
        tier=_tier(item, accelerator),
        limits=Limits(
            nodes=min(item.nodes, most.nodes or item.nodes),
            cpus_per_node=min(item.cpus_per_node, most.cpus_per_node or item.cpus_per_node),
            memory_mib_per_node=min(item.memory_mib_per_node, most.memory_mib_per_node or item.memory_mib_per_node),
            accelerators_per_node=per_node,
            walltime_seconds=most.walltime_seconds or WALLTIME_SECONDS,
        ),
        accelerator=accelerator,
        target=item.target,
        capacity=Capacity(
            cpus=item.nodes * item.cpus_per_node,
            memory_mib=item.nodes * item.memory_mib_per_node,
            accelerators=item.nodes * per_node,
        ),
    )


def _tier(item: InventoryItem, accelerator: str | None) -> Tier:
    if accelerator is not None:
        return Tier.AI
    return Tier.HPC if item.nodes > 1 else Tier.CLOUD
