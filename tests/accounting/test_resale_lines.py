"""What a reseller sells on stands in two sets of lines: the same seconds with the same bearers, each by its own prices."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from caravan.contracts.prices import Component, PriceList
from caravan.kernel.clock import to_seconds
from services.accounting.charging.charged import Charged, by_buyers, charged
from services.accounting.charging.lines import PeriodSpan, Record, by_buyer, cost, quantities
from services.accounting.charging.pieces import Piece
from tests.accounting.test_charged import by_seconds, lines
from tests.accounting.test_lines import CORE, WHOLE, Facts, facts, started, terms
from tests.pricing.cases import START, at, price_list, price_lists, tariff

BUYER, RESELLER = "org_1", "org_2"
HOLDS = st.one_of(st.integers(0, 20_000), st.just(10**18))


def resold(record: Record, wholesale: PriceList) -> Record:
    """The same, sold on by a reseller which buys by `wholesale`."""
    own = record.terms
    bought = replace(
        own,
        organization=RESELLER,
        project="prj_2",
        price_list=wholesale.model_copy(update={"modes": own.price_list.modes}),
    )
    return replace(record, terms=replace(own, reseller=RESELLER, wholesale=bought))


def wholesale_lists() -> st.SearchStrategy[PriceList]:
    return price_lists(minima=True).map(lambda found: found.model_copy(update={"id": "prl_" + "8" * 32}))


@st.composite
def resold_facts(draw: st.DrawFn) -> Facts:
    """Facts of which some attempts are sold on, the others by the provider itself."""
    records, calendar = draw(facts(minima=True))
    attempts = {record.terms.attempt for record in records}
    sold_on = draw(st.sets(st.sampled_from(sorted(attempts)), min_size=1))
    wholesale = draw(wholesale_lists())
    return [
        resold(record, wholesale) if record.terms.attempt in sold_on else record for record in started(records)
    ], calendar


def of_both(
    records: Sequence[Record], calendar: Sequence[PeriodSpan], retail: int, wholesale: int
) -> tuple[Charged, Charged]:
    found = by_buyers(records, calendar, {BUYER: retail, RESELLER: wholesale})
    assert list(found) == list(by_buyer(records))
    return found[BUYER], found[RESELLER]


def of_resources(one: Charged) -> dict[tuple[str, str, int], Counter[str]]:
    """All but the price per job, which falls once in each set."""
    return by_seconds([portion for portion in one.portions if portion.key.component is not Component.JOB])


@given(resold_facts(), HOLDS, HOLDS)
def test_both_sets_have_the_same_seconds_and_bearers_and_keep_their_holds(
    given_facts: Facts, retail: int, wholesale: int
) -> None:
    records, calendar = given_facts
    own, resellers = of_both(records, calendar, retail, wholesale)
    sold_on = {record.run for record in records if record.terms.wholesale}
    both = [of_resources(one) for one in (own, resellers)]
    assert both[1] == {key: units for key, units in both[0].items() if key[0] in sold_on}
    for one, hold in ((own, retail), (resellers, wholesale)):
        assert one.captured == cost(quantities(one.portions)) <= hold
    assert {key.seller for key in lines(resellers)} <= {"prv_1"}
    assert {key.seller for key in lines(own)} <= {"prv_1", RESELLER}
    assert {(key.organization, key.project) for key in lines(resellers)} <= {(RESELLER, "prj_2")}
    if wholesale == 10**18:
        alone = charged(records, calendar, retail)
        assert own == alone


@given(resold_facts(), HOLDS, HOLDS, st.randoms(use_true_random=False))
def test_any_split_and_order_of_facts_gives_equal_sets(
    given_facts: Facts, retail: int, wholesale: int, random: Random
) -> None:
    records, calendar = given_facts
    parts = []
    for record in records:
        (one,) = record.spans
        first, last = to_seconds(one.start) - START, to_seconds(one.end) - START
        for start, end in pairwise(sorted({first, last, random.randrange(first, last + 1)})):
            parts.append(replace(record, spans=(one.model_copy(update={"start": at(start), "end": at(end)}),)))
    random.shuffle(parts)
    for parted, whole in zip(
        of_both(parts, calendar, retail, wholesale), of_both(records, calendar, retail, wholesale), strict=True
    ):
        assert lines(parted) == lines(whole)
        assert parted[1:] == whole[1:]


@given(resold_facts(), st.booleans(), price_lists(minima=True), HOLDS, HOLDS)
def test_a_correction_of_one_price_list_moves_its_set_alone(
    given_facts: Facts, of_retail: bool, right: PriceList, retail: int, wholesale: int
) -> None:
    records, calendar = given_facts
    over_all = (Piece(START - 100, START + 1000, right.model_copy(update={"id": "prl_" + "7" * 32})),)

    def corrected(record: Record) -> Record:
        own = record.terms
        if own.wholesale is None:
            return record
        if of_retail:
            return replace(record, terms=replace(own, corrections=over_all))
        return replace(record, terms=replace(own, wholesale=replace(own.wholesale, corrections=over_all)))

    before = of_both(records, calendar, retail, wholesale)
    after = of_both([corrected(record) for record in records], calendar, retail, wholesale)
    kept = 1 if of_retail else 0
    assert after[kept] == before[kept]
    assert (after[1 - kept].captured, after[1 - kept].overrun_from) == (
        before[1 - kept].captured,
        before[1 - kept].overrun_from,
    )


def test_what_one_hold_does_not_cover_is_the_providers_in_both_sets() -> None:
    """Ten seconds of a core at 0.02, bought at 0.01."""
    retail, wholesale = (
        price_list(tariff("t", 0, None, cpu_core_hour=price)).model_copy(update={"id": f"prl_{price}"})
        for price in ("72", "36")
    )
    record = resold(Record("run_a", START, (CORE,), terms(retail), None), wholesale)

    def bears(retail_hold: int, wholesale_hold: int) -> list[tuple[int, int | None]]:
        both = of_both([record], WHOLE, retail_hold, wholesale_hold)
        return [(one.captured, one.overrun_from and one.overrun_from - START) for one in both]

    assert bears(20, 10) == [(20, None), (10, None)]
    assert bears(8, 10) == [(8, 4), (4, 4)]
    assert bears(20, 3) == [(6, 3), (3, 3)]


def test_the_price_per_job_falls_in_the_first_second_of_each_set() -> None:
    """The provider sells the first run itself, and the second to a reseller."""
    direct, retail, wholesale = (
        price_list(tariff("t", 0, None, job=price)).model_copy(update={"id": f"prl_{price}"})
        for price in ("0.30", "0.20", "0.10")
    )
    first = Record("run_a", START, (CORE,), terms(direct, "att_1"), None)
    later = CORE.model_copy(update={"start": at(20), "end": at(30)})
    second = resold(Record("run_b", None, (later,), terms(retail, "att_2"), None), wholesale)
    own, resellers = of_both([first, second], WHOLE, 100, 100)
    assert (own.captured, resellers.captured) == (30, 10)
    (job,) = [portion for portion in resellers.portions if portion.key.component is Component.JOB]
    assert (job.run, job.start) == ("run_b", START + 20)
