"""Slurm's job states, in one table, and what they mean here. Pure."""

from enum import Enum
from functools import lru_cache
from typing import Final

from caravan.contracts.jobs import Outcome


class Stage(Enum):
    WAITING = "waiting"
    RUNNING = "running"
    SUSPENDED = "suspended"
    ENDING = "ending"
    """Has ended by its books; 22.05 doesn't say yet how."""
    ENDED = "ended"
    UNKNOWN = "unknown"


STATES: Final[dict[str, tuple[Stage, Outcome | None, str]]] = {
    "PENDING": (Stage.WAITING, None, ""),
    "REQUEUED": (Stage.WAITING, None, ""),
    "REQUEUE_HOLD": (Stage.WAITING, None, ""),
    "REQUEUE_FED": (Stage.WAITING, None, ""),
    "RESV_DEL_HOLD": (Stage.WAITING, None, ""),
    "SPECIAL_EXIT": (Stage.WAITING, None, ""),
    "RUNNING": (Stage.RUNNING, None, ""),
    "CONFIGURING": (Stage.RUNNING, None, ""),
    "RESIZING": (Stage.RUNNING, None, ""),
    "SIGNALING": (Stage.RUNNING, None, ""),
    "STAGE_OUT": (Stage.RUNNING, None, ""),
    "SUSPENDED": (Stage.SUSPENDED, None, ""),
    "STOPPED": (Stage.RUNNING, None, ""),
    "COMPLETING": (Stage.ENDING, None, ""),
    "COMPLETED": (Stage.ENDED, Outcome.SUCCEEDED, ""),
    "FAILED": (Stage.ENDED, Outcome.USER, ""),
    "CANCELLED": (Stage.ENDED, Outcome.CANCELLED, "cancelled"),
    "REVOKED": (Stage.ENDED, Outcome.CANCELLED, "revoked: it runs at another cluster of the federation"),
    "TIMEOUT": (Stage.ENDED, Outcome.LIMIT, "walltime: the time limit was reached"),
    "DEADLINE": (Stage.ENDED, Outcome.LIMIT, "the deadline was reached"),
    "OUT_OF_MEMORY": (Stage.ENDED, Outcome.LIMIT, "memory: more was used than was asked for"),
    "NODE_FAIL": (Stage.ENDED, Outcome.SITE, "a node failed"),
    "BOOT_FAIL": (Stage.ENDED, Outcome.SITE, "a node didn't start"),
    "LAUNCH_FAILED": (Stage.ENDED, Outcome.SITE, "the job couldn't be launched"),
    "RECONFIG_FAIL": (Stage.ENDED, Outcome.SITE, "a node couldn't be reconfigured"),
    "PREEMPTED": (Stage.ENDED, Outcome.PREEMPTED, "preempted by another job"),
    "REQUEUED RUN": (Stage.ENDED, Outcome.SITE, "the job was requeued"),
}
"""Slurm's name -> where the job stands, how it ended, and that in words (22.05 to 26.05). A `REQUEUED RUN` is ours: a run that the
job was requeued from, while the job itself waits again."""
REQUEUED: Final = ("REQUEUED RUN",)
BESIDE: Final = frozenset({
    "COMPLETING", "CONFIGURING", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED", "POWER_UP_NODE", "UPDATE_DB",
    "EXPEDITING", "RECONFIG_FAIL", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT", "LAUNCH_FAILED",
})  # fmt: skip
"""Flags that stand beside a state in a list; alone they are all that 22.05 says."""


@lru_cache(maxsize=1024)
def meaning(state: tuple[str, ...]) -> tuple[Stage, Outcome | None, str]:
    """Of a state in Slurm's words: the base state decides where there is one. What isn't in the table is unknown."""
    # slurmdb writes `CANCELLED by 1000`
    names = [word.partition(" by ")[0] for word in state]
    for name in [*(name for name in names if name not in BESIDE), *names]:
        if name in STATES:
            return STATES[name]
        if name not in BESIDE:
            break
    return Stage.UNKNOWN, None, ""
