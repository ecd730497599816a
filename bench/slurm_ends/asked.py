"""The jobs, one for each way to end, and what each array task of them must come to. Pure data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Place = Literal["batch", "again", "gpu", "shut", "limited"]
"""An offering: of all nodes; of them, where Slurm may start a job again; of those with GPUs; of a partition that is down at first; of
an account that may run nothing at first."""

CORES_PER_NODE: Final = 2
SUSPENSION_SECONDS: Final = 5
PRICES: Final = {
    "cpu_core_hour": "13.57", "memory_gib_hour": "0.73", "node_hour": "1.09", "accelerator_hour": "24.68", "job": "0.03",
}  # fmt: skip
"""Of each offering, in yuan: of a few seconds there is always something to round."""


@dataclass(frozen=True)
class End:
    """How one array task's last run must end, in sacct's words. `state` None: it never starts. `outcome`: where they don't tell it."""

    state: str | None
    code: int = 0
    signal: int = 0
    outcome: tuple[str, str] | None = None
    """The task's state and outcome."""


COMPLETED: Final = End("COMPLETED")
NEVER: Final = End(None)


@dataclass(frozen=True)
class Asked:
    """A job. `ends` has the array's indexes; a job without an array has index 0. `body` finds in $PAUSE how long it should take."""

    name: str
    body: str
    ends: Mapping[int, End] = field(default_factory=lambda: {0: COMPLETED})
    place: Place = "batch"
    nodes: int = 1
    accelerators_per_node: int = 0
    walltime_seconds: int = 600
    max_parallel: int | None = None
    suspended_seconds: int = 0
    """At least, in all."""
    requeues: int = 0
    """So many runs are taken back before the last one."""
    waits: str | None = None
    """Slurm's word for why it has to wait, once people have done to it what they do."""
    slow: bool = False
    """It takes a minute."""

    @property
    def script(self) -> str:
        """It says first who it is."""
        return f"#!/bin/sh\necho {self.name} $CARAVAN_ARRAY_INDEX\n{self.body}\n"

    @property
    def array(self) -> bool:
        return len(self.ends) > 1

    def says(self, index: int) -> str:
        """Its standard output, in full."""
        return f"{self.name} {index}\n"


CANCEL_STAGED, CANCEL_PENDING, CANCEL_RUNNING = "cancel-staged", "cancel-pending", "cancel-running"
HELD, LIMITED, SUSPENDED, REQUEUED, KEPT = "held", "limited", "suspended", "requeued", "kept"
TENTH: Final = dict.fromkeys(range(10), COMPLETED) | {4: End("FAILED", code=5)}
# 22.05 to 26.05: OUT_OF_MEMORY is what cgroups tell slurmd; by OverMemoryKill, without them, it is a kill like any other
KILLED_FOR_MEMORY: Final = End("FAILED", signal=9, outcome=("failed", "limit"))
HUNGRY: Final = """perl -e '$filled = "x" x (600 << 20); sleep 300'"""
ONCE_LONG: Final = 'test "${SLURM_RESTART_COUNT:-0}" -gt 0 || exec sleep 600; sleep $PAUSE'

ASKED: Final = (
    Asked("success", "sleep $PAUSE"),
    Asked("exit-7", "sleep $PAUSE; exit 7", {0: End("FAILED", code=7)}),
    Asked("signal", "sleep $PAUSE; kill -SEGV $$", {0: End("FAILED", signal=11)}),
    Asked("timeout", "sleep 600", {0: End("TIMEOUT")}, walltime_seconds=60, slow=True),
    Asked("memory", HUNGRY, {0: KILLED_FOR_MEMORY}),
    Asked(CANCEL_STAGED, "sleep 600", {0: NEVER}),
    Asked(CANCEL_PENDING, "sleep 600", {0: NEVER}, place="shut"),
    Asked(CANCEL_RUNNING, "sleep 600", {0: End("CANCELLED")}),
    Asked(HELD, "sleep $PAUSE", place="shut", waits="JobHeldAdmin"),
    Asked(LIMITED, "sleep $PAUSE", place="limited", waits="AssocMaxJobsLimit"),
    Asked("accelerator", "sleep $PAUSE", place="gpu", accelerators_per_node=3),
    Asked("array", 'sleep $PAUSE; test "$CARAVAN_ARRAY_INDEX" != 4 || exit 5', TENTH, max_parallel=3),
    Asked("nodes", "sleep $PAUSE", nodes=2),
    Asked(SUSPENDED, "sleep $PAUSE; sleep 10", suspended_seconds=SUSPENSION_SECONDS),
    Asked(REQUEUED, ONCE_LONG, place="again", requeues=1),
    Asked(KEPT, "sleep $PAUSE; sleep 5"),
)
