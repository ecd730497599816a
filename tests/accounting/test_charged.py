"""What price corrections do to a job's lines, as a function of its facts. The oracle goes second by second."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from caravan.contracts.prices import Component, PriceList
from caravan.kernel.clock import to_seconds
from services.accounting.charging.charged import Charged, charged, is_corrected
from services.accounting.charging.lines import Key, Portion, Record, Terms, cost, portions, quantities
from services.accounting.charging.pieces import Piece, pieces
from tests.accounting.test_lines import CORE, WHOLE, Facts, facts, least, started, terms
from tests.pricing.cases import START, at, price_list, price_lists, tariff

ENOUGH = 10**18
LISTS = [
    price_list(tariff("t", 0, None, cpu_core_hour=price)).model_copy(update={"id": f"prl_{number:032x}"})
    for number, price in enumerate(("36", "3.6", "72"))
]


def rights(number: int = 9) -> st.SearchStrategy[PriceList]:
    """Lists that nothing was placed by."""
    return price_lists(minima=True).map(lambda found: found.model_copy(update={"id": f"prl_{number + 100:032x}"}))


@st.composite
def corrections(draw: st.DrawFn) -> tuple[Piece, ...]:
    """Up to three over the minute that the facts lie in, in the order of their approval."""
    found = []
    for number in range(draw(st.integers(0, 3))):
        start = draw(st.integers(-5, 59))
        right = draw(st.sampled_from(LISTS) if draw(st.booleans()) else rights(number))
        found.append(Piece(START + start, START + draw(st.integers(start + 1, 70)), right))
    return tuple(found)


@st.composite
def corrected_facts(draw: st.DrawFn) -> Facts:
    """Facts of which some attempts have corrections."""
    records, calendar = draw(facts(minima=True))
    by_list = {record.terms.price_list.id: draw(corrections()) for record in records}
    return [with_corrections(record, by_list[record.terms.price_list.id]) for record in started(records)], calendar


def with_corrections(record: Record, some: tuple[Piece, ...]) -> Record:
    return replace(record, terms=replace(record.terms, corrections=some))


def by_seconds(portions: list[Portion]) -> dict[tuple[str, str, int], Counter[str]]:
    """Units by the reason for their bearer, for each component of each run in each second: what is no top-up."""
    found: dict[tuple[str, str, int], Counter[str]] = {}
    for portion in portions:
        if portion.key.component is Component.MINIMUM_CHARGE:
            continue
        for second in range(portion.start, portion.end):
            key = portion.run, f"{portion.key.component} {portion.key.accelerator}", second
            found.setdefault(key, Counter())[portion.key.reason] += portion.units
    return found


def lines(comes_to: Charged) -> dict[Key, int]:
    return dict(quantities(comes_to.portions))


def passed(comes_to: Charged) -> Counter[str]:
    """By attempt: what the provider bears of its top-up, in fen."""
    found: Counter[str] = Counter()
    for key, fen in quantities(comes_to.portions).items():
        if key.component is Component.MINIMUM_CHARGE and not key.billed:
            found[key.attempt] += fen
    return found


@given(corrections(), st.integers(-9, 60), st.integers(1, 30))
def test_each_second_has_the_list_of_the_last_correction_over_it(
    some: tuple[Piece, ...], start: int, long: int
) -> None:
    pinned = LISTS[0]
    cut = pieces(pinned, some, START + start, START + start + long)
    assert (cut[0].start, cut[-1].end) == (START + start, START + start + long)
    for one, other in pairwise(cut):
        assert one.end == other.start
        assert one.price_list.id != other.price_list.id
    for piece in cut:
        for second in range(piece.start, piece.end):
            over = [one.price_list for one in some if one.start <= second < one.end]
            assert piece.price_list == (over[-1] if over else pinned)


@given(corrected_facts(), st.integers(0, 20_000))
def test_a_correction_moves_no_second_and_no_bearer(given_facts: Facts, hold: int) -> None:
    records, calendar = given_facts
    now = charged(records, calendar, hold)
    placed = charged([with_corrections(record, ()) for record in records], calendar, hold)
    seconds, then = by_seconds(now.portions), by_seconds(placed.portions)
    assert seconds.keys() == then.keys()
    for second, units in seconds.items():
        assert units == then[second]
    assert all(fen <= passed(placed)[attempt] for attempt, fen in passed(now).items())
    assert (now.captured, now.overrun_from) == (placed.captured, placed.overrun_from)
    assert now.captured == cost(quantities(placed.portions)) <= hold
    assert now.captured + (now.corrected or 0) == cost(quantities(now.portions))
    assert (now.corrected is not None) == any(is_corrected(record) for record in records)


@given(corrected_facts(), st.integers(0, 20_000), st.randoms(use_true_random=False))
def test_any_split_and_order_of_corrected_records_gives_equal_lines(
    given_facts: Facts, hold: int, random: Random
) -> None:
    records, calendar = given_facts
    parts = []
    for record in records:
        (one,) = record.spans
        first = to_seconds(one.start) - START
        seconds = to_seconds(one.end) - START - first
        for start, end in pairwise(sorted({0, seconds, random.randrange(seconds + 1)})):
            part = one.model_copy(update={"start": at(first + start), "end": at(first + end)})
            parts.append(replace(record, spans=(part,)))
    random.shuffle(parts)
    parted, whole = charged(parts, calendar, hold), charged(records, calendar, hold)
    assert lines(parted) == lines(whole)
    assert parted[1:] == whole[1:]


@given(facts(minima=True), rights())
def test_what_is_corrected_for_all_time_costs_what_it_would_if_it_had_been_placed_so(
    given_facts: Facts, right: PriceList
) -> None:
    records, calendar = started(given_facts[0]), given_facts[1]
    over_all = (Piece(START - 100, START + 1000, right),)

    def so(terms: Terms) -> Terms:
        return replace(terms, price_list=right.model_copy(update={"modes": terms.price_list.modes}))

    placed = [replace(record, terms=so(record.terms)) for record in records]
    corrected = charged([with_corrections(record, over_all) for record in records], calendar, ENOUGH)
    assert lines(corrected) == lines(charged(placed, calendar, ENOUGH))


@given(corrected_facts(), st.data(), st.integers(0, 20_000))
def test_a_correction_and_its_reverse_leave_nothing(given_facts: Facts, data: st.DataObject, hold: int) -> None:
    records, calendar = given_facts
    placed = [with_corrections(record, ()) for record in records]
    start, end = START + data.draw(st.integers(-5, 30)), START + data.draw(st.integers(31, 70))
    right = data.draw(rights())

    def undone(record: Record) -> Record:
        both = (Piece(start, end, right), Piece(start, end, record.terms.price_list))
        return with_corrections(record, both)

    assert charged([undone(record) for record in placed], calendar, hold) == charged(placed, calendar, hold)


def test_the_price_per_job_is_that_of_the_list_of_its_second() -> None:
    wrong, right = (
        price_list(tariff("t", 0, None, cpu_core_hour="36", job=price)).model_copy(update={"id": f"prl_{price * 32}"})
        for price in ("1", "2")
    )
    (record,) = facts_of(wrong)
    for start, price in ((0, "2"), (1, "1")):
        found = charged([with_corrections(record, (Piece(START + start, START + 5, right),))], WHOLE, ENOUGH)
        (job,) = [portion for portion in found.portions if portion.key.component == "job"]
        assert (str(job.key.unit_price), job.key.price_list) == (price, f"prl_{price * 32}")


def facts_of(prices: PriceList) -> list[Record]:
    """A core for ten seconds."""
    return [Record("run_a", START, (CORE,), terms(prices), None)]


def test_what_is_made_dearer_passes_the_hold_and_what_is_cut_off_stays_cut_off() -> None:
    """0.01 a second becomes 0.02: of ten seconds five are held, and these five cost twice as much."""
    wrong, right = LISTS[0], LISTS[2]
    (record,) = facts_of(wrong)
    found = charged([with_corrections(record, (Piece(START, START + 10, right),))], WHOLE, 5)
    assert (found.captured, found.corrected, found.overrun_from) == (5, 5, START + 5)
    cores = [p for p in found.portions if p.key.component == "cpu_core_hour"]
    assert {(p.key.reason, p.start - START, p.end - START) for p in cores} == {("", 0, 5), ("overrun", 5, 10)}
    assert portions(record, WHOLE)[0].key.price_list == wrong.id


def test_a_top_up_goes_by_the_list_of_the_last_second_and_what_the_hold_had_nothing_left_for_stays_the_providers() -> (
    None
):
    """Ten seconds at 0.01, and a minimum of 1.00 of which the hold has 0.40 left: at a tenth of the price nine fen more lack."""
    wrong = price_list(least("t", 0, None, 100, cpu_core_hour="36")).model_copy(update={"id": "prl_w"})
    right = price_list(least("t", 0, None, 100, cpu_core_hour="3.6")).model_copy(update={"id": "prl_r"})
    record = Record("run_a", None, (CORE,), terms(wrong, ended=True), None)

    def topped_up(start: int, end: int, hold: int, prices: PriceList = right) -> list[tuple[str, str, int]]:
        corrected = with_corrections(record, (Piece(START + start, START + end, prices),))
        found = charged([corrected], WHOLE, hold)
        assert found.captured == min(hold, 100)
        assert found.captured + (found.corrected or 0) == cost(quantities(found.portions))
        return sorted(
            (key.price_list, key.reason, fen)
            for key, fen in quantities(found.portions).items()
            if key.component is Component.MINIMUM_CHARGE
        )

    assert topped_up(20, 30, 50) == [("prl_w", "", 40), ("prl_w", "overrun", 50)]
    assert topped_up(0, 10, 50) == [("prl_r", "", 49), ("prl_r", "overrun", 50)]
    assert topped_up(0, 10, 1000) == [("prl_r", "", 99)]
    assert topped_up(0, 9, 1000) == [("prl_w", "", 98)]
    assert topped_up(0, 10, 1000, LISTS[2]) == []
    assert topped_up(0, 10, 50, LISTS[2]) == []
