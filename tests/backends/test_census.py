"""The census fails a run in which tests were left out, or too few ran."""

from pathlib import Path

import pytest

CENSUS = Path(__file__).parent.parent / "census.py"
TESTS = """
import pytest

def test_plain(): pass

@pytest.mark.skip
def test_skipped(): pass

@pytest.mark.xfail(strict=False)
def test_xfailed(): assert False

@pytest.mark.parametrize("database_engine", ["sqlite", "postgresql"])
def test_database(database_engine): pass
"""


def run(pytester: pytest.Pytester, skips: str, minimum: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(test_it=TESTS, conftest=CENSUS.read_text())
    pytester.path.joinpath("allowed_skips.txt").write_text(skips)
    pytester.path.joinpath("minimum_tests.txt").write_text(minimum)
    return pytester.runpytest_inprocess("--census", *options)


@pytest.fixture
def pytester(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")
    return pytester


SKIPS = "test_it.py::test_skipped  a reason\ntest_it.py::test_xfailed  another\n"


@pytest.fixture(params=[(), ("-n", "2")], ids=["one process", "two processes"])
def processes(request: pytest.FixtureRequest) -> tuple[str, ...]:
    options: tuple[str, ...] = request.param
    return options


def test_a_run_that_left_out_only_what_is_listed_passes(pytester: pytest.Pytester, processes: tuple[str, ...]) -> None:
    result = run(pytester, SKIPS, "total  3\nsqlite  1\npostgresql  1\n", *processes)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["total 3, sqlite 1, postgresql 1"])


def test_what_is_left_out_without_a_reason_fails_the_run(pytester: pytest.Pytester, processes: tuple[str, ...]) -> None:
    result = run(pytester, "test_it.py::test_skipped\n", "", "-k", "not plain", *processes)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "FAULT deselected: test_it.py::test_plain",
            "FAULT skipped: test_it.py::test_skipped",
            "FAULT xfail: test_it.py::test_xfailed",
        ]
    )


def test_fewer_tests_on_one_engine_than_the_minimum_fail_the_run(
    pytester: pytest.Pytester, processes: tuple[str, ...]
) -> None:
    result = run(pytester, SKIPS, "postgresql  2\n", *processes)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["FAULT only 1 tests ran (postgresql)*"])
