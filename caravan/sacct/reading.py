"""From the lines of a dump to allocations."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

from caravan.contracts.slurm import run_identity
from caravan.sacct import amounts
from caravan.sacct.columns import Columns, UnreadableDump, WrongCells
from caravan.sacct.times import Times, ZoneNeeded, duration

A = TypeVar("A")
T = TypeVar("T")
_STATE: Final = re.compile(r"([A-Z_]+)(?: by \S+)?")


class Aside(StrEnum):
    """A line that is no allocation, and why."""

    STEP = "step"
    NEVER_RAN = "never ran"


@dataclass(frozen=True, slots=True)
class Fault:
    """A line that can't be read. Lines are counted from 1."""

    line: int
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class Allocation:
    """What a job (a task of an array, a component of a het job) held in [start, end), in epoch seconds. No end: it still runs."""

    line: int
    identity: str
    account: str
    user: str
    submitted: int
    start: int
    end: int | None
    state: str
    """`CANCELLED`, without by whom."""
    nodes: int
    cpus: int
    """Over all nodes, as all that follow."""
    memory_mib: int
    accelerators: tuple[tuple[str, int], ...]
    """By kind as Slurm names it: `gpu:h100`, without `gres/`."""
    name: str = ""
    """With what is behind a delimiter in the comment before it, where the comment is the column before."""
    comment: str = ""
    suspended: int = 0
    """Seconds between start and end in which it held nothing. A dump says how many, not when; of what still runs it's 0."""

    @property
    def seconds(self) -> int | None:
        """In which it held something."""
        return None if self.end is None else self.end - self.start - self.suspended


class _Unreadable(ValueError):
    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


def allocations(
    lines: Iterable[str], times: Times, cluster: str | None = None, needed: Sequence[str] = ()
) -> Iterator[Allocation | Aside | Fault]:
    """What stands in each line, in their order. Keeps no line: a row that is there twice comes twice, with one identity.

    `cluster` stands in for rows that name none; `needed` are fields that the caller can't do without.
    Raises UnreadableDump and ZoneNeeded, before or at the first line that shows it.
    """
    numbered = ((number, line.rstrip("\r\n")) for number, line in enumerate(lines, 1))
    numbered = ((number, line) for number, line in numbered if line.strip())
    first = next(numbered, None)
    if first is None:
        return
    columns, header = Columns.of(first[1], needed)
    if cluster is None and "cluster" not in columns.names:
        raise UnreadableDump("The dump lacks cluster. Name it (`--cluster`), as slurm.conf does (ClusterName).")
    if not header:
        yield _read(*first, columns, times, cluster)
    for number, line in numbered:
        yield _read(number, line, columns, times, cluster)


def _read(number: int, line: str, columns: Columns, times: Times, cluster: str | None) -> Allocation | Aside | Fault:
    try:
        return _Row(columns.cells(line)).read(number, times, cluster)
    except WrongCells as error:
        return Fault(number, "line", str(error))
    except _Unreadable as error:
        return Fault(number, error.field, str(error))


class _Row:
    def __init__(self, cells: dict[str, str]) -> None:
        self._cells = cells

    def read(self, number: int, times: Times, cluster: str | None) -> Allocation | Aside:
        if "." in self._cells.get("jobid", "") or "." in self._cells.get("jobidraw", ""):
            return Aside.STEP
        state = self._state()
        start, end = self._get("start", times.read), self._get("end", times.read)
        held = self._get("alloctres", amounts.tres) if "alloctres" in self._cells else {}
        cpus = self._cpus(held)
        if start is None or not cpus:
            return Aside.NEVER_RAN
        submitted = self._get("submit", times.read)
        if submitted is None:
            raise _Unreadable("submit", "there is no submit time")
        name = self._cells.get("cluster") or cluster
        if not name:
            raise _Unreadable("cluster", "the row names no cluster")
        nodes = self._nodes(held)
        return Allocation(
            line=number,
            identity=run_identity(name, self._raw_id(), submitted),
            account=self._cells["account"],
            user=self._cells["user"],
            submitted=submitted,
            start=start,
            end=end,
            state=state,
            nodes=nodes,
            cpus=cpus,
            memory_mib=self._memory(held, nodes, cpus),
            accelerators=self._told("alloctres", amounts.accelerators, held),
            name=self._cells.get("jobname", ""),
            comment=self._cells.get("comment", ""),
            suspended=self._suspended(start, end),
        )

    def _get(self, field: str, read: Callable[[str], T]) -> T:
        return self._told(field, read, self._cells[field])

    def _told(self, field: str, read: Callable[[A], T], told: A) -> T:
        try:
            return read(told)
        except ZoneNeeded:
            raise
        except ValueError as error:
            raise _Unreadable(field, str(error)) from error

    def _raw_id(self) -> int:
        """Of an array's task or a het job's component JobIDRaw alone says it."""
        if "jobidraw" in self._cells:
            return self._get("jobidraw", amounts.count)
        if not self._cells["jobid"].isdigit():
            raise _Unreadable("jobid", "of a task or a component sacct's field JobIDRaw is needed")
        return self._get("jobid", amounts.count)

    def _state(self) -> str:
        told = _STATE.fullmatch(self._cells["state"])
        if not told:
            raise _Unreadable("state", f"{self._cells['state']!r} is no state like COMPLETED")
        return told[1]

    def _suspended(self, start: int, end: int | None) -> int:
        """What Elapsed, which is without it, lacks."""
        if end is None:
            return 0
        if end < start:
            raise _Unreadable("end", "it ends before it starts")
        elapsed = self._get("elapsed", duration) if self._cells.get("elapsed") else end - start
        if elapsed > end - start:
            raise _Unreadable("elapsed", "it is longer than from start to end")
        return end - start - elapsed

    def _cpus(self, held: dict[str, str]) -> int:
        if "cpu" in held:
            return self._told("alloctres", amounts.count, held["cpu"])
        if "alloctres" in self._cells and not held:
            return 0
        field = next((name for name in ("alloccpus", "ncpus") if self._cells.get(name)), None)
        return self._get(field, amounts.count) if field else 0

    def _nodes(self, held: dict[str, str]) -> int:
        if "node" in held:
            return self._told("alloctres", amounts.count, held["node"])
        field = next((name for name in ("allocnodes", "nnodes") if self._cells.get(name)), None)
        return max(self._get(field, amounts.count), 1) if field else 1

    def _memory(self, held: dict[str, str], nodes: int, cpus: int) -> int:
        field, text = ("alloctres", held["mem"]) if "mem" in held else ("reqmem", self._cells.get("reqmem"))
        return self._told(field, lambda told: amounts.memory(told, nodes, cpus), text) if text else 0
