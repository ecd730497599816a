from bisect import bisect_right
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from math import ceil

from hypothesis import given, note
from hypothesis import strategies as st

from caravan.contracts.dispatch import Grant
from caravan.contracts.modes import SiteMode
from caravan.contracts.prices import Component, PriceList, Tariff
from caravan.kernel.clock import to_seconds
from caravan.kernel.money import Money
from caravan.pricing import (
    DIVISOR,
    MAX_PERIOD_EDGES,
    LineKey,
    WorstCase,
    amount,
    fit_walltime,
    period_edges,
    quantities,
    unit_price,
    units_of,
    worst_case,
    worst_of_all,
)
from caravan.pricing.amounts import prices_in
from caravan.pricing.windows import window_names
from services.accounting.charging.lines import (
    PeriodSpan,
    Record,
    Terms,
    cost,
    first_start,
    portions,
    starting,
)
from services.accounting.charging.lines import quantities as quantities_of
from services.accounting.charging.minimum import top_ups
from tests.pricing.cases import (
    START,
    grants,
    in_mode,
    instants,
    level_price_lists,
    mode,
    price_list,
    price_lists,
    span,
    tariff,
    window,
)
from tests.pricing.special import lists_for_somebody

Runs = list[tuple[int, int, Grant]]


@st.composite
def schedules(draw: st.DrawFn, grant: Grant, tasks: int, not_before: int) -> Runs:
    """Up to `tasks` runs (start, end, what was really allocated), none longer or larger than was granted."""
    runs = []
    for _ in range(draw(st.integers(0, tasks))):
        start = not_before + draw(st.integers(0, 80))
        less = grant.model_copy(update={"cpus": draw(st.integers(1, grant.cpus))})
        full = draw(st.booleans())
        end = start + (grant.max_seconds if full else draw(st.integers(1, grant.max_seconds)))
        runs.append((start, end, grant if full else less))
    return runs


def charged(
    runs: Runs, prices: PriceList, edges: list[int], of: SiteMode = SiteMode.BILLED, *, once: bool = True
) -> int:
    """The sum over lines of a mode of each line's once-rounded price, in fen; with the price per job `once`."""
    lines: Counter[tuple[int, LineKey]] = Counter()
    first = min(((start, number) for number, (start, _, _) in enumerate(runs)), default=None)
    for number, (start, end, allocated) in enumerate(runs):
        job_second = START + start if once and (start, number) == first else None
        for piece in quantities([span(allocated, start, end)], prices, job_second, [START + e for e in edges]):
            lines[bisect_right(edges, piece.start - START), piece.key] += piece.quantity
    return sum(
        amount(key.component, quantity, unit_price(prices, key.tariff, key.window, key.component, key.mode))
        for (_, key), quantity in lines.items()
        if key.mode is of
    )


FAR = 100
"""Second after T0 by which all tariffs and modes of drawn price lists have started or ended."""


def ahead(prices: PriceList, not_before: int, of: SiteMode = SiteMode.BILLED) -> list[Tariff]:
    """The tariffs with a second of that mode from `not_before` on."""
    return [
        t
        for t in prices.tariffs
        if any(
            in_mode(prices, second) is of
            for second in range(
                max(not_before, to_seconds(t.starts_at) - START),
                FAR if t.ends_at is None else to_seconds(t.ends_at) - START,
            )
        )
    ]


@given(
    st.data(),
    st.one_of(price_lists(), level_price_lists(), lists_for_somebody()),
    grants(),
    st.integers(1, 4),
    instants,
    st.sampled_from([SiteMode.BILLED, SiteMode.NOTIONAL]),
)
def test_no_schedule_is_charged_above_its_worst_case(
    data: st.DataObject, prices: PriceList, grant: Grant, tasks: int, not_before: int, of: SiteMode
) -> None:
    bound = worst_case(grant, tasks, prices, START + not_before, of)
    runs = data.draw(schedules(grant, tasks, not_before))
    inside = [second for start, end, _ in runs for second in range(start + 1, end)] or [not_before]
    edges = sorted(data.draw(st.sets(st.sampled_from(inside), max_size=MAX_PERIOD_EDGES)))
    note(f"{bound}")
    assert charged(runs, prices, edges, of) <= bound.amount.fen


@given(st.data(), st.lists(st.tuples(price_lists(), grants(), st.integers(1, 3)), min_size=1, max_size=3))
def test_attempts_that_have_the_price_per_job_once_are_never_charged_above_what_is_held_for_all(
    data: st.DataObject, attempts: list[tuple[PriceList, Grant, int]]
) -> None:
    bounds = [worst_case(grant, tasks, prices, START) for prices, grant, tasks in attempts]
    runs = [data.draw(schedules(grant, tasks, 0)) for _, grant, tasks in attempts]
    first = data.draw(st.integers(0, len(attempts) - 1))
    total = sum(
        charged(of, prices, [], once=number == first)
        for number, (of, (prices, _, _)) in enumerate(zip(runs, attempts, strict=True))
    )
    assert total <= worst_of_all(bounds).fen <= sum(bound.amount.fen for bound in bounds)


def test_the_dearest_price_per_job_of_several_attempts_counts_once() -> None:
    grant = Grant(nodes=1, cpus=1, memory_mib=1, max_seconds=10)
    cheap, dear = (
        price_list(tariff("a", 0, None, cpu_core_hour="36", job="1")),
        price_list(tariff("b", 0, None, job="2")),
    )
    assert worst_of_all([worst_case(grant, 3, prices, START) for prices in (cheap, dear)]) == Money(230)
    assert worst_of_all([]) == Money(0)


@given(
    price_lists(),
    grants(longest=10**7),
    st.integers(1, 4),
    instants,
    st.sampled_from([SiteMode.BILLED, SiteMode.NOTIONAL]),
)
def test_the_bound_is_the_dearest_price_and_half_a_fen_per_possible_line(
    prices: PriceList, grant: Grant, tasks: int, not_before: int, of: SiteMode
) -> None:
    tariffs = ahead(prices, not_before, of)
    parts = [len(t.windows) + 1 for t in tariffs]
    lines = sum(parts) + period_edges(tasks, grant.max_seconds) * max(parts, default=0)
    least = most = Fraction(0)
    for component, quantity in (
        *((component, units * tasks * grant.max_seconds) for component, units in units_of(grant)),
        (Component.JOB, 1),
    ):
        dearest = max(
            (prices_in(t, window).get(component, Decimal(0)) for t in tariffs for window in window_names(t)),
            default=Decimal(0),
        )
        exact = 100 * Fraction(dearest) * quantity / DIVISOR[component]
        least += exact - Fraction(1, 2)
        most += exact + (Fraction(lines, 2) if dearest else 0)
    assert least <= worst_case(grant, tasks, prices, START + not_before, of).amount.fen <= most


@given(price_lists(), grants(), st.integers(1, 4), instants)
def test_what_is_shown_of_a_worst_case_adds_up(prices: PriceList, grant: Grant, tasks: int, not_before: int) -> None:
    bound = worst_case(grant, tasks, prices, START + not_before)
    assert bound.amount.fen == sum(c.amount.fen for c in bound.components)
    for shown in bound.components:
        price = Decimal(shown.unit_price)
        if shown.component == "rounding":
            assert shown.amount.fen == shown.quantity > 0
        else:
            component = Component(shown.component)
            assert shown.amount.fen == amount(component, shown.quantity, price)
            assert price == unit_price(prices, shown.tariff, shown.window, component) > 0


def test_the_dearest_window_counts_and_one_that_no_second_lies_in_does_not() -> None:
    peak = window("peak", ("08:00", "20:00"), node_hour="72")
    night = window("night", ("20:00", "24:00"), ("00:00", "08:00"), node_hour="36")
    prices = price_list(tariff("now", 0, None, node_hour="720").model_copy(update={"windows": (peak, night)}))
    bound = worst_case(Grant(nodes=1, cpus=1, memory_mib=1, max_seconds=3600), 1, prices, START)
    assert [(c.tariff, c.window, c.unit_price, str(c.amount)) for c in bound.components] == [
        ("now", "peak", "72", "72.00")
    ]


def test_the_dearest_price_ahead_counts_for_each_component_by_itself() -> None:
    prices = price_list(
        tariff("past", -10, 0, cpu_core_hour="720"),
        tariff("now", 0, 10, cpu_core_hour="36", node_hour="72"),
        tariff("later", 10, 20, cpu_core_hour="72", node_hour="36"),
    )
    bound = worst_case(Grant(nodes=1, cpus=2, memory_mib=512, max_seconds=60), 3, prices, START)
    assert [(c.component, c.tariff, c.quantity, c.unit_price, str(c.amount)) for c in bound.components] == [
        ("cpu_core_hour", "later", 360, "72", "7.20"),
        ("node_hour", "now", 180, "72", "3.60"),
    ]
    assert str(bound.amount) == "10.80"


def test_a_tariff_counts_until_its_last_second() -> None:
    prices = price_list(tariff("dear", 0, 10, job="5"), tariff("cheap", 10, None, job="1"))
    grant = Grant(nodes=1, cpus=1, memory_mib=1, max_seconds=1)
    assert worst_case(grant, 1, prices, START + 9).amount == Money(500)
    assert worst_case(grant, 1, prices, START + 10).amount == Money(100)


def test_nothing_is_set_aside_for_time_that_is_not_billed_and_a_price_that_is_billed_later_counts_now() -> None:
    day = tariff("a", 0, None, node_hour="36")
    grant = Grant(nodes=1, cpus=1, memory_mib=1, max_seconds=100)
    cases = {
        (mode("notional", 0),): ("0.00", "1.00"),
        (mode("notional", 0), mode("billed", 500)): ("1.00", "1.00"),
        (mode("tracked", 0),): ("0.00", "0.00"),
        (mode("notional", -9), mode("billed", 0)): ("1.00", "0.00"),
    }
    for modes, (billed, notional) in cases.items():
        prices = price_list(day, modes=modes)
        found = [worst_case(grant, 1, prices, START, of).amount for of in (SiteMode.BILLED, SiteMode.NOTIONAL)]
        assert [str(one) for one in found] == [billed, notional], modes


def test_the_allowance_is_needed_and_no_larger_than_that() -> None:
    """One task of 4 s over 3 period ends: 4 lines of one core-second, each half a fen, rounded up."""
    prices = price_list(tariff("a", 0, None, cpu_core_hour="18"))
    grant = Grant(nodes=1, cpus=1, memory_mib=1, max_seconds=4)
    bound = worst_case(grant, 1, prices, START)
    assert [(c.component, c.amount.fen) for c in bound.components] == [("cpu_core_hour", 2), ("rounding", 2)]
    assert charged([(0, 4, grant)], prices, [1, 2, 3]) == bound.amount.fen == 4
    longer = grant.model_copy(update={"max_seconds": 10})
    assert worst_case(longer, 1, prices, START).amount == Money(5 + 2)


def test_each_period_end_cuts_as_many_lines_as_a_tariff_has_windows() -> None:
    """A minute at 1.5 fen a second, in two windows over three period ends: eight lines."""
    both = tariff("a", 0, None, cpu_core_hour="54").model_copy(
        update={"windows": (window("night", ("00:00", "07:00"), cpu_core_hour="18"),)}
    )
    bound = worst_case(Grant(nodes=1, cpus=1, memory_mib=1, max_seconds=60), 1, price_list(both), START)
    assert [(c.component, c.amount.fen) for c in bound.components] == [("cpu_core_hour", 90), ("rounding", 4)]


def test_there_are_no_more_lines_than_seconds_to_allow_for() -> None:
    prices = price_list(*(tariff(f"t{day}", day * 86_400, (day + 1) * 86_400, cpu_core_hour="18") for day in range(30)))
    grant = Grant(nodes=1, cpus=1, memory_mib=1, max_seconds=1)
    assert worst_case(grant, 1, prices, START).amount == Money(1)
    assert worst_case(grant, 3, prices, START).amount == Money(3)


def test_prices_of_whole_fen_need_no_allowance() -> None:
    prices = price_list(tariff("a", 0, None, cpu_core_hour="36", job="0.01", node_hour="0"))
    bound = worst_case(Grant(nodes=1, cpus=3, memory_mib=1, max_seconds=7), 2, prices, START)
    assert [c.component for c in bound.components] == ["cpu_core_hour", "job"]
    assert bound.amount == Money(43)


def test_where_no_tariff_can_apply_nothing_can_be_charged() -> None:
    bound = worst_case(
        Grant(nodes=1, cpus=1, memory_mib=1, max_seconds=60), 1, price_list(tariff("a", 0, 10, job="1")), START + 10
    )
    assert (bound.amount, bound.components) == (Money(0), ())


def test_a_year_of_running_allows_for_its_month_ends() -> None:
    assert period_edges(1, 60) == MAX_PERIOD_EDGES
    assert period_edges(1, 366 * 86_400) >= MAX_PERIOD_EDGES + 12
    february = 28 * 86_400
    assert [period_edges(tasks, seconds) for tasks, seconds in ((1, february - 1), (1, february), (3, february))] == [
        MAX_PERIOD_EDGES,
        MAX_PERIOD_EDGES + 1,
        MAX_PERIOD_EDGES + 3,
    ]


@given(price_lists(), grants(), st.integers(1, 4), instants, st.integers(1, 300), st.integers(0, 3000))
def test_the_walltime_that_fits_is_the_longest(
    prices: PriceList, grant: Grant, tasks: int, not_before: int, longest: int, fen: int
) -> None:
    def grant_for(walltime_seconds: int) -> Grant:
        return grant.model_copy(update={"max_seconds": -(-walltime_seconds // 7) * 7 + 2})

    def cost(walltime_seconds: int) -> int:
        return worst_case(grant_for(walltime_seconds), tasks, prices, START + not_before).amount.fen

    fitting = fit_walltime(grant_for, tasks, prices, START + not_before, longest, Money(fen))
    by_trying = [walltime for walltime in range(1, longest + 1) if cost(walltime) <= fen]
    assert fitting == (by_trying[-1] if by_trying else None)


def test_the_walltime_that_fits_by_hand() -> None:
    prices = price_list(tariff("a", 0, None, cpu_core_hour="36"))

    def grant_for(walltime_seconds: int) -> Grant:
        return Grant(nodes=1, cpus=2, memory_mib=1, max_seconds=ceil(walltime_seconds / 60) * 60)

    assert fit_walltime(grant_for, 1, prices, START, 3600, Money(120)) == 60
    assert fit_walltime(grant_for, 1, prices, START, 3600, Money(479)) == 180
    assert fit_walltime(grant_for, 1, prices, START, 200, Money(10_000)) == 200
    assert fit_walltime(grant_for, 1, prices, START, 3600, Money(119)) is None


@given(
    st.data(),
    st.lists(st.tuples(st.sampled_from([0, 1]), grants(), st.integers(1, 3)), min_size=1, max_size=3),
    st.tuples(price_lists(minima=True), level_price_lists(), st.integers(1, 300)),
)
def test_no_attempts_with_minimum_charges_are_charged_above_what_is_held_for_them(
    data: st.DataObject, attempts: list[tuple[int, Grant, int]], lists: tuple[PriceList, PriceList, int]
) -> None:
    """Attempts of one price list share lines: these are rounded together, what tops an attempt up is reckoned from its own."""
    drawn, level, fen = lists
    with_least = [t.model_copy(update={"minimum_charge": Money(fen)}) for t in level.tariffs]
    by = [drawn, level.model_copy(update={"id": "prl_" + "9" * 32, "tariffs": tuple(with_least)})]
    ended = [Terms("", "", "", by[of], f"att_{number}", ended=True) for number, (of, _, _) in enumerate(attempts)]
    records = [
        Record(f"run_{number}_{task}", None, (span(allocated, start, end),), ended[number], None)
        for number, (_, grant, tasks) in enumerate(attempts)
        for task, (start, end, allocated) in enumerate(data.draw(schedules(grant, tasks, 0)))
    ]
    everything = (PeriodSpan("", 0, START + 10**6),)
    first = first_start(records)
    parts = [(one.terms, portions(starting(one, first), everything)) for one in records]
    total = cost(quantities_of([*(portion for _, of in parts for portion in of), *top_ups(parts)]))
    assert total <= worst_of_all([worst_case(grant, tasks, by[of], START) for of, grant, tasks in attempts]).fen


def test_a_worst_case_is_the_highest_minimum_ahead_at_least() -> None:
    prices = price_list(
        tariff("now", 0, 10, cpu_core_hour="36", job="0.05").model_copy(update={"minimum_charge": Money(100)}),
        tariff("later", 10, None, cpu_core_hour="36").model_copy(update={"minimum_charge": Money(60)}),
    )
    grant = Grant(nodes=1, cpus=1, memory_mib=1, max_seconds=40)
    bound = worst_case(grant, 1, prices, START)
    assert [(c.component, c.tariff, c.quantity, str(c.amount)) for c in bound.components] == [
        ("cpu_core_hour", "now", 40, "0.40"), ("job", "now", 1, "0.05"), ("minimum_charge", "now", 55, "0.55"),
    ]  # fmt: skip
    assert bound.amount == Money(100)
    assert worst_case(grant, 1, prices, START + 10).amount == Money(60)
    assert worst_of_all([bound]) == Money(100)
    assert worst_of_all([bound, bound]) == Money(205)


def test_what_an_attempt_may_cost_beside_others_leaves_out_the_price_per_job_and_counts_each_line_that_is_rounded() -> (
    None
):
    """Four seconds, each on a line of its own at half a fen, and 0.05 for the job."""
    grant = Grant(nodes=1, cpus=1, memory_mib=1, max_seconds=4)

    def bound(least: int | None, price: str = "18") -> WorstCase:
        minimum = None if least is None else Money(least)
        one = tariff("a", 0, None, cpu_core_hour=price, job="0.05").model_copy(update={"minimum_charge": minimum})
        return worst_case(grant, 1, price_list(one), START)

    assert [(bound(least).amount.fen, bound(least).apart) for least in (None, 0, 3, 9, 20)] == [
        (9, 4),
        (9, 4),
        (9, 3 + 4),
        (9, 9 + 4),
        (20, 20 + 4),
    ]
    assert "minimum_charge" not in {c.component for c in bound(9).components}
    dear = bound(3, "1800")
    assert (dear.amount.fen, dear.apart, dear.once) == (205, 200, 5)


def test_by_component_it_has_no_allowance_and_the_minimum_charge_though_that_be_nothing_at_most_use() -> None:
    grant = Grant(nodes=1, cpus=1, memory_mib=1, max_seconds=4)
    used = {"cpu_core_hour": 2, "job": 5}
    for least, parts in (
        (None, used),
        (0, used),
        (1, used | {"minimum_charge": 0}),
        (9, used | {"minimum_charge": 0}),
        (20, used | {"minimum_charge": 11}),
    ):
        charge = None if least is None else Money(least)
        one = tariff("a", 0, None, cpu_core_hour="18", job="0.05").model_copy(update={"minimum_charge": charge})
        found = worst_case(grant, 1, price_list(one), START)
        assert [shown.amount.fen for shown in found.components if shown.component == "rounding"] == [2]
        assert found.minimum is ("minimum_charge" in parts)
        assert {component.value: amount.fen for component, amount in found.by_component.items()} == parts


def test_what_is_only_priced_has_no_minimum() -> None:
    prices = price_list(
        tariff("a", 0, None, cpu_core_hour="0.01").model_copy(update={"minimum_charge": Money(9)}),
        modes=(mode("notional", 0),),
    )
    grant = Grant(nodes=1, cpus=1, memory_mib=1, max_seconds=4)
    notional = worst_case(grant, 1, prices, START, SiteMode.NOTIONAL)
    assert (notional.amount.fen, notional.apart) == (2, 2), "four lines of nearly nothing"
