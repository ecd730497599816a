"""slurmdbd's books: allocations as `sacct` writes them. Pure."""

from collections.abc import Collection, Iterable
from typing import Final

from caravan.contracts.slurm import is_of_site
from caravan.reconcile.rows import Row
from caravan.sacct import Allocation

NEEDED: Final = ("jobname", "alloctres", "elapsed")
"""Fields that a dump must have for this, beside those that any dump must."""


def gres(names: Iterable[str]) -> frozenset[str]:
    """What Slurm calls the site's accelerators, without their models, by what the catalog does: `gpu` for `gres/gpu:h100`."""
    return frozenset(name.removeprefix("gres/").partition(":")[0] for name in names)


def row(one: Allocation, site: str, gres: Collection[str]) -> Row:
    """It is the site's if it looks like a job of its. What is behind a delimiter of its comment may stand before its name."""
    return Row(
        identity=one.identity,
        start=one.start,
        end=one.end,
        nodes=one.nodes,
        cpus=one.cpus,
        memory_mib=one.memory_mib,
        accelerators=tuple((name, count) for name, count in one.accelerators if name.partition(":")[0] in gres),
        ours=is_of_site(site, one.name.rpartition("|")[2], one.comment),
        suspended=one.suspended,
    )
