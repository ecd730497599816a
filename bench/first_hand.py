"""What jobs held, by who knows it first hand, and what a statement says otherwise. Nothing here asks the platform or an adapter.

Slurm's books are slurmdbd's, Kubernetes' are its pods. A job on this machine says itself when it began and ended.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from bench.independent import slurm_runs
from bench.independent.slurm_runs import fen
from caravan.contracts.jobs import ArrayTask
from caravan.contracts.spec import Resources
from caravan.contracts.statements import Line
from tests.backends.kubernetes import Cluster as KubernetesCluster
from tests.backends.slurm import Cluster as SlurmCluster


@dataclass(frozen=True)
class Held:
    """By one run on one node."""

    seconds: int
    cpus: int
    memory_mib: int


def at_slurm(cluster: SlurmCluster) -> dict[str, list[Held]]:
    """By attempt, all that ran."""
    found: dict[str, list[Held]] = {}
    for row in slurm_runs.rows(cluster.run(*slurm_runs.COMMAND)):
        if row.started:
            found.setdefault(f"att_{row.name}", []).append(Held(row.seconds, row.cpus, row.memory_mib))
    return found


def at_kubernetes(cluster: KubernetesCluster, namespace: str) -> dict[str, list[Held]]:
    """By attempt, all pods of the namespace that ended."""
    found: dict[str, list[Held]] = {}
    for pod in cluster.ask("GET", f"/api/v1/namespaces/{namespace}/pods")["items"]:
        (made,), (stands,) = pod["spec"]["containers"], pod["status"]["containerStatuses"]
        said = {one["name"]: one.get("value") for one in made["env"]}
        ended, asked = stands["state"]["terminated"], made["resources"]["requests"]
        seconds = int((_instant(ended["finishedAt"]) - _instant(ended["startedAt"])).total_seconds())
        held = Held(seconds, int(asked["cpu"]), int(asked["memory"].removesuffix("Mi")))
        found.setdefault(said["CARAVAN_ATTEMPT"], []).append(held)
    return found


def here(log: str, task: ArrayTask, asked: Resources) -> Held:
    """By the output of a job that says in which second it began and ended. What its run is told to have had beside them, for the making
    of its process and for ending what it left, is billed too."""
    began, ended = map(int, log.split())
    start, end = (int(at.timestamp()) if at else began for at in (task.started_at, task.ended_at))
    seconds = end - start if start <= began and ended <= end else ended - began
    return Held(seconds, asked.cpus_per_node, asked.memory_mib_per_node)


def billed_otherwise(name: str, held: Sequence[Held], lines: Sequence[Line], core_hour: Decimal) -> list[str]:
    """What of a job's lines isn't its one run's seconds by what it held, at this price for cores and none for all else."""
    billed = {line.component.value: (line.quantity, line.amount.fen) for line in lines}
    borne = {line.bearer.value for line in lines}
    if (
        len(held) == 1
        and borne == {"organization"}
        and billed == _bill(held[0], core_hour)
        and len(lines) == len(billed)
    ):
        return []
    return [f"{name}: {billed}, borne by {borne}, but {held} at {core_hour}"]


def _bill(held: Held, core_hour: Decimal) -> Mapping[str, tuple[int, int]]:
    """Component -> quantity and fen."""
    cores = held.cpus * held.seconds
    return {
        "cpu_core_hour": (cores, fen(cores, str(core_hour), "cpu_core_hour")),
        "memory_gib_hour": (held.memory_mib * held.seconds, 0),
        "node_hour": (held.seconds, 0),
        "job": (1, 0),
    }


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
