"""What agents report, applied to a database item by item: what follows from it, and what can't be true."""

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.contracts import events
from caravan.contracts.dispatch import AttemptObserved, Desired, ReportItem
from caravan.contracts.jobs import AttemptState, JobState, Outcome, RunState
from caravan.kernel import ids
from caravan.kernel.database import savepoint
from caravan.kernel.money import Money
from caravan.kernel.tables import outbox
from services.broker.dispatch import reports
from services.broker.jobs.models import AttemptRow, EventRow, JobRow, RunRow, TaskRow
from services.broker.jobs.states import TRANSITIONS
from tests.broker.conftest import Shop
from tests.broker.hand import Run
from tests.broker.market import Platform
from tests.broker.reported import T0, picture, run_of, staged, tried

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_what_cant_be_true_is_refused_and_changes_nothing(platform: Platform) -> None:
    def unit(tx: Session) -> list[str]:
        it = staged(tx, 2)
        run = run_of(it, seconds=20, identity="one")
        ended = run.ended(3)
        words = [
            it.refused(tx, run.usage()[0]),
            it.refused(tx, run.final()),
            it.refused(tx, AttemptObserved(attempt=ids.new("att"), observation=1, state="released")),
            it.refused(tx, AttemptObserved(attempt=it.attempt, observation=1, state="discarded")),
            it.refused(tx, AttemptObserved(attempt=it.attempt, observation=1, state="rejected")),
            it.refused(tx, AttemptObserved(attempt=it.attempt, observation=1, state="forgotten")),
            it.refused(tx, AttemptObserved(attempt=it.attempt, observation=1, state="ended", runs=1)),
            it.refused(tx, run_of(it, 5).running(1)),
            it.refused(tx, ended.model_copy(update={"outcome": None})),
            it.refused(tx, ended.model_copy(update={"ended_at": None})),
            it.refused(tx, ended.model_copy(update={"state": RunState.RUNNING})),
        ]
        it.apply(tx, run.running(2))
        words += [
            it.refused(tx, run.usage()[0].model_copy(update={"index": 1})),
            it.refused(tx, run.final()),
            it.refused(tx, AttemptObserved(attempt=it.attempt, observation=9, state="ended", runs=1)),
        ]
        it.apply(tx, ended)
        words.append(it.refused(tx, run.final()))
        it.apply(tx, *run.usage(), run.final())
        it.apply(tx, AttemptObserved(attempt=it.attempt, observation=9, state="ended", runs=1))
        words.append(it.refused(tx, run_of(it, 1).running(10)))
        return words

    words = await tried(platform, unit)
    assert words == [
        "this run has not been observed yet", "this run has not been observed yet", "this site has no such attempt",
        "a committed submission can't be discarded", "a committed submission can't be rejected",
        "something is still wanted of this attempt",
        "a run of this attempt has not ended", "the attempt has no task of this index",
        "a run has an end and an outcome once it has ended", "a run has an end and an outcome once it has ended",
        "a run has an end and an outcome once it has ended", "this run has not been observed yet",
        "a run that has not ended can't have its books closed", "a run of this attempt has not ended",
        "usage of this run is missing here; state it again", "the attempt has ended",
    ]  # fmt: skip


async def test_of_what_was_never_committed_nothing_can_have_run(platform: Platform) -> None:
    def unit(tx: Session) -> None:
        it = staged(tx, committed=False)
        run = run_of(it)
        assert "ever committed" in it.refused(tx, run.running(1))
        for state in ("staged", "released", "queued", "running", "unknown", "ended", "gone"):
            item = AttemptObserved(attempt=it.attempt, observation=1, state=state)
            assert "ever committed" in it.refused(tx, item)
        assert it.apply(tx, AttemptObserved(attempt=it.attempt, observation=1, state="discarded")) == [True]

    await tried(platform, unit)


@pytest.mark.parametrize("state", list(AttemptState))
async def test_an_attempt_takes_only_the_steps_of_the_table(platform: Platform, state: AttemptState) -> None:
    def unit(tx: Session) -> set[str]:
        allowed = set()
        for target in ("staged", "released", "queued", "running", "unknown", "ended"):
            it = staged(tx)
            tx.get_one(AttemptRow, it.attempt).state = state
            try:
                with savepoint(tx):
                    if it.apply(tx, AttemptObserved(attempt=it.attempt, observation=1, state=target)) == [True]:
                        allowed.add(target)
            except reports.CannotBe:
                pass
        return allowed

    same = set() if state in (AttemptState.ENDED, AttemptState.PLANNED) else {str(state)}
    assert await tried(platform, unit) == {str(following) for following in TRANSITIONS[state]} | same


async def test_usage_is_replaced_by_higher_revisions_only(platform: Platform) -> None:
    def unit(tx: Session) -> tuple[list[bool], list[tuple[int, str, int]]]:
        it = staged(tx)
        run = run_of(it, seconds=5, identity="one")
        it.apply(tx, run.running(1))
        applied = it.apply(
            tx, *run.usage(2), *run.usage(1), *run.usage(2), *run.usage(5), run.ended(2), run.final(5), run.final(5)
        )
        facts = select(outbox.c.data).where(outbox.c.subject == it.job, outbox.c.type == events.USAGE_STATED)
        stated = [json.loads(data) for data in tx.scalars(facts.order_by(outbox.c.sequence))]
        return applied, [(one["revision"], one["backend_identity"], one["index"]) for one in stated]

    applied, revisions = await tried(platform, unit)
    assert applied == [True, False, False, True, True, True, False]
    assert revisions == [(2, "one", 0), (5, "one", 0)]


@pytest.mark.parametrize("order", ["as it was", "the last one first"])
async def test_a_task_that_its_backend_starts_again_ends_by_its_last_run(platform: Platform, order: str) -> None:
    """Though no try is left: the attempt goes on."""

    def unit(tx: Session) -> list[tuple[str, ...]]:
        it = staged(tx, max_attempts=1)
        first = run_of(it, seconds=5, outcome=Outcome.SITE)
        second = Run(it.attempt, start=T0 + timedelta(seconds=60))
        told = [first.running(1), first.ended(2), second.running(3), second.ended(4)]
        if order == "the last one first":
            told = [second.running(1), first.running(2), first.ended(3), second.ended(4)]
        states = []
        for item in told:
            it.apply(tx, item)
            states.append(
                (tx.get_one(JobRow, it.job).state, *tx.scalars(select(TaskRow.state).where(TaskRow.job == it.job)))
            )
        it.apply(tx, AttemptObserved(attempt=it.attempt, observation=5, state="ended", runs=2))
        assert tx.get_one(JobRow, it.job).state == JobState.SUCCEEDED
        assert picture(tx, it)["tasks"] == [(0, JobState.SUCCEEDED, it.attempt, second.identity)]
        return states

    waits, runs, well = (("pending",) * 2, ("running",) * 2, ("succeeded",) * 2)
    expected = [runs, waits, runs, well] if order == "as it was" else [runs, runs, runs, well]
    assert await tried(platform, unit) == expected


async def test_what_its_backend_does_not_start_again_fails_with_the_attempt_and_says_why(platform: Platform) -> None:
    def unit(tx: Session) -> tuple[str, str, str]:
        it = staged(tx, max_attempts=1)
        ended = run_of(it, outcome=Outcome.SITE).ended(1).model_copy(update={"detail": "a node failed"})
        it.apply(
            tx, ended, AttemptObserved(attempt=it.attempt, observation=2, state="ended", runs=1, detail="none left")
        )
        job, task = tx.get_one(JobRow, it.job), tx.scalars(select(TaskRow).where(TaskRow.job == it.job)).one()
        return job.state, job.detail, task.detail

    assert await tried(platform, unit) == (JobState.FAILED, "a node failed", "a node failed")


async def test_open_books_may_correct_when_a_run_ended_and_nothing_else(platform: Platform) -> None:
    """Slurm's controller tells the end first, its books later, and they may differ."""

    def unit(tx: Session) -> list[bool]:
        it = staged(tx)
        run, longer = run_of(it, identity="one"), run_of(it, seconds=12, identity="one", outcome=Outcome.USER)
        it.apply(tx, run.running(1), run.ended(3), AttemptObserved(attempt=it.attempt, observation=4, state="ended"))
        version = tx.get_one(JobRow, it.job).version
        assert tx.get_one(JobRow, it.job).settled_at is None, "its books are open"
        applied = it.apply(tx, longer.ended(2), longer.ended(5), longer.running(6), *longer.usage(), longer.final())
        applied += it.apply(tx, run.ended(7))
        job = tx.get_one(JobRow, it.job)
        row = tx.execute(select(RunRow).where(RunRow.job == it.job)).scalar_one()
        assert (job.state, job.ended_at, job.version) == (JobState.SUCCEEDED, longer.end, version + 1)
        assert job.settled_at is not None
        assert (row.state, row.outcome, row.ended_at) == (RunState.ENDED, Outcome.SUCCEEDED, longer.end)
        return applied

    assert await tried(platform, unit) == [False, True, False, True, True, True, False]


async def test_a_duplicate_says_nothing_of_its_task(platform: Platform) -> None:
    def unit(tx: Session) -> tuple[str, str]:
        it = staged(tx)
        good, extra = run_of(it, identity="good"), run_of(it, identity="extra", outcome=Outcome.DUPLICATE)
        it.apply(tx, good.running(1), extra.running(2), extra.ended(3))
        between = tx.get_one(JobRow, it.job).state
        it.apply(tx, good.ended(4))
        return between, tx.get_one(JobRow, it.job).state

    assert await tried(platform, unit) == (JobState.RUNNING, JobState.SUCCEEDED)


async def test_a_task_shows_its_last_run_whenever_that_was_told(platform: Platform) -> None:
    """The backend ran the task again by itself, and the broker hears of the first run last."""

    def unit(tx: Session) -> list[str | None]:
        it = staged(tx)
        first = run_of(it, identity="first", outcome=Outcome.SITE)
        second = Run(it.attempt, start=first.end, identity="second", outcome=Outcome.USER)
        extra = Run(it.attempt, start=second.end, identity="extra", outcome=Outcome.DUPLICATE)
        shown = []
        for item in (second.running(3), second.ended(4), first.ended(2), extra.running(5), extra.ended(6)):
            it.apply(tx, item)
            run = tx.execute(select(TaskRow.run).where(TaskRow.job == it.job)).scalar_one()
            shown.append(None if run is None else tx.get_one(RunRow, run).backend_identity)
        return shown

    assert await tried(platform, unit) == ["second", "second", "second", "extra", "second"]


async def test_what_is_gone_for_good_ends_what_nobody_saw_end(platform: Platform) -> None:
    """Runs of an attempt whose backend has lost it: one ended and stated, one ended with open books, one running, one never begun."""

    def unit(tx: Session) -> dict[str, Any]:
        it = staged(tx, 4)
        over, half, running = (run_of(it, index, identity=f"run-{index}") for index in range(3))
        it.apply(tx, over.running(1), over.ended(2), *over.usage(), over.final())
        it.apply(
            tx, half.running(3), half.ended(4), running.running(5), *running.usage(through=T0 + timedelta(seconds=3))
        )
        gone = AttemptObserved(attempt=it.attempt, observation=6, state="gone", detail="a new disk")
        assert it.apply(tx, gone, gone) == [True, False]
        assert it.apply(tx, running.ended(7)) == [False], "what comes late changes nothing"
        return picture(tx, it)

    found = await tried(platform, unit)
    state, counts, _, _, settled, open_runs = found["job"]
    assert (state, settled, open_runs) == (JobState.FAILED, True, 0)
    assert counts == {JobState.SUCCEEDED: 2, JobState.FAILED: 2}
    assert found["attempt"] == (AttemptState.ENDED, Desired.NOTHING, True)
    assert [(identity, outcome, final) for identity, _, _, outcome, _, final, _ in found["runs"]] == [
        ("run-0", "succeeded", 1), ("run-1", "succeeded", 1), ("run-2", "lost", 1),
    ]  # fmt: skip


async def test_events_stand_in_order_and_the_longest_words_fit(platform: Platform) -> None:
    def unit(tx: Session) -> list[tuple[int, str]]:
        it = staged(tx)
        run = run_of(it, outcome=Outcome.USER)
        ended = run.ended(3).model_copy(update={"detail": "x" * 4000})
        it.apply(tx, AttemptObserved(attempt=it.attempt, observation=1, state="released"), run.running(2), ended)
        it.apply(
            tx, *run.usage(), run.final(), AttemptObserved(attempt=it.attempt, observation=4, state="ended", runs=1)
        )
        rows = tx.execute(
            select(EventRow.sequence, EventRow.type).where(EventRow.job == it.job).order_by(EventRow.sequence)
        )
        return [(row.sequence, row.type) for row in rows]

    types = [
        "attempt.released",
        "job.queued",
        "run.started",
        "job.running",
        "run.ended",
        "job.failed",
        "attempt.ended",
        "job.settled",
    ]
    assert await tried(platform, unit) == list(enumerate(types, start=1))


# Through the API


async def test_a_batch_is_applied_item_by_item_and_names_what_it_refuses(shop: Shop) -> None:
    job = await shop.customer.submit()
    hand = shop.hand
    attempt = await hand.start(job)
    run = Run(attempt, outcome=Outcome.USER)
    stranger = hand.saw(ids.new("att"), "released")
    items: list[ReportItem] = [
        run.running(hand.number),
        *run.usage(),
        stranger,
        run.ended(hand.number),
        run.final(9),
        run.final(),
    ]
    reported = await hand.report(*items, *items)
    wrong = {
        items.index(stranger): "this site has no such attempt",
        len(items) - 2: "usage of this run is missing here; state it again",
    }
    assert {place: why for place, why in reported.rejected.items() if place < len(items)} == wrong
    assert len(items) + items.index(stranger) in reported.rejected
    assert reported.applied == len(items) - 2, "the second time changes nothing"
    ended = await shop.customer.job(job.id)
    assert (ended.state, ended.ended_at, ended.settled_at) == (JobState.FAILED, run.end, None)
    [task] = (await shop.customer.broker.list_job_tasks(job.id)).items
    assert (task.outcome, task.exit_code, task.backend_identity, task.ended_at) == (
        Outcome.USER,
        3,
        run.identity,
        run.end,
    )
    await hand.tell(hand.saw(attempt, "ended", runs=1))
    assert (await shop.customer.hold_settles(job.id)).captured == Money.parse("0.10")


async def test_a_refused_item_is_counted(shop: Shop) -> None:
    async def count() -> float:
        registry = shop.market.platform.apps["broker"].metrics.registry
        return registry.get_sample_value("caravan_report_items_refused_total", {"kind": "attempt"}) or 0.0

    before = await count()
    await shop.hand.report(shop.hand.saw(ids.new("att"), "released"))
    assert await count() == before + 1
