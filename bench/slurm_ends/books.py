"""What `sacct` says, read. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

FIELDS: Final = (
    "JobIDRaw", "Submit", "Start", "End", "ElapsedRaw", "AllocCPUS", "NNodes", "AllocTRES", "State", "ExitCode",
)  # fmt: skip
COMMAND: Final = (
    "env", "SLURM_TIME_FORMAT=%s", "sacct", "--allusers", "--duplicates", "--allocations", "--parsable2", "--noheader",
    "--starttime=now-1days", f"--format={','.join(FIELDS)}",
)  # fmt: skip
"""One line for each allocation of a day, repeated starts of a job included, times in seconds since 1970."""


@dataclass(frozen=True)
class Row:
    """One allocation, or a job that never got one. `state` without what follows it ("by 0"); times None where sacct has none."""

    job: str
    submit: int
    start: int | None
    end: int | None
    elapsed_seconds: int
    cpus: int
    nodes: int
    accelerators: Mapping[str, int]
    """`gres/gpu` -> count over all nodes, `gres/gpu:h100` beside it."""
    state: str
    code: int
    signal: int

    @property
    def started(self) -> bool:
        return self.start is not None and self.elapsed_seconds > 0


def read(said: str) -> list[Row]:
    """The rows of `COMMAND`'s output. Raises ValueError."""
    return [_row(line) for line in said.splitlines()]


def _row(line: str) -> Row:
    job, submit, start, end, elapsed, cpus, nodes, tres, state, ended = line.split("|")
    code, signal = map(int, ended.split(":"))
    accelerators = {
        kind: int(count) for kind, _, count in (one.partition("=") for one in tres.split(",")) if "gres/" in kind
    }
    times = (_time(start), _time(end))
    return Row(
        job, int(submit), *times, int(elapsed), int(cpus), int(nodes), accelerators, state.split()[0], code, signal
    )


def _time(text: str) -> int | None:
    return int(text) if text.isdecimal() else None
