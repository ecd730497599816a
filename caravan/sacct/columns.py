"""Which cell of a line is which field."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

# fmt: off
WITHOUT_HEADER: Final = (
    "jobid", "jobidraw", "cluster", "partition", "qos", "account", "group", "gid",
    "user", "uid", "submit", "eligible", "start", "end", "elapsed", "exitcode", "state",
    "nnodes", "ncpus", "reqcpus", "reqmem", "reqtres", "alloctres", "timelimit", "nodelist", "jobname",
)
# fmt: on
"""The fields of a dump whose first line is a job."""
_FIELD: Final = re.compile(r"[a-z]\w*|")
_NEEDED: Final = (("jobid", "jobidraw"), ("account",), ("user",), ("submit",), ("start",), ("end",), ("state",))
_CPUS: Final = ("alloctres", "alloccpus", "ncpus")


class UnreadableDump(ValueError):
    """The dump as a whole can't be read; its words say what to do."""


class WrongCells(ValueError):
    """A line has another number of cells than the dump has columns."""


@dataclass(frozen=True, slots=True)
class Columns:
    names: tuple[str, ...]
    closed: bool = False
    """Each line ends with a delimiter (`sacct -p`)."""

    @classmethod
    def of(cls, first: str, needed: Sequence[str] = ()) -> tuple[Self, bool]:
        """Of a dump by its first line, and whether that is a header. Raises UnreadableDump: it lacks what all need, or `needed`."""
        cells = [cell.strip().lower() for cell in first.split("|")]
        if not all(_FIELD.fullmatch(cell) for cell in cells):
            if len(cells) < len(WITHOUT_HEADER):
                raise UnreadableDump(
                    "The first line is no header, and has not the 26 fields that a dump without one has. "
                    "Write it by `sacct -P` without `--noheader`."
                )
            return cls(WITHOUT_HEADER), False
        closed = cells[-1] == ""
        found = cls(tuple(cells[:-1] if closed else cells), closed)
        wanted = (*_NEEDED, _CPUS, *((name,) for name in needed))
        missing = ["/".join(names) for names in wanted if not found._has(names)]
        if missing:
            raise UnreadableDump(f"The dump lacks {', '.join(missing)}. Add what is missing to `sacct --format`.")
        return found, True

    def _has(self, names: Sequence[str]) -> bool:
        return any(name in self.names for name in names)

    def cells(self, line: str) -> dict[str, str]:
        """Field -> text. A delimiter too many is in the job's name, which may hold any text. Raises WrongCells."""
        cells = (line.removesuffix("|") if self.closed else line).split("|")
        surplus = len(cells) - len(self.names)
        if surplus > 0 and "jobname" in self.names:
            at = self.names.index("jobname")
            cells[at : at + surplus + 1] = ["|".join(cells[at : at + surplus + 1])]
        if len(cells) != len(self.names):
            raise WrongCells(f"{len(cells)} cells where {len(self.names)} are expected")
        return dict(zip(self.names, cells, strict=True))
