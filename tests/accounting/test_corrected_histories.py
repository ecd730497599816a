"""Any history of facts and price corrections gives the lines of what it ends with: on the database, against the pure function.

Corrections are approved before, between and after the facts that they concern; the work on them goes on in between; a period closes.
The lists differ in their volume discounts: those of a closed period are settled again as the next one closes.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from caravan.contracts.corrections import CorrectionDraft
from caravan.contracts.prices import Component, PriceList, Tariff
from caravan.contracts.statements import LineKind
from caravan.kernel import clock
from caravan.kernel.tokens import Caller
from caravan.pricing import volume_discount
from services.accounting.charging.charged import Charged
from services.accounting.charging.lines import quantities
from services.accounting.charging.models import LineRow
from services.accounting.charging.pieces import Piece
from services.accounting.charging.service import Calendar
from services.accounting.corrections import service as corrections
from services.accounting.corrections.models import WorkRow
from services.accounting.corrections.passes import advance
from services.accounting.discounts import service as discounts
from services.accounting.funds import holds
from services.accounting.funds.models import Fund
from services.accounting.funds.verify import verify
from services.accounting.ledger.verify import verify as verify_books
from services.accounting.periods import service as periods
from services.accounting.periods.models import PeriodRow
from services.accounting.usage import copies
from tests.accounting.examples import examples
from tests.accounting.test_histories import (
    PRICES,
    Books,
    Fact,
    Job,
    Undone,
    billed,
    first_of_revision,
    histories,
    hold_amounts,
    march_lines,
    opened,
    price_list,
    second,
    stored,
)
from tests.accounting.volume import CORE, tiers
from tests.accounting.world import tariff

DISCOUNT = LineRow.kind == LineKind.VOLUME_DISCOUNT
FIRST, SECOND = (Caller(subject=name, permissions=frozenset({"platform:finance"})) for name in ("first", "second"))


@dataclass(frozen=True)
class Corrected:
    """[start, end) after MONTH_END, to one of the lists that are right. `at_once`: applied before the next fact comes."""

    start: int
    end: int
    right: int
    at_once: bool


MARCH, APRIL = (-31 * 86_400 + 30, 30), (30, 30 * 86_400 + 30)
"""In seconds after MONTH_END."""


@dataclass(frozen=True)
class Closed:
    """March is closed."""


@st.composite
def corrected(draw: st.DrawFn) -> Corrected:
    """Of some seconds, or of a month or two."""
    some = st.lists(st.integers(-5, 80), min_size=2, max_size=2, unique=True).map(sorted)
    start, end = draw(st.one_of(some, st.sampled_from([MARCH, APRIL, (MARCH[0], APRIL[1])])))
    return Corrected(start, end, draw(st.integers(0, 2)), draw(st.booleans()))


@st.composite
def corrected_histories(draw: st.DrawFn) -> list[Fact | Corrected | Closed]:
    """The facts in their order, and among them up to three corrections and the end of March."""
    found: list[Fact | Corrected | Closed] = list(draw(histories()))
    more: list[Corrected | Closed] = [
        *draw(st.lists(corrected(), min_size=1, max_size=3)),
        *draw(st.lists(st.just(Closed()), max_size=1)),
    ]
    for one in more:
        found.insert(draw(st.integers(0, len(found))), one)
    return found


def discounting(revision: int, percent: str | None, *tariffs: Tariff) -> PriceList:
    """With so much off of cores and memory. What is right was made once both months were over."""
    off = {} if percent is None else dict.fromkeys((CORE, Component.MEMORY_GIB_HOUR), tiers((0, percent)))
    made = {"revision": revision, "volume_discounts": off, "created_at": second(0 if revision == 1 else APRIL[1])}
    return price_list(*tariffs).model_copy(update=made)


class Correcting:
    """A job by a list that was wrong, and what corrects it: a dear list, one of nearly the same prices, and the wrong one itself."""

    def __init__(self, tx: Session, books: Books, hold: int) -> None:
        self.tx, self.hold = tx, hold
        self.prices = discounting(1, "10", *PRICES)
        dear = tariff("c", None, None, cpu_core_hour="72.5", memory_gib_hour="0.1", job="3")
        without_gap = PRICES[1].model_copy(update={"starts_at": PRICES[0].ends_at})
        self.lists = [discounting(2, "35", dear), discounting(3, None, PRICES[0], without_gap), self.prices]
        for one in self.lists[:2]:
            copies.price_list(tx, {"data": one.model_dump(mode="json")})
        self.job: Job = books.start_job(tx, self.prices, hold)
        self.pieces: list[Piece] = []
        self.sealed: list[Any] | None = None
        self.open = [(MARCH, "2026-03"), (APRIL, "2026-04"), (None, "2026-05")]
        self.closed: list[tuple[str, tuple[int, int]]] = []
        periods.locate(tx, clock.to_seconds(second(0)), clock.to_seconds(second(APRIL[1] + 1)))

    def live(self, one: Fact | Corrected | Closed) -> None:
        if isinstance(one, Corrected):
            self.correct(one.start, one.end, self.lists[one.right], at_once=one.at_once)
        elif isinstance(one, Closed):
            self.close()
            self.sealed = march_lines(self.tx, self.job.id)
        else:
            self.job.apply(self.tx, one)

    def close(self) -> None:
        """The next of the months, with its discounts."""
        span, month = self.open.pop(0)
        own = PeriodRow.month == month
        period = self.tx.scalars(select(PeriodRow.id).where(own)).one()
        self.tx.execute(update(PeriodRow).where(own).values(state="closing"))
        discounts.settle(self.tx, period, second(0))
        self.tx.execute(update(PeriodRow).where(own).values(state="closed"))
        if span is not None:
            self.closed.append((period, span))

    def correct(self, start: int, end: int, right: PriceList, *, at_once: bool) -> None:
        draft = CorrectionDraft(
            offering=right.offering,
            starts_at=second(start),
            ends_at=second(end),
            price_list=right.id,
            replaces=(self.prices.id,),
            reason="it was wrong",
        )
        proposed = corrections.propose(self.tx, draft, FIRST.subject, second(0))
        self.finish()
        before = self.charged()
        approved = corrections.approve(self.tx, proposed, SECOND, second(0))
        self.pieces.append(Piece(clock.to_seconds(second(start)), clock.to_seconds(second(end)), right))
        if at_once:
            self.finish()
            assert self.charged() - before == approved.preview.difference.fen

    def finish(self) -> None:
        """Let all passes come to their ends."""
        working = select(func.count()).where(WorkRow.state.in_(("previewing", "applying")))
        while self.tx.execute(working).scalar_one():
            advance(self.tx, second(0))

    def charged(self) -> int:
        return self.tx.execute(select(func.sum(Fund.charged))).scalar_one()

    def comes_to(self, history: list[Fact]) -> Charged:
        records = self.job.records(history, self.prices)
        terms = [replace(record.terms, corrections=tuple(self.pieces)) for record in records]
        now = [replace(record, terms=term) for record, term in zip(records, terms, strict=True)]
        buyer, nothing = self.job.books.organization, Charged([], 0, None, None)
        return Calendar(self.tx, now).charged(now, {buyer: self.hold}).get(buyer, nothing)

    def check(self, history: list[Fact]) -> None:
        """Lines, hold and funds are those of the facts; what was sealed stays."""
        wanted = self.comes_to(history)
        assert stored(self.tx, self.job.id) == billed(dict(quantities(wanted.portions)))
        (row,) = holds.of_job(self.tx, self.job.id)
        assert (row.captured, row.corrected, row.overrun_from) == wanted[1:]
        discounted = self.tx.execute(select(func.sum(LineRow.amount)).where(DISCOUNT)).scalar_one() or 0
        assert self.charged() == wanted.captured + (wanted.corrected or 0) + discounted
        assert verify(self.tx) == []
        assert list(verify_books(self.tx)) == []
        if self.sealed is not None:
            assert march_lines(self.tx, self.job.id) == self.sealed

    def check_discounts(self, history: list[Fact]) -> None:
        """Those of closed months are by the last list that a month was corrected to whole, or else by the wrong one."""
        quantity, basis = Counter[tuple[str, Component]](), Counter[tuple[str, Component]]()
        for key, total in quantities(self.comes_to(history).portions).items():
            if key.billed:
                quantity[key.period, key.component] += total
                basis[key.period, key.component] += key.amount(total)
        for period, span in self.closed:
            start, end = (clock.to_seconds(second(edge)) for edge in span)
            whole = [one.price_list for one in self.pieces if one.start <= start and end <= one.end]
            by = (whole or [self.prices])[-1].volume_discounts
            of = (LineRow.period == period) & (LineRow.corrects == "") | (LineRow.corrects == period)
            found = self.tx.execute(
                select(LineRow.component, func.sum(LineRow.amount)).where(DISCOUNT, of).group_by(LineRow.component)
            )
            off = {component: amount for component, amount in found.all() if amount}
            assert off == {
                component: -much
                for component, steps in by.items()
                if (much := volume_discount(component, steps, quantity[period, component], basis[period, component]))
            }


def test_any_history_of_facts_and_corrections_gives_equal_lines_and_the_reverse_leaves_nothing(
    migrated: Callable[[str], str],
) -> None:
    with opened(migrated("accounting")) as books:

        @examples(15, 1000)
        @given(corrected_histories(), hold_amounts)
        def check(history: list[Fact | Corrected | Closed], hold: int) -> None:
            facts = first_of_revision([one for one in history if isinstance(one, Fact)])

            def unit(tx: Session) -> None:
                correcting = Correcting(tx, books, hold)
                for one in history:
                    correcting.live(one)
                correcting.finish()
                correcting.check(facts)
                correcting.close()
                correcting.check_discounts(facts)
                correcting.correct(MARCH[0], APRIL[1], correcting.prices, at_once=True)
                correcting.pieces.clear()
                correcting.check(facts)
                correcting.close()
                correcting.check(facts)
                correcting.check_discounts(facts)
                raise Undone

            with pytest.raises(Undone):
                books.write(unit)

        check()
