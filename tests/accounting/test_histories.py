"""Any history of a job's facts gives the lines of the facts it ends with: on the database, against the pure function.

Each example is a job of its own in one database. Facts come shuffled, doubled, with older revisions after newer ones, and a period
closes in between.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from caravan.contracts import events
from caravan.contracts.funds import HoldRequest
from caravan.contracts.jobs import Outcome
from caravan.contracts.offerings import PreemptedBearer
from caravan.contracts.prices import PriceList, Tariff
from caravan.contracts.usage import (
    AttemptEnded,
    AttemptPlaced,
    Grant,
    JobSettled,
    RunFinal,
    RunUsage,
    Span,
    UsageRecord,
)
from caravan.kernel import clock, feed, ids
from caravan.kernel.database import Database
from caravan.kernel.follow import Follower
from caravan.kernel.money import Money
from services.accounting.charging.book import key_of
from services.accounting.charging.charger import charge_due
from services.accounting.charging.lines import (
    Key,
    Record,
    Terms,
    assigned,
    cost,
    first_start,
    quantities,
    starting,
    timed,
)
from services.accounting.charging.minimum import top_ups
from services.accounting.charging.models import ChargeFailed, LineRow
from services.accounting.charging.service import Calendar
from services.accounting.funds import holds
from services.accounting.funds.models import Fund
from services.accounting.funds.verify import verify
from services.accounting.periods import service as periods
from services.accounting.periods.models import PeriodRow
from services.accounting.usage import copies
from services.accounting.usage.facts import Facts
from tests.accounting.examples import examples
from tests.accounting.world import Feed, tariff

MONTH_END = datetime(2026, 3, 31, 15, 59, 30, tzinfo=UTC)
"""Half a minute before April in Shanghai, and before the next UTC hour."""
PRICES = (
    tariff("a", None, 3600 * 24 * 21 + 3600 * 8 - 15, cpu_core_hour="18", job="0.005", memory_gib_hour="18432"),
    tariff("b", 3600 * 24 * 21 + 3600 * 8 + 20, None, cpu_core_hour="35.5", node_hour="0.01", job="0.02").model_copy(
        update={"minimum_charge": Money(150)}
    ),
)


def second(offset: int) -> datetime:
    return MONTH_END + timedelta(seconds=offset)


@dataclass(frozen=True)
class Stated:
    """Usage of run `run`: [start, end) after MONTH_END with some cores, empty when they are equal."""

    run: int
    start: int
    end: int
    cpus: int
    revision: int

    @property
    def hour(self) -> datetime:
        return clock.floor_hour(second(self.start))


@dataclass(frozen=True)
class Ended:
    run: int
    outcome: Outcome


@dataclass(frozen=True)
class Over:
    """The books of all runs of an attempt are closed."""

    attempt: int


Fact = Stated | Ended | Over


@st.composite
def stated(draw: st.DrawFn) -> Stated:
    first, last = draw(st.sampled_from([(0, 30), (30, 75)]))
    start = draw(st.integers(first, last - 1))
    return Stated(
        draw(st.integers(0, 2)), start, draw(st.integers(start, last)), draw(st.integers(1, 3)), draw(st.integers(1, 4))
    )


@st.composite
def histories(draw: st.DrawFn) -> list[Fact]:
    """Facts in the order they come; each run ends in one way, however often that is said. A revision has one content."""
    usage = draw(st.lists(stated(), min_size=1, max_size=8, unique_by=lambda s: (s.run, s.hour, s.revision)))
    ends = [Ended(run, draw(st.sampled_from(list(Outcome)))) for run in draw(st.sets(st.integers(0, 2)))]
    overs = [Over(attempt) for attempt in draw(st.sets(st.integers(0, 1)))]
    return draw(st.permutations([*usage, *ends, *overs, *draw(st.lists(st.sampled_from(usage), max_size=3))]))


class Books:
    """A migrated database, without the app around it, and one job after another."""

    def __init__(self, db: Database, run: Callable[..., Any]) -> None:
        self.db = db
        self.run = run
        self.organization, self.project, self.provider = ids.new("org"), ids.new("prj"), ids.new("prv")
        self.facts = Facts(clock.now)

    def write(self, unit: Callable[..., Any], *args: Any) -> Any:
        return self.run(self.db.write(unit, *args))

    def prepare(self, tx: Session) -> None:
        """A zone, money without end, and both months."""
        feed.prepare(tx)
        periods.prepare(tx, "Asia/Shanghai")
        holds.ensure_fund(tx, self.organization)
        tx.execute(update(Fund).values(credit=10**15))
        periods.locate(tx, clock.to_seconds(second(0)), clock.to_seconds(second(80)))

    def tell(self, tx: Session, kind: str, *said: BaseModel) -> None:
        """The broker says it, and nothing is charged yet."""
        self.facts.store(tx, [{"type": kind, "data": one.model_dump(mode="json")} for one in said])

    def charge(self, tx: Session) -> None:
        """Charge all that is due."""
        while charge_due(tx, second(0)):
            assert tx.execute(select(ChargeFailed.job, ChargeFailed.error)).all() == []

    def place_job(self, tx: Session, prices: PriceList) -> "Job":
        """A job with an attempt by these prices, and no hold."""
        job = Job(self, ids.new("job"), prices.id)
        copies.price_list(tx, {"data": prices.model_dump(mode="json")})
        for placed in job.placed():
            self.tell(tx, events.ATTEMPT_PLACED, placed)
        return job

    def start_job(self, tx: Session, prices: PriceList, hold: int) -> "Job":
        """The same with a hold of `hold` fen."""
        job = self.place_job(tx, prices)
        self.hold(tx, job, hold)
        return job

    def hold(self, tx: Session, job: "Job", fen: int) -> None:
        assert holds.put(tx, job.id, job.request(1, fen), second(0)).granted


@dataclass
class Job:
    """Its last run is of a second attempt, whose offering has the organization bear what is preempted."""

    books: Books
    id: str
    prices: str

    def __post_init__(self) -> None:
        self.runs = [ids.new("run") for _ in range(3)]
        self.attempts = [ids.new("att") for _ in range(2)]

    def attempt(self, run: int) -> str:
        return self.attempts[run // 2]

    def request(self, revision: int, amount: int) -> HoldRequest:
        books = self.books
        return HoldRequest(
            revision=revision,
            organization=books.organization,
            project=books.project,
            amount=Money(amount),
            submitted_at=second(0),
        )

    def placed(self) -> list[AttemptPlaced]:
        books = self.books
        return [
            AttemptPlaced(
                attempt=attempt,
                job=self.id,
                organization=books.organization,
                project=books.project,
                offering="off_" + "1" * 32,
                site="sit_" + "1" * 32,
                provider=books.provider,
                price_list=self.prices,
                grant=grant,
                preempted_borne_by=self.preempted(attempt),
            )
            for attempt, grant in self.grants()
        ]

    def grants(self) -> list[tuple[str, Grant | None]]:
        """Of the second attempt it isn't known."""
        return list(zip(self.attempts, (Grant(nodes=1, cpus=2, memory_mib=1, max_seconds=20), None), strict=True))

    def preempted(self, attempt: str) -> PreemptedBearer:
        return PreemptedBearer.PROVIDER if attempt == self.attempts[0] else PreemptedBearer.ORGANIZATION

    def event(self, fact: Fact) -> tuple[str, Any]:
        if isinstance(fact, Over):
            return events.ATTEMPT_ENDED, AttemptEnded(attempt=self.attempts[fact.attempt], job=self.id)
        run, attempt = self.runs[fact.run], self.attempt(fact.run)
        if isinstance(fact, Ended):
            return events.RUN_FINAL, RunFinal(run=run, attempt=attempt, job=self.id, outcome=fact.outcome)
        return events.USAGE_STATED, UsageRecord(
            hour=fact.hour,
            revision=fact.revision,
            spans=self.spans(fact),
            run=run,
            attempt=attempt,
            job=self.id,
            run_started_at=second(0),
        )

    def spans(self, fact: Stated) -> tuple[Span, ...]:
        if fact.start == fact.end:
            return ()
        return (Span(start=second(fact.start), end=second(fact.end), nodes=1, cpus=fact.cpus, memory_mib=1),)

    def apply(self, tx: Session, fact: Fact) -> None:
        """The broker says it, and it is charged."""
        self.books.tell(tx, *self.event(fact))
        self.books.charge(tx)

    def settled(self, history: Sequence[Fact]) -> JobSettled:
        hours: dict[str, dict[str, int]] = {}
        for fact in newest(history):
            hours.setdefault(self.runs[fact.run], {})[fact.hour.isoformat()] = fact.revision
        runs = tuple(RunUsage(run=run, hours=hours.get(run, {})) for run in self.runs)
        return JobSettled(job=self.id, hold_revision=1, runs=runs)

    def records(self, history: Sequence[Fact], prices: PriceList) -> list[Record]:
        """From the definition: the newest revision of each hour, the end of each run."""
        books = self.books
        parties = (books.organization, books.project, books.provider, prices)
        over = {self.attempts[fact.attempt] for fact in history if isinstance(fact, Over)}
        terms = {
            attempt: Terms(*parties, attempt, attempt in over, grant=grant, preempted_borne_by=self.preempted(attempt))
            for attempt, grant in self.grants()
        }
        ends = {fact.run: fact.outcome for fact in history if isinstance(fact, Ended)}
        held = [fact for fact in newest(history) if fact.start < fact.end]
        records = [
            Record(self.runs[f.run], None, self.spans(f), terms[self.attempt(f.run)], ends.get(f.run)) for f in held
        ]
        start = first_start(records)
        return [starting(record, start) for record in timed(records)]

    def expected(self, tx: Session, history: Sequence[Fact], prices: PriceList, hold: int) -> dict[Key, int]:
        records = self.records(history, prices)
        calendar = Calendar(tx, records)
        parts = [(record.terms, calendar.portions([record])) for record in records]
        return dict(quantities(assigned(calendar.portions(records), hold, top_ups(parts))))


def newest(history: Sequence[Fact]) -> list[Stated]:
    found: dict[tuple[int, datetime], Stated] = {}
    for fact in history:
        if isinstance(fact, Stated):
            place = fact.run, fact.hour
            if place not in found or found[place].revision < fact.revision:
                found[place] = fact
    return list(found.values())


def stored(tx: Session, job: str) -> dict[Key, tuple[int, int]]:
    """Quantity and amount by key, adjustments with what they correct."""
    quantity: Counter[Key] = Counter()
    amount: Counter[Key] = Counter()
    for row in tx.execute(select(LineRow.__table__).where(LineRow.job == job)):
        assert row.quantity
        quantity[key_of(row)] += row.quantity
        amount[key_of(row)] += row.amount
    return {key: (quantity[key], amount[key]) for key in quantity if quantity[key] or amount[key]}


def billed(lines: dict[Key, int]) -> dict[Key, tuple[int, int]]:
    return {key: (quantity, key.amount(quantity)) for key, quantity in lines.items() if quantity}


def price_list(*tariffs: Tariff) -> PriceList:
    return PriceList(id=ids.new("prl"), offering="off_" + "1" * 32, revision=1, created_at=second(0), tariffs=tariffs)


@contextmanager
def opened(url: str) -> Iterator[Books]:
    """Books of its own on a loop of its own, so that hypothesis can drive them from a plain function."""
    with asyncio.Runner() as runner:
        db = Database(url)
        runner.run(db.start())
        try:
            books = Books(db, runner.run)
            books.write(books.prepare)
            yield books
        finally:
            runner.run(db.stop())


hold_amounts = st.one_of(st.integers(0, 400), st.just(10**6))


def test_any_order_doubling_and_revision_of_facts_gives_equal_lines(migrated: Callable[[str], str]) -> None:
    with opened(migrated("accounting")) as books:
        prices = price_list(*PRICES)

        @examples(15, 1000)
        @given(histories(), hold_amounts, st.data())
        def check(history: list[Fact], hold: int, data: st.DataObject) -> None:
            """Charged after each fact, or of many at once."""
            settled_at = data.draw(st.integers(0, len(history)))
            charged = data.draw(st.lists(st.booleans(), min_size=len(history), max_size=len(history)))

            def unit(tx: Session) -> None:
                job = books.start_job(tx, prices, hold)
                for number, fact in enumerate(history):
                    if number == settled_at:
                        books.tell(tx, events.JOB_SETTLED, job.settled(history))
                    books.tell(tx, *job.event(fact))
                    if charged[number]:
                        books.charge(tx)
                books.charge(tx)
                expected = job.expected(tx, history, prices, hold)
                assert stored(tx, job.id) == billed(expected)
                (row,) = holds.of_job(tx, job.id)
                assert row.captured == cost(expected) <= hold
                ends = {fact.run for fact in history if isinstance(fact, Ended)}
                assert (row.status == "settled") == (ends == {0, 1, 2} and settled_at < len(history))

            books.write(unit)

        check()
        assert books.run(books.db.read(verify)) == []


def test_any_interleaving_of_the_feeds_gives_equal_sums(migrated: Callable[[str], str]) -> None:
    """The catalog's prices come before, between or after the broker's facts that need them; both come in pages of any size."""
    with opened(migrated("accounting")) as books:
        number = count()

        @examples(10, 1000)
        @given(histories(), hold_amounts, st.integers(1, 4), st.integers(0, 12), st.sets(st.integers(0, 16)))
        def check(history: list[Fact], hold: int, size: int, prices_come: int, charges: set[int]) -> None:
            catalog, broker = Feed("catalog"), Feed("broker")
            followers = [
                Follower(books.db, f"{feed.source} {next(number)}", feed, handlers)
                for feed, handlers in ((catalog, copies.HANDLERS), (broker, books.facts.handlers()))
            ]
            prices = price_list(*PRICES)
            job = Job(books, ids.new("job"), prices.id)
            assert books.write(holds.put, job.id, job.request(1, hold), second(0)).granted
            catalog.say(events.PRICE_LIST, prices.id, prices)
            for placed in job.placed():
                broker.say(events.ATTEMPT_PLACED, job.id, placed)
            for fact in history:
                kind, said = job.event(fact)
                broker.say(kind, job.id, said)
            broker.say(events.JOB_SETTLED, job.id, job.settled(history))
            for page in range(0, len(broker.events) + size, size):
                catalog.shown, broker.shown = int(page >= prices_come), page
                for follower in followers:
                    books.run(follower.iteration(0))
                if page in charges:
                    books.write(books.charge)
            catalog.shown = 1
            books.run(followers[0].iteration(0))
            books.run(followers[1].retry())
            books.write(books.charge)

            def unit(tx: Session) -> None:
                expected = job.expected(tx, history, prices, hold)
                assert stored(tx, job.id) == billed(expected)
                (row,) = holds.of_job(tx, job.id)
                assert row.captured == cost(expected)
                ended = {fact.run for fact in history if isinstance(fact, Ended)}
                assert (row.status == "settled") == (ended == {0, 1, 2})

            books.write(unit)

        check()
        assert books.run(books.db.read(verify)) == []


class Undone(Exception):
    """Ends a unit without a trace: a closed period can't be opened again for the next example."""


def test_closed_periods_keep_their_lines_and_sums_stay_once_rounded(migrated: Callable[[str], str]) -> None:
    with opened(migrated("accounting")) as books:
        prices = price_list(*PRICES)

        @examples(15, 1000)
        @given(histories(), histories(), hold_amounts)
        def check(before: list[Fact], after: list[Fact], hold: int) -> None:
            ended = {fact.run for fact in before if isinstance(fact, Ended)}
            later = [fact for fact in after if not isinstance(fact, Ended) or fact.run not in ended]

            def unit(tx: Session) -> None:
                job = books.start_job(tx, prices, hold)
                for fact in before:
                    job.apply(tx, fact)
                sealed = march_lines(tx, job.id)
                tx.execute(update(PeriodRow).where(PeriodRow.month == "2026-03").values(state="closed"))
                for fact in later:
                    job.apply(tx, fact)
                assert march_lines(tx, job.id) == sealed
                expected = job.expected(tx, first_of_revision([*before, *later]), prices, hold)
                assert stored(tx, job.id) == billed(expected)
                raise Undone

            with pytest.raises(Undone):
                books.write(unit)

        check()


def march_lines(tx: Session, job: str) -> list[Any]:
    march = select(PeriodRow.id).where(PeriodRow.month == "2026-03").scalar_subquery()
    return list(
        tx.execute(
            select(LineRow.__table__).where(LineRow.job == job, LineRow.period == march).order_by(LineRow.id)
        ).all()
    )


def first_of_revision(history: Sequence[Fact]) -> list[Fact]:
    """Of two facts with one revision the first counts: the second is taken for a repeat."""
    seen: set[tuple[int, datetime, int]] = set()
    out: list[Fact] = []
    for fact in history:
        if isinstance(fact, Stated):
            if (fact.run, fact.hour, fact.revision) in seen:
                continue
            seen.add((fact.run, fact.hour, fact.revision))
        out.append(fact)
    return out
