"""A job's state is a pure function of its tasks; a task's next state of how its run ended. Tables, not branches."""

from collections.abc import Mapping
from typing import Final

from caravan.contracts.jobs import AttemptState, JobState, Outcome
from caravan.contracts.offerings import PreemptedBearer

TASK_AFTER: Final[Mapping[Outcome, JobState | None]] = {
    Outcome.SUCCEEDED: JobState.SUCCEEDED,
    Outcome.USER: JobState.FAILED,
    Outcome.LIMIT: JobState.FAILED,
    Outcome.CANCELLED: JobState.CANCELLED,
    Outcome.SITE: JobState.PENDING,
    Outcome.PREEMPTED: JobState.PENDING,
    Outcome.LOST: JobState.PENDING,
    Outcome.DUPLICATE: None,
}
"""Pending: its backend may start it again, and the attempt's end decides what is tried elsewhere and what is given up. None: the run
should never have been, and says nothing of its task."""
RETRIED: Final = frozenset({Outcome.SITE, Outcome.PREEMPTED, Outcome.LOST})
"""Ends that were not the enterprise's: tried elsewhere, with only the tasks that need it."""
NOT_CHARGED: Final[Mapping[PreemptedBearer, frozenset[Outcome]]] = {
    PreemptedBearer.PROVIDER: RETRIED | {Outcome.DUPLICATE},
    PreemptedBearer.ORGANIZATION: RETRIED - {Outcome.PREEMPTED} | {Outcome.DUPLICATE},
}
"""Ends of runs that the provider bears, by who bears what was preempted."""

TRANSITIONS: Final[Mapping[AttemptState, frozenset[AttemptState]]] = {
    AttemptState.PLANNED: frozenset({AttemptState.STAGED, AttemptState.ENDED}),
    AttemptState.STAGED: frozenset(
        {AttemptState.RELEASED, AttemptState.QUEUED, AttemptState.RUNNING, AttemptState.UNKNOWN, AttemptState.ENDED}
    ),
    AttemptState.RELEASED: frozenset(
        {AttemptState.QUEUED, AttemptState.RUNNING, AttemptState.UNKNOWN, AttemptState.ENDED}
    ),
    AttemptState.QUEUED: frozenset({AttemptState.RUNNING, AttemptState.UNKNOWN, AttemptState.ENDED}),
    AttemptState.RUNNING: frozenset({AttemptState.QUEUED, AttemptState.UNKNOWN, AttemptState.ENDED}),
    AttemptState.UNKNOWN: frozenset({AttemptState.QUEUED, AttemptState.RUNNING, AttemptState.ENDED}),
    AttemptState.ENDED: frozenset(),
}
"""What an agent may report of a committed attempt. Nothing leaves `ended`."""


def job_state(counts: Mapping[JobState, int]) -> JobState:
    """The state of a job with so many tasks in each state.

    Any task that runs makes it running, then queued, then pending; once all have ended the worst end counts.
    """
    for state in (
        JobState.RUNNING,
        JobState.QUEUED,
        JobState.PENDING,
        JobState.REFUSED,
        JobState.FAILED,
        JobState.CANCELLED,
    ):
        if counts.get(state, 0):
            return state
    return JobState.SUCCEEDED


def task_after(outcome: Outcome, cancelling: bool) -> JobState | None:
    """Where a task goes when the last of its runs has ended so; None: it stays."""
    return JobState.CANCELLED if outcome in RETRIED and cancelling else TASK_AFTER[outcome]
