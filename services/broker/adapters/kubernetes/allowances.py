"""Whether a tenant's namespace can ever have a pod, by its LimitRanges and ResourceQuotas. Pure.

Kubernetes takes a Job that passes them, and makes no pods of it. What a quota has no room for now it may have room for later, and is
waited for.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from services.broker.adapters.kubernetes.records import amounts

OF_PODS: Final = ("Container", "Pod")
"""Types of limits. A pod here has one container."""
PREFIXES: Final = ("requests.", "limits.")
"""Requests are limits here."""


def why_not(
    asked: Mapping[str, str], limit_ranges: Iterable[Mapping[str, Any]], resource_quotas: Iterable[Mapping[str, Any]]
) -> str | None:
    """`asked`: the pod's requests. None: it can be. A quota that only counts some pods (by its scopes) is left out. Raises as `records`."""
    wanted = amounts(asked)
    for limits in (one for item in limit_ranges for one in item["spec"]["limits"] if one["type"] in OF_PODS):
        over = _beyond(wanted, amounts(limits.get("max") or {}))
        if over is not None:
            return f"a pod may have at most {limits['max'][over]} of {over} in the tenant's namespace: {asked[over]} can't be had"
        least = amounts(limits.get("min") or {})
        under = next((name for name, amount in wanted.items() if amount < least.get(name, amount)), None)
        if under is not None:
            return f"a pod has at least {limits['min'][under]} of {under} in the tenant's namespace: {asked[under]} can't be had"
    for spec in (item["spec"] for item in resource_quotas):
        hard = {} if "scopes" in spec or "scopeSelector" in spec else spec.get("hard") or {}
        told = {_plain(name): text for name, text in hard.items() if _plain(name) in wanted}
        over = _beyond(wanted, amounts(told))
        if over is not None:
            return f"all of the tenant's namespace may have {told[over]} of {over}: {asked[over]} can't be had"
    return None


def _plain(name: str) -> str:
    """`requests.nvidia.com/gpu` -> `nvidia.com/gpu`."""
    return next((name.removeprefix(prefix) for prefix in PREFIXES if name.startswith(prefix)), name)


def _beyond(wanted: Mapping[str, Decimal], most: Mapping[str, Decimal]) -> str | None:
    return next((name for name, amount in wanted.items() if amount > most.get(name, amount)), None)
