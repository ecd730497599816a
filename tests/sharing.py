"""How several processes share out a run (`pytest -n 4`, pytest-xdist): each file goes to one of them whole.

What runs jobs at real backends of a kind goes to one process together: a Slurm is started once in a run, and tests that kill a supervisor
of local jobs see no other ones' orphans under the same uids. Such tests mostly wait: they come first, so that others have the processor
meanwhile.
"""

from collections import Counter
from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling

AT_BACKENDS: Final = ("tests/backends/", "tests/contract/", "tests/broker/test_local_", "tests/broker/test_slurm_")
KINDS: Final = ("slurm", "kubernetes")
CASES: Final = "tests/test_cases.py"
AT_FIRST: Final = (*(f"at {kind}" for kind in KINDS), CASES, "at this machine")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits for long comes first, then the groups with the most tests."""
    sizes = Counter(group(item.nodeid) for item in items)

    def rank(item: pytest.Item) -> tuple[int, int, str]:
        of = group(item.nodeid)
        return (AT_FIRST.index(of) if of in AT_FIRST else len(AT_FIRST), -sizes[of], of)

    items.sort(key=rank)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hands out the groups as they come."""
    config.option.loadscopereorder = False
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = group
    return scheduler


def group(test: str) -> str:
    """What is run in one process with the test of this id."""
    if test.startswith(AT_BACKENDS):
        return f"at {next((kind for kind in KINDS if kind in test), 'this machine')}"
    return test.partition("::")[0]
