"""How several processes share out a run (`pytest -n 3`, pytest-xdist): each file goes to one of them whole.

What runs jobs at real backends goes to one process together: a Slurm is started once in a run, and tests that kill a supervisor of
local jobs see no other ones' orphans under the same uids. Such tests mostly wait, so the others have the processor meanwhile.
"""

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

AT_BACKENDS = ("tests/backends/", "tests/contract/", "tests/broker/test_local_", "tests/broker/test_slurm_")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hands out the groups with the most tests first."""
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = group
    return scheduler


def group(test: str) -> str:
    """What is run in one process with the test of this id."""
    return "at backends" if test.startswith(AT_BACKENDS) else test.partition("::")[0]
