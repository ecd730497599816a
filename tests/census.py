"""Counts what a run of the tests really ran, for CI (`pytest --census`), also where several processes run them.

The run fails when a test was skipped, expected to fail or deselected without standing in tests/allowed_skips.txt
(`<node id>  <reason>` a line), and when fewer tests ran, in all or on one engine, than tests/minimum_tests.txt says
(`total|sqlite|postgresql  <number>` a line).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ENGINES = ("sqlite", "postgresql")
ENGINE = "census-engine"


class Census:
    def __init__(self) -> None:
        self.ran = dict.fromkeys(("total", *ENGINES), 0)
        self.not_run: dict[str, str] = {}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
                engine = item.callspec.params.get("database_engine")
                if engine:
                    item.user_properties.append((ENGINE, str(engine)))

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self.not_run.update((item.nodeid, "deselected") for item in items)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self.not_run[report.nodeid] = "skipped"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if hasattr(report, "wasxfail"):
            self.not_run[report.nodeid] = "xfail"
        elif report.skipped:
            self.not_run[report.nodeid] = "skipped"
        elif report.when == "call":
            self.ran["total"] += 1
            for name, value in report.user_properties:
                if name == ENGINE:
                    self.ran[str(value)] += 1

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A process of pytest-xdist has ended: what it left out while it collected."""
        self.not_run.update(node.workeroutput.get("census", {}) if hasattr(node, "workeroutput") else {})

    def faults(self) -> Iterator[str]:
        allowed = dict(_lines(HERE / "allowed_skips.txt"))
        for test, what in sorted(self.not_run.items()):
            if not allowed.get(test):
                yield f"{what}: {test}"
        for kind, least in _lines(HERE / "minimum_tests.txt"):
            if self.ran[kind] < int(least):
                yield f"only {self.ran[kind]} tests ran ({kind}); tests/minimum_tests.txt says {least}"

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["census"] = self.not_run
        elif session.exitstatus == pytest.ExitCode.OK and any(self.faults()):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("census")
        terminalreporter.line(", ".join(f"{kind} {count}" for kind, count in self.ran.items()))
        for fault in self.faults():
            terminalreporter.line(f"FAULT {fault}", red=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--census", action="store_true", help="fail when tests were left out, or too few ran")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("census"):
        config.pluginmanager.register(Census(), "caravan-census")


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    for line in path.read_text().splitlines():
        name, _, value = line.strip().partition("  ")
        if name and not name.startswith("#"):
            yield name, value.strip()
