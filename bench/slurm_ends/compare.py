"""What the API tells against what sacct says and what the script did, field by field. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.independent.slurm_runs import Row, fen, quantities
from bench.slurm_ends.asked import PRICES, Asked, End

OUTCOMES: Final = {
    "COMPLETED": ("succeeded", "succeeded"),
    "FAILED": ("failed", "user"),
    "TIMEOUT": ("failed", "limit"),
    "OUT_OF_MEMORY": ("failed", "limit"),
    "CANCELLED": ("cancelled", "cancelled"),
}
"""sacct's state -> the array task's state and outcome."""
EXITS: Final = ("COMPLETED", "FAILED")
"""States of which sacct has the exit code or signal. Beside others it writes no certain one."""
BY_ITSELF: Final = ("succeeded", "user")
"""Outcomes of a script that ended by itself: only these have an exit code or signal."""
NO_RUN: Final = ("cancelled", None)
BOTH_LANGUAGES: Final = re.compile(r"(?=.*[\u4e00-\u9fff])(?=.*[A-Za-z]{3})", re.DOTALL)


@dataclass(frozen=True)
class Seconds:
    """What a run held: cores, nodes and accelerators, each times seconds."""

    core: int = 0
    node: int = 0
    accelerator: int = 0

    def __add__(self, other: "Seconds") -> "Seconds":
        return Seconds(self.core + other.core, self.node + other.node, self.accelerator + other.accelerator)


NOTHING: Final = Seconds()
Bill = Mapping[str, tuple[int, int]]
"""Component -> quantity and fen, of those of which there is something."""
NO_BILL: Final = (0, 0)


@dataclass(frozen=True)
class Task:
    """An array task as the API tells it, with its last run."""

    index: int
    state: str
    identity: str | None
    outcome: str | None
    exit_code: int | None
    signal: int | None
    log: str | None
    started: int | None
    ended: int | None


@dataclass(frozen=True)
class Told:
    """A job as the API tells it."""

    name: str
    state: str
    tasks: Sequence[Task]
    usage: Mapping[str, Seconds]
    """A run's identity -> its exported usage."""
    billed: Mapping[str, Bill]
    """Who bears it -> the sums of those lines."""
    models: frozenset[str]
    """Accelerator kinds of its lines."""
    waited: str | None = None
    """What it said while it had to wait."""


@dataclass(frozen=True)
class Difference:
    where: str
    field: str
    expected: object
    found: object

    def __str__(self) -> str:
        return f"{self.where}: {self.field} should be {self.expected!r}, is {self.found!r}"


@dataclass
class Compared:
    """`fields` were compared, of which `amounts` are quantities and fen billed; `differences` are those that weren't equal."""

    fields: int = 0
    amounts: int = 0
    differences: list[Difference] = field(default_factory=list)

    def equal(self, where: str, name: str, expected: object, found: object) -> None:
        self.fields += 1
        if expected != found:
            self.differences.append(Difference(where, name, expected, found))

    def billed(self, where: str, bearer: str, expected: Bill, found: Bill) -> None:
        """Each component."""
        for component in sorted(expected.keys() | found.keys()):
            self.amounts += 2
            self.fields += 1  # `equal` counts the other one
            self.equal(
                where,
                f"{component} billed to the {bearer}",
                expected.get(component, NO_BILL),
                found.get(component, NO_BILL),
            )


def compare(asked: Iterable[Asked], told: Mapping[str, Told], rows: Sequence[Row], model: str) -> Compared:
    """`told` by the job's name. `model`: the accelerator kind that stands for `gres/gpu:h100`."""
    compared = Compared()
    claimed: list[Row] = []
    for job in asked:
        claimed += _job(compared, job, told[job.name], rows, model)
    unknown = [row for row in rows if _ran(row) and row not in claimed]
    compared.equal("sacct", "allocations that the API has no run of", [], [row.job for row in unknown])
    compared.equal("sacct", "allocations of several runs", len(set(map(id, claimed))), len(claimed))
    return compared


def _job(compared: Compared, job: Asked, told: Told, rows: Sequence[Row], model: str) -> list[Row]:
    """The rows of its runs."""
    compared.equal(job.name, "indexes", sorted(job.ends), sorted(task.index for task in told.tasks))
    own = [(task, _row(task, rows)) for task in told.tasks]
    for task, row in own:
        _task(compared, job, task, row)
    last = [row for _, row in own if row]
    taken_back = [
        row for one in last for row in rows if _ran(row) and row.job == one.job and row.submitted < one.submitted
    ]
    compared.equal(
        job.name, "runs that were taken back", ["REQUEUED"] * job.requeues, [row.state for row in taken_back]
    )
    compared.equal(job.name, "state", _job_state(job.ends.values()), told.state)
    compared.equal(job.name, "usage", {_identity(row): _seconds(row) for row in last + taken_back}, dict(told.usage))
    borne = {"organization": last, "provider": taken_back}
    for bearer in sorted(borne.keys() | told.billed.keys()):
        compared.billed(
            job.name,
            bearer,
            bill(borne.get(bearer, ()), once=int(bearer == "organization")),
            told.billed.get(bearer, {}),
        )
    cards = any(row.accelerators for row in last)
    compared.equal(job.name, "accelerators' model", {model} if cards else set(), set(told.models))
    if job.max_parallel:
        compared.equal(job.name, f"at most {job.max_parallel} at once", True, _at_once(last) <= job.max_parallel)
    if job.waits:
        compared.equal(job.name, "why it waits", f"{job.waits}, in both languages", _reason(job.waits, told.waited))
    return last + taken_back


def bill(rows: Iterable[Row], once: int = 1) -> Bill:
    """What these runs of one job cost, each component rounded once; `once`: its price per job, if there is a second."""
    held = quantities(rows)
    held["job"] *= once
    return {one: (quantity, fen(quantity, PRICES[one], one)) for one, quantity in held.items() if quantity}


def _ran(row: Row) -> bool:
    """Whether there is a second to bill."""
    return row.started and row.seconds > 0


def _identity(row: Row) -> str:
    """The run's, by the cluster's name, the raw job id, and when it was submitted."""
    return f"caravan:{row.job}:{row.submitted}"


def _row(task: Task, rows: Sequence[Row]) -> Row | None:
    """The allocation that the task's last run is."""
    return next((row for row in rows if _ran(row) and _identity(row) == task.identity), None)


def _task(compared: Compared, job: Asked, task: Task, row: Row | None) -> None:
    where = f"{job.name}[{task.index}]" if job.array else job.name
    meant = job.ends[task.index]
    compared.equal(where, "sacct's state", meant.state, row and row.state)
    state, outcome = meant.outcome or (OUTCOMES[row.state] if row else NO_RUN)
    compared.equal(where, "task's state", state, task.state)
    compared.equal(where, "outcome", outcome, task.outcome)
    if row is None:
        return
    if row.state in EXITS:
        compared.equal(where, "sacct's exit", (meant.code, meant.signal), (row.code, row.signal))
    by_itself = outcome in BY_ITSELF
    compared.equal(where, "exit code", row.code if by_itself and not row.signal else None, task.exit_code)
    compared.equal(where, "signal", row.signal or None if by_itself else None, task.signal)
    compared.equal(where, "log", job.says(task.index), task.log)
    compared.equal(where, "start", row.start, task.started)
    compared.equal(where, "end", row.end, task.ended)
    away = _length(row) - row.seconds
    compared.equal(
        where, "whether it was suspended", bool(job.suspended_seconds), away > 0 and away >= job.suspended_seconds
    )
    asked = job.nodes * job.accelerators_per_node
    compared.equal(where, "accelerators that sacct has", asked, row.accelerators.get("gres/gpu:h100", 0))
    compared.equal(where, "nodes that sacct has", job.nodes, row.nodes)


def _seconds(row: Row) -> Seconds:
    cards = row.accelerators.get("gres/gpu:h100", 0)
    return Seconds(row.seconds * row.cpus, row.seconds * row.nodes, row.seconds * cards)


def _length(row: Row) -> int:
    """Seconds from its start to its end, gaps included."""
    return 0 if row.start is None or row.end is None else row.end - row.start


def _reason(wanted: str, said: str | None) -> str | None:
    told = said is not None and wanted in said and BOTH_LANGUAGES.search(said) is not None
    return f"{wanted}, in both languages" if told else said


def _job_state(ends: Iterable[End]) -> str:
    states = {_state(end) for end in ends}
    return "failed" if "failed" in states else states.pop()


def _state(end: End) -> str:
    return "cancelled" if end.state is None else OUTCOMES[end.state][0]


def _at_once(rows: Sequence[Row]) -> int:
    """The most that held something in one second."""
    spans = [(row.start, row.end) for row in rows if row.start is not None and row.end is not None]
    return max((sum(start <= at < end for start, end in spans) for at, _ in spans), default=0)
