"""The pure core of charging: lines are a function of the set of facts. The oracle goes second by second, in fractions."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise, product
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from caravan import pricing
from caravan.contracts.jobs import Outcome
from caravan.contracts.modes import SiteMode
from caravan.contracts.offerings import PreemptedBearer
from caravan.contracts.prices import Component, PriceList, Tariff
from caravan.contracts.statements import BearerKind
from caravan.contracts.usage import Grant, Span
from caravan.kernel.clock import to_seconds
from caravan.kernel.money import Money
from services.accounting.charging.lines import (
    PROVIDER_BEARS,
    Key,
    PeriodSpan,
    Portion,
    Record,
    Terms,
    assigned,
    cost,
    first_start,
    overrun_from,
    parted,
    portions,
    quantities,
    starting,
    timed,
)
from services.accounting.charging.minimum import top_ups
from tests.pricing.cases import START, at, grants, in_mode, mode, price_list, price_lists, span, tariff

RUNS = ["run_a", "run_b", "run_c"]
WHOLE = (PeriodSpan("per_all", START - 1000, START + 10_000),)
CORE = Span(start=at(0), end=at(10), nodes=1, cpus=1, memory_mib=0)
PREEMPTED_AND_CHARGED = Outcome.PREEMPTED, PreemptedBearer.ORGANIZATION
Facts = tuple[list[Record], tuple[PeriodSpan, ...]]


def terms(
    prices: PriceList,
    attempt: str = "att_1",
    ended: bool = False,
    grant: Grant | None = None,
    preempted: PreemptedBearer = PreemptedBearer.PROVIDER,
) -> Terms:
    return Terms("org_1", "prj_1", "prv_1", prices, attempt, ended, grant=grant, preempted_borne_by=preempted)


@st.composite
def calendars(draw: st.DrawFn) -> tuple[PeriodSpan, ...]:
    inner = draw(st.sets(st.integers(1, 59), max_size=3))
    edges = [START - 1000, *(START + second for second in sorted(inner)), START + 10_000]
    return tuple(PeriodSpan(f"per_{number}", *edge) for number, edge in enumerate(pairwise(edges)))


@st.composite
def facts(draw: st.DrawFn, minima: bool = False) -> Facts:
    """Up to three runs of up to three attempts by up to two price lists, each in records of one or two spans; runs overlap in time. With
    `minima` attempts may have ended, by prices with minimum charges.
    """
    one, other = draw(price_lists(minima=minima)), draw(price_lists(minima=minima))
    lists = [one, other.model_copy(update={"id": "prl_" + "9" * 32, "revision": 2})]
    ended = st.booleans() if minima else st.just(False)
    granted = st.none() | grants(60)
    sold = st.sampled_from(lists), ended, granted, st.sampled_from(PreemptedBearer)
    attempts = [
        terms(prices, f"att_{number}", over, most, preempted)
        for number in range(3)
        for prices, over, most, preempted in [draw(st.tuples(*sold))]
    ]
    records = []
    for run in draw(st.lists(st.sampled_from(RUNS), min_size=1, unique=True)):
        own, grant = draw(st.sampled_from(attempts)), draw(grants())
        outcome = draw(st.sampled_from([None, None, *Outcome]))
        edges = sorted(draw(st.sets(st.integers(0, 60), min_size=2, max_size=5)))
        for start, end in draw(st.lists(st.sampled_from(list(pairwise(edges))), min_size=1, unique=True)):
            records.append(Record(run, None, (span(grant, start, end),), own, outcome))
    return records, draw(calendars())


def every(records: Sequence[Record], calendar: Sequence[PeriodSpan]) -> list[Portion]:
    return [portion for record in started(records) for portion in portions(record, calendar)]


def granted(records: Sequence[Record], calendar: Sequence[PeriodSpan]) -> list[Portion]:
    """What the organization bears, if the hold has no end."""
    return [portion for portion in every(records, calendar) if portion.key.billed]


def started(records: Sequence[Record]) -> list[Record]:
    """All records of a job, with its price and when the time of its runs was up."""
    start = first_start(records)
    return [starting(record, start) for record in timed(records)]


def lines(records: Sequence[Record], calendar: Sequence[PeriodSpan], hold: int) -> dict[Key, int]:
    parts = [(record.terms, portions(record, calendar)) for record in started(records)]
    return dict(quantities(assigned(every(records, calendar), hold, top_ups(parts))))


def by_seconds(records: Sequence[Record], calendar: Sequence[PeriodSpan], hold: int) -> dict[tuple[str, ...], int]:
    """The same from the definition: one second of one run after another, in order, until one doesn't fit."""
    atoms = []
    for record in records:
        for one in record.spans:
            for second in range(to_seconds(one.start), to_seconds(one.end)):
                atoms.append((second, record.run, record, one))
    total: Counter[tuple[str, ...]] = Counter()
    money: Counter[tuple[str, ...]] = Counter()
    minima: dict[str, tuple[int, int, tuple[str, ...]]] = {}
    own: defaultdict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    prices: dict[tuple[str, ...], Fraction] = {}
    passed = begun = False
    held: Counter[str] = Counter()
    key: tuple[str, ...]
    for second, _, record, one in sorted(atoms, key=lambda atom: atom[:2]):
        sold = record.terms.price_list
        (part,) = pricing.windows(sold, second, second + 1)
        period = next(p.period for p in calendar if p.start <= second < p.end)
        reason = {
            "site": "site_fault",
            "lost": "site_fault",
            "duplicate": "duplicate",
            "preempted": "preempted" if record.terms.preempted_borne_by == "provider" else "",
        }.get(record.outcome or "", "")
        units = {
            Component.CPU_CORE_HOUR: one.cpus,
            Component.MEMORY_GIB_HOUR: one.memory_mib,
            Component.NODE_HOUR: one.nodes,
            Component.ACCELERATOR_HOUR: one.accelerators,
            Component.JOB: int(not reason and not begun),
        }
        begun = begun or not reason
        in_force = in_mode(record.terms.price_list, second - START)
        if in_force is not SiteMode.BILLED:
            reason = in_force.value
        held[record.run] += 1
        grant = None if reason else record.terms.grant
        most: dict[Component, int] = {Component.JOB: 1}
        if grant is not None and held[record.run] <= grant.max_seconds:
            most[Component.CPU_CORE_HOUR], most[Component.MEMORY_GIB_HOUR] = grant.cpus, grant.memory_mib
            most[Component.NODE_HOUR], most[Component.ACCELERATOR_HOUR] = grant.nodes, grant.accelerators
        keys: dict[tuple[str, ...], int] = {}
        beyond: dict[tuple[str, ...], int] = {}
        for component, count in units.items():
            if count:
                accelerator = (one.accelerator or "") if component is Component.ACCELERATOR_HOUR else ""
                key = (period, sold.id, component.value, accelerator, part.tariff, part.name)
                price = Fraction(pricing.unit_price(sold, part.tariff, part.name, component))
                prices[key] = price * 100 / pricing.DIVISOR[component]
                within = count if grant is None else min(count, most.get(component, 0))
                keys[key], beyond[key] = within, count - within
        keys = {key: count for key, count in keys.items() if count}
        if not reason and keys and record.terms.ended:
            own[record.terms.attempt].update(keys)
            key = (period, sold.id, "minimum_charge", "", part.tariff, part.name)
            minima[record.terms.attempt] = (second, pricing.minimum_charge(sold, part.tariff), key)
        if not reason and not passed:
            after = money.copy()
            after.update(keys)
            if sum(int(quantity * prices[key] + Fraction(1, 2)) for key, quantity in after.items()) <= hold:
                money = after
            else:
                passed = True
        reason = reason or ("overrun" if passed else "")
        for key, count in keys.items():
            total[(*key, reason, "")] += count
        for key, count in beyond.items():
            total[(*key, "overrun", "")] += count

    def rounded(keys: Counter[tuple[str, ...]]) -> int:
        return sum(int(quantity * prices[key] + Fraction(1, 2)) for key, quantity in keys.items())

    left = hold - rounded(money)
    for attempt, (_, least, key) in sorted(minima.items(), key=lambda one: (one[1][0], one[0])):
        for _ in range(least - rounded(own[attempt])):
            total[(*key, "" if left > 0 else "overrun", attempt)] += 1
            left -= 1
    return {key: count for key, count in total.items() if count}


def plain(found: dict[Key, int]) -> dict[tuple[str, ...], int]:
    return {
        (k.period, k.price_list, k.component.value, k.accelerator, k.tariff, k.window, k.reason, k.attempt): quantity
        for k, quantity in found.items()
    }


@given(facts(minima=True), st.integers(0, 20_000))
def test_lines_are_what_going_second_by_second_gives(given_facts: Facts, hold: int) -> None:
    records, calendar = given_facts
    assert plain(lines(records, calendar, hold)) == by_seconds(records, calendar, hold)


@given(facts(minima=True), st.integers(0, 20_000))
def test_the_organization_never_bears_more_than_the_hold(given_facts: Facts, hold: int) -> None:
    found = lines(*given_facts, hold)
    assert cost(found) <= hold
    whole = lines(*given_facts, 10**18)
    assert sum(found.values()) == sum(whole.values())
    if cost(whole) <= hold:
        assert found == whole


@given(facts(minima=True), st.integers(0, 20_000), st.randoms(use_true_random=False))
def test_any_split_and_order_of_records_gives_equal_lines(given_facts: Facts, hold: int, random: Random) -> None:
    records, calendar = given_facts
    pieces = []
    for record in records:
        (one,) = record.spans
        seconds = to_seconds(one.end) - to_seconds(one.start)
        edges = sorted({0, seconds, *(random.randrange(seconds + 1) for _ in range(2))})
        first = to_seconds(one.start) - START
        for start, end in pairwise(edges):
            piece = one.model_copy(update={"start": at(first + start), "end": at(first + end)})
            pieces.append(replace(record, spans=(piece,)))
    random.shuffle(pieces)
    assert lines(pieces, calendar, hold) == lines(records, calendar, hold)


@given(facts(), st.integers(1, 99), st.integers(-2, 3), st.booleans(), st.sampled_from([None, None, *Outcome]))
def test_what_changes_behind_the_second_in_which_the_hold_was_used_up_moves_no_other_line(
    given_facts: Facts, percent: int, offset: int, grows: bool, outcome: Outcome | None
) -> None:
    records, calendar = given_facts
    hold = cost(lines(records, calendar, 10**18)) * percent // 100
    used_up = overrun_from(assigned(granted(records, calendar), hold))
    if used_up is None:
        return
    runs_then = [r for r in records if any(to_seconds(s.start) <= used_up < to_seconds(s.end) for s in r.spans)]
    one, *others = [*runs_then, *(r for r in records if r not in runs_then)]
    cut = [
        s.model_copy(update={"end": min(s.end, at(used_up + offset - START))})
        for s in one.spans
        if to_seconds(s.start) < used_up + offset
    ]
    other = replace(one, spans=tuple(cut), outcome=outcome)
    before, after = (other, one) if grows else (one, other)
    old = assigned(every([before, *others], calendar), hold)
    used_up = overrun_from(assigned(granted([before, *others], calendar), hold))
    if used_up is None:
        return
    (within_was, was), (within_now, now) = (
        parted(every([record, *others], calendar), used_up) for record in (before, after)
    )
    if Counter(within_was) == Counter(within_now):
        wanted = quantities(old)
        wanted.subtract(quantities(was))
        wanted.update(quantities(now))
        assert {key: left for key, left in wanted.items() if left} == lines([after, *others], calendar, hold)


def test_what_passes_the_hold_is_cut_to_the_second_and_the_later_run() -> None:
    prices = terms(price_list(tariff("t", 0, None, cpu_core_hour="36")))
    records = [Record(run, None, (CORE,), prices, None) for run in ("run_a", "run_b")]
    found = {(p.run, p.key.reason): (p.start - START, p.end - START) for p in cpu(records, 13)}
    # 0.01 a second: 13 fen are seconds 0 to 5 of both, and second 6 of the first
    assert found == {
        ("run_a", ""): (0, 7),
        ("run_a", "overrun"): (7, 10),
        ("run_b", ""): (0, 6),
        ("run_b", "overrun"): (6, 10),
    }


def cpu(records: Sequence[Record], hold: int) -> list[Portion]:
    return [p for p in assigned(every(records, WHOLE), hold) if p.key.component is Component.CPU_CORE_HOUR]


TWO_CORES = Grant(nodes=1, cpus=2, memory_mib=1, max_seconds=10)


def test_what_a_run_holds_beyond_its_grant_is_the_providers_at_once() -> None:
    prices = terms(price_list(tariff("t", 0, None, cpu_core_hour="36")), grant=TWO_CORES)
    more, later = (
        CORE.model_copy(update={"end": at(6), "cpus": 3}),
        CORE.model_copy(update={"start": at(30), "end": at(35)}),
    )

    def found(outcome: Outcome | None = None, hold: int = 10**6) -> dict[str, int]:
        """Core-seconds by reason, of nine seconds with three cores or one, said in two hours; a pause isn't counted."""
        records = [Record("run_a", None, (one,), prices, outcome) for one in (later, more)]
        return {
            key.reason: n for key, n in lines(records, WHOLE, hold).items() if key.component is Component.CPU_CORE_HOUR
        }

    assert found() == {"": 6 * 2 + 4, "overrun": 6 + 1}
    assert found(hold=14) == {"": 14, "overrun": 6 + 1 + 2}, "the hold is the second limit"
    assert found(Outcome.SITE) == {"site_fault": 6 * 3 + 5}


def test_a_run_has_its_own_time_and_each_of_an_attempt_the_whole_of_it() -> None:
    prices = terms(price_list(tariff("t", 0, None, cpu_core_hour="36")), grant=TWO_CORES)
    runs = [Record(run, None, (CORE,), prices, None) for run in ("run_a", "run_b")]
    assert {key.reason for key in lines(runs, WHOLE, 10**6)} == {""}


def test_how_a_run_ended_decides_who_bears_it() -> None:
    prices = price_list(tariff("t", 0, None, cpu_core_hour="36"))
    for outcome, preempted in product((None, *Outcome), PreemptedBearer):
        (portion,) = cpu([Record("run_a", None, (CORE,), terms(prices, preempted=preempted), outcome)], 1000)
        provider = outcome in (Outcome.SITE, Outcome.LOST, Outcome.DUPLICATE)
        provider |= outcome is Outcome.PREEMPTED and preempted is PreemptedBearer.PROVIDER
        assert portion.key.bearer is (BearerKind.PROVIDER if provider else BearerKind.ORGANIZATION)
        own = outcome in (Outcome.DUPLICATE, Outcome.PREEMPTED)
        assert portion.key.reason == ("" if not provider else outcome if own else "site_fault")


def test_what_a_site_does_not_bill_is_nobodys_however_the_run_ended_and_uses_up_no_hold() -> None:
    modes = (mode("tracked", 0), mode("notional", 2), mode("billed", 5))
    prices = terms(price_list(tariff("t", 0, None, cpu_core_hour="36"), modes=modes))
    for outcome, reason in ((Outcome.USER, ""), (Outcome.SITE, "site_fault"), (Outcome.DUPLICATE, "duplicate")):
        found = cpu([Record("run_a", START, (CORE,), prices, outcome)], 2)
        assert [(p.key.bearer.value, p.key.reason, p.end - p.start, p.key.amount(p.quantity)) for p in found[:2]] == [
            ("nobody", "tracked", 2, 0),
            ("nobody", "notional", 3, 3),
        ]
        assert {p.key.reason: p.quantity for p in found[2:]} == ({reason: 5} if reason else {"": 2, "overrun": 3})


def test_a_run_of_no_seconds_costs_nothing_not_even_the_price_per_job() -> None:
    prices = terms(price_list(tariff("t", 0, None, job="5", cpu_core_hour="36")))
    assert lines([Record("run_a", None, (), prices, Outcome.USER)], WHOLE, 1000) == {}


@given(facts(), st.integers(0, 20_000))
def test_a_job_has_its_price_once_if_anything_billable_ran_and_no_provider_bears_it_but_by_overrun(
    given_facts: Facts, hold: int
) -> None:
    found = lines(*given_facts, hold)
    jobs = {key: quantity for key, quantity in found.items() if key.component is Component.JOB}
    charged = [
        record.outcome not in PROVIDER_BEARS
        or (record.outcome, record.terms.preempted_borne_by) == PREEMPTED_AND_CHARGED
        for record in given_facts[0]
    ]
    assert sum(jobs.values()) == any(charged)
    assert {key.reason for key in jobs} <= {"", "overrun", "notional", "tracked"}


def test_the_price_per_job_is_that_of_the_run_that_first_held_anything_and_moves_on_when_that_was_the_sites_fault() -> (
    None
):
    dear, cheap = (
        terms(price_list(tariff("dear", 0, None, job="5"))),
        terms(price_list(tariff("cheap", 0, None, job="1"))),
    )
    late = CORE.model_copy(update={"start": at(5)})

    def job_line(outcome: Outcome | None, other: Outcome | None = None) -> list[tuple[str, int]]:
        runs = [Record("run_b", None, (CORE,), dear, outcome), Record("run_a", None, (late,), cheap, other)]
        found = lines(runs, WHOLE, 10**6)
        return [(key.tariff, quantity) for key, quantity in found.items() if key.component is Component.JOB]

    assert job_line(None) == job_line(Outcome.USER, Outcome.SITE) == [("dear", 1)]
    assert job_line(Outcome.SITE) == job_line(Outcome.DUPLICATE, Outcome.LIMIT) == [("cheap", 1)]
    assert job_line(Outcome.LOST, Outcome.SITE) == []


def topped_up(records: Sequence[Record], hold: int = 10**6) -> list[tuple[str, str, str, int]]:
    """(attempt, tariff, reason, fen)"""
    found = lines(records, WHOLE, hold)
    minima = {key: quantity for key, quantity in found.items() if key.component is Component.MINIMUM_CHARGE}
    assert all(key.unit_price == Decimal("0.01") and key.amount(fen) == fen for key, fen in minima.items())
    return sorted((key.attempt, key.tariff, key.reason, fen) for key, fen in minima.items())


def least(name: str, start: int, end: int | None, fen: int, **prices: str) -> Tariff:
    return tariff(name, start, end, **prices).model_copy(update={"minimum_charge": Money(fen)})


def test_an_ended_attempt_is_topped_up_to_the_minimum_of_the_tariff_of_its_last_billed_second() -> None:
    prices = price_list(
        least("one", 0, 10, 100, cpu_core_hour="36", job="0.05"), least("two", 10, None, 70, cpu_core_hour="36")
    )
    going, over = terms(prices), terms(prices, ended=True)
    late = CORE.model_copy(update={"start": at(10), "end": at(11)})

    def run(name: str, of: Terms, spans: tuple[Span, ...] = (CORE,), outcome: Outcome | None = None) -> Record:
        return Record(name, None, spans, of, outcome)

    assert topped_up([run("a", going)]) == []
    assert topped_up([run("a", over)]) == [("att_1", "one", "", 85)], "10 s at 0.01 and 0.05 for the job"
    assert topped_up([run("a", over), run("b", over, (late,))]) == [("att_1", "two", "", 54)]
    assert topped_up([run("a", over), run("b", over, (late,), Outcome.SITE)]) == [("att_1", "one", "", 85)]
    assert topped_up([run("a", over, outcome=Outcome.LOST)]) == topped_up([run("a", over, ())]) == []
    assert topped_up([run("a", over, (CORE.model_copy(update={"cpus": 10}),))]) == [], "it costs 1.05"


def test_each_attempt_is_topped_up_by_itself_and_what_the_hold_has_not_left_is_the_providers() -> None:
    prices = price_list(least("one", 0, None, 100, cpu_core_hour="36"))
    after = CORE.model_copy(update={"start": at(20), "end": at(30)})
    records = [
        Record("run_b", None, (CORE,), terms(prices, "att_2", ended=True), None),
        Record("run_a", None, (after,), terms(prices, "att_1", ended=True), None),
    ]
    assert topped_up(records) == [("att_1", "one", "", 90), ("att_2", "one", "", 90)]
    assert topped_up(records, 200) == topped_up(records)
    assert topped_up(records, 150) == [
        ("att_1", "one", "", 40),
        ("att_1", "one", "overrun", 50),
        ("att_2", "one", "", 90),
    ]
    assert topped_up(records, 20) == [("att_1", "one", "overrun", 90), ("att_2", "one", "overrun", 90)]
    assert cost(lines(records, WHOLE, 150)) == 150
