"""What a site has, from its nodes, and whether a job can ever fit. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from caravan.contracts.dispatch import Grant
from caravan.contracts.offerings import InventoryItem, PartLimits
from services.broker.adapters.kubernetes.devices import Devices
from services.broker.adapters.kubernetes.records import had

KEEPS_OUT: Final = ("NoSchedule", "NoExecute")
PASSING: Final = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/")
"""Taints by which Kubernetes says that a node isn't well. Jobs don't tolerate these, and needn't."""


@dataclass(frozen=True, slots=True)
class Node:
    cpus: int
    memory_mib: int
    device: str
    """`nvidia.com/gpu:NVIDIA-H100-80GB-HBM3`, empty without."""
    accelerators: int
    taints: tuple[tuple[str, str, str], ...]
    """Key, value, effect."""
    labels: tuple[tuple[str, str], ...]
    out: bool
    """It takes no jobs now."""


def node(content: Mapping[str, Any], devices: Devices) -> Node:
    """Raises as `records`."""
    labels = content["metadata"].get("labels") or {}
    allocatable = had(content["status"]["allocatable"])
    device, count = devices.of_node(allocatable, labels)
    taints = [
        (taint["key"], taint.get("value") or "", taint["effect"])
        for taint in content["spec"].get("taints") or ()
        if taint["effect"] in KEEPS_OUT and not taint["key"].startswith(PASSING)
    ]
    conditions = {one["type"]: one["status"] for one in content["status"].get("conditions") or ()}
    return Node(
        cpus=allocatable.get("cpu", 0),
        memory_mib=allocatable.get("memory", 0),
        device=str(device) if device is not None else "",
        accelerators=count,
        taints=tuple(sorted(taints)),
        labels=tuple(sorted(labels.items())),
        out=conditions.get("Ready") != "True" or bool(content["spec"].get("unschedulable")),
    )


def items(nodes: Iterable[Node]) -> tuple[InventoryItem, ...]:
    """Nodes of one shape with the same taints are a part; an offering on it tolerates these."""
    parts: dict[tuple[Any, ...], list[Node]] = defaultdict(list)
    for one in nodes:
        if one.cpus and one.memory_mib:
            parts[one.device, one.accelerators, one.cpus, one.memory_mib, one.taints].append(one)
    return tuple(
        InventoryItem(
            target={"tolerations": [_toleration(*taint) for taint in taints]} if taints else {},
            name=device or "cpu",
            nodes=len(there),
            cpus_per_node=cpus,
            memory_mib_per_node=memory_mib,
            accelerators_per_node=accelerators,
            accelerator_backend_name=device or None,
            limits=PartLimits(nodes=len(there)),
            nodes_out=sum(one.out for one in there),
        )
        for (device, accelerators, cpus, memory_mib, taints), there in sorted(parts.items())
    )


def _toleration(key: str, value: str, effect: str) -> dict[str, str]:
    told = {"operator": "Equal", "value": value} if value else {"operator": "Exists"}
    return {"key": key, **told, "effect": effect}


def why_not(grant: Grant, device: str | None, selector: Mapping[str, str], nodes: Sequence[Node]) -> str | None:
    """Why this can never run there: Kubernetes takes it, and lets it wait for ever. None: it can, if a node tolerates it.

    `device`: what the site calls the grant's accelerator. `selector`: of the offering.
    """
    cpus, memory_mib = grant.cpus // grant.nodes, grant.memory_mib // grant.nodes
    accelerators = grant.accelerators // grant.nodes
    places = sum(
        min(one.cpus // cpus, one.memory_mib // memory_mib, *((one.accelerators // accelerators,) if device else ()))
        for one in nodes
        if (device is None or one.device == device) and selector.items() <= dict(one.labels).items()
    )
    if places >= grant.nodes:
        return None
    shape = f"{cpus} CPUs, {memory_mib} MiB and {accelerators} accelerators"
    if grant.nodes == 1:
        return f"a node with {shape} can't be had"
    return f"there is room for {places} of {grant.nodes} nodes with {shape}"
