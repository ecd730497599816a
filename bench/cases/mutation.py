"""Mutation testing: no change of these modules passes their tests, but for those that are listed with the reason why they may."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from bench import bytecode
from bench.case import Trial, Verdict, case
from bench.mutation.survivors import Mutation, listed

ROOT: Final = Path(__file__).parents[2]
AT_ONCE: Final = 2
SHORT: Final = "caravan/pricing/volume.py"
TESTS: Final[Mapping[str, Sequence[str]]] = {
    "caravan/pricing/amounts.py": ("pricing/test_amounts.py",),
    "caravan/pricing/buyers.py": ("pricing/test_buyers.py",),
    "caravan/pricing/charge.py": ("pricing/test_charge.py",),
    "caravan/pricing/explained.py": ("pricing/test_explained_edges.py", "pricing/test_explained.py"),
    "caravan/pricing/explained_days.py": ("pricing/test_explained_edges.py", "pricing/test_explained.py"),
    "caravan/pricing/explained_words.py": ("pricing/test_explained_words.py", "pricing/test_explained.py"),
    "caravan/pricing/minimum.py": ("pricing/test_minimum.py",),
    "caravan/pricing/modes.py": (
        "pricing/test_worst_case.py::test_prices_of_whole_fen_need_no_allowance",
        "pricing/test_worst_case.py::"
        "test_nothing_is_set_aside_for_time_that_is_not_billed_and_a_price_that_is_billed_later_counts_now",
        "pricing/test_charge.py",
    ),
    "caravan/pricing/resale.py": ("pricing/test_resale.py",),
    "caravan/pricing/volume.py": ("pricing/test_volume.py",),
    "caravan/pricing/volume_words.py": ("pricing/test_volume.py",),
    "caravan/pricing/windows.py": ("pricing/test_windows.py", "pricing/test_charge.py"),
    "caravan/pricing/worst_case.py": ("pricing/test_worst_case.py",),
    "services/accounting/charging/charged.py": ("accounting/test_line_edges.py", "accounting/test_charged.py"),
    "services/accounting/charging/explanation.py": ("accounting/test_explanation.py",),
    "services/accounting/charging/lines.py": ("accounting/test_line_edges.py", "accounting/test_lines.py"),
    "services/accounting/charging/minimum.py": ("accounting/test_line_edges.py", "accounting/test_lines.py"),
    "services/accounting/charging/pieces.py": (
        "accounting/test_line_edges.py",
        "accounting/test_charged.py::test_each_second_has_the_list_of_the_last_correction_over_it",
    ),
}
"""What decides what is charged, and the tests under tests/ that any change of it must fail. They need no fixtures."""
STORED: Final[Mapping[str, Sequence[str]]] = {
    "services/accounting/charging/book.py": ("accounting/test_book.py",),
    "services/accounting/charging/changes.py": (
        "accounting/test_charging.py::test_the_price_per_job_falls_in_the_first_second_that_the_job_holds_anything",
        "accounting/test_charging.py::test_a_site_fault_after_hours_moves_all_of_the_run_also_out_of_closed_periods",
        "accounting/test_charging.py::"
        "test_what_is_held_beyond_the_grant_is_the_providers_and_money_moves_as_hours_come_and_are_corrected",
    ),
    "services/accounting/charging/charger.py": ("accounting/test_charger.py",),
    "services/accounting/charging/due.py": ("accounting/test_due.py",),
    "services/accounting/charging/endpoints.py": (
        "accounting/test_reading.py",
        "accounting/test_explaining.py::test_a_lines_explanation_is_for_who_may_read_the_line",
    ),
    "services/accounting/charging/explaining.py": (
        "accounting/test_explaining.py::"
        "test_of_lines_that_were_sealed_one_after_another_the_last_tells_the_days_and_what_is_billed_now",
        "accounting/test_explaining.py::test_a_jobs_lines_are_summed_by_who_bears_them",
        "accounting/test_explaining.py::test_a_lines_explanation_is_for_who_may_read_the_line",
        "accounting/test_explaining.py::test_accelerators_are_told_in_the_unit_that_they_are_sold_by",
        "accounting/test_resale.py::test_each_set_is_explained_to_its_parties",
        "accounting/test_charging.py::test_lines_and_explanations_are_seen_by_their_parties_only",
        "accounting/test_preempted.py::test_its_line_says_why_the_organization_bears_it",
        "accounting/test_explaining.py::test_a_minimum_charge_says_what_its_attempt_lacks_and_which_part_a_line_has",
        "accounting/test_explaining.py::test_a_minimum_charge_that_late_usage_reaches_says_so",
        "accounting/test_moves.py::test_a_run_that_ends_by_the_sites_fault_says_on_both_lines_where_its_seconds_went",
    ),
    "services/accounting/charging/moves.py": ("accounting/test_moves.py",),
    "services/accounting/charging/reading.py": ("accounting/test_reading.py",),
    "services/accounting/charging/recomputing.py": ("accounting/test_recomputing.py",),
    "services/accounting/charging/service.py": (
        "accounting/test_charging.py::test_what_would_pass_the_hold_is_the_providers",
        "accounting/test_charging.py::test_what_comes_behind_the_second_in_which_the_hold_was_used_up_costs_only_its_own_lines",
        "accounting/test_charging.py::test_an_ended_attempt_is_topped_up_to_its_minimum_and_late_usage_changes_that",
        "accounting/test_charging.py::test_a_hold_is_freed_when_all_that_was_listed_is_charged_and_not_before",
        "accounting/test_resale.py::test_what_is_taken_back_behind_the_second_in_which_a_hold_was_used_up_was_not_paid_for",
        "accounting/test_resale.py::test_a_minimum_charge_of_what_is_resold_changes_with_late_usage",
        "accounting/test_resale.py::test_the_price_per_job_is_each_sets_own_where_a_reseller_sells_a_part_of_a_job",
        "accounting/test_resale.py::test_a_job_that_a_reseller_might_have_sold_leaves_its_hold_alone_where_the_members_is_used_up",
        "accounting/test_corrections.py::test_the_hold_captures_by_the_prices_of_placement_also_what_comes_later",
        "accounting/test_corrections.py::test_usage_that_comes_later_is_priced_by_it_and_the_last_approved_holds",
        "accounting/test_corrections.py::test_a_job_whose_last_usage_comes_into_the_lines_by_a_correction_is_settled",
        "accounting/test_charger.py::test_a_step_is_reached_for_each_record_before_it_is_charged",
        "accounting/test_redemptions.py::test_what_is_taken_back_of_a_charge_is_taken_back_of_the_voucher",
        "accounting/test_funds.py::test_a_refusal_names_the_limit_that_is_short_what_is_held_asked_and_would_fit",
    ),
    "services/accounting/charging/verify.py": ("accounting/test_verify.py",),
}
"""What does that with a database: its tests have SQLite."""


@case(
    "mutation",
    claim="A change of a sign, an edge, a number or a condition in what prices or charges fails the tests of that module",
    goal="no survivor that isn't listed with its reason, and none listed that doesn't survive",
)
def mutation(trial: Trial) -> Verdict:
    modules = [*STORED, *TESTS] if trial.long else [SHORT]
    tried: dict[Mutation, bool] = {}
    with bytecode.kept(), ThreadPoolExecutor(AT_ONCE) as threads:
        for of_module in threads.map(_tried, modules):
            tried |= of_module
            trial.say(f"{next(iter(of_module)).module}: {sum(of_module.values())} of {len(of_module)} survive")
    reasons = listed()
    survivors = {mutation for mutation, survives in tried.items() if survives}
    wrong = [("survives", one) for one in survivors - reasons.keys()]
    wrong += [
        ("is listed and doesn't survive", one) for one in reasons if one.module in modules and one not in survivors
    ]
    figure = f"{len(tried) - len(survivors)} of {len(tried)} mutants of {len(modules)} modules die"
    figure += "".join(f"; in {one.module} `{one.after}` for `{one.before}` {how}" for how, one in sorted(wrong))
    return Verdict(
        not wrong, figure, {"survivors": [{**one._asdict(), "reason": reasons.get(one)} for one in survivors]}
    )


def _tried(module: str) -> dict[Mutation, bool]:
    """Whether each mutation of the module survives, in any of the places where its lines stand."""
    fixtures, tests = (["--fixtures"], STORED[module]) if module in STORED else ([], TESTS[module])
    command = [sys.executable, "-m", "bench.mutation.trying", module, *fixtures, *(f"tests/{test}" for test in tests)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the mutants of {module} could not be tried: {done.stderr[-2000:]}")
    found: dict[Mutation, bool] = {}
    for line in done.stdout.splitlines():
        *of, survives = json.loads(line)
        mutation = Mutation(*of)
        found[mutation] = survives or found.get(mutation, False)
    return found
