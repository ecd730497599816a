"""A process is held at a named step, in development only."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from caravan.kernel import steps


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    steps.arm(development=True, environment={})


def test_the_step_is_held_at_the_time_asked_for_and_let_go(tmp_path: Path) -> None:
    out, into = str(tmp_path / "out"), str(tmp_path / "into")
    os.mkfifo(out)
    os.mkfifo(into)
    asked = {"CARAVAN_HOLD_STEP": "release:2", "CARAVAN_HOLD_PIPES": f"{out},{into}"}
    steps.arm(development=True, environment=asked)
    passed: list[int] = []

    def work() -> None:
        for turn in range(3):
            steps.reach_now("stage")
            steps.reach_now("release")
            passed.append(turn)

    thread = threading.Thread(target=work)
    thread.start()
    with open(out) as reached:
        assert reached.readline() == "reached\n"
    assert passed == [0]
    with open(into, "w") as go:
        go.write("g")
    thread.join(10)
    assert passed == [0, 1, 2]


@pytest.mark.parametrize("step", ["nowhere", "release:x", "release:2"])
def test_what_is_asked_for_has_to_make_sense(step: str) -> None:
    with pytest.raises(ValueError, match="CARAVAN_HOLD"):
        steps.arm(development=True, environment={"CARAVAN_HOLD_STEP": step})


def test_production_holds_nothing() -> None:
    with pytest.raises(ValueError, match="development"):
        steps.arm(development=False, environment={"CARAVAN_HOLD_STEP": "release", "CARAVAN_HOLD_PIPES": "a,b"})
    steps.arm(development=False, environment={})
    steps.reach_now("release")
