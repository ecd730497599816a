"""What a cluster's own books say of runs and what they cost: rows of sacct, read with the standard library alone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

FIELDS = ("JobIDRaw", "JobID", "JobName", "Submit", "Start", "End", "ElapsedRaw", "AllocTRES", "State", "ExitCode")
COMMAND = (
    "env", "SLURM_TIME_FORMAT=%s", "sacct", "--allusers", "--duplicates", "--allocations", "--noheader", "--parsable2",
    "--starttime=now-1day", f"--format={','.join(FIELDS)}",
)  # fmt: skip
"""All of its jobs, each run and each that never ran, times in epoch seconds."""
MEBIBYTES = {"K": Fraction(1, 1024), "M": Fraction(1), "G": Fraction(1024), "T": Fraction(1024**2)}
DIVISORS = {
    "cpu_core_hour": 3600,
    "memory_gib_hour": 3600 * 1024,
    "node_hour": 3600,
    "accelerator_hour": 3600,
    "job": 1,
}


@dataclass(frozen=True)
class Row:
    """One submission of a job, or of an array's task. Counts are over all of its nodes."""

    job: int
    """The raw id."""
    array: int
    """The id that it was submitted under."""
    index: int
    name: str
    submitted: int
    start: int | None
    end: int | None
    seconds: int
    """That it held something: its suspensions aren't among them."""
    cpus: int
    memory_mib: int
    nodes: int
    accelerators: Mapping[str, int]
    """`gres/gpu` -> count, `gres/gpu:h100` beside it."""
    state: str
    """Without what follows it ("by 0")."""
    code: int
    signal: int

    @property
    def started(self) -> bool:
        return self.start is not None and bool(self.nodes)


def rows(text: str) -> list[Row]:
    """Of `COMMAND`'s output. Raises ValueError."""
    return [_row(line.split("|")) for line in text.splitlines()]


def _row(fields: list[str]) -> Row:
    raw, job, name, submitted, start, end, seconds, tres, state, ended = fields
    held = dict(part.split("=") for part in tres.split(",") if part)
    array, _, index = job.partition("_")
    code, signal = map(int, ended.split(":"))
    return Row(
        job=int(raw),
        array=int(array),
        index=int(index) if index.isdigit() else 0,
        name=name,
        submitted=int(submitted),
        start=_time(start),
        end=_time(end),
        seconds=int(seconds or 0),
        cpus=int(held.get("cpu", 0)),
        memory_mib=_mebibytes(held.get("mem", "0M")),
        nodes=int(held.get("node", 0)),
        accelerators={kind: int(count) for kind, count in held.items() if kind.startswith("gres/")},
        state=state.split()[0],
        code=code,
        signal=signal,
    )


def _time(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _mebibytes(text: str) -> int:
    return int(Fraction(text[:-1]) * MEBIBYTES[text[-1]])


def quantities(runs: Iterable[Row]) -> dict[str, int]:
    """Core-, MiB-, node- and accelerator-seconds of one job's runs, and whether there is a second of them."""
    ran = [run for run in runs if run.seconds]
    return {
        "cpu_core_hour": sum(run.cpus * run.seconds for run in ran),
        "memory_gib_hour": sum(run.memory_mib * run.seconds for run in ran),
        "node_hour": sum(run.nodes * run.seconds for run in ran),
        "accelerator_hour": sum(run.accelerators.get("gres/gpu", 0) * run.seconds for run in ran),
        "job": int(bool(ran)),
    }


def fen(quantity: int, price: str, component: str) -> int:
    """Rounded once, halves up."""
    return int(100 * Fraction(price) * quantity / DIVISORS[component] + Fraction(1, 2))


def total_fen(quantities: Mapping[str, int], prices: Mapping[str, str]) -> int:
    return sum(fen(quantities[component], price, component) for component, price in prices.items())
