"""The properties, with as many examples as they are held to: each claim with its tests, and what each of them ran."""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from bench.case import Trial, Verdict, case
from bench.counting import PROPERTY

EXAMPLES: Final = 2000
ON_A_DATABASE: Final = 50
"""Of a state machine, on each. Other properties share theirs between the databases."""
ENGINES: Final = ("sqlite", "postgresql")
ROOT: Final = Path(__file__).parents[2]
AT_ONCE: Final = 2


@dataclass(frozen=True)
class Property:
    """A test that must run `examples`, on each of `databases` where it needs one."""

    test: str
    examples: int = EXAMPLES
    databases: int = 0


def machine(test: str) -> Property:
    """A state machine, or steps in any order, on each database."""
    return Property(test, ON_A_DATABASE, len(ENGINES))


def on_databases(test: str) -> Property:
    return Property(test, EXAMPLES // len(ENGINES), len(ENGINES))


CLAIMS: Final[Mapping[str, Sequence[Property]]] = {
    "any split, order, doubling or revision of usage gives equal lines": (
        Property("tests/pricing/test_charge.py::test_usage_split_at_any_seconds_has_the_same_quantities"),
        Property("tests/pricing/test_charge.py::test_each_second_of_each_component_lies_in_one_piece"),
        Property("tests/broker/test_agent_metering.py::test_how_a_backend_cuts_an_allocation_makes_no_difference"),
        Property("tests/accounting/test_lines.py::test_any_split_and_order_of_records_gives_equal_lines"),
        Property("tests/accounting/test_lines.py::test_lines_are_what_going_second_by_second_gives"),
        Property(
            "tests/accounting/test_lines.py::"
            "test_what_changes_behind_the_second_in_which_the_hold_was_used_up_moves_no_other_line"
        ),
        on_databases(
            "tests/accounting/test_histories.py::test_any_order_doubling_and_revision_of_facts_gives_equal_lines"
        ),
        on_databases(
            "tests/accounting/test_histories.py::test_closed_periods_keep_their_lines_and_sums_stay_once_rounded"
        ),
    ),
    "no second is lost or doubled over any mix of windows, holidays, clocks, tariffs, buyers, modes, periods and hours": (
        Property("tests/accounting/test_all_edges.py::test_no_second_is_lost_or_doubled_over_any_mix_of_edges"),
        Property("tests/pricing/test_charge.py::test_windows_give_each_second_its_tariff_once"),
        Property("tests/pricing/test_buyers.py::test_each_second_is_priced_by_the_tariff_that_goes_before_the_others"),
        Property("tests/pricing/test_explained.py::test_steps_have_each_second_once_and_sum_to_the_quantity"),
        Property("tests/pricing/test_explained.py::test_no_second_is_lost_or_doubled_where_clocks_are_changed"),
        Property("tests/accounting/test_explanation.py::test_a_line_is_told_with_all_its_seconds_and_no_others"),
    ),
    "a job has its price once, an attempt its minimum, and neither passes what is held": (
        Property(
            "tests/accounting/test_lines.py::"
            "test_a_job_has_its_price_once_if_anything_billable_ran_and_no_provider_bears_it_but_by_overrun"
        ),
        Property("tests/accounting/test_lines.py::test_the_organization_never_bears_more_than_the_hold"),
        Property(
            "tests/pricing/test_worst_case.py::"
            "test_attempts_that_have_the_price_per_job_once_are_never_charged_above_what_is_held_for_all"
        ),
        Property(
            "tests/pricing/test_worst_case.py::"
            "test_no_attempts_with_minimum_charges_are_charged_above_what_is_held_for_them"
        ),
    ),
    "net and tax make the gross at every rate": (
        Property("tests/accounting/test_tax.py::test_the_tax_in_a_gross_is_rounded_once"),
        Property(
            "tests/accounting/test_tax.py::test_the_parts_are_the_tax_of_the_sum_and_each_is_its_amounts_within_a_fen"
        ),
        Property(
            "tests/accounting/test_tax.py::test_net_and_tax_make_the_gross_on_each_line_in_each_section_and_in_all"
        ),
        Property("tests/accounting/test_totals.py::test_organizations_and_providers_come_to_the_same_sections"),
        Property("tests/accounting/test_credit_notes.py::test_notes_of_all_of_a_line_give_all_of_its_tax_back"),
    ),
    "volume discounts are exact, and equal in whatever order usage comes": (
        Property("tests/pricing/test_volume.py::test_a_discount_is_exact_and_never_more_than_the_amount"),
        Property("tests/pricing/test_volume.py::test_more_use_or_dearer_use_is_never_discounted_less"),
        Property("tests/independent/test_discounts.py::test_both_ways_to_compute_a_discount_agree"),
        on_databases(
            "tests/accounting/test_discounts.py::test_in_whichever_order_usage_comes_discounts_are_those_of_the_totals"
        ),
    ),
    "vouchers pay shares that are rounded once, within floors and caps, the same in however many closes, and on lines, by sellers and by "
    "funders it sums to that": (
        Property(
            "tests/accounting/test_programme_claims.py::test_no_vouchers_pay_more_than_all_and_never_less_than_the_best_alone"
        ),
        Property(
            "tests/accounting/test_programme_claims.py::test_what_comes_second_pays_with_what_came_first_no_more_than_all"
        ),
        Property(
            "tests/accounting/test_programme_claims.py::"
            "test_shares_are_rounded_once_together_and_a_line_given_back_gives_them_back"
        ),
        Property(
            "tests/accounting/test_programme_claims.py::test_no_claim_passes_its_caps_and_each_has_all_that_they_leave"
        ),
        Property(
            "tests/accounting/test_programme_claims.py::"
            "test_what_a_claim_pays_stands_on_its_lines_in_the_order_of_their_usage"
        ),
        Property(
            "tests/accounting/test_settlements.py::"
            "test_a_discount_gives_back_all_that_it_takes_off_of_those_who_pay_it_together"
        ),
        on_databases(
            "tests/accounting/test_giving_back.py::test_limits_hold_and_closes_settle_whatever_is_given_back_when"
        ),
        on_databases(
            "tests/accounting/test_reimbursement_rhythms.py::test_in_whatever_rhythm_is_claimed_the_same_is_paid_in_all"
        ),
        Property("tests/accounting/test_programme_claims.py::test_funders_pay_the_whole_each_its_part_within_a_fen"),
        Property(
            "tests/accounting/test_programme_payments.py::"
            "test_parts_sum_by_seller_to_what_is_paid_and_by_voucher_to_what_funders_pay_in_all"
        ),
        Property(
            "tests/accounting/test_settlements.py::test_claims_come_to_the_same_in_however_many_closes_their_lines_came"
        ),
        Property(
            "tests/accounting/test_settlements.py::"
            "test_a_voucher_that_deducts_pays_as_if_there_were_none_that_reimburses_in_however_many_closes"
        ),
        Property("tests/accounting/test_previewing.py::test_periods_together_pay_what_closing_one_after_another_pays"),
    ),
    "no more is owed for a job than its hold needs, whatever vouchers are to pay of it": (
        Property(
            "tests/accounting/test_pledges.py::test_however_usage_falls_no_more_is_owed_than_the_organizations_part"
        ),
        Property(
            "tests/accounting/test_pledges.py::test_what_is_paid_is_rounded_once_for_each_rate_in_whichever_pieces"
        ),
        Property("tests/accounting/test_decision.py::test_what_vouchers_pay_is_not_taken_of_funds_and_is_of_budgets"),
    ),
    "reports shuffled, doubled and dropped give a legal end": (
        Property("tests/broker/test_agent_chaos.py::TestChaos::runTest"),
        Property(
            "tests/broker/test_agent_metering.py::test_revisions_grow_over_restarts_and_the_last_ones_are_the_truth"
        ),
        machine("tests/broker/test_reports_shuffled.py::test_reports_shuffled_doubled_and_dropped_come_to_a_legal_end"),
    ),
    "any interleaving between feeds gives equal sums": (
        on_databases("tests/accounting/test_histories.py::test_any_interleaving_of_the_feeds_gives_equal_sums"),
        on_databases("tests/kernel/test_follow.py::test_two_feeds_give_the_same_sums_however_they_interleave"),
        on_databases("tests/kernel/test_follow.py::test_each_event_has_its_effect_once"),
        on_databases("tests/kernel/test_feed.py::test_a_snapshot_and_the_feed_behind_it_make_the_state"),
    ),
    "replaying recorded inputs gives equal statements": (
        on_databases("tests/accounting/test_replay.py::test_replaying_recorded_inputs_gives_equal_statements"),
        Property(
            "tests/accounting/test_replay.py::test_a_service_that_replays_its_recorded_inputs_comes_to_equal_statements",
            0,
            len(ENGINES),
        ),
        on_databases("tests/accounting/test_statements.py::test_any_lines_come_to_statements_that_prove"),
    ),
    "a correction and its reverse leave nothing, whatever facts come between": (
        on_databases(
            "tests/accounting/test_corrected_histories.py::"
            "test_any_history_of_facts_and_corrections_gives_equal_lines_and_the_reverse_leaves_nothing"
        ),
    ),
    "a cancelled request never locks the writer": (
        on_databases(
            "tests/kernel/test_database.py::test_a_caller_that_leaves_neither_locks_the_writer_nor_leaves_half"
        ),
    ),
    "funds and ledger are what a model says, and no job passes its worst case": (
        Property("tests/accounting/test_postings.py::TestAccountModel::runTest"),
        Property("tests/pricing/test_worst_case.py::test_no_schedule_is_charged_above_its_worst_case"),
        Property("tests/accounting/test_decision.py::test_a_refusal_says_the_largest_amount_that_is_granted"),
        machine("tests/accounting/test_funds_machine.py::test_funds_are_what_the_model_says_after_any_steps"),
    ),
}


@dataclass(frozen=True)
class Ran:
    """What came of one test on one engine, or on none."""

    outcome: str
    examples: int


@case(
    "properties",
    claim="Properties hold: usage in any form gives equal lines, no second is lost or doubled over any edges, net and tax make the gross, "
    "volume discounts are equal in any order of usage, vouchers pay within their caps and the same in however many closes, reports in "
    "any order give a legal end, feeds in any interleaving equal sums, a replay equal statements, and a cancelled request never locks the "
    "writer",
    goal=f"{EXAMPLES:,} examples each; of state machines also {ON_A_DATABASE} on each database",
)
def properties(trial: Trial) -> Verdict:
    every = [one for claimed in CLAIMS.values() for one in claimed]
    if not trial.long:
        _collected(every)
        return Verdict(True, f"{len(every)} property tests of {len(CLAIMS)} claims are there; the suite runs them")
    ran = _run(trial, every)
    rows = [_row(claim, one, ran.get(one.test, [])) for claim, claimed in CLAIMS.items() for one in claimed]
    short = [row["test"] for row in rows if not row["held"]]
    examples = sum(sum(row["examples"]) for row in rows)
    figure = f"{len(rows) - len(short)} of {len(rows)} tests hold, {examples:,} examples"
    return Verdict(not short, figure + "".join(f"; not {test}" for test in short), {"tests": rows})


def _row(claim: str, wanted: Property, ran: Sequence[Ran]) -> dict[str, Any]:
    whole = len(ran) == max(1, wanted.databases)
    return {
        "claim": claim,
        "test": wanted.test,
        "outcomes": [one.outcome for one in ran],
        "examples": [one.examples for one in ran],
        "wanted": wanted.examples,
        "held": whole and all(one.outcome == "passed" and one.examples >= wanted.examples for one in ran),
    }


def _collected(every: Iterable[Property]) -> None:
    """Raises RuntimeError when one of the tests is not there."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", *(one.test for one in every)]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"not all property tests are there: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def _run(trial: Trial, every: Iterable[Property]) -> dict[str, list[Ran]]:
    """Run the tests, file by file, some files at once."""
    tests = sorted(one.test for one in every)
    files = [list(group) for _, group in groupby(tests, key=lambda test: test.partition("::")[0])]

    def run(number: int) -> dict[str, list[Ran]]:
        report = trial.folder / f"{number}.xml"
        name = files[number][0].partition("::")[0]
        command = [sys.executable, "-m", "pytest", "-q", "-p", "bench.counting", "-p", "no:cacheprovider"]
        command += ["-o", "timeout=0", f"--hypothesis-seed={trial.seed}", f"--junitxml={report}", *files[number]]
        environment = os.environ | {"CARAVAN_EXAMPLES": "prove"}
        log = trial.folder / f"{number}.log"
        with log.open("wb") as out:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False
            )
        trial.say(f"{name}: {log.read_text().strip().splitlines()[-1]}")
        if done.returncode:
            trial.say(log.read_text()[-6000:])
        return _read(files[number], report) if report.exists() else {}

    found: dict[str, list[Ran]] = {}
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for part in threads.map(run, range(len(files))):
            found |= part
    return found


def _read(tests: Sequence[str], report: Path) -> dict[str, list[Ran]]:
    """What the report says of these tests, by test; each stands in it once for every engine."""
    found: dict[str, list[Ran]] = {test: [] for test in tests}
    by_name = {test.rpartition("::")[2]: test for test in tests}
    for element in ElementTree.parse(report).iter("testcase"):
        found[by_name[element.get("name", "").partition("[")[0]]].append(_ran(element))
    return found


def _ran(element: ElementTree.Element) -> Ran:
    wrong = next((child.tag for child in element if child.tag in ("failure", "error", "skipped")), None)
    values = [one.get("value", "0") for one in element.iter("property") if one.get("name") == PROPERTY]
    return Ran(wrong or "passed", sum(map(int, values)))
