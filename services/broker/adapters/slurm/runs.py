"""From records of slurmctld and slurmdbd to runs as the port has them: how one ended, and what it held when. Pure."""

from dataclasses import dataclass, replace

from caravan.contracts.jobs import Outcome, RunState
from caravan.contracts.slurm import run_identity
from caravan.contracts.usage import Span
from caravan.kernel import clock
from services.broker.adapters.port import RunSeen
from services.broker.adapters.slurm.dialect import KILLED, Exit
from services.broker.adapters.slurm.records import Record
from services.broker.adapters.slurm.states import REQUEUED, Stage, meaning
from services.broker.adapters.slurm.tres import Accelerators

NOT_EXECUTED = {
    126: ": the script, or a command in it, can't be executed",
    127: ": the script can't be executed, or a command in it was not found",
    255: ": of a container it can mean that the image or its command couldn't be run; stderr says why",
}
BY_ITSELF = (Outcome.SUCCEEDED, Outcome.USER)
"""Only what ended by itself has an exit code or signal. Of the rest slurmctld and slurmdbd say different things: of a cancelled run
signal 15 and code 0 (22.05), of a failed node signal 1 and code 1 (24.11)."""
NOT_STARTED = {53: ", or never started: then its output could not be written"}
"""The low bits of slurmd's error 4021 are all that slurmdbd keeps of it, and slurmctld (24.11): a program that ends itself by this signal
looks the same. It stays the user's. What tells the two apart, a mark or the output itself, lies in the tenant's folder, whose user can
remove it, and no tenant may have it in its hands that the site bears what it ran. Who never started has held a second or two."""


BACKWARDS = "by Slurm's books it ended before it started: a clock was set back, and how long it ran isn't known"


def is_run(record: Record) -> bool:
    """Something is or was allocated to it.

    A job that is cancelled while it waits has a start time, too; and after a node failed under it, what it held before.
    """
    stage, outcome, _ = meaning(record.state)
    if stage in (Stage.WAITING, Stage.UNKNOWN) or (outcome is Outcome.CANCELLED and record.ended <= record.started):
        return False
    # 22.05 calls a job that is being requeued COMPLETING, with the times that it expects of its next run
    expected = stage is Stage.ENDING and record.restarts > 0
    return not expected and record.started > 0 and bool(record.tres.get("cpu"))


def cause_unknown(record: Record) -> bool:
    """slurmctld doesn't say why it failed: what killed it may be Slurm for its memory (OverMemoryKill; 22.05, 24.11), and an error
    number of slurmd's (4021) is no way to end (22.05)."""
    return meaning(record.state)[1] is Outcome.USER and record.exit in (KILLED, None)


@dataclass(frozen=True, slots=True)
class Allocation:
    """What is known of one run: by slurmctld while it remembers it, by slurmdbd once it has its end."""

    index: int
    controller: Record | None
    books: Record | None
    left: Exit | None
    """What the script left beside its output."""
    requeued: bool
    """The job was submitted again since: whatever it came to, Slurm has taken it back."""

    @property
    def record(self) -> Record:
        """The one that says when it ran."""
        record = self.books or self.controller
        assert record is not None, "an allocation is known by one of them"
        return record


def run_seen(found: Allocation, cluster: str, until: int, accelerators: Accelerators) -> RunSeen:
    """`until`: the site's clock in epoch seconds, where runs that go on are cut."""
    stage, outcome, words = meaning(found.record.state)
    if found.books is None and not found.requeued and cause_unknown(found.record):
        stage = Stage.ENDING
    ended = stage is Stage.ENDED
    if found.requeued and outcome not in (Outcome.SITE, Outcome.PREEMPTED):
        _, outcome, words = meaning(REQUEUED)
    exit = _exit(found, outcome) if ended and outcome in BY_ITSELF else None
    if outcome is Outcome.USER:
        words = _failed(exit)
    if found.record.ended < found.record.started:
        words = f"{words}; {BACKWARDS}" if words else BACKWARDS
    return RunSeen(
        index=found.index,
        identity=run_identity(cluster, found.record.job, found.record.submitted),
        state=RunState.ENDED if ended else RunState.RUNNING,
        started_at=clock.from_seconds(found.record.started),
        ended_at=clock.from_seconds(found.record.ended) if ended else None,
        outcome=outcome if ended else None,
        exit_code=exit.code if exit else None,
        signal=exit.signal if exit else None,
        detail=words if ended else "",
        spans=tuple(_spans(found, stage, until, accelerators)),
        final=ended and found.books is not None,
    )


def run_later(found: Allocation, before: RunSeen, until: int) -> RunSeen:
    """As `run_seen`, of what was `before` at an earlier time and has the same records: it has only grown."""
    stage = meaning(found.record.state)[0]
    if not before.spans or stage in (Stage.SUSPENDED, Stage.ENDING, Stage.ENDED):
        return before
    *earlier, last = before.spans
    return replace(before, spans=(*earlier, last.model_copy(update={"end": clock.from_seconds(until)})))


def _exit(found: Allocation, outcome: Outcome | None) -> Exit | None:
    """slurmctld's word, else slurmdbd's (None where that is known to be wrong), else the script's. 0 is a success and nothing else."""
    if outcome is Outcome.SUCCEEDED:
        return Exit(0, None)
    return exit_told(found.controller, found.books) or found.left


def exit_told(*records: Record | None) -> Exit | None:
    """How the run of these records failed, by Slurm: 0 is no way to fail, and of what goes on nothing is said yet."""
    exits = (record.exit for record in records if record is not None)
    return next((exit for exit in exits if exit is not None and (exit.signal or exit.code)), None)


def _failed(exit: Exit | None) -> str:
    if exit is None:
        return "failed; its exit code is not known"
    if exit.signal:
        return f"ended by signal {exit.signal}{NOT_STARTED.get(exit.signal, '')}"
    return f"exit code {exit.code}{NOT_EXECUTED.get(exit.code or 0, '')}"


def _spans(found: Allocation, stage: Stage, until: int, accelerators: Accelerators) -> list[Span]:
    record = found.record
    accelerator, count = accelerators.held(record.tres, record.partition)
    return [
        Span(
            start=clock.from_seconds(start),
            end=clock.from_seconds(end),
            nodes=record.tres.get("node", 1),
            cpus=record.tres.get("cpu", 0),
            memory_mib=record.tres.get("mem", 0),
            accelerators=count,
            accelerator=accelerator,
        )
        for start, end in _times(found, stage, until)
        if end > start
    ]


def _times(found: Allocation, stage: Stage, until: int) -> list[tuple[int, int]]:
    """When it held its allocation, suspension left out. The books know only how long that was, slurmctld the last time of it."""
    record = found.record
    if found.books is not None:
        told = _told(found.controller, stage, record.ended) if found.controller else []
        ran = record.ended - record.started if record.elapsed is None else record.elapsed
        if sum(end - start for start, end in told) == ran:
            return told
        return [(record.started, record.started + ran)]
    end = {Stage.ENDED: record.ended, Stage.ENDING: min(record.ended, until)}.get(stage, until)
    return _told(record, stage, end)


def _told(record: Record, stage: Stage, end: int) -> list[tuple[int, int]]:
    """By slurmctld: `pre_sus_time` and `suspend_time` (of the last suspension or resumption)."""
    if not record.suspended_at:
        return [(record.started, end)]
    before = (record.started, record.started + record.ran_before)
    if stage is Stage.SUSPENDED or record.suspended_at == before[1]:
        return [before]
    return [before, (record.suspended_at, end)]
