"""The script that is written from docs/ alone gives the pages' own figures."""

import ast
import random
from itertools import pairwise
from pathlib import Path

import pytest

from bench.city.independent.books import funds, ledger, statements
from bench.city.independent.closing import taken_off
from bench.city.independent.lines import Key
from bench.city.independent.reading import halves_away
from bench.city.independent.tax import Row, put_tax
from bench.city.independent.windows import PriceList, month
from tests.city.told import (
    ROOT,
    Fact,
    at,
    block,
    charged,
    close,
    event,
    fen_of,
    final,
    flat,
    placed,
    play,
    price_list,
    request,
    rows,
    used,
    utc,
)

HOUR = 3600


def test_it_imports_nothing_but_the_standard_library_and_itself() -> None:
    allowed = {"argparse", "bisect", "collections", "dataclasses", "datetime", "fractions", "functools", "itertools"}
    allowed |= {"json", "pathlib", "sys", "typing", "zoneinfo"}
    for path in (ROOT / "bench/city/independent").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom | ast.Import):
                name = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
                root = str(name).split(".")[0]
                assert root in allowed or str(name).startswith("bench.city.independent"), (path.name, name)
            assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), path.name


def test_peak_flat_and_off_peak() -> None:
    city = play(price_list(**block("prices.md", "peak")), placed(), used("2026-03-06 21:00", 3 * HOUR, accelerators=8))
    amounts = {key[1]: amount for key, (_, amount) in charged(city, component="accelerator_hour").items()}
    assert amounts == {"peak": 9600, "flat": 6400, "off-peak": 3200}


def test_three_days_from_a_holiday_into_workdays() -> None:
    calendar = [
        {"year": 2026, "holidays": {f"2026-10-0{day}": "国庆节" for day in range(1, 8)}, "working_weekends": {}}
    ]
    terms = block("prices.md", "peak") | {"calendar": calendar}
    city = play(price_list(**terms), placed(), used("2026-10-06 20:00", 72 * HOUR, accelerators=8))
    found = {key[1]: value for key, value in charged(city, component="accelerator_hour").items()}
    assert found == {"flat": (1036800, 230400), "off-peak": (691200, 76800), "peak": (345600, 115200)}


def test_an_hour_that_comes_twice_is_priced_twice_as_the_same_window() -> None:
    window = {"name": "small hours", "times": [{"starts": "02:00", "ends": "03:00"}], "prices": {"cpu_core_hour": "2"}}
    known = PriceList.read(price_list(zone="Europe/Berlin", **flat("1", windows=[window]))["data"])
    start = int(at("2026-10-25 08:00").timestamp())  # 02:00 in Berlin, summer time
    pieces = known.rates(known.chain("org_1", None, {}), start, start + 3 * HOUR)
    seconds = {rate.window: sum(end - begin for begin, end, other in pieces if other is rate) for *_, rate in pieces}
    assert seconds == {"flat": HOUR, "small hours": 2 * HOUR}


@pytest.mark.parametrize(
    ("buyer", "day", "fen"),
    [
        ({}, "2026-03-15", 6400),
        ({"options": {"qos": "high"}}, "2026-03-15", 9600),
        ({"price_class": "高校"}, "2026-03-15", 4800),
        ({"price_class": "高校", "options": {"qos": "high"}}, "2026-03-15", 4800),
        ({"organization": "org_0198c0de0000700080000000000000aa"}, "2026-03-15", 4000),
        ({"organization": "org_0198c0de0000700080000000000000aa"}, "2026-04-15", 6400),
    ],
)
def test_prices_for_some(buyer: Fact, day: str, fen: int) -> None:
    facts = price_list(**block("prices.md", "buyers")), placed(**buyer), used(f"{day} 12:00", HOUR, accelerators=8)
    assert fen_of(play(*facts)) == fen


def _array(*outcomes: str) -> list[Fact]:
    facts = [price_list(**block("prices.md", "job")), *placed()]
    for number, (start, outcome) in enumerate(zip(("11:20", "11:25", "12:00"), outcomes, strict=True)):
        facts += [*used(f"2026-03-06 {start}", 60, run=f"run_{number}", cpus=1), final(outcome, f"run_{number}")]
    return facts


def test_the_price_per_job_falls_in_the_first_second_that_counts() -> None:
    for outcomes, price in (
        (("succeeded", "succeeded", "succeeded"), {"peak": (1, 50)}),
        (("site", "user", "succeeded"), {"peak": (1, 50)}),
        (("site", "preempted", "succeeded"), {"flat": (1, 20)}),
        (("site", "lost", "duplicate"), {}),
    ):
        found = charged(play(_array(*outcomes)), component="job")
        assert {key[1]: value for key, value in found.items()} == price


def test_a_job_without_a_price_per_job_has_the_line_all_the_same() -> None:
    city = play(price_list(**flat("1.00")), placed(), used("2026-03-06 12:00", 60, cpus=1))
    assert charged(city, component="job") == {("job", "all", "organization", None): (1, 0)}


def test_each_end_has_its_bearer_as_the_page_says() -> None:
    page = (ROOT / "docs/prices.md").read_text(encoding="utf-8").partition("<!-- bearers:")[2].partition("\n\n")[0]
    table = [[cell.strip(" `") for cell in line.split("|")[1:4]] for line in page.splitlines() if line[:3] == "| `"]
    assert len(table) == 9
    for ended, bearer, reason in table:
        outcome, _, by = ended.replace("`", "").partition(", where preempted_borne_by is ")
        attempt = placed(preempted_borne_by=by or "organization")
        facts = price_list(**flat("1.00")), attempt, used("2026-03-06 12:00", 60, cpus=1), final(outcome)
        assert set(charged(play(*facts), component="cpu_core_hour")) == {
            ("cpu_core_hour", "all", bearer, reason or None)
        }
    contested = request("contest_run", {"run": "run_1", "reason": "x"}, "con_1")
    upheld = request("decide_contest", {"decision": "uphold", "words": "x"}, contest="con_1")
    assert {key[2] for key in charged(play(*facts, contested, upheld))} == {"organization"}


GRANT = {"nodes": 1, "cpus": 2, "memory_mib": 0, "accelerators": 0, "accelerator": None, "max_seconds": 600}


def test_what_is_beyond_the_grant_is_the_provider_s() -> None:
    begins = used("2026-03-06 12:00", 500, cpus=3), used("2026-03-06 14:00", 200, cpus=2)
    city = play(price_list(**flat("1.00")), placed(grant=GRANT), *begins)
    found = {key[2:]: quantity for key, (quantity, _) in charged(city, component="cpu_core_hour").items()}
    assert found == {("organization", None): 1200, ("provider", "overrun"): 700}


def test_what_would_pass_the_hold_is_the_provider_s_from_that_second_on() -> None:
    runs = [used("2026-03-06 12:00", 2 * HOUR, run=run, cpus=1) for run in ("run_2", "run_1")]
    city = play(price_list(**flat("1.00")), placed(hold="2.00"), *runs)
    # 7217 core-seconds are 200.47 fen, rounded 200; the next, of run_2 in the same second, makes them 200.50 and 201
    found = {key[2:]: value for key, value in charged(city, component="cpu_core_hour").items()}
    assert found[("organization", None)] == (7217, 200)
    assert found[("provider", "overrun")] == (4 * HOUR - 7217, 200)
    [job] = city.closing.charges.values()
    assert job.captured == 200


def test_the_last_hold_told_counts_for_what_was_used_before() -> None:
    more = request(
        "put_hold", {"revision": 2, "organization": "org_1", "project": "prj_1", "amount": "9.00"}, job="job_1"
    )
    city = play(price_list(**flat("1.00")), placed(hold="2.00"), used("2026-03-06 12:00", 4 * HOUR, cpus=1), more)
    assert fen_of(city) == 400
    assert fen_of(city, "provider") == 0


def _minimum(hold: str) -> dict[str, tuple[int, int]]:
    facts = (
        price_list(**block("prices.md", "minimum")),
        placed(hold=hold),
        used("2026-03-06 12:00", 360, accelerators=1),
    )
    assert not charged(play(*facts), component="minimum_charge")
    found = charged(play(*facts, event("attempt.ended", attempt="att_1", job="job_1")), component="minimum_charge")
    return {key[2]: value for key, value in found.items()}


def test_a_minimum_charge_adds_what_an_attempt_lacks_and_the_hold_has() -> None:
    assert _minimum("5.00") == {"organization": (90, 90)}
    assert _minimum("1.60") == {"organization": (50, 50), "provider": (40, 40)}


def test_the_hold_pays_minimums_in_the_order_of_last_billed_seconds() -> None:
    facts = [price_list(**block("prices.md", "minimum")), *placed(hold="3.50"), *placed("att_2", hold="3.50")]
    facts += used("2026-03-06 12:10", 360, run="run_1", accelerators=1)
    facts += used("2026-03-06 12:00", 360, run="run_2", attempt="att_2", accelerators=1)
    facts += [event("attempt.ended", attempt=attempt, job="job_1") for attempt in ("att_1", "att_2")]
    found = {(row.key.attempt, row.key.bearer): row.amount for row in rows(play(facts)) if row.key.attempt}
    assert found == {
        ("att_1", "organization"): 70,
        ("att_1", "provider"): 50,
        ("att_2", "organization"): 90,
    }


def test_modes_come_before_all_else() -> None:
    terms = block("prices.md", "peak") | {"modes": block("prices.md", "modes")}
    city = play(price_list(**terms), placed(), used("2026-03-06 21:00", 3 * HOUR, accelerators=8), final("site"))
    assert fen_of(city, "nobody", reason="notional") == 9600
    assert fen_of(city, "provider", reason="site_fault") == 9600


def test_volume_discounts() -> None:
    tiers = PriceList.read(price_list(**block("prices.md", "volume"))["data"]).tiers["cpu_core_hour"]
    assert taken_off("cpu_core_hour", tiers, 60_000 * HOUR, 600_000) == 32_500
    assert taken_off("cpu_core_hour", tiers, 60_000 * HOUR, 450_000) == 24_375
    assert taken_off("cpu_core_hour", tiers, 10_000 * HOUR, 100_000) == 0


def test_late_usage_is_discounted_with_all_of_its_period() -> None:
    start = price_list(**block("prices.md", "volume")), placed()
    first = used("2026-03-06 12:00", HOUR, cpus=30_000)
    late = used("2026-03-07 12:00", HOUR, run="run_2", cpus=30_000)
    whole = play(*start, first, late, close("2026-03"))
    split = play(*start, first, close("2026-03"), late, close("2026-04"))
    found = {row.period - row.key.month: row for row in split.closing.rows if row.key.job is None}
    assert [found[0].amount, found[1].amount] == [-10_000, -22_500]
    assert (found[1].quantity, found[1].basis, found[1].corrects) == (30_000 * HOUR, 300_000, found[0].period)
    assert fen_of(whole) == fen_of(split) == 600_000 - 32_500


def _row(amount: int, price_list: str, corrects: int | None = None) -> Row:
    key = Key(
        1, "org_1", "prv_1", "prv_1", "prj_1", "job_1", "job", None, price_list, "t", "flat", "organization", None, None
    )
    return Row(key, 2, corrects, 1, amount)


def test_tax_is_taken_once_and_put_on_lines() -> None:
    section = [_row(10_000, "prl_1"), _row(25_050, "prl_2"), _row(-3_000, "prl_3", 1)]
    put_tax(section, {("prv_1", 1): ("taxed", 600)})
    assert [row.tax for row in section] == [566, 1418, -170]
    equal = [_row(5, "prl_2"), _row(5, "prl_1"), _row(5, "prl_1", 1)]
    put_tax(equal, {("prv_1", 1): ("taxed", 600)})  # 0.28 each: 0.85 is 1 in all
    assert [row.tax for row in equal] == [0, 1, 0]


RULES = [
    request("post_tax_rule", rule | {"treatment": "taxed", "rate": 600, "starts_at": "2025-12-31T16:00:00Z"}, "tax_1")
    for rule in (
        {"seller": "platform", "category": "platform_service"},
        {"seller": "prv_1", "category": "compute_service"},
    )
]
AGREEMENT = {"provider": "prv_1", "rate": 500, "floor": "10.00", "starts_at": "2025-12-31T16:00:00Z"}


def test_fees_statements_funds_and_ledger() -> None:
    city = play(
        price_list(**flat("320.50")),
        RULES,
        request("make_fee_agreement", AGREEMENT, "fee_1"),
        request("record_deposit", {"organization": "org_1", "amount": "500.00", "reference": "a"}, "dep_1"),
        placed(hold="400.00"),
        used("2026-03-06 12:00", HOUR, cpus=1),
        close("2026-03"),
    )
    found = statements(city.closing)
    [period] = city.closing.closed
    sold = found["sells", "prv_1", period]
    assert sold.fee is not None
    assert (sold.gross, sold.tax, sold.fee.amount, sold.fee.tax) == (32_050, 1_814, 1_603, 91)
    assert found["buys", "org_1", period].sections == {("prv_1", ("taxed", 600)): (32_050, 1_814)}
    money = funds(city.closing, rows(city), [])
    assert (money["org_1"].charged, money["org_1"].held, money["org_1"].available) == (32_050, 7_950, 10_000)
    accounts = ledger(city.closing, money, rows(city), [])
    assert accounts == {
        "bank": 50_000,
        "prepaid:org_1": -17_950,
        "payable:prv_1": -30_447,
        "platform_fee": -1_512,
        "output_tax": -91,
    }
    settled = event(
        "job.settled", job="job_1", hold_revision=1, runs=[{"run": "run_1", "hours": {"2026-03-06T04:00:00Z": 2}}]
    )
    city.play([settled])
    assert funds(city.closing, rows(city), [])["org_1"].held == 7_950
    city.play([*used("2026-03-06 12:00", HOUR, cpus=1, revision=2)])
    assert funds(city.closing, rows(city), [])["org_1"].held == 0


def test_a_fee_that_is_due_when_paid_is_refused() -> None:
    with pytest.raises(ValueError, match="due when paid"):
        play(request("make_fee_agreement", AGREEMENT | {"due": "when_paid"}, "fee_1"))


def _corrected() -> tuple[list[Fact], list[Fact]]:
    names = {"offering": "off_1", "price_list": "prl_2", "replaces": ["prl_1"], "reason": "x"}
    body = names | {"starts_at": utc(at("2026-03-01 00:00")), "ends_at": utc(at("2026-03-11 00:00"))}
    facts = [price_list(**flat("1.00")), price_list("prl_2", revision=2, **flat("0.10")), *placed(hold="640.00")]
    facts += used("2026-03-06 12:00", 10 * HOUR, cpus=64)
    approve = request("approve_price_correction", correction="cor_1")
    return facts, [request("propose_price_correction", body, "cor_1"), approve]


def test_a_correction_gives_back_in_the_open_period_what_was_sealed() -> None:
    facts, correction = _corrected()
    city = play(facts, close("2026-03"), correction)
    assert fen_of(city, price_list="prl_1") == 0
    assert fen_of(city, price_list="prl_2") == 6_400
    assert [row.amount for row in city.closing.rows] == [64_000, 0]
    assert sorted(row.amount for row in city.open_rows) == [-64_000, 0, 0, 6_400]
    [share] = city.previews["cor_1"].shares.values()
    assert (share.before, share.after, share.lines) == (64_000, 6_400, 4)
    [job] = city.closing.charges.values()
    assert job.captured == 64_000  # by the prices of placement


def test_a_correction_leaves_the_modes_of_placement() -> None:
    facts, correction = _corrected()
    modes = [{"mode": "notional", "starts_at": utc(at("2026-03-06 14:00"))}]
    facts[0] = price_list(modes=modes, **flat("1.00"))
    city = play(facts, correction)
    assert (fen_of(city), fen_of(city, "nobody")) == (2 * 640, 8 * 640)


def test_a_correction_back_to_the_list_of_placement_leaves_nothing() -> None:
    facts, correction = _corrected()
    back = correction[0] | {"body": correction[0]["body"] | {"price_list": "prl_1"}, "answer": {"id": "cor_2"}}
    city = play(facts, correction, back, request("approve_price_correction", correction="cor_2"), close("2026-03"))
    assert [(row.key.price_list, row.amount) for row in rows(city)] == [("prl_1", 64_000), ("prl_1", 0)]


def test_what_a_district_resells_is_on_two_sets_of_lines() -> None:
    wholesale = flat("6.00", "accelerator_hour")
    retail: Fact = {
        "tariffs": [
            {"name": "t", "starts_at": "2025-12-31T16:00:00Z", "prices": {"accelerator_hour": "7.20", "job": "0.50"}}
        ]
    }
    resale: Fact = {"reseller": "org_d", "project": "prj_d", "price_list": "prl_w", "price_class": None, "options": {}}
    lists = [price_list("prl_w", **wholesale), price_list("prl_r", reseller="org_d", **retail)]

    def city(hold: str, wholesale_hold: str) -> dict[str, int]:
        told = placed(hold=hold, price_list="prl_r", resale=resale | {"hold": wholesale_hold})
        played = play(lists, told, used("2026-03-06 12:00", 3 * HOUR, accelerators=8), close("2026-03"))
        found = statements(played.closing)
        [period] = played.closing.closed
        assert {(side, party) for side, party, _ in found} == {
            ("buys", "org_1"),
            ("buys", "org_d"),
            ("sells", "org_d"),
            ("sells", "prv_1"),
        }
        assert found["sells", "org_d", period].party == "reseller"
        borne = {row.key.seller: row.quantity for row in rows(played) if row.owed and row.key.component != "job"}
        assert borne["org_d"] == borne["prv_1"]
        return {party: found["sells", party, period].gross for party in ("org_d", "prv_1")}

    assert city("230.92", "192.02") == {"org_d": 17_330, "prv_1": 14_400}
    # 72.50: 72.00 of cards, which is 36000 card-seconds; 2 more of the 8 a second still round to that
    assert city("72.50", "192.02") == {"org_d": 7_250, "prv_1": 6_000}
    assert city("230.92", "60.00") == {"org_d": 7_250, "prv_1": 6_000}


def test_a_correction_of_all_lists_concerns_the_seller_of_the_right_one() -> None:
    lists = [price_list("prl_w", **flat("6.00")), price_list("prl_r", reseller="org_d", **flat("7.00"))]
    lists.append(price_list("prl_x", revision=2, **flat("5.00")))
    resale: Fact = {"reseller": "org_d", "project": "prj_d", "price_list": "prl_w", "price_class": None, "options": {}}
    told = placed(price_list="prl_r", resale=resale | {"hold": "90.00"}), used("2026-03-06 12:00", HOUR, cpus=1)
    span = {"starts_at": utc(at("2026-03-01 00:00")), "ends_at": utc(at("2026-04-01 00:00"))}
    body = span | {"offering": "off_1", "price_list": "prl_x", "replaces": "all", "reason": "x"}
    proposed = request("propose_price_correction", body, "cor_1")
    city = play(lists, *told, proposed, request("approve_price_correction", correction="cor_1"))
    assert (fen_of(city, seller="org_d"), fen_of(city, seller="prv_1")) == (700, 500)
    assert set(city.previews["cor_1"].shares) == {"org_d"}


def test_lines_are_the_same_in_any_order_of_telling() -> None:
    start = [price_list(**block("prices.md", "peak")), *placed(hold="150.00", grant=GRANT | {"max_seconds": 9 * HOUR})]
    start += placed("att_2", hold="150.00")
    facts = used("2026-03-06 21:30", 3 * HOUR, run="run_2", accelerators=3, cpus=2)
    facts += used("2026-03-06 22:10", 5 * HOUR, run="run_1", attempt="att_2", accelerators=2, cpus=5)
    facts += used("2026-03-06 21:30", 3 * HOUR, run="run_2", revision=2, accelerators=4, cpus=1)
    facts += [final("site", "run_2"), event("attempt.ended", attempt="att_2", job="job_1")]
    expected = charged(play(start, facts))
    for seed in range(10):
        told = [*facts, *facts]
        random.Random(seed).shuffle(told)
        assert charged(play(start, told)) == expected


def test_the_same_revision_again_changes_nothing_whatever_it_says() -> None:
    first, again = (used("2026-03-06 12:00", HOUR, cpus=cpus) for cpus in (1, 2))
    assert fen_of(play(price_list(**flat("1.00")), placed(), first, again)) == 100


def test_rounding_and_months() -> None:
    assert [halves_away(number, 2) for number in (-3, -1, 1, 3)] == [-2, -1, 1, 2]
    starts = [int(at(day).timestamp()) for day in ("2026-01-31 23:00", "2026-02-01 00:00", "2026-03-01 00:00")]
    assert [month(later) - month(earlier) for earlier, later in pairwise(starts)] == [1, 1]


def test_the_pages_of_the_script_are_short() -> None:
    for path in Path(ROOT / "bench/city/independent").glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) < 300, path.name
