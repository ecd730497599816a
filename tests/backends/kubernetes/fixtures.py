"""Kubernetes for tests: `kubernetes` is the run's cluster."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.backends.kubernetes.cluster import Cluster, running
from tests.backends.kubernetes.installed import must_run
from tests.backends.shelf import LeftOut


@contextmanager
def or_left_out() -> Iterator[None]:
    """End a test that can't have its cluster, or a part of it: skipped, or failed where it must run."""
    try:
        yield
    except LeftOut as fault:
        if must_run():
            pytest.fail(str(fault), pytrace=False)
        pytest.skip(f"left out: {fault}")


@pytest.fixture(scope="session")
def kubernetes() -> Iterator[Cluster]:
    """A running cluster, with nodes that kwok plays and Kueue once a test has asked for them.

    A test must leave it as it was: what stops a daemon has a cluster of its own, by `running`.
    """
    with or_left_out(), running() as cluster:
        yield cluster
