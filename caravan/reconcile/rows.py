"""What a run held, as a site's books have it. Pure."""

from dataclasses import dataclass

Kinds = tuple[tuple[str, int], ...]
"""How many of each kind of accelerator, by the site's own name for it, or the catalog's where the books have that."""


@dataclass(frozen=True, slots=True)
class Row:
    """In [start, end), in epoch seconds. No end: it still runs. A run may have several, one after the other, where what it held changed."""

    identity: str
    """Of the run, as the site's adapter tells it."""
    start: int
    end: int | None
    nodes: int
    cpus: int
    """Over all nodes, as all that follow."""
    memory_mib: int
    accelerators: Kinds | None
    """Only what the site calls its accelerators. None: these books don't say."""
    ours: bool
    """By all that stands there it's of the site that was asked for."""
    suspended: int = 0
    """Seconds between start and end in which it held nothing."""
    lost: bool = False
    """Nobody saw how it ended, nor when: its node went."""
    righted: bool = False
    """A node's clock must have been wrong: the times are those that are billed instead."""

    @property
    def seconds(self) -> int:
        """In which it held something; of what still runs none are told."""
        return 0 if self.end is None else self.end - self.start - self.suspended
