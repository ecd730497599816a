"""What holds for any input: the suite's properties with 2,000 examples each, and recorded inputs played again."""

import json
import multiprocessing
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final

from bench.case import Trial, Verdict, case
from bench.charges.history import draw
from bench.charges.playing import play

ROOT: Final = Path(__file__).parents[2]
PROPERTIES: Final = {
    "any split, order, doubling or revision of usage gives equal lines": (
        "tests/accounting/test_lines.py",
        "tests/accounting/test_histories.py::test_any_order_doubling_and_revision_of_facts_gives_equal_lines",
        "tests/accounting/test_histories.py::test_closed_periods_keep_their_lines_and_sums_stay_once_rounded",
        "tests/pricing/test_charge.py",
        "tests/broker/test_agent_metering.py",
    ),
    "reports shuffled, doubled and dropped give a legal end": ("tests/broker/test_agent_chaos.py",),
    "any interleaving between feeds gives equal sums": (
        "tests/accounting/test_histories.py::test_any_interleaving_of_the_feeds_gives_equal_sums",
        "tests/kernel/test_follow.py::test_two_feeds_give_the_same_sums_however_they_interleave",
        "tests/kernel/test_follow.py::test_each_event_has_its_effect_once",
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
MINE: Final = {"id", "period", "issued_at", "lines_sha256", "corrects"}
"""Of statements and lines: what a database names by itself."""


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


@case(
    "replayed-statements",
    claim="Recorded inputs played again, their feeds interleaved and paged otherwise, give equal statements and equal lines",
    goal="0 differences",
)
def replayed_statements(trial: Trial) -> Verdict:
    histories, jobs = (25, 40) if trial.long else (1, 12)
    statements, differences = 0, []
    # processes of their own: an app's loggers are its process's
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as processes:
        for number in range(histories):
            seed = trial.random.randrange(2**31)
            history = draw(seed, jobs)
            folders = [trial.folder / f"{number}-{way}" for way in ("recorded", "replayed")]
            plays = [processes.submit(play, history, folder, seed + way) for way, folder in enumerate(folders)]
            for one in plays:
                one.result()
            first, second = (_said(folder) for folder in folders)
            statements += len(first["statements"])
            differences += [
                f"history {seed}: {kind}: {len(first[kind])} and {len(second[kind])}, of them {sum((counted - again).values())} differ"
                for kind in first
                if (counted := Counter(first[kind])) != (again := Counter(second[kind]))
            ]
            trial.say(
                f"history {number + 1} of {histories}: {len(first['lines'])} lines, {len(differences)} differences so far"
            )
    return Verdict(
        not differences and statements > 0,
        f"{histories} histories of {jobs} jobs, {statements} statements: {len(differences)} differences",
        {"differences": differences},
    )


def _said(folder: Path) -> dict[str, Sequence[str]]:
    """Statements, lines and accounts, each as one text that two plays can share."""
    periods = {one["id"]: one["name"] for one in _read(folder, "periods")}

    def plain(one: dict[str, Any]) -> str:
        named = {"period": periods[one["period"]], "corrects": periods.get(one.get("corrects") or "")}
        return json.dumps({name: value for name, value in one.items() if name not in MINE} | named, sort_keys=True)

    return {
        "statements": [plain(one) for one in _read(folder, "statements")],
        "lines": [plain(one) for one in _read(folder, "lines")],
        "balances": [f"{one['account']} {one['balance']}" for one in _read(folder, "trial_balance")["accounts"]],
    }


def _read(folder: Path, name: str) -> Any:
    return json.loads((folder / f"{name}.json").read_text())
