"""Supervised loops: an iteration that crashes is logged, counted and run again after a pause that grows; stopping is clean.

A peer that can't be reached is no crash: it is noted and tried again as slowly, and the service stays ready. Were it not, two services
that follow each other would each wait for the other to become ready.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from caravan.kernel import clock
from caravan.kernel.problems import Unreachable

FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 30.0
log = structlog.get_logger(__name__)


class Loops:
    """Runs named loops until stopped. An iteration says how long to wait before the next by its return value (seconds)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._kicks: dict[str, asyncio.Event] = {}
        self._failing: set[str] = set()
        self._crashes = Counter("caravan_loop_crashes", "Iterations that raised.", ["loop"], registry=registry)
        self._last = Gauge(
            "caravan_loop_last_success_timestamp_seconds", "When the last good pass ended.", ["loop"], registry=registry
        )

    def start(self, name: str, iteration: Callable[[], Awaitable[float]]) -> None:
        """Run `iteration` again and again. It returns the seconds to wait; `kick(name)` ends a wait early."""
        if name in self._tasks:
            raise ValueError(f"loop {name} is running already")
        self._kicks[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._run(name, iteration), name=f"loop:{name}")

    def kick(self, name: str) -> None:
        """Let the loop's next iteration start now."""
        if name in self._kicks:
            self._kicks[name].set()

    def failing(self) -> list[str]:
        """Loops whose last iteration crashed, for /readyz."""
        return sorted(self._failing)

    def running(self, name: str) -> bool:
        return name in self._tasks

    async def cancel(self, name: str) -> None:
        """Stop one loop and wait for its end."""
        task = self._tasks.pop(name, None)
        self._kicks.pop(name, None)
        self._failing.discard(name)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("loop_crashed", loop=name, error=repr(error), exc_info=error)

    async def stop(self) -> None:
        """Stop all loops. A unit of work that one was in goes on to its end before the database closes."""
        for name in list(self._tasks):
            await self.cancel(name)

    async def _run(self, name: str, iteration: Callable[[], Awaitable[float]]) -> None:
        pause, kick = FIRST_PAUSE, self._kicks[name]
        while True:
            kick.clear()
            try:
                wait = await iteration()
            except Unreachable as error:
                wait, pause = pause, min(pause * 2, LONGEST_PAUSE)
                log.warning("peer_unreachable", loop=name, error=str(error), retry_in=wait)
            except (Exception, asyncio.CancelledError) as error:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # The loop outlives whatever one pass meets: logged, counted, shown by /readyz.
                self._crashes.labels(name).inc()
                self._failing.add(name)
                wait, pause = pause, min(pause * 2, LONGEST_PAUSE)
                log.error("loop_crashed", loop=name, error=repr(error), retry_in=wait, exc_info=error)
            else:
                self._last.labels(name).set(clock.now().timestamp())
                self._failing.discard(name)
                pause = FIRST_PAUSE
            try:
                async with asyncio.timeout(max(wait, 0)):
                    await kick.wait()
            except TimeoutError:
                continue
