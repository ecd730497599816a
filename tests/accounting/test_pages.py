"""Usage that comes in pages is judged as if each hour had come alone: what is billed and what is set aside doesn't depend on pages."""

from collections.abc import Callable, Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.contracts import events
from caravan.contracts.jobs import Outcome
from caravan.contracts.usage import JobSettled, RunFinal, RunUsage, Span, UsageRecord
from caravan.kernel import clock, ids
from services.accounting.anomalies.rounds import rounds
from services.accounting.anomalies.sifting import ANOMALIES
from services.accounting.usage.records import RECORDS, RUNS
from tests.accounting.examples import examples
from tests.accounting.test_histories import PRICES, Books, opened, price_list, second, stored
from tests.accounting.test_many import rolled_back


class Named(NamedTuple):
    job: str
    runs: Sequence[str]
    attempt: str


class Said(NamedTuple):
    """Of a run of a job, both by number: [start, end) in one hour."""

    job: int
    run: int
    revision: int
    start: int
    end: int
    task: int | None = 0
    identity: str | None = None
    began: int = 0

    def of(self, jobs: Sequence[Named]) -> UsageRecord:
        job, spans = jobs[self.job], list[Span]()
        if self.start < self.end:
            spans = [Span(start=second(self.start), end=second(self.end), nodes=1, cpus=1, memory_mib=1)]
        return UsageRecord(
            hour=clock.floor_hour(second(self.start)),
            revision=self.revision,
            spans=tuple(spans),
            run=job.runs[self.run],
            attempt=job.attempt,
            job=job.job,
            run_started_at=second(self.began),
            backend_identity=self.identity,
            index=self.task,
        )


@st.composite
def said(draw: st.DrawFn) -> Said:
    start = draw(st.sampled_from([0, 0, 0, 30])) + draw(st.integers(0, 4))
    return Said(
        job=draw(st.sampled_from([0, 0, 0, 1])),
        run=draw(st.integers(0, 2)),
        revision=draw(st.integers(1, 3)),
        start=start,
        end=start + draw(st.integers(0, 3)),
        task=draw(st.sampled_from([0, 0, 0, 1, None])),
        identity=draw(st.sampled_from([None, None, "a", "b"])),
        began=draw(st.sampled_from([0, 0, 0, 1])),
    )


OVERLAPPED = [Said(0, 0, 1, 0, 2), Said(0, 1, 1, 2, 4), Said(0, 0, 2, 0, 3)]


def test_any_split_into_pages_bills_and_sets_aside_the_same(migrated: Callable[[str], str]) -> None:
    with opened(migrated("accounting")) as books:
        made = [books.write(books.start_job, price_list(*PRICES), 10**6) for _ in range(2)]
        jobs = [Named(one.id, one.runs, one.attempts[0]) for one in made]

        @examples(30, 3000)
        @given(st.lists(said(), min_size=1, max_size=7), st.sets(st.integers(1, 6)), st.booleans(), st.booleans())
        @example(OVERLAPPED, set(), False, False)
        def check(history: list[Said], cuts: set[int], failed: bool, over: bool) -> None:
            all_ = [one.of(jobs) for one in history]

            def told(cuts: set[int]) -> str:
                edges = sorted({0, len(all_), *(cut for cut in cuts if cut < len(all_))})

                def tell(tx: Session) -> str:
                    begin(books, tx, jobs[0], failed, over)
                    for start, end in pairwise(edges):
                        books.tell(tx, events.USAGE_STATED, *all_[start:end])
                    books.charge(tx)
                    return left(tx, jobs)

                return rolled_back(books.write, tell)

            assert told(cuts) == told({*range(len(all_))})

        check()


def begin(books: Books, tx: Session, job: Named, failed: bool, over: bool) -> None:
    """`failed`: the site failed under the job's first run. `over`: it is over, with the second revision of an hour of its second run."""
    if failed:
        first = RunFinal(run=job.runs[0], attempt=job.attempt, job=job.job, outcome=Outcome.SITE)
        books.tell(tx, events.RUN_FINAL, first)
    if over:
        runs = (RunUsage(run=job.runs[1], hours={clock.floor_hour(second(0)).isoformat(): 2}),)
        books.tell(tx, events.JOB_SETTLED, JobSettled(job=job.job, hold_revision=1, runs=runs))


def left(tx: Session, jobs: Sequence[Named]) -> str:
    """What is kept of all that was said, without what is of the moment."""
    of = [
        select(RUNS.c.id, RUNS.c.identity, RUNS.c.task_index, RUNS.c.billable_from),
        select(RECORDS.c.run, RECORDS.c.hour, RECORDS.c.revision, RECORDS.c.run_started_at, RECORDS.c.spans),
        select(*(ANOMALIES.c[name] for name in ("run", "hour", "revision", "fingerprint", "reason", "state"))),
    ]
    kept = [sorted(map(repr, tx.execute(query))) for query in of]
    return repr([*kept, *(sorted(map(repr, stored(tx, one.job).items())) for one in jobs)])


JOBS = [Named(ids.new("job"), [ids.new("run") for _ in range(3)], ids.new("att")) for _ in range(2)]


@given(st.lists(said(), max_size=12))
def test_rounds_keep_the_order_of_what_bears_on_each_other(history: list[Said]) -> None:
    stated = [one.of(JOBS) for one in history]
    found = rounds(stated, {})
    assert sorted(map(id, stated)) == sorted(id(one) for some in found for one in some)
    at = {id(one): number for number, some in enumerate(found) for one in some}
    for one, later in combinations(stated, 2):
        same_hour = one.hour == later.hour
        bears = (
            (same_hour and one.run == later.run)
            or (same_hour and (one.job, one.index) == (later.job, later.index) and one.index is not None)
            or (one.run != later.run and one.backend_identity == later.backend_identity is not None)
            or (one.run == later.run and (one.index, one.backend_identity) != (later.index, later.backend_identity))
        )
        assert at[id(one)] < at[id(later)] or not bears


def test_a_page_of_different_hours_of_many_runs_is_one_round() -> None:
    stated = [
        Said(job, run, 1, start, start + 1, task=run, identity=f"{job}:{run}").of(JOBS)
        for job in range(2)
        for run in range(3)
        for start in (0, 30)
    ]
    assert rounds(stated, {}) == [stated]
    assert rounds([*stated, *stated], {}) == [stated, stated]
