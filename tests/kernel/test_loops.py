"""Supervised loops: they outlive what one pass meets, and stop cleanly."""

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import pairwise

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from caravan.kernel import clock, loops
from caravan.kernel.loops import Loops
from caravan.kernel.problems import Unreachable
from tests.support import until

LONG = 3600.0


class Passes:
    """An iteration that does the next of what it is told, then waits long; `times` says when each began."""

    def __init__(self, *outcomes: float | BaseException) -> None:
        self._outcomes = list(outcomes)
        self.times: list[float] = []
        self.active = False

    async def __call__(self) -> float:
        assert not self.active
        self.active = True
        try:
            self.times.append(clock.monotonic())
            await asyncio.sleep(0)
            outcome = self._outcomes.pop(0) if self._outcomes else LONG
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome
        finally:
            self.active = False

    async def reach(self, number: int) -> None:
        async def reached() -> bool:
            return len(self.times) >= number

        await until(reached)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def running(registry: CollectorRegistry) -> AsyncIterator[Loops]:
    made = Loops(registry)
    yield made
    await made.stop()


@pytest.fixture
def crashes(registry: CollectorRegistry) -> Callable[[], float]:
    return lambda: registry.get_sample_value("caravan_loop_crashes_total", {"loop": "it"}) or 0


async def test_a_loop_waits_as_long_as_its_pass_says(running: Loops) -> None:
    passes = Passes(0, 0.05, 0)
    running.start("it", passes)
    await passes.reach(4)
    assert passes.times[2] - passes.times[1] >= 0.05
    assert running.failing() == []


async def test_a_crash_is_logged_counted_and_tried_again_after_growing_pauses(
    running: Loops, crashes: Callable[[], float]
) -> None:
    passes = Passes(*(LookupError(f"number {number}") for number in range(4)))
    with capture_logs() as logs:
        running.start("it", passes)
        await passes.reach(5)
    assert [(entry["event"], entry["loop"], entry["log_level"]) for entry in logs] == [
        ("loop_crashed", "it", "error")
    ] * 4
    assert "number 3" in logs[3]["error"]
    assert crashes() == 4
    assert [entry["retry_in"] for entry in logs] == [loops.FIRST_PAUSE * factor for factor in (1, 2, 4, 8)]
    gaps = [later - earlier for earlier, later in pairwise(passes.times)]
    assert all(gap >= entry["retry_in"] for gap, entry in zip(gaps, logs, strict=True))


async def test_pauses_grow_to_an_end_and_shrink_after_a_good_pass(
    running: Loops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(loops, "LONGEST_PAUSE", 0.003)
    passes = Passes(*[LookupError()] * 4, 0, LookupError())
    with capture_logs() as logs:
        running.start("it", passes)
        await passes.reach(7)
    assert [entry["retry_in"] for entry in logs] == [0.001, 0.002, 0.003, 0.003, 0.001]


async def test_a_failing_loop_is_named_until_a_pass_is_good(running: Loops) -> None:
    broken = asyncio.Event()
    broken.set()

    async def iteration() -> float:
        if broken.is_set():
            raise LookupError
        return LONG

    async def fails() -> bool:
        return running.failing() == ["it"]

    async def recovers() -> bool:
        return running.failing() == []

    running.start("other", Passes())
    running.start("it", iteration)
    await until(fails)
    broken.clear()
    running.kick("it")
    await until(recovers)


async def test_a_peer_that_is_away_is_noted_and_no_crash(running: Loops, crashes: Callable[[], float]) -> None:
    passes = Passes(Unreachable("the catalog"), Unreachable("the catalog"))
    with capture_logs() as logs:
        running.start("it", passes)
        await passes.reach(3)
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("peer_unreachable", "warning")] * 2
    assert [entry["retry_in"] for entry in logs] == [loops.FIRST_PAUSE, 2 * loops.FIRST_PAUSE]
    assert (crashes(), running.failing()) == (0, [])


async def test_something_cancelled_that_a_pass_awaits_is_a_crash_of_the_pass(
    running: Loops, crashes: Callable[[], float]
) -> None:
    passes = Passes(asyncio.CancelledError())
    running.start("it", passes)
    await passes.reach(2)
    assert crashes() == 1


async def test_a_kick_ends_the_wait(running: Loops) -> None:
    passes = Passes()
    running.start("it", passes)
    for number in (1, 2, 3):
        await passes.reach(number)
        running.kick("it")
    await passes.reach(4)
    running.kick("nobody")


async def test_a_kick_during_a_pass_is_kept_for_the_next(running: Loops) -> None:
    begun, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def iteration() -> float:
        if begun.is_set():
            done.set()
        begun.set()
        await go_on.wait()
        return LONG

    running.start("it", iteration)
    await begun.wait()
    running.kick("it")
    go_on.set()
    await asyncio.wait_for(done.wait(), 30)


async def test_a_name_is_one_loops_and_free_when_that_has_been_cancelled(running: Loops) -> None:
    first, second = Passes(), Passes()
    running.start("it", first)
    with pytest.raises(ValueError, match="it is running already"):
        running.start("it", second)
    assert running.running("it")
    await first.reach(1)
    await running.cancel("it")
    assert not running.running("it")
    running.start("it", second)
    await second.reach(1)
    assert len(first.times) == 1
    await running.cancel("nobody")


async def test_stopping_waits_for_what_a_pass_has_to_clean_up(running: Loops) -> None:
    begun, cleaned = asyncio.Event(), asyncio.Event()

    async def iteration() -> float:
        try:
            begun.set()
            await asyncio.sleep(LONG)
        finally:
            await asyncio.sleep(0.01)
            cleaned.set()
        return 0

    running.start("it", iteration)
    running.start("another", Passes(LookupError()))
    await begun.wait()
    await running.stop()
    assert cleaned.is_set()
    assert not running.running("it")
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("loop:")] == []


async def test_a_pass_that_fails_while_it_is_stopped_is_logged(running: Loops) -> None:
    begun = asyncio.Event()

    async def iteration() -> float:
        begun.set()
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            raise LookupError("at its end") from None
        return 0

    with capture_logs() as logs:
        running.start("it", iteration)
        await begun.wait()
        await running.stop()
    (entry,) = logs
    assert entry["event"] == "loop_crashed"
    assert "at its end" in entry["error"]
