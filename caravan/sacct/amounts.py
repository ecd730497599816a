"""Counts, memory and trackable resources as sacct writes them."""

import re
from typing import Final

_UNITS: Final = {"": 2**20, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50}
_MEMORY: Final = re.compile(r"(\d+)(?:\.(\d+))?([KMGTP]?)([nc]?)")
_PARTS: Final = frozenset({"shard", "mps", "gpumem", "gpuutil"})
"""Slurm's own gres and measures that are a part of a card, not one more."""


def count(text: str) -> int:
    """Raises ValueError."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is no count")
    return int(text)


def memory(text: str, nodes: int, cpus: int) -> int:
    """MiB over all nodes, floored: of `16G`, or of `4Gn` on each node, or `2Gc` for each CPU, as before 21.08. Raises ValueError."""
    told = _MEMORY.fullmatch(text)
    if not told:
        raise ValueError(f"{text!r} is no memory like 16G, 4Gn or 2Gc")
    whole, fraction, unit, each = told[1], told[2] or "", told[3], told[4]
    times = {"": 1, "n": nodes, "c": cpus}[each]
    return int(whole + fraction) * _UNITS[unit] * times // (int("1" + "0" * len(fraction)) * 2**20)


def tres(text: str) -> dict[str, str]:
    """`cpu=4,mem=16G,gres/gpu:h100=4` by name. Raises ValueError."""
    found = {}
    for part in text.split(",") if text else ():
        name, equals, amount = part.partition("=")
        if not (name and equals and amount):
            raise ValueError(f"{part!r} is no resource like cpu=4")
        if name in found:
            raise ValueError(f"{name} is there twice")
        found[name] = amount
    return found


def accelerators(held: dict[str, str]) -> tuple[tuple[str, int], ...]:
    """How many of each kind, as named: `gres/gpu=4` beside `gres/gpu:h100=3` is three of the model and one of none. Raises ValueError."""
    named = {name.removeprefix("gres/"): count(text) for name, text in held.items() if name.startswith("gres/")}
    cards = {name: amount for name, amount in named.items() if name.partition(":")[0] not in _PARTS}
    for name in [name for name in cards if ":" not in name]:
        cards[name] -= min(cards[name], sum(n for kind, n in cards.items() if kind.startswith(f"{name}:")))
    return tuple(sorted((name, amount) for name, amount in cards.items() if amount))
