"""Reports shuffled, doubled and dropped, at the real broker on both engines: every job comes to a legal end, and is charged once."""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caravan.client import each
from caravan.contracts.dispatch import ReportItem
from caravan.contracts.jobs import AttemptState, Job, JobState, Outcome
from caravan.contracts.offerings import PreemptedBearer
from services.broker.jobs.states import NOT_CHARGED, TASK_AFTER, TRANSITIONS, job_state, task_after
from tests.accounting.examples import examples
from tests.broker.conftest import Shop
from tests.broker.hand import Hand, Run

pytestmark = pytest.mark.asyncio(loop_scope="session")
outcomes = st.sampled_from([outcome for outcome, state in TASK_AFTER.items() if state is not None])
runs = st.lists(st.tuples(outcomes, st.integers(1, 3500)), min_size=1, max_size=3)
weather = st.lists(st.lists(st.integers(0, 100), max_size=6), max_size=8)
"""Batches that arrive: each is some of what the agent has to say, by number. What is in none was dropped."""


@settings(examples(4, 50), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(runs, weather)
async def test_reports_shuffled_doubled_and_dropped_come_to_a_legal_end(
    shop: Shop, ends: list[tuple[Outcome, int]], batches: list[list[int]]
) -> None:
    job = await shop.customer.submit(indices=len(ends), walltime=4000, max_attempts=1)
    attempt = await shop.hand.start(job)
    said = what_happened(shop.hand, attempt, ends)
    ended: dict[int, JobState] = {}
    for batch in batches:
        await shop.hand.report(*(said[number % len(said)] for number in batch))
        await nothing_ended_changes(shop, job, ended)
    # an agent says what the broker doesn't know until it does
    await shop.hand.tell(*said)
    await nothing_ended_changes(shop, job, ended)

    found = await shop.customer.job(job.id)
    believed = [Outcome.SITE if outcome is Outcome.CANCELLED else outcome for outcome, _ in ends]  # nobody asked for it
    after = [task_after(outcome, cancelling=False) for outcome in believed]
    assert ended == {
        index: state if state is not JobState.PENDING else JobState.FAILED for index, state in enumerate(after)
    }
    assert found.state is job_state(Counter(ended.values()))
    hold = await shop.customer.hold_settles(job.id)
    free = NOT_CHARGED[PreemptedBearer.PROVIDER]
    charged = [seconds for (_, seconds), outcome in zip(ends, believed, strict=True) if outcome not in free]
    assert hold.captured.fen == sum(charged)
    types = await shop.customer.event_types(job.id)
    assert types.count("run.ended") == len(ends)
    assert types.count("job.settled") == 1
    states = [AttemptState.PLANNED, *(AttemptState(one[8:]) for one in types if is_state(one))]
    assert all(after in TRANSITIONS[before] for before, after in pairwise(dict.fromkeys(states)))


def what_happened(hand: Hand, attempt: str, ends: Sequence[tuple[Outcome, int]]) -> list[ReportItem]:
    """All that an agent sees, in order, one task after the other: half of the usage is stated before the run has ended."""
    said: list[ReportItem] = [hand.saw(attempt, "queued")]
    for index, (outcome, seconds) in enumerate(ends):
        run = Run(attempt, index, seconds, outcome)
        said += [run.running(hand.number), hand.saw(attempt, "running")]
        said += run.usage(1, run.start + timedelta(seconds=seconds // 2))
        said += [run.ended(hand.number), *run.usage(2), run.final(2)]
    return [*said, hand.saw(attempt, "ended", runs=len(ends))]


async def nothing_ended_changes(shop: Shop, job: Job, ended: dict[int, JobState]) -> None:
    """Tasks that have ended stay as they ended; learns of those that have ended since."""
    tasks = {task.index: task.state async for task in each(shop.customer.broker.list_job_tasks, job.id)}
    assert {index: tasks[index] for index in ended} == ended
    ended |= {index: state for index, state in tasks.items() if state.final}


def is_state(event: str) -> bool:
    return event.startswith("attempt.") and event[8:] in set(AttemptState)
