"""Tries every claim in its long form: `python -m bench.prove [case]`.

Prints claim, figure, goal, PASS or FAIL, seed and duration, and writes bench/results/<case>.json. Exits 1 on a FAIL.
`CARAVAN_SEED` repeats a run.
"""

import json
import os
import platform
import secrets
import sys
import traceback
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from rich.console import Console
from rich.table import Table

import bench.cases
from bench import bytecode
from bench.case import CASES, Case, Verdict, trial
from bench.ending import like_ctrl_c
from caravan.kernel import clock

RESULTS = Path(__file__).parent / "results"


def load() -> dict[str, Case]:
    """All cases, by name."""
    for module in iter_modules(bench.cases.__path__):
        import_module(f"bench.cases.{module.name}")
    return CASES


def main() -> None:
    cases = load()
    wanted = sys.argv[1:] or list(cases)
    if unknown := [name for name in wanted if name not in cases]:
        raise SystemExit(f"no such case: {', '.join(unknown)}; there are: {', '.join(cases)}")
    seed = int(os.environ.get("CARAVAN_SEED", secrets.randbelow(2**31)))
    table = Table("case", "claim", "figure", "goal", "", "seed", "seconds")
    with bytecode.kept():
        failed = [name for name in wanted if not prove(cases[name], seed, table)]
    Console(width=None if sys.stdout.isatty() else 200).print(table)
    if failed:
        raise SystemExit(f"FAIL: {', '.join(failed)}")


def prove(case: Case, seed: int, table: Table) -> bool:
    """Try one case in its long form, write its result, add its row."""
    print(f"{case.name}: {case.claim}", file=sys.stderr, flush=True)
    began = clock.monotonic()
    with trial(case.name, long=True, seed=seed) as one:
        try:
            verdict = case.run(one)
        except Exception as error:  # A case that breaks has failed; the others are still tried.
            traceback.print_exc()
            verdict = Verdict(False, f"broke: {error!r}"[:200])
    seconds = clock.monotonic() - began
    word = "PASS" if verdict.passed else "FAIL"
    print(f"{word}  {case.name}: {verdict.figure}  (goal: {case.goal}; seed {seed}, {seconds:.1f} s)", flush=True)
    table.add_row(case.name, case.claim, verdict.figure, case.goal, word, str(seed), f"{seconds:.1f}")
    RESULTS.mkdir(exist_ok=True)
    result = {
        "case": case.name,
        "claim": case.claim,
        "figure": verdict.figure,
        "goal": case.goal,
        "passed": verdict.passed,
        "seed": seed,
        "seconds": round(seconds, 1),
        "at": clock.now().isoformat(timespec="seconds"),
        "machine": {"python": platform.python_version(), "cores": os.cpu_count()},
        "details": verdict.details,
    }
    (RESULTS / f"{case.name}.json").write_text(json.dumps(result, ensure_ascii=False, indent=1, default=str) + "\n")
    return verdict.passed


if __name__ == "__main__":
    like_ctrl_c()
    main()
