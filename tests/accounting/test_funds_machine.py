"""Funds against a model that a person can hold in the head, on the database: grants, refusals, totals, whatever the order of steps."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from caravan.contracts import events
from caravan.contracts.funds import BudgetDraft, HoldAnswer
from caravan.contracts.jobs import Outcome
from caravan.contracts.problems import HoldOutdated
from caravan.contracts.usage import JobSettled, RunUsage
from caravan.kernel.money import Money
from services.accounting.charging.service import put_hold
from services.accounting.funds import holds
from services.accounting.funds.budgets import create
from services.accounting.funds.models import BudgetRow, Fund
from services.accounting.funds.verify import verify
from tests.accounting.examples import examples
from tests.accounting.test_histories import Books, Ended, Job, Stated, opened, price_list, second
from tests.accounting.world import tariff

PRICES = price_list(tariff("t", None, None, cpu_core_hour="36"))
"""A fen for each second of a core."""
amounts = st.integers(0, 120)
MOST_SECONDS = 30


@dataclass
class ModelJob:
    """What a job has: its hold, the seconds of each run (a fen each, up to its grant), which runs are the provider's."""

    job: Job
    submitted: int
    revision: int = 1
    amount: int = 0
    seconds: dict[int, int] = field(default_factory=dict)
    stated: int = 0
    faults: set[int] = field(default_factory=set)
    ended: set[int] = field(default_factory=set)
    settled: bool = False

    @property
    def captured(self) -> int:
        billed = sum(min(seconds, self.granted(run)) for run, seconds in self.seconds.items() if run not in self.faults)
        return min(billed, self.amount)

    def granted(self, run: int) -> int:
        """For how many seconds the run was granted what it holds."""
        grant = dict(self.job.grants())[self.job.attempt(run)]
        return grant.max_seconds if grant else MOST_SECONDS

    @property
    def held(self) -> int:
        return 0 if self.settled else self.amount - self.captured


@dataclass
class ModelBudget:
    id: str
    limit: int
    starts: int
    ends: int

    def counts(self, job: ModelJob) -> bool:
        return self.starts <= job.submitted < self.ends


class Machine(RuleBasedStateMachine):
    books: Books

    def __init__(self) -> None:
        super().__init__()
        self.books = Books(type(self).books.db, type(self).books.run)
        self.credit = 0
        self.jobs: list[ModelJob] = []
        self.budgets: list[ModelBudget] = []
        self.books.write(self._prepare)

    def _prepare(self, tx: Session) -> None:
        holds.ensure_fund(tx, self.books.organization)

    # the model

    def available(self, of: list[ModelJob]) -> int:
        return -sum(job.captured + job.held for job in of)

    def rooms(self, job: ModelJob) -> list[int]:
        """What every limit that the job must keep has left."""
        funds = self.credit + self.available(self.jobs)
        counting = [b for b in self.budgets if b.counts(job)]
        return [funds, *(b.limit + self.available([j for j in self.jobs if b.counts(j)]) for b in counting)]

    # steps

    @rule(amount=st.integers(0, 300))
    def set_credit(self, amount: int) -> None:
        def unit(tx: Session) -> None:
            tx.execute(update(Fund).where(Fund.organization == self.books.organization).values(credit=amount))

        self.books.write(unit)
        self.credit = amount

    @rule(limit=st.integers(0, 200), starts=st.integers(0, 5), length=st.integers(1, 5))
    def make_budget(self, limit: int, starts: int, length: int) -> None:
        draft = BudgetDraft(
            organization=self.books.organization,
            name="b",
            limit=Money(limit),
            starts_at=second(starts),
            ends_at=second(starts + length),
        )
        made = self.books.write(create, draft, "person", second(0))
        self.budgets.append(ModelBudget(made.id, limit, starts, starts + length))

    @rule(amount=amounts, submitted=st.integers(0, 8))
    def new_hold(self, amount: int, submitted: int) -> None:
        job = ModelJob(self.books.write(self.books.place_job, PRICES), submitted)
        rooms = self.rooms(job)
        answer = self._put(job, 1, amount)
        assert answer.granted == (min(rooms) >= amount)
        if answer.granted:
            job.amount = amount
            self.jobs.append(job)
        else:
            assert answer.fits == Money(max(min(rooms), 0))

    @precondition(lambda self: self.jobs)
    @rule(amount=amounts, data=st.data(), step=st.integers(-1, 2))
    def revise(self, amount: int, data: st.DataObject, step: int) -> None:
        job = data.draw(st.sampled_from(self.jobs))
        step = max(step, 1 - job.revision)
        if job.settled or step < 0:
            with pytest.raises(HoldOutdated) as raised:
                self._put(job, job.revision + step, amount)
            assert raised.value.revision == job.revision
            return
        answer = self._put(job, job.revision + step, amount)
        if step == 0:
            assert answer.granted
            return
        room = min(self.rooms(job))
        assert answer.granted == (amount <= job.amount or room >= amount - job.amount)
        if answer.granted:
            job.amount, job.revision = max(amount, job.captured), job.revision + step
        else:
            assert answer.fits == Money(job.amount + max(room, 0))

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), run=st.integers(0, 2), seconds=st.integers(0, MOST_SECONDS))
    def use(self, data: st.DataObject, run: int, seconds: int) -> None:
        job = data.draw(st.sampled_from(self.jobs))
        job.stated += 1
        self.books.write(job.job.apply, Stated(run, 0, seconds, 1, job.stated))
        # of a settled job no second is taken back without a person
        job.seconds[run] = max(seconds, job.seconds.get(run, 0)) if job.settled else seconds

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), run=st.integers(0, 2), outcome=st.sampled_from([Outcome.USER, Outcome.SITE]))
    def end(self, data: st.DataObject, run: int, outcome: Outcome) -> None:
        job = data.draw(st.sampled_from(self.jobs))
        if run in job.ended:
            return
        self.books.write(job.job.apply, Ended(run, outcome))
        job.ended.add(run)
        if outcome is Outcome.SITE:
            job.faults.add(run)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.jobs))
        runs = tuple(RunUsage(run=job.job.runs[run], hours={}) for run in job.ended)
        settled = JobSettled(job=job.job.id, hold_revision=job.revision, runs=runs)
        self.books.write(self.books.tell, events.JOB_SETTLED, settled)
        self.books.write(self.books.charge)
        job.settled = True

    def _put(self, job: ModelJob, revision: int, amount: int) -> HoldAnswer:
        request = job.job.request(revision, amount).model_copy(update={"submitted_at": second(job.submitted)})
        answer: HoldAnswer = self.books.write(put_hold, job.job.id, request, second(0))
        return answer

    # what must hold after each step

    @invariant()
    def totals_are_the_models(self) -> None:
        fund, budgets = self.books.run(self.books.db.read(self._totals))
        assert (fund.charged, fund.held) == (sum(j.captured for j in self.jobs), sum(j.held for j in self.jobs))
        for budget, row in zip(self.budgets, budgets, strict=True):
            counting = [job for job in self.jobs if budget.counts(job)]
            assert (row.charged, row.held) == (sum(j.captured for j in counting), sum(j.held for j in counting))

    def _totals(self, tx: Session) -> tuple[Any, list[Any]]:
        fund = tx.execute(select(Fund.__table__).where(Fund.organization == self.books.organization)).one()
        mine = BudgetRow.organization == self.books.organization
        return fund, list(tx.execute(select(BudgetRow.__table__).where(mine).order_by(BudgetRow.id)).all())


def test_funds_are_what_the_model_says_after_any_steps(migrated: Callable[[str], str]) -> None:
    with opened(migrated("accounting")) as books:
        run_state_machine_as_test(type("Bound", (Machine,), {"books": books}), settings=examples(6, 50, steps=20))
        assert books.run(books.db.read(verify)) == []
