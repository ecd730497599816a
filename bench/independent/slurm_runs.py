"""What a cluster's own books say of runs and what they cost: rows of sacct, read with the standard library alone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

COMMAND = (
    "env", "SLURM_TIME_FORMAT=%s", "sacct", "--allusers", "--duplicates", "--allocations", "--noheader", "--parsable2",
    "--starttime=now-1day", "--format=JobIDRaw,JobID,JobName,Submit,Start,ElapsedRaw,AllocTRES,State,ExitCode",
)  # fmt: skip
"""All of its jobs, each run and each that never ran, times in epoch seconds."""
MEBIBYTES = {"K": Fraction(1, 1024), "M": Fraction(1), "G": Fraction(1024), "T": Fraction(1024**2)}
DIVISORS = {"cpu_core_hour": 3600, "memory_gib_hour": 3600 * 1024, "node_hour": 3600, "job": 1}


@dataclass(frozen=True)
class Row:
    """One submission of a job, or of an array's task."""

    job: int
    """The raw id."""
    array: int
    """The id that it was submitted under."""
    index: int
    name: str
    submitted: int
    started: bool
    seconds: int
    cpus: int
    memory_mib: int
    nodes: int
    state: str
    exit: str
    """`3:0`: exit code and signal."""


def rows(text: str) -> list[Row]:
    return [_row(line.split("|")) for line in text.splitlines()]


def _row(fields: list[str]) -> Row:
    raw, job, name, submitted, started, seconds, tres, state, exit = fields
    held = dict(part.split("=") for part in tres.split(",") if part)
    array, _, index = job.partition("_")
    return Row(
        job=int(raw),
        array=int(array),
        index=int(index) if index.isdigit() else 0,
        name=name,
        submitted=int(submitted),
        started=started.isdigit() and bool(held),
        seconds=int(seconds or 0),
        cpus=int(held.get("cpu", 0)),
        memory_mib=_mebibytes(held.get("mem", "0M")),
        nodes=int(held.get("node", 0)),
        state=state,
        exit=exit,
    )


def _mebibytes(text: str) -> int:
    return int(Fraction(text[:-1]) * MEBIBYTES[text[-1]])


def quantities(runs: Iterable[Row]) -> dict[str, int]:
    """Core-, MiB- and node-seconds, and runs of a second at least."""
    ran = [run for run in runs if run.seconds]
    return {
        "cpu_core_hour": sum(run.cpus * run.seconds for run in ran),
        "memory_gib_hour": sum(run.memory_mib * run.seconds for run in ran),
        "node_hour": sum(run.nodes * run.seconds for run in ran),
        "job": len(ran),
    }


def fen(quantity: int, price: str, component: str) -> int:
    """Rounded once, halves up."""
    return int(100 * Fraction(price) * quantity / DIVISORS[component] + Fraction(1, 2))


def total_fen(quantities: Mapping[str, int], prices: Mapping[str, str]) -> int:
    return sum(fen(quantities[component], price, component) for component, price in prices.items())
