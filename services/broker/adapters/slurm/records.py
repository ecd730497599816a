"""A job as slurmctld or slurmdbd has it, in one form for all versions. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from services.broker.adapters.slurm import tres
from services.broker.adapters.slurm.dialect import KILLED, Exit, exit_of, plain, words
from services.broker.adapters.slurm.states import REQUEUED


@dataclass(frozen=True, slots=True)
class Record:
    """One task of a job, or all tasks of an array that wait (`waiting` has their indexes). Times are epoch seconds, 0: none."""

    job: int
    """Slurm's raw id: each task of an array gets one of its own when it starts."""
    array: int
    """The id that the array was submitted under; 0 without one."""
    index: int | None
    waiting: tuple[int, ...]
    name: str
    comment: str
    user: str
    partition: str
    state: tuple[str, ...]
    reason: str
    submitted: int
    """A requeue is a new submission of the same job."""
    restarts: int
    """How often slurmctld has requeued it; 0 in the books, which have a record of each run instead."""
    started: int
    ended: int
    suspended_at: int
    """When it was last suspended or resumed."""
    ran_before: int
    """Seconds that it ran until it was last suspended."""
    elapsed: int | None
    """Seconds that it ran, as the books have them."""
    exit: Exit | None
    tres: Mapping[str, int]

    @property
    def indices(self) -> tuple[int, ...]:
        """Of the tasks that it stands for; a job without an array has the index 0."""
        return self.waiting or (self.index or 0,)


def from_controller(job: Mapping[str, Any]) -> Record:
    """One of `jobs` of slurmctld. Raises KeyError, TypeError, ValueError, AttributeError: it has another form."""
    return Record(
        job=int(job["job_id"]),
        array=plain(job["array_job_id"]) or 0,
        index=plain(job["array_task_id"]),
        waiting=tuple(indices(job.get("array_task_string") or "")),
        name=job["name"],
        comment=job.get("comment") or "",
        user=job.get("user_name") or "",
        partition=job.get("partition") or "",
        state=words(job["job_state"]),
        reason=job.get("state_reason") or "",
        submitted=plain(job["submit_time"]) or 0,
        restarts=plain(job.get("restart_cnt")) or 0,
        started=plain(job["start_time"]) or 0,
        ended=plain(job["end_time"]) or 0,
        suspended_at=plain(job.get("suspend_time")) or 0,
        ran_before=plain(job.get("pre_sus_time")) or 0,
        elapsed=None,
        exit=exit_of(job.get("exit_code")),
        tres=tres.from_text(job.get("tres_alloc_str") or ""),
    )


def from_books(job: Mapping[str, Any]) -> Record:
    """One of `jobs` of slurmdbd. Raises as `from_controller`."""
    time, array = job["time"], job["array"]
    return Record(
        job=int(job["job_id"]),
        array=plain(array.get("job_id")) or 0,
        index=plain(array.get("task_id")),
        waiting=tuple(indices(array.get("task") or "")),
        name=job["name"],
        comment=(job.get("comment") or {}).get("job") or "",
        user=job.get("user") or "",
        partition=job.get("partition") or "",
        state=_state_in_books(job),
        reason=job["state"].get("reason") or "",
        submitted=plain(time["submission"]) or 0,
        restarts=0,
        started=plain(time["start"]) or 0,
        ended=plain(time["end"]) or 0,
        suspended_at=0,
        ran_before=0,
        elapsed=plain(time.get("elapsed")),
        exit=exit_of(job.get("exit_code")),
        tres=tres.from_list(job["tres"]["allocated"]),
    )


def _state_in_books(job: Mapping[str, Any]) -> tuple[str, ...]:
    """Without what it has become of the job since, and with what only its steps tell: JobAcctGatherParams=OverMemoryKill kills, and
    calls that FAILED."""
    state = words(job["state"]["current"])
    if "REQUEUED" in state:
        return REQUEUED
    if state == ("FAILED",) and exit_of(job.get("exit_code")) == KILLED and any(map(_over, job.get("steps") or ())):
        return ("OUT_OF_MEMORY",)
    return state


def _over(step: Mapping[str, Any]) -> bool:
    """It used more memory than it was allocated: here usage is in bytes."""
    told = step["tres"]
    used = tres.from_list(told["requested"]["total"]).get("mem", 0)
    return used > tres.from_list(told["allocated"]).get("mem", 0) * 2**20


def indices(text: str) -> Iterator[int]:
    """Those of an array that wait, as one record writes them: `0-3,7%2`, `1-9:4`, with or without brackets; slurmdbd `0x27`."""
    if text.startswith("0x"):
        bits = int(text, 16)
        yield from (index for index in range(bits.bit_length()) if bits >> index & 1)
        return
    for part in text.partition("%")[0].strip("[]").split(","):
        span, _, step = part.partition(":")
        first, _, last = span.partition("-")
        # a long list is cut with `...`
        if first.isdigit() and (last or first).isdigit():
            yield from range(int(first), int(last or first) + 1, int(step or 1))
