"""The independent checker agrees with bills made by head, and goes red on what a wrong implementation would bill."""

import ast
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import permutations
from pathlib import Path

import pytest

from bench.independent.check import check, main
from bench.independent.recharge import Unusable
from tests.independent.cases import FIRST, PERIODS, PRV, SECOND, Bill, Json, at, ident, line, span, usage, write

ROOT = Path(__file__).parents[2]


def differences(folder: Path) -> list[tuple[str, str, str]]:
    """(kind, recomputed, found) of each difference."""
    return [(d.kind, d.recomputed, d.found) for d in check(folder).differences]


def test_a_right_bill_is_equal_to_the_fen(tmp_path: Path) -> None:
    report = check(Bill().write(tmp_path))
    assert report.differences == []
    assert report.checked == ["lines", "statements", "trial balance"]
    assert report.counts == {
        "usage_records": 5,
        "usage_records_in_force": 4,
        "lines_found": 14,
        "adjustments": 1,
        "lines_compared": 13,
        "lines_in_windows": 0,
        "lines_in_flat_time": 0,
        "lines_of_nobody": 0,
        "lines_of_minimum_charges": 0,
        "lines_of_overrun": 0,
        "lines_nonzero": 6,
        "lines_on_half_a_fen": 1,
        "jobs_priced_after_the_start": 0,
        "jobs_priced_in_a_later_hour": 0,
    }
    assert report.nonzero_share == 0.4615
    assert report.totals["recomputed"] == report.totals["found"] == {"organization": "1.74", "site_fault": "0.10"}
    assert report.totals["payable"] == {PRV: "1.74"}


def test_a_fee_is_reckoned_again_and_comes_off_what_is_payable(tmp_path: Path) -> None:
    bill = Bill()
    bill.charge_fee()
    assert differences(bill.write(tmp_path)) == []


def rounds_half_to_even(bill: Bill) -> None:
    bill.line("b", "cpu_core_hour", "night")["amount"] = "0.02"


def puts_the_edge_a_second_late(bill: Bill) -> None:
    bill.line("b", "cpu_core_hour", "day").update(quantity=11, amount="0.11")
    bill.line("b", "cpu_core_hour", "night").update(quantity=4, amount="0.02")
    bill.line("b", "node_hour", "day").update(quantity=11)
    bill.line("b", "node_hour", "night").update(quantity=4)


def counts_a_record_twice(bill: Bill) -> None:
    bill.line("a", "cpu_core_hour", "day").update(quantity=160, amount="1.60")
    bill.line("a", "node_hour", "day").update(quantity=80)


def charges_by_another_tariff(bill: Bill) -> None:
    for component in ("cpu_core_hour", "node_hour", "job"):
        bill.line("a", component, "day").update(tariff="night")
    bill.line("a", "cpu_core_hour", "night").update(unit_price="18.00", amount="0.40")
    bill.line("a", "job", "night").update(unit_price="0.50", amount="0.50")


def drops_an_adjustment(bill: Bill) -> None:
    bill.lines.pop()


def bills_a_site_fault(bill: Bill) -> None:
    for component in ("cpu_core_hour", "node_hour"):
        bill.line("c", component, "night").update(bearer="organization", reason=None)


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (rounds_half_to_even, [("amount", "0.03", "0.02")]),
        (
            puts_the_edge_a_second_late,
            [
                ("quantity", "10", "11"),
                ("amount", "0.10", "0.11"),
                ("quantity", "5", "4"),
                ("amount", "0.03", "0.02"),
                ("quantity", "10", "11"),
                ("quantity", "5", "4"),
            ],
        ),
        (counts_a_record_twice, [("quantity", "80", "160"), ("amount", "0.80", "1.60"), ("quantity", "40", "80")]),
        (
            charges_by_another_tariff,
            [
                ("line", "80 for 0.80", "no line"),
                ("quantity", "0", "80"),
                ("amount", "0.00", "0.40"),
                ("line", "1 for 0.00", "no line"),
                ("quantity", "0", "1"),
                ("amount", "0.00", "0.50"),
                ("line", "40 for 0.00", "no line"),
                ("quantity", "0", "40"),
            ],
        ),
        (drops_an_adjustment, [("quantity", "62", "31"), ("amount", "0.31", "0.16")]),
        (
            bills_a_site_fault,
            [
                ("quantity", "0", "20"),
                ("amount", "0.00", "0.10"),
                ("line", "20 for 0.10", "no line"),
                ("quantity", "0", "20"),
                ("line", "20 for 0.00", "no line"),
            ],
        ),
    ],
)
def test_a_wrong_bill_is_red(tmp_path: Path, fault: Callable[[Bill], None], seen: list[tuple[str, str, str]]) -> None:
    bill = Bill()
    fault(bill)
    found = [d for d in differences(bill.write(tmp_path)) if d[0] not in ("statement", "ledger")]
    assert found == seen
    assert main([str(tmp_path)]) == 1


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda b: b.line("a", "cpu_core_hour", "day").update(unit_price="36.01"), "unit_price"),
        (lambda b: b.line("a", "cpu_core_hour", "day").update(price_list_revision=2), "price_list_revision"),
        (lambda b: b.line("a", "cpu_core_hour", "day").update(price_list=ident("prl", "x")), "line"),
        (lambda b: b.line("d", "cpu_core_hour", "night").update(amount="0.15"), "sealed"),
        (lambda b: b.lines[-1].update(period=FIRST), "adjustment"),
        (lambda b: b.lines[-1].update(corrects=SECOND), "adjustment"),
        (lambda b: b.lines.append(deepcopy(b.lines[0])), "lines of one key"),
        (lambda b: b.statements[0].update(gross="1.60"), "statement"),
        (lambda b: b.statements[1].update(adjustments="0.15"), "statement"),
        (lambda b: b.statements[1].update(borne_by_provider="0.00"), "statement"),
        (lambda b: b.statements[1].update(notional="0.01"), "statement"),
        (lambda b: b.statements[1].update(tax="0.10"), "statement"),
        (lambda b: b.statements[0].update(line_count=15), "statement"),
        (lambda b: b.statements.pop(), "statement"),
        (lambda b: b.statements[0]["sections"][0].update(tax="0.10", net="1.49"), "statement"),
        (lambda b: b.statements[0]["sections"][0].update(net="1.51"), "statement"),
        (lambda b: b.statements[0]["sections"].clear(), "statement"),
        (lambda b: [s["sections"][0].update(treatment="exempt") for s in b.statements], "statement"),
        (lambda b: b.statements[1].update(payout="1.58"), "statement"),
        (lambda b: b.charge_fee(amount="0.09"), "statement"),
        (lambda b: b.charge_fee(tax="0.00"), "statement"),
        (lambda b: b.charge_fee(posted=False), "ledger"),
        (lambda b: b.trial_balance.update(sum="0.01"), "ledger"),
        (lambda b: b.trial_balance["accounts"][0].update(balance="100.01"), "ledger"),
        (lambda b: b.trial_balance["accounts"][2].update(credit="1.73", balance="-1.73"), "ledger"),
        (lambda b: b.usage.append({**b.usage[0], "hold_amount": "1.00"}), "usage"),
        (lambda b: b.usage.append(usage("a", span("11:59:59", "12:00:01", 1), started="10:00:00")), "usage"),
        (lambda b: b.usage.append(usage("a", span("11:00:00", "11:00:01", 1))), "usage"),
    ],
)
def test_each_rule_has_a_difference_of_its_own(tmp_path: Path, change: Callable[[Bill], object], kind: str) -> None:
    bill = Bill()
    change(bill)
    assert kind in {d[0] for d in differences(bill.write(tmp_path))}


def equal(folder: Path, usage: Sequence[Json], lines: Sequence[Json]) -> None:
    assert check(write(folder, usage, lines)).differences == []


def test_gaps_are_not_charged_and_seconds_without_a_tariff_are_free(tmp_path: Path) -> None:
    used = usage("a", span("08:59:50", "08:59:52", cpus=3), span("08:59:55", "09:00:00", cpus=1))
    more = usage("a", span("09:00:00", "09:00:05", cpus=1), started="08:59:50")
    lines = [
        line("a", "none", "cpu_core_hour", 11, "0.00"),
        line("a", "none", "node_hour", 7, "0.00"),
        line("a", "none", "job", 1, "0.00"),
        line("a", "day", "cpu_core_hour", 5, "0.05"),
        line("a", "day", "node_hour", 5, "0.00"),
    ]
    equal(tmp_path, [more, used], lines)


def test_memory_and_accelerators_have_lines_where_there_are_any(tmp_path: Path) -> None:
    # 1,536 MiB for 10 s = 15 GiB-seconds at a tenth of a fen; 4 cards for 3 s at 2 fen
    used = [
        usage("a", span("10:40:00", "10:40:10", cpus=0, memory_mib=1536)),
        usage("b", span("10:00:00", "10:00:03", cpus=0, accelerators=4)),
    ]
    lines = [
        line("a", "night", "memory_gib_hour", 15_360, "0.02"),
        line("a", "night", "node_hour", 10, "0.00"),
        line("a", "night", "job", 1, "0.50"),
        line("b", "day", "accelerator_hour", 12, "0.24"),
        line("b", "day", "node_hour", 3, "0.00"),
        line("b", "day", "job", 1, "0.00"),
    ]
    equal(tmp_path, used, lines)


def test_each_period_rounds_its_own_seconds(tmp_path: Path) -> None:
    used = [
        usage("a", span("11:59:57", "12:00:00", cpus=1), started="11:59:57"),
        usage("a", span("12:00:00", "12:00:05", cpus=1), started="11:59:57"),
    ]
    lines = [
        line("a", "night", "cpu_core_hour", 3, "0.02"),
        line("a", "night", "node_hour", 3, "0.00"),
        line("a", "night", "job", 1, "0.50"),
        line("a", "night", "cpu_core_hour", 5, "0.03", period=SECOND),
        line("a", "night", "node_hour", 5, "0.00", period=SECOND),
    ]
    equal(tmp_path, used, lines)


def test_the_last_revision_replaces_the_hour_and_doubles_are_harmless(tmp_path: Path) -> None:
    last = usage("a", revision=3, started="10:00:00")
    first = usage("a", span("10:00:00", "10:00:40", cpus=2))
    equal(tmp_path, [last, first, last, first], [])


def held(
    period: str, tariff: str, seconds: int, cost: str, *, job: str | None = None, reason: str | None = None
) -> list[Json]:
    """Lines of job a, a core and a node of it; with the price per job, if it stands here."""
    once = [] if job is None else [line("a", tariff, "job", 1, job, period=period)]
    core = line("a", tariff, "cpu_core_hour", seconds, cost, reason, period)
    return [core, line("a", tariff, "node_hour", seconds, "0.00", reason, period), *once]


@pytest.mark.parametrize(
    ("started", "first", "lines"),
    [
        ("10:40:00", "10:40:03", held(FIRST, "night", 4, "0.02", job="0.50")),
        ("10:29:50", "10:30:00", held(FIRST, "night", 4, "0.02", job="0.50")),
        ("08:59:50", "10:00:00", held(FIRST, "day", 4, "0.04", job="0.00")),
        ("11:59:59", "12:00:00", held(SECOND, "night", 4, "0.02", job="0.50")),
        ("10:59:59", "13:00:00", held(SECOND, "night", 4, "0.02", job="0.50")),
        ("13:00:00", "10:30:00", held(FIRST, "night", 4, "0.02", job="0.50")),
    ],
    ids=["seconds", "tariff", "hour", "period", "hours", "earlier"],
)
def test_the_price_per_job_falls_in_the_first_second_held_wherever_the_start_lies(
    tmp_path: Path, started: str, first: str, lines: list[Json]
) -> None:
    nothing = usage("a", started=started)
    used = usage("a", span(first, f"{first[:6]}{int(first[6:]) + 4:02}", cpus=1), started=started)
    same_hour = nothing["record"]["hour"] == used["record"]["hour"]
    equal(tmp_path, [used] if same_hour else [used, nothing], lines)


def test_the_price_per_job_falls_once_in_whatever_order_hours_come(tmp_path: Path) -> None:
    first = usage("a", started="09:50:00")
    second = usage("a", span("10:45:00", "10:45:02", 1), span("10:50:00", "10:50:01", 1), started="09:50:00")
    third = usage("a", span("11:00:00", "11:00:03", 1), started="09:50:00")
    fourth = usage("a", started="09:50:00")
    fourth["record"]["hour"] = at("12:00:00")
    for order in permutations((first, second, third, fourth)):
        equal(tmp_path, order, held(FIRST, "night", 6, "0.03", job="0.50"))


def test_a_job_has_its_price_once_in_the_first_second_of_its_runs_that_no_provider_bears(tmp_path: Path) -> None:
    def ended(*outcomes: str | None) -> list[Json]:
        first, second = outcomes
        return [
            usage("a", span("10:00:00", "10:00:04", cpus=1), run="r1", outcome=first),
            usage("a", span("10:40:00", "10:40:04", cpus=1), run="r2", outcome=second, started="10:00:00"),
            usage("a", run="r3", started="09:00:00"),
        ]

    day, night = held(FIRST, "day", 4, "0.04", job="0.00"), held(FIRST, "night", 4, "0.02")
    equal(tmp_path, ended("succeeded", None), day + night)
    by_site = held(FIRST, "day", 4, "0.04", reason="site_fault")
    equal(tmp_path, ended("site", None), by_site + held(FIRST, "night", 4, "0.02", job="0.50"))
    equal(tmp_path, ended("lost", "site"), by_site + held(FIRST, "night", 4, "0.02", reason="site_fault"))


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        (
            [span("10:40:30", "10:40:34", 1)],
            [span("10:29:58", "10:30:02", 1)],
            held(FIRST, "day", 2, "0.02", job="0.00") + held(FIRST, "night", 6, "0.03"),
        ),
        (
            [span("10:29:58", "10:30:02", 1)],
            [span("10:40:30", "10:40:34", 1)],
            held(FIRST, "night", 8, "0.04", job="0.50"),
        ),
        ([span("10:00:00", "10:00:04", 1)], [], held(FIRST, "night", 4, "0.02", job="0.50")),
        (
            [],
            [span("10:00:00", "10:00:04", 1)],
            held(FIRST, "day", 4, "0.04", job="0.00") + held(FIRST, "night", 4, "0.02"),
        ),
    ],
    ids=["earlier", "later", "into a later hour", "into an earlier hour"],
)
def test_a_correction_moves_the_price_per_job(
    tmp_path: Path, before: list[Json], after: list[Json], lines: list[Json]
) -> None:
    next_hour = usage("a", span("11:00:00", "11:00:04", 1), started="10:00:00")
    revisions = [
        usage("a", *spans, revision=revision, started="10:00:00") for revision, spans in ((1, before), (2, after))
    ]
    equal(tmp_path, [*reversed(revisions), next_hour], lines)


def test_a_correction_that_leaves_nothing_held_leaves_no_price_per_job(tmp_path: Path) -> None:
    first = usage("a", revision=2, started="10:00:00")
    taken_back = usage("a", revision=2, started="10:00:00")
    taken_back["record"]["hour"] = at("11:00:00")
    used = [usage("a", span("10:40:00", "10:40:04", 1), started="10:00:00"), first]
    used += [usage("a", span("11:00:00", "11:00:04", 1), started="10:00:00"), taken_back]
    equal(tmp_path, used, [])


@pytest.mark.parametrize(
    ("once", "seen"),
    [
        ([], [("line", "1 for 0.50", "no line")]),
        ([line("a", "day", "job", 1, "0.00")], [("quantity", "0", "1"), ("line", "1 for 0.50", "no line")]),
    ],
    ids=["left out", "charged"],
)
def test_a_price_per_job_in_the_second_of_the_start_is_red(
    tmp_path: Path, once: list[Json], seen: list[tuple[str, str, str]]
) -> None:
    used = usage("a", span("10:30:00", "10:30:04", cpus=1), started="10:29:59")
    write(tmp_path, [used], [*held(FIRST, "night", 4, "0.02"), *once])
    assert differences(tmp_path) == seen


def test_prices_per_job_that_fall_after_the_start_are_counted_where_they_are_not_zero(tmp_path: Path) -> None:
    used = [
        usage("a", span("10:40:00", "10:40:04", cpus=1)),
        usage("b", span("10:40:01", "10:40:04", cpus=1), started="10:40:00"),
        usage("c", span("11:00:00", "11:00:04", cpus=1), started="10:59:59"),
        usage("c", span("12:00:00", "12:00:04", cpus=1), started="10:59:59"),
        usage("d", span("10:00:00", "10:00:04", cpus=1), started="09:59:00"),
        usage("e", started="10:40:00"),
    ]
    counts = check(write(tmp_path, used, [])).counts
    assert (counts["jobs_priced_after_the_start"], counts["jobs_priced_in_a_later_hour"]) == (2, 1)


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [("lost", "site_fault"), ("preempted", "preempted"), ("duplicate", "duplicate"), ("limit", None), (None, None)],
)
def test_the_outcome_says_who_bears_the_run(tmp_path: Path, outcome: str | None, reason: str | None) -> None:
    lines = [
        line("a", "day", "cpu_core_hour", 7, "0.07", reason),
        line("a", "day", "node_hour", 7, "0.00", reason),
        *([] if reason else [line("a", "day", "job", 1, "0.00")]),
    ]
    equal(tmp_path, [usage("a", span("10:00:00", "10:00:07", cpus=1), outcome=outcome)], lines)


def test_what_was_preempted_is_borne_as_its_attempt_was_placed(tmp_path: Path) -> None:
    used = usage("a", span("10:00:00", "10:00:07", cpus=1), outcome="preempted")
    lines = [
        line("a", "day", "cpu_core_hour", 7, "0.07"),
        line("a", "day", "node_hour", 7, "0.00"),
        line("a", "day", "job", 1, "0.00"),
    ]
    equal(tmp_path, [used | {"preempted_borne_by": "organization"}], lines)
    write(tmp_path, [used | {"preempted_borne_by": "provider"}], lines)
    assert differences(tmp_path)
    with pytest.raises(Unusable):
        check(write(tmp_path, [used | {"preempted_borne_by": "nobody"}], lines))


def test_what_passes_the_hold_is_cut_at_a_second_of_a_run(tmp_path: Path) -> None:
    # 3 fen a second for 10 s against 10 fen: three seconds of both runs, then the first run's fourth
    used = [
        usage("a", span("10:00:00", "10:00:10", cpus=2), run="r2", hold="0.10"),
        usage("a", span("10:00:00", "10:00:10", cpus=1), run="r1", hold="0.10"),
    ]
    lines = [
        line("a", "day", "cpu_core_hour", 10, "0.10"),
        line("a", "day", "cpu_core_hour", 20, "0.20", "overrun"),
        line("a", "day", "node_hour", 7, "0.00"),
        line("a", "day", "node_hour", 13, "0.00", "overrun"),
        line("a", "day", "job", 1, "0.00"),
    ]
    equal(tmp_path, used, lines)


def test_what_was_held_beyond_the_grant_is_overrun_by_units_and_by_seconds(tmp_path: Path) -> None:
    # two cores for ten seconds are granted: six seconds of three cores, a pause, and five of two
    grant = {"nodes": 1, "cpus": 2, "memory_mib": 1, "accelerators": 0, "accelerator": None, "max_seconds": 10}
    spans = span("10:00:00", "10:00:06", cpus=3), span("10:00:30", "10:00:35", cpus=2)
    lines = [
        line("a", "day", "cpu_core_hour", 20, "0.20"),
        line("a", "day", "cpu_core_hour", 8, "0.08", "overrun"),
        line("a", "day", "node_hour", 10, "0.00"),
        line("a", "day", "node_hour", 1, "0.00", "overrun"),
        line("a", "day", "job", 1, "0.00"),
    ]
    equal(tmp_path, [usage("a", *spans) | {"grant": grant}], lines)


def test_usage_of_a_faulty_site_takes_nothing_from_the_hold(tmp_path: Path) -> None:
    used = [
        usage("a", span("10:00:00", "10:00:10", cpus=1), run="r1", hold="0.10", outcome="site"),
        usage("a", span("10:01:00", "10:01:10", cpus=1), run="r2", hold="0.10"),
    ]
    lines = [
        *(line("a", "day", "cpu_core_hour", 10, "0.10", reason) for reason in (None, "site_fault")),
        *(line("a", "day", "node_hour", 10, "0.00", reason) for reason in (None, "site_fault")),
        line("a", "day", "job", 1, "0.00"),
    ]
    equal(tmp_path, used, lines)


def test_a_price_per_job_above_the_hold_is_the_providers_with_all_that_follows(tmp_path: Path) -> None:
    lines = [
        line("a", "night", "cpu_core_hour", 5, "0.03", "overrun"),
        line("a", "night", "node_hour", 5, "0.00", "overrun"),
        line("a", "night", "job", 1, "0.50", "overrun"),
    ]
    equal(tmp_path, [usage("a", span("10:40:00", "10:40:05", cpus=1), hold="0.49")], lines)


def test_a_fault_found_after_the_close_moves_the_lines_by_adjustments(tmp_path: Path) -> None:
    amounts = [("cpu_core_hour", 5, "0.03"), ("node_hour", 5, "0.00"), ("job", 1, "0.50")]
    lines = [line("a", "night", *figures) for figures in amounts]
    for component, quantity, amount in amounts:
        back = "0.00" if amount == "0.00" else f"-{amount}"
        lines.append(line("a", "night", component, -quantity, back, period=SECOND, corrects=FIRST))
        if component != "job":
            lines.append(line("a", "night", component, quantity, amount, "site_fault", period=SECOND, corrects=FIRST))
    equal(tmp_path, [usage("a", span("10:40:00", "10:40:05", cpus=1), outcome="site")], lines)


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b.lines[0].update(amount=0.8),
        lambda b: b.lines[0].update(amount="0.8"),
        lambda b: b.lines[0].pop("tariff"),
        lambda b: b.usage[0].update(outcome="evicted"),
        lambda b: b.usage.append(usage("e", {**span("10:00:00", "10:00:01", 1), "end": "2026-01-10T10:00:01"})),
        lambda b: setattr(b, "periods", PERIODS[1:]),
        lambda b: setattr(b, "lines", {"items": b.lines, "next": "more"}),
    ],
)
def test_input_that_it_cannot_judge_is_no_verdict(tmp_path: Path, change: Callable[[Bill], object]) -> None:
    bill = Bill()
    change(bill)
    bill.write(tmp_path)
    with pytest.raises(Unusable):
        check(tmp_path)
    assert main([str(tmp_path)]) == 2


def test_it_runs_as_a_command_without_any_installed_package(tmp_path: Path) -> None:
    bill = Bill()
    command = [sys.executable, "-S", "-m", "bench.independent.check", str(bill.write(tmp_path))]
    right = subprocess.run([*command, "--json"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (right.returncode, right.stderr) == (0, "")
    assert json.loads(right.stdout)["equal"] is True
    drops_an_adjustment(bill)
    bill.write(tmp_path)
    wrong = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert wrong.returncode == 1
    assert "cpu_core_hour" in wrong.stdout and "0.31" in wrong.stdout


def test_it_imports_the_standard_library_and_itself_only() -> None:
    for path in (
        ROOT / "bench" / "independent" / f"{name}.py" for name in ("check", "compare", "discounts", "recharge")
    ):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or "."]
            for name in names:
                own = name in {f"bench.independent.{one}" for one in ("recharge", "compare", "discounts", "taxes")}
                assert own or name.split(".")[0] in sys.stdlib_module_names, (path.name, name)


def test_an_instant_with_another_offset_is_the_same_second(tmp_path: Path) -> None:
    used = usage("a", span("10:00:00", "10:00:07", cpus=1))
    used["record"]["spans"][0]["start"] = "2026-01-10T18:00:00+08:00"
    lines = [
        line("a", "day", "cpu_core_hour", 7, "0.07"),
        line("a", "day", "node_hour", 7, "0.00"),
        line("a", "day", "job", 1, "0.00"),
    ]
    assert used["record"]["run_started_at"] == at("10:00:00")
    equal(tmp_path, [used], lines)
