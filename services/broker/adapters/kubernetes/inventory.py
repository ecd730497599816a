"""What a site has, from its nodes, its pods and its quotas, and whether a job can ever fit. Pure."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from caravan.contracts.dispatch import Grant
from caravan.contracts.offerings import Capacity, InventoryItem, PartLimits
from services.broker.adapters.kubernetes import quotas
from services.broker.adapters.kubernetes.devices import Device, Devices
from services.broker.adapters.kubernetes.quotas import Quota
from services.broker.adapters.kubernetes.records import amounts, had

KEEPS_OUT: Final = ("NoSchedule", "NoExecute")
PASSING: Final = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/")
"""Taints by which Kubernetes says that a node isn't well. Jobs don't tolerate these, and needn't."""


@dataclass(frozen=True, slots=True)
class Node:
    name: str
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
        name=content["metadata"]["name"],
        cpus=allocatable.get("cpu", 0),
        memory_mib=allocatable.get("memory", 0),
        device=str(device) if device is not None else "",
        accelerators=count,
        taints=tuple(sorted(taints)),
        labels=tuple(sorted(labels.items())),
        out=conditions.get("Ready") != "True" or bool(content["spec"].get("unschedulable")),
    )


Placed = tuple[str, Mapping[str, Decimal]]
"""On which node a pod is, empty without, and what it asks for."""
Used = Mapping[str, Mapping[str, Decimal]]
"""Node -> resource -> how much of it its pods have asked for, in the units of `records.amounts`."""


def placed(pod: Mapping[str, Any]) -> Placed:
    """Of any pod that has not ended, also those of others. Raises as `records`."""
    return pod["spec"].get("nodeName") or "", requested(pod["spec"])


def used(pods: Iterable[Placed]) -> Used:
    asked: dict[str, list[Mapping[str, Decimal]]] = defaultdict(list)
    for name, amount in pods:
        asked[name].append(amount)
    return {name: _sum(told) for name, told in asked.items()}


def requested(spec: Mapping[str, Any]) -> Mapping[str, Decimal]:
    """What the scheduler counts for a pod: its containers, or one of those that run before them if that is more, in either case with
    those that run beside them (init containers that restart always); and the overhead of its runtime class."""
    before = spec.get("initContainers") or ()
    beside = [_requests(one) for one in before if one.get("restartPolicy") == "Always"]
    first = [_requests(one) for one in before if one.get("restartPolicy") != "Always"]
    together = _sum(_requests(one) for one in spec["containers"])
    most = {name: max(one.get(name, Decimal(0)) for one in (together, *first)) for name in _sum((together, *first))}
    return _sum((most, *beside, amounts(spec.get("overhead") or {})))


def _requests(container: Mapping[str, Any]) -> Mapping[str, Decimal]:
    return amounts((container.get("resources") or {}).get("requests") or {})


def _sum(told: Iterable[Mapping[str, Decimal]]) -> Mapping[str, Decimal]:
    found: dict[str, Decimal] = defaultdict(Decimal)
    for one in told:
        for name, amount in one.items():
            found[name] += amount
    return dict(found)


def items(nodes: Iterable[Node], used: Used, limits: Sequence[Quota]) -> tuple[InventoryItem, ...]:
    """Nodes of one shape with the same taints are a part; an offering on it tolerates these. `limits`: of the site's queue."""
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
            limits=_limits(there, limits),
            nodes_out=sum(one.out for one in there),
            free=_free(there, used, limits),
        )
        for (device, accelerators, cpus, memory_mib, taints), there in sorted(parts.items())
    )


def _limits(nodes: Sequence[Node], limits: Sequence[Quota]) -> PartLimits:
    """Of a quota of less than one CPU or MiB nothing can be said here: no limit is 0."""
    labels = [frozenset(one.labels) for one in nodes]
    cpus, memory = (quotas.most(resource, labels, limits) for resource in ("cpu", "memory"))
    return PartLimits(
        nodes=len(nodes),
        cpus_per_node=math.floor(cpus) or None if cpus is not None and cpus < nodes[0].cpus else None,
        memory_mib_per_node=math.floor(memory) or None if memory is not None and memory < nodes[0].memory_mib else None,
    )


def _free(nodes: Sequence[Node], used: Used, limits: Sequence[Quota]) -> Capacity:
    """On the nodes that take jobs, and within what the quotas have left."""
    labels = [frozenset(one.labels) for one in nodes]
    device = Device.named(nodes[0].device).resource

    def free(resource: str, has: int) -> int:
        told = [max(Decimal(0), has - used.get(one.name, {}).get(resource, Decimal(0))) for one in nodes if not one.out]
        left = quotas.free(resource, labels, limits)
        return math.floor(sum(told, Decimal(0)) if left is None else min(left, sum(told, Decimal(0))))

    return Capacity(
        cpus=free("cpu", nodes[0].cpus),
        memory_mib=free("memory", nodes[0].memory_mib),
        accelerators=free(device, nodes[0].accelerators) if device else 0,
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
    places = 0
    for one in nodes:
        if (device is None or one.device == device) and selector.items() <= dict(one.labels).items():
            parts = (one.accelerators // accelerators,) if device else ()
            places += min(one.cpus // cpus, one.memory_mib // memory_mib, *parts)
        if places >= grant.nodes:
            return None
    shape = f"{cpus} CPUs, {memory_mib} MiB and {accelerators} accelerators"
    if grant.nodes == 1:
        return f"a node with {shape} can't be had"
    return f"there is room for {places} of {grant.nodes} nodes with {shape}"
