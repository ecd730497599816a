"""Where lines, holds, top-ups and corrections begin and end: to the second and to the fen, by hand."""

from dataclasses import replace
from decimal import Decimal
from typing import Final

from caravan.contracts.jobs import Outcome
from caravan.contracts.modes import SiteMode
from caravan.contracts.prices import Component
from caravan.contracts.statements import BearerKind
from caravan.contracts.usage import Grant, Span
from services.accounting.charging.charged import by_buyers, charged, corrected, is_corrected, minimum_charges
from services.accounting.charging.lines import (
    Portion,
    Record,
    Start,
    Terms,
    by_buyer,
    first_start,
    mode_of,
    overrun_from,
    paid,
    parted,
    portions,
    time_up,
    used_up,
)
from services.accounting.charging.minimum import top_ups
from services.accounting.charging.pieces import Piece, pieces
from tests.accounting.test_lines import CORE, WHOLE, every, least, lines, terms
from tests.pricing.cases import START, at, mode, price_list, tariff

FEN_A_SECOND: Final = price_list(tariff("t", 0, None, cpu_core_hour="36"))
GRANT: Final = Grant(nodes=1, cpus=1, memory_mib=1, max_seconds=10)


def core(start: int, end: int, cpus: int = 1) -> Span:
    return CORE.model_copy(update={"start": at(start), "end": at(end), "cpus": cpus})


def cores(some: list[Portion]) -> list[tuple[str, int, int]]:
    """(reason, from, to) of the cores, in seconds after T0."""
    return [(p.key.reason, p.start - START, p.end - START) for p in some if p.key.component is Component.CPU_CORE_HOUR]


def run(*spans: Span, of: Terms | None = None, name: str = "run_a", outcome: Outcome | None = None) -> Record:
    return Record(name, None, spans, of or terms(FEN_A_SECOND), outcome)


def test_the_price_of_a_job_falls_in_the_first_second_of_a_record_and_in_the_hour_of_that() -> None:
    start = first_start([run(core(5, 6), core(8, 9))])
    assert start == Start(START + 5, "run_a")
    assert [Start(7200 + second, "run_a").hour for second in (-1, 0, 1, 3599)] == [3600, 7200, 7200, 7200]


def test_time_is_up_in_the_second_that_follows_what_was_granted() -> None:
    assert time_up([core(0, 10)], GRANT) is None
    assert time_up([core(0, 11)], GRANT) == START + 10
    assert time_up([core(20, 25), core(0, 10)], GRANT) == START + 20
    assert time_up([core(20, 25), core(0, 8)], GRANT) == START + 22
    assert time_up([core(0, 99)], None) is None


def test_a_hold_that_is_just_enough_covers_all() -> None:
    some = every([run(core(0, 10))], WHOLE)
    assert used_up(some, 10) is None
    cut = used_up(some, 9)
    assert cut is not None and (cut.second, cut.run) == (START + 9, "run_a")


def test_what_lies_behind_the_second_in_which_the_hold_was_used_up_is_the_providers_and_none_is_without_a_second() -> (
    None
):
    some = portions(run(core(0, 10)), WHOLE)
    for second, (within, behind) in {
        -1: ([], [("overrun", 0, 10)]),
        3: ([("", 0, 4)], [("overrun", 4, 10)]),
        9: ([("", 0, 10)], []),
    }.items():
        found = parted(some, START + second)
        assert (cores(found[0]), cores(found[1])) == (within, behind)
    failed = portions(run(core(0, 10), outcome=Outcome.SITE), WHOLE)
    assert [cores(part) for part in parted(failed, START + 4)] == [[("site_fault", 0, 5)], [("site_fault", 5, 10)]]
    assert overrun_from(some) is None


def test_a_line_says_in_which_mode_its_seconds_are() -> None:
    modes = (mode("tracked", 0), mode("notional", 2), mode("billed", 5))
    prices = price_list(tariff("t", 0, None, cpu_core_hour="36"), modes=modes)
    found = portions(run(core(0, 10), of=terms(prices), outcome=Outcome.SITE), WHOLE)
    assert [mode_of(p.key) for p in found if p.key.component is Component.CPU_CORE_HOUR] == [
        SiteMode.TRACKED,
        SiteMode.NOTIONAL,
        SiteMode.BILLED,
    ]


def test_an_attempt_lacks_what_is_left_to_its_minimum_to_the_fen() -> None:
    prices = price_list(least("t", 0, None, 100, cpu_core_hour="36"))

    def lacks(*spans: Span, of: Terms) -> list[tuple[str, int, int, int]]:
        found = top_ups([(of, portions(run(*spans, of=of), WHOLE))])
        assert all(one.key.component is Component.MINIMUM_CHARGE for one in found)
        return [(one.run, one.start - START, one.end - START, one.units) for one in found]

    ended = terms(prices, ended=True)
    assert lacks(core(0, 9, cpus=11), of=ended) == [("run_a", 8, 9, 1)]
    assert lacks(core(0, 10, cpus=10), of=ended) == lacks(core(0, 101), of=ended) == []
    assert lacks(core(0, 9), of=Terms("org_1", "prj_1", "prv_1", prices)) == [], "it goes on"
    both = [(ended, portions(run(core(0, 5), of=ended, name=name), WHOLE)) for name in ("run_b", "run_a")]
    assert [(one.run, one.units) for one in top_ups(both)] == [("run_b", 90)]


def test_what_a_top_up_is_made_of_goes_by_the_prices_that_hold_now_for_each_who_buys() -> None:
    placed, right, bought = (
        price_list(least("t", 0, None, fen, cpu_core_hour=price, job="0.05")).model_copy(
            update={"id": f"prl_{digit * 32}"}
        )
        for fen, price, digit in ((100, "36", "1"), (200, "72", "8"), (50, "18", "9"))
    )
    correction = (Piece(START, START + 10, right),)
    wholesale = Terms("org_2", "prj_2", "prv_1", bought, "att_1", ended=True)
    of = Terms("org_1", "prj_1", "prv_1", placed, "att_1", ended=True, corrections=correction, wholesale=wholesale)
    going = Terms("org_1", "prj_1", "prv_1", placed, "att_2")
    records = [run(core(0, 10), of=of), run(core(10, 20), of=going, name="run_b")]
    found = minimum_charges(records, WHOLE)
    told = {
        buyer: {
            attempt: (one.minimum, one.seconds, one.per_job, one.last.end - START) for attempt, one in of_buyer.items()
        }
        for buyer, of_buyer in found.items()
    }
    assert told == {"org_1": {"att_1": (200, 20, 5, 10)}, "org_2": {"att_1": (50, 5, 5, 10)}}
    assert minimum_charges([run(core(0, 10), of=of, outcome=Outcome.SITE)], WHOLE) == {"org_1": {}, "org_2": {}}


def test_the_last_of_a_hold_pays_for_top_ups_in_their_order() -> None:
    prices = price_list(least("t", 0, None, 100, cpu_core_hour="36"))
    parts = []
    for number in (2, 1, 3):
        of = terms(prices, f"att_{number}", ended=True)
        parts.append((of, portions(run(core(0, 9), of=of, name=f"run_{number}"), WHOLE)))
    told = [(one.key.attempt, one.key.bearer is BearerKind.ORGANIZATION, one.units) for one in paid(top_ups(parts), 92)]
    assert told == [("att_1", True, 91), ("att_2", True, 1), ("att_2", False, 90), ("att_3", False, 91)]
    assert {key.unit_price for key in lines([run(core(0, 9), of=parts[0][0])], WHOLE, 100)} >= {Decimal("0.01")}


def test_who_sells_time_on_is_owed_for_it_and_else_the_provider() -> None:
    key = portions(run(core(0, 1)), WHOLE)[0].key
    assert (key.seller, key._replace(reseller="org_2").seller) == ("prv_1", "org_2")


RIGHT, OTHER = (FEN_A_SECOND.model_copy(update={"id": f"prl_{digit * 32}"}) for digit in "89")


def test_a_correction_prices_from_its_first_second_to_before_its_end() -> None:
    def cut(*some: Piece) -> list[tuple[int, int, str]]:
        return [(one.start, one.end, one.price_list.id[-1]) for one in pieces(FEN_A_SECOND, some, 10, 20)]

    assert cut() == [(10, 20, "1")]
    assert cut(Piece(10, 20, RIGHT)) == cut(Piece(5, 25, RIGHT)) == [(10, 20, "8")]
    assert cut(Piece(12, 15, RIGHT)) == [(10, 12, "1"), (12, 15, "8"), (15, 20, "1")]
    assert cut(Piece(12, 18, RIGHT), Piece(14, 16, OTHER)) == [
        (10, 12, "1"), (12, 14, "8"), (14, 16, "9"), (16, 18, "8"), (18, 20, "1"),
    ]  # fmt: skip
    assert cut(Piece(12, 14, RIGHT), Piece(14, 16, RIGHT)) == [(10, 12, "1"), (12, 16, "8"), (16, 20, "1")]
    assert cut(Piece(12, 14, RIGHT), Piece(10, 20, FEN_A_SECOND)) == [(10, 20, "1")]
    assert cut(Piece(0, 10, RIGHT), Piece(20, 30, RIGHT)) == [(10, 20, "1")]


def test_a_record_is_corrected_where_a_correction_prices_one_of_its_seconds() -> None:
    def by(*some: Piece) -> Record:
        return run(core(0, 10), of=Terms("org_1", "prj_1", "prv_1", FEN_A_SECOND, corrections=some))

    assert [is_corrected(by(*some)) for some in ((), (Piece(START + 9, START + 10, RIGHT),))] == [False, True]
    assert not is_corrected(by(Piece(START + 10, START + 20, RIGHT)))
    assert corrected([by()]) == [by()]
    assert [record.terms.price_list for record in corrected([by(Piece(START, START + 5, RIGHT))])] == [
        RIGHT,
        FEN_A_SECOND,
    ]


def test_a_correction_that_makes_half_a_job_dearer_adds_just_that() -> None:
    dear = price_list(tariff("t", 0, None, cpu_core_hour="72")).model_copy(update={"id": "prl_" + "8" * 32})
    record = run(
        core(0, 10), of=Terms("org_1", "prj_1", "prv_1", FEN_A_SECOND, corrections=(Piece(0, START + 5, dear),))
    )
    found = charged([record, run(core(10, 12), name="run_b")], WHOLE, 100)
    assert (found.captured, found.corrected, found.overrun_from) == (12, 5, None)
    assert charged([run(core(0, 10))], WHOLE, 100).corrected is None


def test_a_top_up_that_a_correction_makes_less_than_the_hold_had_nothing_left_for_is_the_providers_alone() -> None:
    """Ten seconds at 0.01 and a minimum of 1.00, of which the hold has 0.40 left: at 0.06 only 0.40 lack."""
    placed, dear = (
        price_list(least("t", 0, None, 100, cpu_core_hour=price)).model_copy(update={"id": f"prl_{digit * 32}"})
        for price, digit in (("36", "1"), ("216", "8"))
    )
    of = Terms("org_1", "prj_1", "prv_1", placed, "att_1", ended=True, corrections=(Piece(START, START + 10, dear),))
    found = charged([run(core(0, 10), of=of)], WHOLE, 50)
    told = [(p.key.reason, p.units) for p in found.portions if p.key.component is Component.MINIMUM_CHARGE]
    assert (told, found.captured, found.corrected) == ([("overrun", 40)], 50, 10)


def test_what_is_sold_on_is_bought_twice_and_cut_where_the_first_of_both_holds_is_used_up() -> None:
    """0.02 a second for the member, of which the reseller pays 0.01."""
    retail = price_list(tariff("t", 0, None, cpu_core_hour="72")).model_copy(update={"id": "prl_" + "8" * 32})
    bought = Terms("org_2", "prj_2", "prv_1", FEN_A_SECOND, corrections=(Piece(0, 1, OTHER),))
    sold = Terms("org_1", "prj_1", "prv_1", retail, reseller="org_2", wholesale=bought)
    record = run(core(0, 10), of=sold)
    assert sold.lists == [retail, FEN_A_SECOND, OTHER]
    assert by_buyer([record]) == {"org_1": [record], "org_2": [replace(record, terms=bought)]}
    assert by_buyer([run(core(0, 10))]).keys() == {"org_1"}

    def captured(of: Record, **holds: int) -> dict[str, int]:
        return {buyer: one.captured for buyer, one in by_buyers([of], WHOLE, holds).items()}

    assert captured(record, org_1=100, org_2=100) == {"org_1": 20, "org_2": 10}
    assert captured(record, org_1=8, org_2=100) == {"org_1": 8, "org_2": 4}
    assert captured(record, org_1=100, org_2=3) == {"org_1": 6, "org_2": 3}
    assert captured(record, org_1=100) == {"org_1": 0, "org_2": 0}
    assert captured(run(core(0, 10)), org_1=5) == {"org_1": 5}
    assert captured(run(core(0, 10), outcome=Outcome.SITE)) == {"org_1": 0}
