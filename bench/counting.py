"""A pytest plugin: writes how many hypothesis examples each test ran, as the property `examples` of its case in the JUnit XML.

It counts what hypothesis counts as passing, also where `@given` stands within a test (`pytest -p bench.counting --junitxml FILE`).
"""

import re
from collections.abc import Generator
from typing import Any, Final

import pytest
from hypothesis.statistics import collector, describe_statistics

PROPERTY: Final = "examples"
_PASSING: Final = re.compile(r"(\d+) passing")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    found: list[str] = []

    def note(statistics: Any) -> None:
        found.append(describe_statistics(statistics))

    with collector.with_value(note):  # type: ignore[arg-type]  # it was made with None in it
        yield
    # hypothesis's own plugin keeps those of a test that is a property as a whole
    found.append(getattr(item, "hypothesis_statistics", ""))
    passing = sum(int(number) for text in found for number in _PASSING.findall(text))
    item.user_properties.append((PROPERTY, passing))
