"""kill -9 of what runs, each time at another moment: at each named step at least once, the rest at any."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from bench.case import Trial
from bench.steps import Hold
from caravan.kernel import clock
from caravan.kernel.steps import STEPS

CLOSING: Final = "close"
CORRECTING: Final = "correct"
DYING: Final = tuple(step for step in STEPS if step not in (CLOSING, CORRECTING))
ANY_MOMENT: Final = "any moment"
AT_A_STEP_SECONDS: Final = 180
"""So long a busy machine may take; a step that is never come to is told by it."""


class Mortal(Protocol):
    """What is killed; `bench.platform.Platform` is one."""

    def launch(self, **environment: str) -> None:
        """Start it, and don't wait."""
        ...

    def start(self, **environment: str) -> object:
        """Start it, and wait until it is ready."""
        ...

    def kill(self) -> None: ...


def plan(trial: Trial, kills: int) -> list[str]:
    """Each step at least once where there are enough deaths, the rest at any moment; in an order of chance."""
    steps = list(DYING)
    trial.random.shuffle(steps)
    chosen = (steps + [ANY_MOMENT] * kills)[:kills]
    trial.random.shuffle(chosen)
    return chosen


async def one_death(
    trial: Trial,
    what: Mortal,
    submit: Callable[[range], None],
    jobs: range,
    step: str,
    moments: tuple[float, float] = (0.1, 3),
    after: float = 0,
) -> None:
    """Start it, submit the jobs, and kill it at the step; or at any moment, so many seconds (from, to) after it was ready, and after
    that moment of the clock that never jumps."""
    if step == ANY_MOMENT:
        await asyncio.to_thread(what.start)
        submit(jobs)
        await asyncio.sleep(max(0, after - clock.monotonic()) + trial.random.uniform(*moments))
        what.kill()
        return
    with Hold(trial.folder, step, trial.random.randint(1, min(4, len(jobs)))) as hold:
        what.launch(**hold.environment)  # it may stand at the step before it is ready
        submit(jobs)
        await hold.reached(AT_A_STEP_SECONDS)
        what.kill()
