"""What a site has, from its partitions and nodes, and whether a job can ever fit. Pure."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from caravan.contracts.dispatch import Grant
from caravan.contracts.offerings import Capacity, InventoryItem, PartLimits
from services.broker.adapters.slurm.dialect import plain, words

OUT: Final = frozenset({
    "DOWN", "DRAIN", "DRAINED", "DRAINING", "ERROR", "FAIL", "FUTURE", "INVALID", "INVALID_REG", "MAINTENANCE", "NOT_RESPONDING",
    "POWERING_DOWN", "REBOOT_ISSUED", "UNKNOWN",
})  # fmt: skip
"""States and flags of a node that takes no jobs."""
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
    limits: PartLimits
    nodes_out: int
    """Of the nodes, those that take no jobs."""
    free: Capacity


@dataclass(frozen=True, slots=True)
class _Rules:
    """What a partition allows."""

    limit_minutes: int | None
    limits: PartLimits
    open: bool


@dataclass(slots=True)
class _Nodes:
    """Of one shape in one partition."""

    number: int = 0
    out: int = 0
    free: Capacity = field(default_factory=lambda: Capacity(cpus=0, memory_mib=0))


def parts(partitions: Iterable[Mapping[str, Any]], nodes: Iterable[Mapping[str, Any]]) -> tuple[Part, ...]:
    """From the lists of slurmctld. Raises as `records.from_controller`."""
    rules = {one["name"]: _rules(one) for one in partitions}
    shapes: dict[tuple[str, int, int, str, int], _Nodes] = defaultdict(_Nodes)
    for node in nodes:
        gres, count = first_gres(node.get("gres") or "")
        free, takes_jobs = _free(node, count), _takes_jobs(node)
        for partition in node["partitions"]:
            if partition not in rules:
                continue
            shape = shapes[partition, int(node["cpus"]), int(node["real_memory"]), gres, count]
            shape.number += 1
            if takes_jobs and rules[partition].open:
                shape.free += free
            else:
                shape.out += 1
    return tuple(
        Part(
            partition, there.number, cpus, memory_mib, gres, count,
            rules[partition].limit_minutes, rules[partition].limits, there.out, there.free,
        )
        for (partition, cpus, memory_mib, gres, count), there in sorted(shapes.items())
    )  # fmt: skip


def _rules(partition: Mapping[str, Any]) -> _Rules:
    """22.05 has them beside each other, later releases in `maximums` and `partition`."""
    most = partition.get("maximums")
    if isinstance(most, Mapping):
        minutes, nodes, cpus = most.get("time"), most.get("nodes"), most.get("cpus_per_node")
        memory, state = most.get("partition_memory_per_node"), partition["partition"]["state"]
    else:
        minutes, nodes = partition.get("max_time_limit"), partition.get("maximum_nodes_per_job")
        cpus, memory = partition.get("maximum_cpus_per_node"), partition.get("maximum_memory_per_node")
        state = partition.get("state")
    limit_minutes = plain(minutes)
    limit_minutes = None if limit_minutes is None or limit_minutes < 0 else limit_minutes
    return _Rules(
        limit_minutes,
        PartLimits(
            nodes=_most(nodes),
            cpus_per_node=_most(cpus),
            memory_mib_per_node=_most(memory),
            walltime_seconds=limit_minutes * 60 if limit_minutes else None,
        ),
        "UP" in words(state),
    )


def _most(value: Any) -> int | None:
    """Slurm writes 0 or -1 for no limit, too."""
    number = plain(value)
    return number if number and number > 0 else None


def _takes_jobs(node: Mapping[str, Any]) -> bool:
    """22.05 writes `idle` with flags beside it, later releases one list."""
    return not OUT & {word.upper() for word in (*words(node["state"]), *words(node.get("state_flags")))}


def _free(node: Mapping[str, Any], accelerators: int) -> Capacity:
    _, used = first_gres(node.get("gres_used") or "")
    return Capacity(
        cpus=max(0, int(node["cpus"]) - int(node["alloc_cpus"])),
        memory_mib=max(0, int(node["real_memory"]) - int(node["alloc_memory"])),
        accelerators=max(0, accelerators - used),
    )


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
        limits=part.limits,
        nodes_out=part.nodes_out,
        free=part.free,
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
        if cpus <= min(part.cpus, part.limits.cpus_per_node or part.cpus)
        and memory_mib <= min(part.memory_mib, part.limits.memory_mib_per_node or part.memory_mib)
        and (gres is None or (part.gres.startswith(gres) and accelerators <= part.accelerators))
    ]
    if not fitting or (partition is not None and sum(part.nodes for part in fitting) < grant.nodes):
        return f"{grant.nodes} nodes with {cpus} CPUs, {memory_mib} MiB and {accelerators} accelerators can't be had"
    most = [part.limits.nodes or grant.nodes for part in fitting]
    if grant.nodes > max(most):
        return f"{grant.nodes} nodes are over the partition's limit of {max(most)} nodes to a job"
    limits = [part.limit_minutes for part in fitting]
    if all(limit is not None and limit < minutes for limit in limits):
        return f"jobs of {minutes} minutes are over the partition's limit"
    return None
