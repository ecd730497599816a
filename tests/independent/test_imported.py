"""What the case `metered-equals-imported` compares: each altered figure of either side is a difference."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bench.slurm_ends.imported import compare
from caravan.contracts.jobs import Outcome
from caravan.contracts.prices import Component, PriceList, Tariff
from caravan.contracts.runs import Priced, SiteRun
from caravan.contracts.statements import BearerKind, Line
from caravan.contracts.usage import Span
from caravan.kernel import ids
from caravan.kernel.money import Money
from caravan.pricing import amount

START = datetime(2026, 3, 10, 8, tzinfo=UTC)
JOB, ORGANIZATION, PROVIDER, PROJECT, PERIOD = (ids.new(kind) for kind in ("job", "org", "prv", "prj", "per"))
CORE = Decimal("13.57")
PRICES = PriceList(
    id=ids.new("prl"),
    offering=ids.new("off"),
    revision=1,
    created_at=START,
    tariffs=(Tariff(name="day", starts_at=START - timedelta(days=1), prices={Component.CPU_CORE_HOUR: CORE}),),
)


def span(start: int, end: int) -> Span:
    return Span(
        start=START + timedelta(seconds=start), end=START + timedelta(seconds=end), nodes=1, cpus=2, memory_mib=0
    )


def run(identity: str, start: int, end: int) -> SiteRun:
    key = {"period": PERIOD, "price_list": PRICES.id, "accelerator": None, "tariff": "day", "window": "all"}
    part = Priced.model_validate({**key, "component": "cpu_core_hour", "unit_price": CORE, "quantity": 1})
    return SiteRun(
        run=ids.new("run"), attempt=ids.new("att"), job=JOB, organization=ORGANIZATION, project=PROJECT,
        identity=identity, outcome=Outcome.SUCCEEDED, spans=(span(start, end),), priced=(part,),
    )  # fmt: skip


def line(component: Component, quantity: int, price: Decimal, bearer: BearerKind = BearerKind.ORGANIZATION) -> Line:
    return Line(
        id=ids.new("lin"), period=PERIOD, organization=ORGANIZATION, provider=PROVIDER, seller=PROVIDER, project=PROJECT,
        job=JOB, component=component, accelerator=None, price_list=PRICES.id, price_list_revision=1, tariff="day", window="all",
        bearer=bearer, unit_price=price, quantity=quantity, amount=Money(amount(component, quantity, price)),
    )  # fmt: skip


RUNS = (run("a", 0, 50), run("b", 100, 150))
BOOKS = {"a": span(0, 50), "b": span(100, 150)}
# a quarter of it is the provider's
LINES = (
    line(Component.CPU_CORE_HOUR, 150, CORE), line(Component.CPU_CORE_HOUR, 50, CORE, BearerKind.PROVIDER),
    line(Component.NODE_HOUR, 100, Decimal(0)), line(Component.JOB, 1, Decimal(0)),
)  # fmt: skip


def test_lines_of_several_bearers_are_what_the_books_come_to_together() -> None:
    held = compare(RUNS, LINES, BOOKS, {PRICES.id: PRICES})
    assert (held.runs, held.lines, list(held.differences)) == (2, 3, [])


@pytest.mark.parametrize(
    ("books", "lines", "count"),
    [
        ({**BOOKS, "b": span(100, 151)}, LINES, 2),
        ({**BOOKS, "c": span(200, 201)}, LINES, 1),
        ({"a": BOOKS["a"]}, LINES, 3),
        (BOOKS, LINES[:-1], 1),
        (BOOKS, (LINES[0].model_copy(update={"quantity": 151}), *LINES[1:]), 1),
        (BOOKS, (*LINES[:-1], LINES[-1].model_copy(update={"amount": Money(1)})), 1),
    ],
)
def test_each_figure_that_is_altered_is_a_difference(
    books: dict[str, Span], lines: tuple[Line, ...], count: int
) -> None:
    assert len(compare(RUNS, lines, books, {PRICES.id: PRICES}).differences) == count
