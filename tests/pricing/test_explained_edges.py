"""How steps are told apart, counted and joined: by hand."""

from decimal import Decimal

from caravan.contracts.dispatch import Grant
from caravan.contracts.explanations import DayReason, ExplainedPrice
from caravan.contracts.modes import SiteMode, SiteModeFrom
from caravan.contracts.offerings import AcceleratorUnit
from caravan.contracts.prices import FLAT, Buyer, Buyers, CalendarYear, Component, DaySpan, Tariff
from caravan.kernel.money import Money
from caravan.pricing import LineKey
from caravan.pricing.explained import SHOWN, explained, explained_span
from caravan.pricing.explained_days import Stretch, days_of, joined
from caravan.pricing.explained_words import Kind
from tests.pricing.cases import ACCELERATOR, START, mode, price_list, span, tariff
from tests.pricing.special import ACME
from tests.pricing.test_explained import CARDS, DAY, WORKDAYS, Y2026, eight_cards, peaked, second

NODES = LineKey(Component.NODE_HOUR, None, "2026", "all")
ALIKE = price_list(tariff("2026", -400 * DAY, None, node_hour="1"))


def test_stretches_of_one_run_and_equal_units_that_meet_are_one_however_they_come() -> None:
    a, b = "run_a", "run_b"
    some = [
        Stretch(b, 0, 10, 1),
        Stretch(a, 20, 30, 1),
        Stretch(a, 0, 10, 1),
        Stretch(a, 10, 20, 1),
        Stretch(a, 10, 20, 2),
        Stretch(b, 10, 15, 1),
        Stretch(a, 40, 50, 1),
        Stretch(b, 20, 25, 1),
    ]
    whole = [
        Stretch(a, 0, 30, 1),
        Stretch(a, 10, 20, 2),
        Stretch(a, 40, 50, 1),
        Stretch(b, 0, 15, 1),
        Stretch(b, 20, 25, 1),
    ]
    assert joined(some) == joined(reversed(some)) == joined(whole) == whole
    assert joined([]) == []
    assert [one.quantity for one in whole] == [30, 20, 10, 15, 5]


def test_days_alike_go_on_over_new_year_and_those_of_two_unpublished_years_do_not() -> None:
    start = second("2029-12-31T00:00:00")
    both = [Stretch(None, start, start + 2 * DAY, 1)]
    (told,) = days_of(both, ALIKE, ALIKE.tariffs[0])
    assert (str(told.first), str(told.last), told.days, told.seconds, told.reason) == (
        "2029-12-31",
        "2030-01-01",
        2,
        2 * DAY,
        DayReason.ALIKE,
    )
    assert [step.days for step in eight_cards("2029-12-31T00:00:00", 2 * DAY)["peak"].steps] == [1, 1]
    years = (CalendarYear(year=2029), CalendarYear(year=2030))
    assert [step.days for step in eight_cards("2029-12-31T00:00:00", 2 * DAY, *years)["peak"].steps] == [2]
    (free,) = days_of(both, ALIKE, None)
    assert free.reason is DayReason.ALIKE


def test_a_sum_has_parts_where_there_are_several_days() -> None:
    """From Friday 22:00 on, when peak is over."""
    one, two = (eight_cards("2026-03-06T22:00:00", hours * 3600)[FLAT] for hours in (1, 3))
    assert one.arithmetic.words.en == "28800 card-seconds; 28800 x 8.00 / 3600 = 64.00"
    assert two.arithmetic.words.en == "57600 + 28800 = 86400 card-seconds; 86400 x 8.00 / 3600 = 192.00"


def test_clocks_are_shown_to_the_second() -> None:
    start = second("2026-03-06T01:00:00")
    found = explained(NODES, [Stretch(None, start, start + 3599, 1)], ALIKE, Decimal(1), None)
    assert [(one.starts, one.ends) for one in found.steps[0].times] == [("01:00:00", "01:59:59")]
    assert found.steps[0].words.en.startswith("2026-03-06 (Friday), 01:00 to 01:59:59: 59 min 59 s = 3599 s; ")


def test_a_long_price_has_forty_steps() -> None:
    at = second("2026-03-02T00:00:00")
    for count, more in ((40, None), (41, 1), (43, 3)):
        held = [Stretch(None, at + n * DAY, at + n * DAY + 60, n + 1) for n in range(count)]
        found = explained(NODES, held, ALIKE, Decimal(1), None)
        assert (len(found.steps), found.more and found.more.days) == (SHOWN, more) == (40, more)
        if more:
            assert found.more is not None and found.more.seconds == 60 * more
            assert f"{more} more {'day' if more == 1 else 'days'}: " in found.more.words.en
            assert f"{36 + more} more = " in found.arithmetic.words.en


def test_a_rate_shows_its_own_window_and_none_where_its_time_is_in_none() -> None:
    found = eight_cards("2026-03-06T21:00:00", 7200, Y2026)
    assert found["peak"].rate.days == WORKDAYS
    assert found["peak"].rate.times == (DaySpan(starts="18:00", ends="22:00"), DaySpan(starts="08:30", ends="11:30"))
    assert (found[FLAT].rate.days, found[FLAT].rate.times) == ((), ())
    assert found["peak"].rate.starts_at == peaked("2026").starts_at


def test_accelerators_alone_have_the_unit_that_they_are_sold_by() -> None:
    held = span(Grant(nodes=1, cpus=1, memory_mib=1, accelerators=2, accelerator=ACCELERATOR, max_seconds=1), 0, 60)
    found = explained_span(held, price_list(peaked("2026")), Buyer(), CARDS)
    assert {price.component.value: price.unit for price in found} == {
        "cpu_core_hour": None,
        "memory_gib_hour": None,
        "node_hour": None,
        "accelerator_hour": AcceleratorUnit.CARD,
        "job": None,
    }
    assert [price.component for price in found] == [one for one in Component if one in {p.component for p in found}]


def test_a_price_of_seconds_that_are_not_known_has_their_sum_alone() -> None:
    found = explained(NODES, [], ALIKE, Decimal("36"), Kind("none", AcceleratorUnit.CARD), 7)
    assert (found.steps, found.seconds, found.arithmetic.quantity, found.arithmetic.amount.fen) == ((), 0, 7, 7)
    assert explained(NODES, [Stretch(None, START, START + 9, 2)], ALIKE, Decimal(1), None).arithmetic.quantity == 18


def minimum_of(
    seconds: int, fen: int = 100, modes: tuple[SiteModeFrom, ...] = (), *more: Tariff
) -> ExplainedPrice | None:
    """A core at 0.01 a second from T0 on, and 0.05 for the job: what tops that up to its minimum."""
    first = least("one", 0, 60, fen, cpu_core_hour="36", job="0.05")
    prices = price_list(first, *more, modes=modes)
    held = span(Grant(nodes=1, cpus=1, memory_mib=1, max_seconds=1), 0, seconds)
    *others, last = explained_span(held, prices, Buyer(), None)
    assert all(one.minimum_charge is None for one in others)
    return last if last.component is Component.MINIMUM_CHARGE else None


def least(name: str, start: int, end: int | None, fen: int, **prices: str) -> Tariff:
    return tariff(name, start, end, **prices).model_copy(update={"minimum_charge": Money(fen)})


def test_a_run_that_costs_less_is_topped_up_to_the_minimum_in_its_last_second() -> None:
    found = minimum_of(40)
    assert found is not None and found.minimum_charge is not None
    (step,) = found.steps
    assert [(one.starts, one.ends) for one in step.times] == [("08:00:39", "08:00:40")]
    assert (step.units, found.seconds, found.arithmetic.quantity, str(found.arithmetic.amount)) == (55, 1, 55, "0.55")
    lacks = found.minimum_charge
    assert [str(one) for one in (lacks.minimum, lacks.seconds, lacks.per_job, lacks.lacking)] == [
        "1.00",
        "0.40",
        "0.05",
        "0.55",
    ]
    assert step.words.en == (
        "2026-03-01 (Sunday), 08:00:39: the attempt's last billed second; "
        "minimum charge 1.00 - 0.40 that the attempt's seconds cost - 0.05 per job = 0.55"
    )
    assert step.words.en.endswith(lacks.words.en) and step.words.zh.endswith(lacks.words.zh)
    assert found.words.en == "up to the minimum charge, tariff one: 55 fen x 0.01 = 0.55"
    assert (found.accelerator, found.unit, found.rate.tariff) == (None, None, "one")
    assert minimum_of(40, 45) is None, "it costs 0.45"
    one = minimum_of(40, 46)
    assert one is not None and one.arithmetic.quantity == 1


def test_the_last_billed_second_decides_which_minimum_counts_and_none_where_nothing_is_billed() -> None:
    later = least("two", 60, None, 200, cpu_core_hour="36")
    found = minimum_of(61, 100, (), later)
    assert found is not None and found.minimum_charge is not None
    assert (found.rate.tariff, str(found.minimum_charge.minimum), found.arithmetic.quantity) == ("two", "2.00", 134)
    free = minimum_of(61, 100, (mode("notional", 30),), later)
    assert free is not None and free.minimum_charge is not None
    assert (free.rate.tariff, free.arithmetic.quantity, free.mode) == ("one", 65, SiteMode.BILLED)
    assert [(one.starts, one.ends) for one in free.steps[0].times] == [("08:00:29", "08:00:30")]
    assert minimum_of(61, 100, (mode("notional", 0),), later) is None
    assert minimum_of(61, 100, (mode("tracked", 0),), later) is None


def test_the_minimum_is_the_buyers_own() -> None:
    deal = least("deal", 0, None, 70, cpu_core_hour="36").model_copy(update={"buyers": Buyers(organizations=(ACME,))})
    prices = price_list(least("one", 0, None, 100, cpu_core_hour="36"), deal)
    held = span(Grant(nodes=1, cpus=1, memory_mib=1, max_seconds=1), 0, 40)
    lacks = {
        buyer: explained_span(held, prices, Buyer(organization=buyer), None)[-1].arithmetic.quantity
        for buyer in (ACME, None)
    }
    assert lacks == {ACME: 30, None: 60}
