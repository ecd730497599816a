"""What agents report, applied to a database: any order, doubled, sent again; and what can't be true."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from caravan.contracts import events
from caravan.contracts.dispatch import AttemptObserved, Desired, Grant, ReportItem
from caravan.contracts.jobs import Array, AttemptState, HoldState, JobSpec, JobState, Outcome, Resources, RunState
from caravan.contracts.offerings import Capacity
from caravan.kernel import ids
from caravan.kernel.database import table_of
from caravan.kernel.money import Money
from caravan.kernel.tables import outbox
from services.broker.dispatch import reports
from services.broker.dispatch.wanted import want
from services.broker.jobs.models import AttemptRow, EventRow, JobRow, RunRow, TaskRow
from services.broker.jobs.states import TRANSITIONS
from tests.broker.conftest import Shop
from tests.broker.hand import Run
from tests.broker.market import Platform

pytestmark = pytest.mark.asyncio(loop_scope="session")
T0 = datetime(2026, 3, 10, 8, 59, 50, tzinfo=UTC)
"""Ten seconds before a full hour: most runs pass it."""


class Undone(Exception):
    """Ends a unit of work without a trace; carries what was found in it."""

    def __init__(self, found: Any) -> None:
        super().__init__()
        self.found = found


async def tried(platform: Platform, unit: Callable[[Session], Any]) -> Any:
    """What `unit` returns, with all it did to the broker's database taken back."""

    def undo(tx: Session) -> None:
        raise Undone(unit(tx))

    with pytest.raises(Undone) as undone:
        await platform.runtime.db.write(undo)
    return undone.value.found


@dataclass(frozen=True)
class Staged:
    """A job of `tasks` tasks with one committed attempt."""

    job: str
    attempt: str
    site: str

    def apply(self, tx: Session, *items: ReportItem) -> list[bool]:
        return [reports.apply(tx, self.site, item) for item in items]

    def refused(self, tx: Session, item: ReportItem) -> str:
        """Why the item is refused; it must not change anything."""
        before = picture(tx, self)
        with pytest.raises(reports.CannotBe) as refusal, tx.begin_nested():
            reports.apply(tx, self.site, item)
        assert picture(tx, self) == before
        return str(refusal.value)


def staged(tx: Session, tasks: int = 1, max_attempts: int = 1, *, committed: bool = True) -> Staged:
    job, attempt, site, organization = ids.new("job"), ids.new("att"), ids.new("sit"), ids.new("org")
    spec = JobSpec(
        name="test", project=ids.new("prj"), script="true", resources=Resources(walltime_seconds=10_000),
        array=Array(indices=tuple(range(tasks))), max_attempts=max_attempts,
    )  # fmt: skip
    tx.add(
        JobRow(
            id=job, organization=organization, project=spec.project, name="test", spec=spec.model_dump_json(), labels={},
            state=JobState.PENDING, detail="", counts={JobState.PENDING: tasks}, hold_revision=1, hold_fen=100,
            hold_state=HoldState.GRANTED, granted_fen=100, attempts=1, cancel_requested=0, excluded={}, open_runs=0,
            created_at=T0, version=1,
        )
    )  # fmt: skip
    tx.flush()
    task = {"job": job, "state": JobState.PENDING, "tries": 1, "detail": "", "attempt": attempt}
    tx.execute(insert(table_of(TaskRow)), [{"index": index, **task} for index in range(tasks)])
    row = AttemptRow(
        id=attempt, job=job, number=1, site=site, offering=ids.new("off"), provider=ids.new("prv"),
        price_list=ids.new("prl"), tenant=ids.new("ten"), indices=list(range(tasks)),
        grant=Grant(nodes=1, cpus=1, memory_mib=1024, max_seconds=10_000).model_dump(mode="json"),
        capacity=Capacity(cpus=tasks, memory_mib=1024).model_dump(), worst_fen=100, desired=Desired.RUN, observation=0,
        state=AttemptState.STAGED if committed else AttemptState.PLANNED, reference="ref" if committed else None,
        detail="", created_at=T0,
    )  # fmt: skip
    tx.add(row)
    tx.flush()
    want(tx, row, Desired.RUN)
    tx.flush()
    return Staged(job, attempt, site)


def picture(tx: Session, it: Staged) -> dict[str, Any]:
    """All that has become of the job, but for when it was done and by which run ids."""
    tx.flush()
    job, attempt = tx.get_one(JobRow, it.job), tx.get_one(AttemptRow, it.attempt)
    runs = {row.id: row for row in tx.scalars(select(RunRow).where(RunRow.job == it.job))}
    facts = []
    for row in tx.execute(
        select(outbox.c.type, outbox.c.data).where(outbox.c.subject == it.job).order_by(outbox.c.sequence)
    ):
        data = row.data
        for run in runs.values():
            data = data.replace(run.id, run.backend_identity)
        facts.append((row.type, data))
    return {
        "job": (job.state, dict(job.counts), job.started_at, job.ended_at, job.settled_at is not None, job.open_runs),
        "hold": (job.hold_state, job.hold_revision),
        "attempt": (attempt.state, attempt.desired, attempt.ended_at is not None),
        "tasks": sorted(
            (task.index, task.state, task.attempt, runs[task.run].backend_identity if task.run else None)
            for task in tx.scalars(select(TaskRow).where(TaskRow.job == it.job))
        ),
        "runs": sorted(
            (run.backend_identity, run.index, run.state, str(run.outcome), run.exit_code, run.final, str(sorted(run.hours.items())))
            for run in runs.values()
        ),
        "last facts": sorted(newest(facts)),
    }  # fmt: skip


def newest(facts: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Facts, without usage that a later revision replaced; the rest is said once at most."""
    usage: dict[tuple[str, str], tuple[int, str]] = {}
    others: list[tuple[str, str]] = []
    for type_, data in facts:
        if type_ == events.USAGE_STATED:
            record = json.loads(data)
            key = (record["run"], record["hour"])
            assert usage.get(key, (0, ""))[0] < record["revision"], "usage never goes back"
            usage[key] = (record["revision"], data)
        else:
            others.append((type_, "" if type_ == events.JOB_SETTLED else data))
    assert len(others) == len(set(others)), "everything is said once"
    return set(others) | {(events.USAGE_STATED, data) for _, data in usage.values()}


# Histories


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, int, Callable[[str], list[ReportItem]]]:
    """(tasks, tries, a legal history of the attempt given its id), in the order in which an agent tells it."""
    tasks, max_attempts = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    ran = draw(st.lists(st.integers(0, tasks - 1), unique=True, max_size=tasks))
    outcomes = [draw(st.sampled_from(list(Outcome))) for _ in ran]
    lengths = [draw(st.sampled_from([0, 5, 10, 15, 3620])) for _ in ran]
    restated = draw(st.booleans())
    states = draw(st.lists(st.sampled_from(["released", "queued", "unknown", "running"]), max_size=3, unique=True))
    identities = [f"run-{index}" for index in ran]

    def history(attempt: str) -> list[ReportItem]:
        numbers = iter(range(1, 1000))
        seen = ["released", *[state for state in states if state != "released"]]
        items: list[ReportItem] = [
            AttemptObserved(attempt=attempt, observation=next(numbers), state=state) for state in seen
        ]
        for index, outcome, seconds, identity in zip(ran, outcomes, lengths, identities, strict=True):
            run = Run(attempt, index, seconds, outcome, start=T0 + timedelta(seconds=index), identity=identity)
            items.append(run.running(next(numbers)))
            last = 1
            if restated and run.hours():
                items += run.usage(1, through=run.start + timedelta(seconds=2))
                last = 2
            items.append(run.ended(next(numbers)))
            items += [*run.usage(last), run.final(last)]
        items.append(AttemptObserved(attempt=attempt, observation=next(numbers), state="ended", runs=len(ran)))
        return items

    return tasks, max_attempts, history


def deliver(tx: Session, it: Staged, items: Sequence[ReportItem]) -> list[ReportItem]:
    """Tell all of these, and return what was refused."""
    refused = []
    for item in items:
        try:
            with tx.begin_nested():
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


# What can't be true


def run_of(it: Staged, index: int = 0, **more: Any) -> Run:
    return Run(it.attempt, index, start=T0, **more)


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
            it.refused(tx, AttemptObserved(attempt=it.attempt, observation=1, state="forgotten")),
            it.refused(tx, AttemptObserved(attempt=it.attempt, observation=1, state="ended", runs=1)),
            it.refused(tx, run_of(it, 5).running(1)),
            it.refused(tx, ended.model_copy(update={"outcome": None})),
            it.refused(tx, ended.model_copy(update={"ended_at": None})),
            it.refused(tx, ended.model_copy(update={"ended_at": T0 - timedelta(seconds=1)})),
            it.refused(tx, ended.model_copy(update={"state": RunState.RUNNING})),
        ]
        it.apply(tx, run.running(2))
        words += [
            it.refused(tx, run.running(9).model_copy(update={"index": 1})),
            it.refused(tx, run.usage()[0].model_copy(update={"index": 1})),
            it.refused(tx, run.final()),
            it.refused(tx, AttemptObserved(attempt=it.attempt, observation=9, state="ended", runs=1)),
            it.refused(tx, Run(it.attempt, start=T0 - timedelta(seconds=5), identity="one").usage()[0]),
        ]
        it.apply(tx, ended)
        words.append(it.refused(tx, run.final()))
        it.apply(tx, *run.usage(), run.final())
        words.append(it.refused(tx, run.usage(2)[0]))
        it.apply(tx, AttemptObserved(attempt=it.attempt, observation=9, state="ended", runs=1))
        words.append(it.refused(tx, run_of(it, 1).running(10)))
        return words

    words = await tried(platform, unit)
    assert words == [
        "this run has not been observed yet", "this run has not been observed yet", "this site has no such attempt",
        "a committed submission can't be discarded", "something is still wanted of this attempt",
        "a run of this attempt has not ended", "the attempt has no task of this index",
        "a run has an end and an outcome once it has ended", "a run has an end and an outcome once it has ended",
        "a run ends after it has started", "a run has an end and an outcome once it has ended",
        "this backend identity belongs to another run", "this run has not been observed yet",
        "a run that has not ended can't have its books closed", "a run of this attempt has not ended",
        "the run had not started then", "usage of this run is missing here; state it again",
        "the books of this run were closed", "the attempt has ended",
    ]  # fmt: skip


async def test_of_what_was_never_committed_nothing_can_have_run(platform: Platform) -> None:
    def unit(tx: Session) -> None:
        it = staged(tx, committed=False)
        run = run_of(it)
        assert "ever committed" in it.refused(tx, run.running(1))
        for state in ("staged", "released", "queued", "running", "unknown", "ended"):
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
                with tx.begin_nested():
                    if it.apply(tx, AttemptObserved(attempt=it.attempt, observation=1, state=target)) == [True]:
                        allowed.add(target)
            except reports.CannotBe:
                pass
        return allowed

    same = set() if state in (AttemptState.ENDED, AttemptState.PLANNED) else {str(state)}
    assert await tried(platform, unit) == {str(following) for following in TRANSITIONS[state]} | same


async def test_usage_is_replaced_by_higher_revisions_only(platform: Platform) -> None:
    def unit(tx: Session) -> tuple[list[bool], list[int]]:
        it = staged(tx)
        run = run_of(it, seconds=5, identity="one")
        it.apply(tx, run.running(1))
        applied = it.apply(
            tx, *run.usage(2), *run.usage(1), *run.usage(2), *run.usage(5), run.ended(2), run.final(5), run.final(5)
        )
        facts = select(outbox.c.data).where(outbox.c.subject == it.job, outbox.c.type == events.USAGE_STATED)
        return applied, [json.loads(data)["revision"] for data in tx.scalars(facts.order_by(outbox.c.sequence))]

    applied, revisions = await tried(platform, unit)
    assert applied == [True, False, False, True, True, True, False]
    assert revisions == [2, 5]


async def test_a_duplicate_says_nothing_of_its_task(platform: Platform) -> None:
    def unit(tx: Session) -> tuple[str, str]:
        it = staged(tx)
        good, extra = run_of(it, identity="good"), run_of(it, identity="extra", outcome=Outcome.DUPLICATE)
        it.apply(tx, good.running(1), extra.running(2), extra.ended(3))
        between = tx.get_one(JobRow, it.job).state
        it.apply(tx, good.ended(4))
        return between, tx.get_one(JobRow, it.job).state

    assert await tried(platform, unit) == (JobState.RUNNING, JobState.SUCCEEDED)


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
