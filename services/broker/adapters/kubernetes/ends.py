"""How a pod's run ended, from what the kubelet and the cluster say of it. Pure.

Seen on 1.34. Exit codes stand only with the container; a time limit, an eviction and a lost node only with the pod.
"""

from dataclasses import dataclass
from typing import Final

from caravan.contracts.jobs import Outcome
from services.broker.adapters.kubernetes.reasons import CANCELLED
from services.broker.adapters.kubernetes.records import Pod

PREEMPTED: Final = "preempted by another job"
DISRUPTIONS: Final[dict[str, str]] = {
    "PreemptionByScheduler": PREEMPTED,
    "DeletionByTaintManager": "its node was lost, or takes no jobs any more",
    "EvictionByEvictionAPI": "evicted by the centre",
    "DeletionByPodGC": "its node is gone",
    "TerminationByKubelet": "its node ran short of resources, or was shut down",
}
"""Reason of DisruptionTarget -> what it means."""
NOT_EXECUTED: Final = {
    126: ": the script, or a command in it, can't be executed",
    127: ": the script can't be executed, or a command in it was not found",
}
NOBODY_KNOWS: Final = frozenset({"ContainerStatusUnknown", "Unknown"})
"""How a container ended that was lost with its node, by the kubelet's and by containerd's word: the exit code beside it (137, 255) is
made up."""
SIGNAL_BASE: Final = 128
"""What a shell adds to a signal's number."""


@dataclass(frozen=True, slots=True)
class End:
    """Only what ended by itself has an exit code or a signal."""

    outcome: Outcome
    detail: str
    exit_code: int | None = None
    signal: int | None = None


def end(pod: Pod, grace_seconds: int) -> End:
    """Of a pod that has ended. A cancel is told from a deletion by others by whoever asked for it, and not here."""
    if pod.reason == "DeadlineExceeded" and not _long_over(pod):
        return _over_time(pod)
    if pod.reason == "Evicted" and not pod.disrupted:
        return End(Outcome.LIMIT, f"disk: more was used than is allowed: {pod.message}")
    if pod.end == "OOMKilled":
        return End(Outcome.LIMIT, "memory: more was used than was asked for")
    if pod.exit_code == 0 and pod.phase != "Failed":
        return End(Outcome.SUCCEEDED, "", 0)
    if pod.disrupted:
        return taken_away(DISRUPTIONS.get(pod.disrupted, pod.disrupted))
    if _was_deleted(pod, grace_seconds):
        return End(Outcome.CANCELLED, "its pod was deleted")
    if pod.exit_code == 0:
        # what the cluster has put beside it failed
        return End(Outcome.SUCCEEDED, "", 0)
    if pod.exit_code is None or pod.end in NOBODY_KNOWS:
        return End(Outcome.SITE, _words(pod.reason or "its node lost it", pod.message))
    if pod.started is None:
        return _not_started(pod)
    return _failed(pod, pod.exit_code)


def taken_away(words: str) -> End:
    """Of a pod that the cluster or its queue ended, and why. Where that may also be something else it isn't taken for preempted."""
    return End(Outcome.PREEMPTED if words == PREEMPTED else Outcome.SITE, words)


def _long_over(pod: Pod) -> bool:
    """Its own container ended by itself, before one that the cluster has put beside it had the pod reach its time limit. The kubelet ends
    nothing before that, and has both times by one clock."""
    return pod.finished is not None and pod.deadline is not None and pod.finished < pod.deadline


def _over_time(pod: Pod) -> End:
    """A pod's time limit also ends what never started, and what was cancelled when its Job was gone."""
    if pod.given_up == CANCELLED:
        return End(Outcome.CANCELLED, "cancelled")
    if pod.started is not None:
        return End(Outcome.LIMIT, "walltime: the time limit was reached")
    if pod.given_up:
        return End(_whose(pod), pod.given_up)
    return End(Outcome.SITE, "it didn't start within its time limit")


def _not_started(pod: Pod) -> End:
    return End(_whose(pod), _words("it can't be started", pod.said), pod.exit_code if not pod.script else None)


def _whose(pod: Pod) -> Outcome:
    """A script runs in the offering's image, by its shell; a container's image and command are the job's own."""
    return Outcome.SITE if pod.script else Outcome.USER


def _was_deleted(pod: Pod, grace_seconds: int) -> bool:
    """Before it ended: when it is gone at the latest is moved ahead to when its container has ended, so what had ended long before
    that did so by itself."""
    return pod.deleted is not None and (pod.finished is None or pod.deleted - pod.finished <= grace_seconds)


def _failed(pod: Pod, code: int) -> End:
    """The last message of a script's container is what its shell says of a signal; whoever else writes it only means their own end."""
    if pod.script and pod.said and code > SIGNAL_BASE:
        return End(Outcome.USER, f"ended by signal {code - SIGNAL_BASE}", None, code - SIGNAL_BASE)
    return End(Outcome.USER, f"exit code {code}{NOT_EXECUTED.get(code, '')}", code)


def _words(what: str, said: str) -> str:
    return f"{what}: {said}" if said else what
