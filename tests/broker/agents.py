"""Agents for tests: quick ones, on a broker's double and a fake site that the fixtures of `conftest.py` make."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from caravan.contracts.dispatch import Desired
from caravan.kernel import clock
from services.broker.adapters.fake import FakeBackend, adapter
from services.broker.adapters.port import SiteContext
from services.broker.agent import Agent, AgentSettings
from tests.broker.dispatch_double import Dispatch, DispatchApi, Placed

QUICK = AgentSettings(
    work_wait_seconds=0.05, observe_seconds=0.005, full_pass_seconds=0.02, progress_seconds=0, sweep_seconds=0.02,
    orphan_seconds=0.05, inventory_seconds=0.1, probe_seconds=0.05, books_seconds=0.05, retry_seconds=0.02, first_pause_seconds=0.002,
    longest_pause_seconds=0.01, batch_seconds=0.001,
)  # fmt: skip
START = datetime(2026, 1, 1, 10, 0, 0, tzinfo=UTC)


class Only:
    """The adapter of a site with this backend."""

    descriptor, grant = adapter.descriptor, adapter.grant

    def __init__(self, backend: FakeBackend) -> None:
        self.backend = backend

    @asynccontextmanager
    async def open(self, context: SiteContext) -> AsyncIterator[FakeBackend]:
        yield self.backend


async def until(true: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for something that is to become so."""
    deadline = clock.monotonic() + seconds
    while not true():
        assert clock.monotonic() < deadline, "it didn't become so"
        await asyncio.sleep(0.002)


def an_agent(broker: Dispatch, settings: AgentSettings = QUICK, api: type[DispatchApi] = DispatchApi) -> Agent:
    return Agent(broker.site, api(broker), {"fake": adapter}, "fake", settings=settings)


@asynccontextmanager
async def running(*agents: Agent) -> AsyncIterator[None]:
    for agent in agents:
        agent.start()
    try:
        yield
    finally:
        for agent in agents:
            await agent.stop()


def closed(placed: Placed) -> bool:
    return placed.desired is Desired.NOTHING
