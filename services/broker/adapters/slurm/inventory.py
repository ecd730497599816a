"""What a site has, from its partitions and nodes, and whether a job can ever fit. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caravan.contracts.dispatch import Grant
from caravan.contracts.offerings import InventoryItem
from services.broker.adapters.slurm.dialect import plain

_GRES = re.compile(r"([^:(]+)(?::([^:(]+))?(?::(\d+))?(?:\(.*)?")


@dataclass(frozen=True, slots=True)
class Part:
    """Nodes of one shape in one partition. `gres`: `gpu:h100`, empty without; `limit_minutes`: None has no end."""

    partition: str
    nodes: int
    cpus: int
    memory_mib: int
    gres: str
    accelerators: int
    limit_minutes: int | None


def parts(partitions: Iterable[Mapping[str, Any]], nodes: Iterable[Mapping[str, Any]]) -> tuple[Part, ...]:
    """From the lists of slurmctld. Raises as `records.from_controller`."""
    limits = {one["name"]: _limit(one) for one in partitions}
    shapes: Counter[tuple[str, int, int, str, int]] = Counter()
    for node in nodes:
        gres, count = first_gres(node.get("gres") or "")
        for partition in node["partitions"]:
            shapes[partition, int(node["cpus"]), int(node["real_memory"]), gres, count] += 1
    return tuple(
        Part(partition, number, cpus, memory_mib, gres, count, limits[partition])
        for (partition, cpus, memory_mib, gres, count), number in sorted(shapes.items())
        if partition in limits
    )


def _limit(partition: Mapping[str, Any]) -> int | None:
    maximums = partition.get("maximums")
    minutes = plain(maximums.get("time")) if isinstance(maximums, dict) else plain(partition.get("max_time_limit"))
    return None if minutes is None or minutes < 0 else minutes


def first_gres(text: str) -> tuple[str, int]:
    """`gpu:h100:8(S:0-1),...` -> `gpu:h100`, 8. A node of several kinds is known by its first."""
    found = _GRES.fullmatch(text.split(",")[0])
    if not found:
        return "", 0
    kind, model, count = found[1], found[2], found[3]
    if count is None and model is not None and model.isdigit():
        model, count = None, model
    return f"{kind}:{model}" if model else kind, int(count or 1)


def item(part: Part) -> InventoryItem:
    return InventoryItem(
        target={"partition": part.partition},
        name=f"{part.partition} {part.gres}".strip(),
        nodes=part.nodes,
        cpus_per_node=part.cpus,
        memory_mib_per_node=part.memory_mib,
        accelerators_per_node=part.accelerators,
        accelerator_backend_name=f"gres/{part.gres}" if part.accelerators else None,
    )


def why_not(grant: Grant, minutes: int, gres: str | None, partition: str | None, have: Sequence[Part]) -> str | None:
    """Why this can never run there: Slurm takes it when it is held, and lets it wait for ever. None: it can.

    `partition`: None is Slurm's default one, which isn't known here.
    """
    there = [part for part in have if partition in (None, part.partition)]
    if not there:
        return f"the site has no partition {partition}"
    cpus, memory_mib = -(-grant.cpus // grant.nodes), -(-grant.memory_mib // grant.nodes)
    accelerators = -(-grant.accelerators // grant.nodes)
    fitting = [
        part
        for part in there
        if cpus <= part.cpus
        and memory_mib <= part.memory_mib
        and (gres is None or (part.gres.startswith(gres) and accelerators <= part.accelerators))
    ]
    if not fitting or (partition is not None and sum(part.nodes for part in fitting) < grant.nodes):
        return f"{grant.nodes} nodes with {cpus} CPUs, {memory_mib} MiB and {accelerators} accelerators can't be had"
    limits = [part.limit_minutes for part in fitting]
    if all(limit is not None and limit < minutes for limit in limits):
        return f"jobs of {minutes} minutes are over the partition's limit"
    return None
