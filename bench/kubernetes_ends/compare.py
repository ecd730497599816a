"""What the API tells against what the node's own record says of containers, and against what was asked for, field by field. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import floor
from typing import Final

from bench.independent.slurm_runs import fen
from bench.kubernetes_ends.asked import Asked, End
from bench.slurm_ends.asked import PRICES
from bench.slurm_ends.compare import Bill, Compared, Seconds, Task, Told
from tests.backends.kubernetes.containers import Container

START_SECONDS: Final = 1.0
"""The kubelet writes down a container's start within this after containerd has started it, and in whole seconds."""


@dataclass(frozen=True)
class Run:
    """A container of a job's, as the node's record has it."""

    pod: str
    job: str
    index: int
    started: float
    ended: float
    cpus: float
    memory_mib: float

    def seconds(self, told: int) -> int:
        """Of what it can have held in whole seconds, floored at both ends, that which is told, or else the most."""
        most = floor(self.ended) - floor(self.started)
        least = max(0, floor(self.ended) - floor(self.started + START_SECONDS))
        return told if least <= told <= most else most


def runs(containers: Iterable[Container]) -> list[Run]:
    """Those of jobs. Raises ValueError: one hasn't ended."""
    return [_run(one) for one in containers if "CARAVAN_JOB" in one.environment]


def _run(one: Container) -> Run:
    if one.ended is None:
        raise ValueError(f"{one.pod} still runs")
    said = one.environment
    return Run(
        pod=one.pod_uid,
        job=said["CARAVAN_JOB"],
        index=int(said["JOB_COMPLETION_INDEX"]),
        started=one.started.timestamp(),
        ended=one.ended.timestamp(),
        cpus=one.cpus,
        memory_mib=one.memory_mib,
    )


def compare(
    asked: Iterable[Asked], ids: Mapping[str, str], told: Mapping[str, Told], had: Sequence[Run], model: str
) -> Compared:
    """`ids` and `told` by the job's name. `model`: the accelerator kind that stands for the node's GPUs."""
    compared = Compared()
    for job in asked:
        _job(compared, job, told[job.name], [run for run in had if run.job == ids[job.name]], model)
    strange = [run.pod for run in had if run.job not in ids.values()]
    compared.equal("the node", "containers of no job", [], strange)
    return compared


def _job(compared: Compared, job: Asked, told: Told, had: Sequence[Run], model: str) -> None:
    compared.equal(job.name, "state", _state(job.ends.values()), told.state)
    compared.equal(job.name, "indexes", sorted(job.ends), sorted(task.index for task in told.tasks))
    for task in told.tasks:
        _task(compared, job, task, [run for run in had if run.index == task.index])
    held = {run.pod: _held(job, run, told.usage.get(run.pod, Seconds()).node) for run in had}
    compared.equal(job.name, "usage", {pod: one for pod, one in held.items() if one.node}, dict(told.usage))
    seconds = {run: run.seconds(told.usage.get(run.pod, Seconds()).node) for run in had}
    taken = {run for index, end in job.ends.items() for run in _in_order(had, index)[: end.taken]}
    borne = {
        "organization": _bill(job, {run: held for run, held in seconds.items() if run not in taken}, once=1),
        "provider": _bill(job, {run: held for run, held in seconds.items() if run in taken}, once=0),
    }
    compared.equal(job.name, "who bears it", {bearer for bearer, bill in borne.items() if bill}, set(told.billed))
    for bearer, bill in borne.items():
        compared.billed(job.name, bearer, bill, told.billed.get(bearer, {}))
    cards = {model} if job.accelerators and any(seconds.values()) else set()
    compared.equal(job.name, "accelerators' model", cards, set(told.models))
    if job.max_parallel:
        compared.equal(job.name, f"at most {job.max_parallel} at once", True, _at_once(had) <= job.max_parallel)
    if job.waits:
        compared.equal(job.name, "why it waits", True, job.waits in (told.waited or ""))


def _task(compared: Compared, job: Asked, task: Task, had: Sequence[Run]) -> None:
    where = f"{job.name}[{task.index}]" if len(job.ends) > 1 else job.name
    meant = job.ends[task.index]
    compared.equal(where, "containers on the node", meant.runs, len(had))
    found = (task.state, task.outcome, task.exit_code, task.signal)
    compared.equal(where, "state, outcome, exit code, signal", (meant.state, meant.outcome, meant.code, None), found)
    if job.says is not None:
        compared.equal(where, "log", job.says.replace("@", str(task.index)) if meant.runs else None, task.log)
    if had:
        last = max(had, key=lambda run: run.started)
        compared.equal(where, "run", last.pod, task.identity)
        compared.equal(where, "end", floor(last.ended), task.ended)
        after = floor(last.started) <= (task.started or 0) <= floor(last.started + START_SECONDS)
        compared.equal(where, "start within a second after its container's", True, after)


def _in_order(had: Sequence[Run], index: int) -> list[Run]:
    return sorted((run for run in had if run.index == index), key=lambda run: run.started)


def _held(job: Asked, run: Run, told: int) -> Seconds:
    seconds = run.seconds(told)
    return Seconds(round(run.cpus * seconds), seconds, job.accelerators * seconds)


def _bill(job: Asked, seconds: Mapping[Run, int], once: int) -> Bill:
    """What these runs of one job cost, each component rounded once; `once`: its price per job, if there is a second."""
    quantities = {
        "cpu_core_hour": sum(run.cpus * held for run, held in seconds.items()),
        "memory_gib_hour": sum(run.memory_mib * held for run, held in seconds.items()),
        "node_hour": sum(seconds.values()),
        "accelerator_hour": job.accelerators * sum(seconds.values()),
        "job": once * any(seconds.values()),
    }
    whole = {component: round(quantity) for component, quantity in quantities.items()}
    return {one: (quantity, fen(quantity, PRICES[one], one)) for one, quantity in whole.items() if quantity}


def _state(ends: Iterable[End]) -> str:
    states = {end.state for end in ends}
    return "failed" if "failed" in states else states.pop()


def _at_once(had: Sequence[Run]) -> int:
    """The most that ran at the same time."""
    return max((sum(other.started <= run.started < other.ended for other in had) for run in had), default=0)
