"""Ids: `<prefix>_<32 lowercase hex of a UUIDv7>`, so ids of one kind sort by the time they were made.

Prefixes stand in one table. `uuid_utils` is imported here and nowhere else.
"""

from typing import Literal

import uuid_utils

Prefix = Literal[
    "org", "prj", "prv", "sit", "ten", "acc", "off", "prl", "rsl",  # catalog
    "quo", "job", "att", "run", "plc", "log",  # broker
    "dep", "bud", "per", "stm", "ent", "lin", "tax", "fee", "crn", "cor", "cts", "rec", "ano", "sil",  # accounting
    "prg", "vap", "vou", "clw", "rei",  # accounting, programmes
    "evt", "req", "own", "aud",  # kernel
]  # fmt: skip


def new(prefix: Prefix) -> str:
    """A new id of this kind."""
    return f"{prefix}_{uuid_utils.uuid7().hex}"


def bare(identifier: str) -> str:
    """The 32 hex digits without the prefix: an attempt's Tag at its backend."""
    return identifier.partition("_")[2]


def pattern(prefix: Prefix) -> str:
    """The regular expression an id of this kind matches, for schemas."""
    return f"^{prefix}_[0-9a-f]{{32}}$"
