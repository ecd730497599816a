"""What Kueue lets the site's queue have, and what of that is free: it is less than the nodes where tenants share them. Pure.

By its API v1beta2, seen on 0.17. A ClusterQueue has quotas of flavors, which are nodes with certain labels.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from services.broker.adapters.kubernetes.lines import LocalQueue
from services.broker.adapters.kubernetes.records import amounts

KUEUE: Final = "apis/kueue.x-k8s.io/v1beta2"

Labels = Collection[frozenset[tuple[str, str]]]
"""Of each of some nodes."""


@dataclass(frozen=True, slots=True)
class Quota:
    """Of one resource of one flavor in one ClusterQueue."""

    resource: str
    labels: frozenset[tuple[str, str]]
    """Of the nodes that it is for."""
    most: Decimal | None
    """What one job may have. None: its cohort may lend it whatever it has."""
    free: Decimal


def quotas(
    queue: str,
    local_queues: Iterable[Mapping[str, Any]],
    cluster_queues: Iterable[Mapping[str, Any]],
    flavors: Iterable[Mapping[str, Any]],
) -> tuple[Quota, ...]:
    """Those behind the LocalQueues of this name, whoever's namespace they are in. Raises as `records`."""
    behind = {one["spec"]["clusterQueue"] for one in local_queues if one["metadata"]["name"] == queue}
    labels = {one["metadata"]["name"]: frozenset((one["spec"].get("nodeLabels") or {}).items()) for one in flavors}
    found = []
    for cluster_queue in cluster_queues:
        if cluster_queue["metadata"]["name"] not in behind:
            continue
        spec, reserved = cluster_queue["spec"], _reserved(cluster_queue.get("status") or {})
        for flavor in (one for group in spec.get("resourceGroups") or () for one in group["flavors"]):
            name = flavor["name"]
            for resource in flavor["resources"] if name in labels else ():
                nominal, most = _quota(resource, lends=bool(spec.get("cohortName")))
                free = max(Decimal(0), nominal - reserved.get((name, resource["name"]), Decimal(0)))
                found.append(Quota(resource["name"], labels[name], most, free))
    return tuple(found)


def leads(local_queues: Iterable[Mapping[str, Any]]) -> dict[LocalQueue, str]:
    """The ClusterQueue that each one leads to. Raises as `records`."""
    named = ((one["metadata"], one["spec"]["clusterQueue"]) for one in local_queues)
    return {LocalQueue(meta["namespace"], meta["name"]): to for meta, to in named}


def _quota(resource: Mapping[str, Any], *, lends: bool) -> tuple[Decimal, Decimal | None]:
    """Nominal, and with what may be borrowed of the cohort if it has one."""
    nominal = _amount(resource["name"], resource.get("nominalQuota"))
    if not lends:
        return nominal, nominal
    return nominal, nominal + _amount(
        resource["name"], resource["borrowingLimit"]
    ) if "borrowingLimit" in resource else None


def _amount(resource: str, quantity: str | int | None) -> Decimal:
    return amounts({resource: str(quantity or 0)})[resource]


def _reserved(status: Mapping[str, Any]) -> dict[tuple[str, str], Decimal]:
    """Flavor, resource -> what admitted jobs hold of it."""
    return {
        (flavor["name"], resource["name"]): _amount(resource["name"], resource.get("total"))
        for flavor in status.get("flavorsReservation") or ()
        for resource in flavor["resources"]
    }


def most(resource: str, nodes: Labels, of: Sequence[Quota]) -> Decimal | None:
    """Of this resource one job may have so much on these nodes. None: there is no such limit."""
    limits = [one.most for one in _there(resource, nodes, of)]
    return None if None in limits else max((one for one in limits if one is not None), default=None)


def free(resource: str, nodes: Labels, of: Sequence[Quota]) -> Decimal | None:
    """All of it that jobs may still get there. None: there is no such limit."""
    there = [one.free for one in _there(resource, nodes, of)]
    return sum(there, Decimal(0)) if there else None


def _there(resource: str, nodes: Labels, of: Sequence[Quota]) -> list[Quota]:
    return [one for one in of if one.resource == resource and any(one.labels <= labels for labels in nodes)]
