"""Runs a module's tests on each of its mutants: `python -m bench.mutation.trying MODULE [--fixtures] TEST…` prints a line of JSON for each.

Each mutant has a fork of a process in which the tests have run once without any: only our own code is imported anew. Tests run with a
fixed seed and without shrinking; the first that fails ends them. Without `--fixtures` they are those that need none, and come to their
end sooner; with it they have SQLite for a database.
"""

import json
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Sequence
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, is_hypothesis_test, settings

from bench.mutation.mutants import Mutant, mutants
from bench.mutation.survivors import Mutation
from tests.databases import roomy_folder

ROOT: Final = Path(__file__).parents[2]
CPU_SECONDS: Final = 120
MEMORY_BYTES: Final = 4 * 2**30
"""What a mutant that never ends is stopped by."""
OF_A_TEST: Final = {True: 20, False: 4}
"""The CPU seconds of one test, with many examples or one, in which it passes where nothing is wrong."""
WAITS: Final = 60
"""The seconds in which one test is over, also where all it does is wait for what never comes."""
OPTIONS: Final = (
    *("-x", "-p", "no:cacheprovider", "-p", "no:terminal", "-p", "no:xdist", "-p", "no:tests.sharing"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # plugins were imported before the fork
)
FIXTURES: Final = "--fixtures"
WHICH: Final = {False: ("--noconftest",), True: ("-k", "not postgresql")}
ANEW: Final = ("caravan.", "services.", "tests.")
KEPT: Final = ("caravan.contracts", "caravan.kernel")
"""What a mutant's fork imports anew, since it may hold the code under test, and what of it can't."""
PASSED, FAILED, NOT_EVEN_READ, NOR_THE_FIXTURES = 0, 1, 2, 4
"""What pytest ends with: the last two where the mutant can't be imported."""


class Mutated(MetaPathFinder, InspectLoader):
    """Imports the mutant in place of the module."""

    def __init__(self, name: str, code: str) -> None:
        self.name = name
        self.code = code

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return spec_from_loader(fullname, self) if fullname == self.name else None

    def get_source(self, fullname: str) -> str:
        return self.code


class QuickFirst:
    """Runs tests of one example before those of many, which most mutants then never come to, and each for so long only."""

    @staticmethod
    def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
        items.sort(key=_many_examples)

    @staticmethod
    def pytest_runtest_setup(item: pytest.Item) -> None:
        signal.setitimer(signal.ITIMER_VIRTUAL, OF_A_TEST[_many_examples(item)])
        signal.setitimer(signal.ITIMER_REAL, WAITS)

    @staticmethod
    def pytest_runtest_teardown() -> None:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _many_examples(item: pytest.Item) -> bool:
    return is_hypothesis_test(getattr(item, "obj", None))


def survives(mutant: Mutant, tests: Sequence[str]) -> bool:
    """Whether all tests pass with the mutant. Raises RuntimeError where none ran."""
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        silence = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(silence, stream)
        try:
            os._exit(_tested(mutant, tests))
        finally:
            os._exit(os.EX_SOFTWARE)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return False
    code = os.WEXITSTATUS(status)
    if code not in (PASSED, FAILED, NOT_EVEN_READ, NOR_THE_FIXTURES):
        raise RuntimeError(f"pytest ended with {code} on {mutant.mutation}")
    return code == PASSED


def _tested(mutant: Mutant, tests: Sequence[str]) -> int:
    module = mutant.mutation.module
    name = module.removesuffix(".py").replace("/", ".")
    for own in [own for own in sys.modules if own.startswith(ANEW) and not own.startswith(KEPT)]:
        del sys.modules[own]
    sys.meta_path.insert(0, Mutated(name, mutant.code))
    return _run(tests)


def _run(tests: Sequence[str]) -> int:
    which = WHICH[FIXTURES in tests]
    return int(pytest.main([*OPTIONS, *which, *(test for test in tests if test != FIXTURES)], plugins=[QuickFirst()]))


def main(module: str, *tests: str) -> None:
    settings.register_profile(
        "mutants",
        max_examples=50,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("mutants")
    same = Mutant(Mutation(module, "", ""), (ROOT / module).read_text())
    with tempfile.TemporaryDirectory(prefix="caravan-mutants-", dir=roomy_folder()) as folder:
        tempfile.tempdir = folder  # also of what is stopped, and leaves its databases
        if _run(tests) != PASSED or not survives(same, tests):
            raise RuntimeError(f"the tests of {module} fail without any mutant")
        for mutant in mutants(ROOT, module):
            print(json.dumps([*mutant.mutation, survives(mutant, tests)]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
