"""Money that moves at once for many jobs leaves what it leaves when it moves for one after another, on both engines."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from caravan.contracts.funds import BudgetDraft
from caravan.kernel.money import Money
from services.accounting.funds import holds
from services.accounting.funds.budgets import create
from services.accounting.funds.many import Capture, capture_many, free_many, holds_of
from services.accounting.funds.models import BudgetRow, Fund, HoldRow, Movement
from services.accounting.ledger import service as ledger
from services.accounting.ledger.charges import Charge, charge_many
from services.accounting.ledger.models import Balance, Entry, EntryPosting, Unsealed
from tests.accounting.books import AT, ORG, OTHER_ORG, OTHER_PRV, PRV
from tests.accounting.examples import examples
from tests.accounting.test_histories import Undone, opened, price_list, second
from tests.accounting.world import tariff

PRICES = price_list(tariff("t", None, None, cpu_core_hour="36"))
HELD = 100
_CHARGES = st.lists(
    st.builds(
        Charge,
        st.sampled_from((ORG, OTHER_ORG)),
        st.sampled_from((PRV, OTHER_PRV)),
        st.integers(-500, 500),
        st.sampled_from(("job_1", "job_2", "job_3")),
        st.sampled_from(("", "price correction")),
    ),
    max_size=8,
)


def rolled_back(write: Callable[..., Any], unit: Callable[[Session], str]) -> str:
    """What the unit says, and nothing of it stays."""

    def undone(tx: Session) -> None:
        raise Undone(unit(tx))

    with pytest.raises(Undone) as found:
        write(undone)
    return str(found.value)


def test_charges_posted_at_once_are_the_entries_and_balances_of_one_after_another(
    migrated: Callable[[str], str],
) -> None:
    with opened(migrated("accounting")) as books:

        @examples(15, 500)
        @given(st.integers(0, 800), _CHARGES, _CHARGES)
        def check(deposited: int, first: list[Charge], then: list[Charge]) -> None:
            def posted(tx: Session, *, many: bool) -> str:
                if deposited:
                    ledger.deposit(tx, organization=ORG, amount_fen=deposited, reference="dep", at=AT)
                for charges in (first, then):
                    if many:
                        charge_many(tx, charges, AT)
                    for one in () if many else charges:
                        ledger.charge(tx, **one._asdict(), at=AT)
                return entries_and_balances(tx)

            together, singly = (rolled_back(books.write, partial(posted, many=many)) for many in (True, False))
            assert together == singly

        check()


def entries_and_balances(tx: Session) -> str:
    """All but ids, in the order of these."""
    entries = tx.execute(select(Entry.__table__).order_by(Entry.id)).all()
    postings = select(EntryPosting.__table__).order_by(EntryPosting.number)
    by_entry = [
        (entry[1:], [row[1:] for row in tx.execute(postings.where(EntryPosting.entry == entry.id))])
        for entry in entries
    ]
    unsealed = [entry.id in set(tx.scalars(select(Unsealed.entry))) for entry in entries]
    return repr((by_entry, unsealed, tx.execute(select(Balance.__table__).order_by(Balance.account)).all()))


def test_what_holds_capture_and_free_at_once_is_what_one_after_another_does(migrated: Callable[[str], str]) -> None:
    """Of jobs that count in budgets or none, settled or not, that had captured something or nothing."""
    with opened(migrated("accounting")) as books:

        @examples(15, 500)
        @given(
            st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(0, HELD)), min_size=1, max_size=5),
            st.lists(st.integers(0, HELD), min_size=5, max_size=5),
            st.lists(st.booleans(), min_size=5, max_size=5),
        )
        def check(jobs: list[tuple[int, bool, int]], finally_: list[int], over: list[bool]) -> None:
            def captured(tx: Session, *, many: bool) -> str:
                for starts, ends in ((0, 5), (3, 8)):
                    draft = BudgetDraft(
                        organization=books.organization,
                        name="b",
                        limit=Money(10**6),
                        starts_at=second(starts),
                        ends_at=second(ends),
                    )
                    create(tx, draft, "person", second(0))
                made = []
                for submitted, settled, at_first in jobs:
                    job = books.place_job(tx, PRICES)
                    request = job.request(1, HELD).model_copy(update={"submitted_at": second(submitted)})
                    assert holds.put(tx, job.id, request, AT).granted
                    holds.capture(tx, holds.of_job(tx, job.id)[0], at_first, AT)
                    if settled:
                        holds.free_rest(tx, job.id, AT)
                    made.append(job.id)
                found = {job: own for job, (own,) in holds_of(tx, made).items()}
                captures = [
                    Capture(found[job], last - found[job].captured) for job, last in zip(made, finally_, strict=False)
                ]
                if many:
                    capture_many(tx, captures, AT)
                    free_many(tx, [job for job, end in zip(made, over, strict=False) if end], AT)
                for one, end in () if many else zip(captures, over, strict=False):
                    holds.capture(tx, one.hold, one.amount, AT)
                    if end:
                        holds.free_rest(tx, one.hold.job, AT)
                return totals(tx, made)

            together, singly = (rolled_back(books.write, partial(captured, many=many)) for many in (True, False))
            assert together == singly

        check()


def totals(tx: Session, jobs: list[str]) -> str:
    """Without ids."""
    funds = tx.execute(select(Fund.__table__).order_by(Fund.organization)).all()
    budgets = tx.execute(select(BudgetRow.charged, BudgetRow.held).order_by(BudgetRow.starts_at)).all()
    of_jobs = []
    for job in jobs:
        hold = tx.execute(select(HoldRow.__table__).where(HoldRow.job == job)).one()
        movements = tx.execute(select(Movement.__table__).where(Movement.job == job).order_by(Movement.number)).all()
        of_jobs.append((hold[1:], [row[1:] for row in movements]))
    return repr((funds, budgets, of_jobs))
