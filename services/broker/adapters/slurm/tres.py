"""Trackable resources: what an allocation holds, in Slurm's two ways of writing it. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

_UNITS: Final = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50}
_COUNT = re.compile(r"(\d+)(?:\.(\d+))?([KMGTP]?)")


def from_text(text: str) -> dict[str, int]:
    """`cpu=1,mem=100M,node=1,gres/gpu:h100=2` -> counts by name; memory in MiB."""
    found = {}
    for part in text.split(","):
        name, _, count = part.partition("=")
        told = _COUNT.fullmatch(count)
        if name and told:
            found[name] = _count(name, told)
    return found


def _count(name: str, told: re.Match[str]) -> int:
    whole, fraction, unit = told[1], told[2] or "", told[3]
    scale = int("1" + "0" * len(fraction))
    amount = int(whole + fraction) * _UNITS[unit]
    # memory without a unit is in MiB already
    return amount // (scale * 2**20) if name == "mem" and unit else amount // scale


def from_list(content: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """slurmdb's `[{type, name, id, count}]` -> counts by name; memory in MiB. What is unset has no count."""
    found = {}
    for one in content:
        count = one.get("count")
        if isinstance(count, int) and count >= 0:
            found[f"{one['type']}/{one['name']}" if one.get("name") else str(one["type"])] = count
    return found


class Accelerators:
    """Which catalog accelerator stands behind a gres: by its model, else by the partition, else the only one of its kind."""

    def __init__(self, names: Mapping[str, str], partitions: Mapping[str, str]) -> None:
        """`names`: accelerator id -> `gres/gpu:h100`; `partitions`: partition -> accelerator id."""
        self._gres = {accelerator: name.removeprefix("gres/") for accelerator, name in names.items()}
        self._partitions = partitions

    def gres(self, accelerator: str) -> str | None:
        """What to ask Slurm for."""
        return self._gres.get(accelerator)

    def held(self, tres: Mapping[str, int], partition: str) -> tuple[str | None, int]:
        """The accelerator of an allocation and how many of it; no id: nobody says which model it is."""
        by_kind = {
            kind: count
            for name, count in tres.items()
            if name.startswith("gres/") and count and (kind := name.removeprefix("gres/"))
        }
        for accelerator, gres in self._gres.items():
            if gres in by_kind and ":" in gres:
                return accelerator, by_kind[gres]
        kinds = {gres.partition(":")[0] for gres in self._gres.values()}
        for kind in sorted(kinds & by_kind.keys()):
            return self._of_kind(kind, partition), by_kind[kind]
        return None, 0

    def _of_kind(self, kind: str, partition: str) -> str | None:
        candidates = [accelerator for accelerator, gres in self._gres.items() if gres.partition(":")[0] == kind]
        told = self._partitions.get(partition)
        return told if told in candidates else candidates[0] if len(candidates) == 1 else None
