"""kill -9 of the platform and a site's agent together, again and again, with and without a daemon of the site's backend."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

from bench.agents import Agents
from bench.case import Trial
from bench.deaths import ANY_MOMENT, one_death, plan
from bench.platform import Platform
from caravan.kernel import clock

SOONEST_SECONDS: Final = 0.5
LATEST_SECONDS: Final = 6.0
"""Until a death at any moment, once the platform is ready."""


class Daemons(Protocol):
    """Of a backend; test clusters are such. Both block until it is so."""

    def stop(self, daemon: str) -> object: ...
    def start(self, daemon: str) -> object: ...


@dataclass(frozen=True)
class Deaths:
    """During `jobs` jobs. `parts`: how many there are while which daemon is away, for so long; between the outages None is."""

    jobs: int
    parts: tuple[tuple[str | None, int], ...]
    outage_seconds: float

    @property
    def kills(self) -> int:
        return sum(deaths for _, deaths in self.parts)


class Whole:
    """The platform and the site's agent, which run, and start and die together. Steps that one of them never comes to are the other's."""

    def __init__(self, platform: Platform, agents: Agents, site: str) -> None:
        self._platform, self._agents, self._site = platform, agents, site
        self._there = True

    def launch(self, **environment: str) -> None:
        """Start what isn't running, and don't wait."""
        self._platform.launch(**environment)
        if not self._there:
            self._agents.start(self._site, **environment)
            self._there = True

    def start(self, **environment: str) -> None:
        self.launch(**environment)
        self._platform.start()

    def kill(self) -> None:
        self._platform.kill()
        self._agents.kill_all()
        self._there = False


async def die(
    trial: Trial, daemons: Daemons, whole: Whole, submit: Callable[[range], None], size: Deaths
) -> Counter[str]:
    """How often it died at which step. While a daemon is away not all steps are come to: then it is any moment."""
    in_outages = sum(deaths for daemon, deaths in size.parts if daemon)
    steps = iter(plan(trial, size.kills - in_outages))
    died = Counter[str]()
    number = 0
    for daemon, deaths in size.parts:
        if daemon:  # it is at work when that goes
            await asyncio.to_thread(whole.start)
        else:  # it comes to a step as one that starts
            await asyncio.to_thread(whole.kill)
        async with _away(trial, daemons, daemon, size.outage_seconds) as back_at:
            for left in reversed(range(deaths)):
                step = ANY_MOMENT if daemon else next(steps)
                jobs = range(number * size.jobs // size.kills, (number + 1) * size.jobs // size.kills)
                while_away = daemon is not None and left > 0  # the last one sees the daemon come back
                moments = (SOONEST_SECONDS, size.outage_seconds / deaths if while_away else LATEST_SECONDS)
                await one_death(trial, whole, submit, jobs, step, moments, 0 if while_away else back_at)
                died[step] += 1
                number += 1
                trial.say(f"death {number} of {size.kills}: {step}{f', {daemon} away' if while_away else ''}")
    return died


@asynccontextmanager
async def _away(trial: Trial, daemons: Daemons, daemon: str | None, seconds: float) -> AsyncIterator[float]:
    """The daemon is stopped for so long, and started again: the block learns when, on a clock that never jumps."""
    if daemon is None:
        yield clock.monotonic()
        return

    async def come_back() -> None:
        await asyncio.sleep(seconds)
        await asyncio.to_thread(daemons.start, daemon)
        trial.say(f"{daemon} is there again")

    await asyncio.to_thread(daemons.stop, daemon)
    async with asyncio.TaskGroup() as group:
        group.create_task(come_back())
        yield clock.monotonic() + seconds
