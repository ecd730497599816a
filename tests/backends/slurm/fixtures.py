"""Slurm for tests: `slurm` runs a test once on each release; `slurm_cluster` gives one release to a test or fixture that names it."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import NoReturn

import pytest

from tests.backends.shelf import LeftOut
from tests.backends.slurm.cluster import Cluster, running
from tests.backends.slurm.installed import RELEASES, Release, must_run

LEFT_OUT = "left out: "


def leave_out(release: Release, fault: LeftOut) -> NoReturn:
    """End a test that can't have its cluster: skipped, or failed where the release must run."""
    if must_run(release):
        pytest.fail(str(fault), pytrace=False)
    pytest.skip(f"{LEFT_OUT}{fault}")


@pytest.fixture(scope="session")
def slurm_cluster(request: pytest.FixtureRequest) -> Iterator[Callable[[Release], Cluster]]:
    """The run's cluster of a release. The first that is asked for starts together with all that other tests will ask for.

    A test must leave it as it was: what changes the configuration or stops a daemon has a cluster of its own, by `running`.
    """
    calls = (getattr(item, "callspec", None) for item in request.session.items)
    named = [call.params["slurm"] for call in calls if call and "slurm" in call.params]
    starting: dict[Release, Future[Cluster]] = {}

    def cluster(release: Release) -> Cluster:
        for each in (release, *named):
            if each not in starting:
                starting[each] = pool.submit(stack.enter_context, running(each))
        try:
            return starting[release].result()
        except LeftOut as fault:
            leave_out(release, fault)

    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        yield cluster


@pytest.fixture(params=RELEASES, ids=lambda release: str(release.name))
def slurm(request: pytest.FixtureRequest, slurm_cluster: Callable[[Release], Cluster]) -> Cluster:
    """A running cluster, of each release in turn."""
    return slurm_cluster(request.param)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reasons = {
        report.longrepr[2] for report in terminalreporter.getreports("skipped") if isinstance(report.longrepr, tuple)
    }
    for reason in sorted(reason for reason in reasons if LEFT_OUT in reason):
        terminalreporter.line(reason.removeprefix("Skipped: "), yellow=True)
