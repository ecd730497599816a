"""How states follow from each other: tables, without a database."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caravan.contracts.jobs import AttemptState, JobState, Outcome
from services.broker.jobs.states import NOT_CHARGED, RETRIED, TRANSITIONS, job_state, task_after

LIVE = (JobState.RUNNING, JobState.QUEUED, JobState.PENDING)


def test_the_transition_table_is_complete() -> None:
    assert set(TRANSITIONS) == set(AttemptState)
    assert not TRANSITIONS[AttemptState.ENDED]
    for state, following in TRANSITIONS.items():
        assert state not in following
        assert state is AttemptState.ENDED or AttemptState.ENDED in following
        assert AttemptState.PLANNED not in following
    before = {state for state, following in TRANSITIONS.items() if AttemptState.RUNNING in following}
    assert AttemptState.PLANNED not in before, "nothing runs that was not committed"


@given(st.dictionaries(st.sampled_from(list(JobState)), st.integers(0, 3)))
def test_a_job_is_final_just_when_all_its_tasks_are(counts: dict[JobState, int]) -> None:
    there = {state for state, count in counts.items() if count}
    state = job_state(counts)
    assert state in (there or {JobState.SUCCEEDED})
    assert state.final == there.isdisjoint(LIVE)
    for stronger in LIVE:
        if stronger in there:
            assert state is stronger
            break


@pytest.mark.parametrize(
    ("there", "state"),
    [
        ({JobState.SUCCEEDED}, JobState.SUCCEEDED),
        ({JobState.SUCCEEDED, JobState.CANCELLED}, JobState.CANCELLED),
        ({JobState.CANCELLED, JobState.FAILED}, JobState.FAILED),
        ({JobState.FAILED, JobState.REFUSED}, JobState.REFUSED),
        ({JobState.QUEUED, JobState.FAILED}, JobState.QUEUED),
        ({JobState.PENDING, JobState.RUNNING}, JobState.RUNNING),
    ],
)
def test_the_worst_end_counts(there: set[JobState], state: JobState) -> None:
    assert job_state(dict.fromkeys(there, 1)) is state


def test_the_sites_faults_alone_leave_a_task_undone() -> None:
    for outcome in Outcome:
        after = task_after(outcome, cancelling=False)
        assert (after is JobState.PENDING) == (outcome in RETRIED)
        assert (after is None) == (outcome is Outcome.DUPLICATE)
        assert after in (None, JobState.PENDING) or after.final
        cancelled = task_after(outcome, cancelling=True)
        assert (cancelled is JobState.CANCELLED) == (outcome in RETRIED | {Outcome.CANCELLED})
    always = {Outcome.SITE, Outcome.LOST, Outcome.DUPLICATE}
    assert {"provider": always | {Outcome.PREEMPTED}, "organization": always} == NOT_CHARGED
