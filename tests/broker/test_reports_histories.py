"""Whole histories of an attempt, applied to a database in any order, doubled, sent again: they come to the same end."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from caravan.contracts.dispatch import AttemptObserved, Desired, ReportItem
from caravan.contracts.jobs import AttemptState, JobState, Outcome
from caravan.kernel.database import savepoint
from services.broker.dispatch import reports
from services.broker.jobs.states import RETRIED
from tests.broker.hand import Run
from tests.broker.market import Platform
from tests.broker.reported import T0, Staged, picture, staged, tried

pytestmark = pytest.mark.asyncio(loop_scope="session")


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, int, Callable[[str], list[ReportItem]]]:
    """(tasks, tries, a legal history of the attempt given its id), in the order in which an agent tells it."""
    tasks, max_attempts = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    last = draw(st.lists(st.integers(0, tasks - 1), unique=True, max_size=tasks))
    requeued = draw(st.lists(st.sampled_from(last), max_size=2)) if last else []
    ran = requeued + last
    outcomes = [draw(st.sampled_from(sorted(RETRIED))) for _ in requeued]
    outcomes += [draw(st.sampled_from(list(Outcome))) for _ in last]
    lengths = [draw(st.sampled_from([0, 5, 10, 15, 3620])) for _ in ran]
    restated = draw(st.booleans())
    states = draw(st.lists(st.sampled_from(["released", "queued", "unknown", "running"]), max_size=3, unique=True))
    identities = [f"run-{number}-of-{index}" for number, index in enumerate(ran)]

    def history(attempt: str) -> list[ReportItem]:
        numbers = iter(range(1, 1000))
        seen = ["released", *[state for state in states if state != "released"]]
        items: list[ReportItem] = [
            AttemptObserved(attempt=attempt, observation=next(numbers), state=state) for state in seen
        ]
        for number, (index, outcome, seconds) in enumerate(zip(ran, outcomes, lengths, strict=True)):
            start = T0 + timedelta(seconds=number)
            run = Run(attempt, index, seconds, outcome, start=start, identity=identities[number])
            items.append(run.running(next(numbers)))
            revision = 1
            if restated and run.hours():
                items += run.usage(1, through=run.start + timedelta(seconds=2))
                revision = 2
            items.append(run.ended(next(numbers)))
            items += [*run.usage(revision), run.final(revision)]
        items.append(AttemptObserved(attempt=attempt, observation=next(numbers), state="ended", runs=len(ran)))
        return items

    return tasks, max_attempts, history


def deliver(tx: Session, it: Staged, items: Sequence[ReportItem]) -> list[ReportItem]:
    """Tell all of these, and return what was refused."""
    refused = []
    for item in items:
        try:
            with savepoint(tx):
                reports.apply(tx, it.site, item)
        except reports.CannotBe:
            refused.append(item)
    return refused


@given(histories(), st.data())
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
async def test_reports_shuffled_doubled_and_dropped_come_to_the_same_legal_end(
    platform: Platform, of: tuple[int, int, Callable[[str], list[ReportItem]]], data: st.DataObject
) -> None:
    tasks, max_attempts, history = of
    length = len(history("att_" + "0" * 32))
    order = data.draw(st.permutations([*range(length), *data.draw(st.lists(st.integers(0, length - 1), max_size=8))]))
    dropped = data.draw(st.sets(st.sampled_from(order)))

    def in_order(tx: Session) -> dict[str, Any]:
        it = staged(tx, tasks, max_attempts)
        assert not deliver(tx, it, history(it.attempt)), "a legal history is believed as it is told"
        return anonymous(it, picture(tx, it))

    def in_any_order(tx: Session) -> dict[str, Any]:
        it = staged(tx, tasks, max_attempts)
        items = history(it.attempt)
        left = deliver(tx, it, [items[i] for i in order if i not in dropped])
        left += [items[i] for i in sorted(dropped)]
        for _ in range(length):
            left = deliver(tx, it, left)
        assert not left, "what was refused is believed once the rest is there"
        assert not deliver(tx, it, [item for item in items if item.type != "attempt"])
        return anonymous(it, picture(tx, it))

    told = await tried(platform, in_order)
    assert await tried(platform, in_any_order) == told
    state, counts, *_, settled, open_runs = told["job"]
    assert sum(counts.values()) == tasks
    assert open_runs == 0
    assert settled == JobState(state).final
    assert told["attempt"] == (AttemptState.ENDED, Desired.NOTHING, True)


def anonymous(it: Staged, of: dict[str, Any]) -> dict[str, Any]:
    """The picture without what differs from one job to the next: its ids, and when it was heard that nothing will run."""
    found = dict(of)
    found["tasks"] = [(index, state, attempt is not None, run) for index, state, attempt, run in of["tasks"]]
    facts = [(type_, data.replace(it.job, "JOB").replace(it.attempt, "ATTEMPT")) for type_, data in of["last facts"]]
    found["last facts"] = sorted(facts)
    if of["job"][0] != JobState.SUCCEEDED:
        found["job"] = (*of["job"][:3], None, *of["job"][4:])
    return found
