"""What holds for any input: the properties of the suite, with 2,000 drawn examples each."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.case import Trial, Verdict, case

ROOT: Final = Path(__file__).parents[2]
PROPERTIES: Final = {
    "any split, order, doubling or revision of usage gives equal lines": (
        "tests/accounting/test_lines.py",
        "tests/accounting/test_histories.py::test_any_order_doubling_and_revision_of_facts_gives_equal_lines",
        "tests/accounting/test_histories.py::test_closed_periods_keep_their_lines_and_sums_stay_once_rounded",
        "tests/pricing/test_charge.py",
        "tests/broker/test_agent_metering.py",
    ),
    "reports shuffled, doubled and dropped give a legal end": (
        "tests/broker/test_agent_chaos.py",
        "tests/broker/test_reports_shuffled.py",
    ),
    "any interleaving between feeds gives equal sums": (
        "tests/accounting/test_histories.py::test_any_interleaving_of_the_feeds_gives_equal_sums",
        "tests/kernel/test_follow.py::test_two_feeds_give_the_same_sums_however_they_interleave",
        "tests/kernel/test_follow.py::test_each_event_has_its_effect_once",
    ),
    "replaying recorded inputs gives equal statements": (
        "tests/accounting/test_replay.py",
        "tests/accounting/test_statements.py",
    ),
    "a cancelled request never locks the writer": (
        "tests/kernel/test_database.py::test_a_caller_that_leaves_neither_locks_the_writer_nor_leaves_half",
    ),
    "money is what a model says, and no job passes its worst case": (
        "tests/accounting/test_funds_machine.py",
        "tests/accounting/test_decision.py",
        "tests/accounting/test_postings.py",
        "tests/pricing/test_worst_case.py",
    ),
}


@case(
    "properties",
    claim="Each property holds for 2,000 drawn examples; state machines for 2,000 against a model and 50 against each database",
    goal="0 failures",
)
def properties(trial: Trial) -> Verdict:
    if not trial.long:  # the suite runs them itself: here they only have to be there
        found, output = _pytest([test for tests in PROPERTIES.values() for test in tests], "--collect-only")
        return Verdict(bool(found), f"{found} tests found", {"output": output})
    passed, failed = 0, {}
    for words, tests in PROPERTIES.items():
        count, output = _pytest(tests, "--hypothesis-seed", str(trial.seed), CARAVAN_EXAMPLES="prove")
        passed += count or 0
        if count is None:
            failed[words] = output[-6000:]
        trial.say(f"{words}: {'FAILED' if count is None else f'holds, {count} tests'}")
    return Verdict(not failed, f"{passed} tests passed, {len(failed)} of {len(PROPERTIES)} properties failed", failed)


def _pytest(tests: Sequence[str], *options: str, **environment: str) -> tuple[int | None, str]:
    """How many tests passed or were collected, None when any failed; and what was printed."""
    command = [sys.executable, "-m", "pytest", "-q", *options, *tests]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False)
    count = re.search(r"(\d+) (?:passed|tests? collected)", done.stdout)
    return (int(count[1]) if count and done.returncode == 0 else None), done.stdout
