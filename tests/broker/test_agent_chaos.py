"""Agents, a broker and a backend with a network between them that loses, doubles, delays and reorders; agents freeze and die.

Every call waits in the network until the machine lets it through. Whatever happens, a submission of an attempt is released at most
once, what is told is possible, usage is what really was allocated, and when the weather clears all comes to a legal end.
The same draws give the same calls in the same order, however fast this machine is: nothing here waits by its clock.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from caravan.client import ServiceUnavailable
from caravan.contracts.books import BooksReport, BooksWanted
from caravan.contracts.dispatch import (
    CommitAnswers,
    CommitBatch,
    Lease,
    LeaseRequest,
    LogAnswer,
    Report,
    Reported,
    Submission,
    Work,
)
from caravan.contracts.offerings import InventoryItem
from caravan.kernel.clock import floor_second
from services.broker.adapters.fake import FakeSite, HandClock
from services.broker.adapters.fake import adapter as fake
from services.broker.adapters.port import (
    Books,
    LogBytes,
    NotSeen,
    OutcomeUnknown,
    Seen,
    SiteContext,
    Staged,
    Unavailable,
)
from services.broker.agent import Agent, AgentSettings
from tests.broker.dispatch_double import Dispatch, stated_all

T = TypeVar("T")
START = datetime(2026, 1, 1, 10, 0, 0, tzinfo=UTC)
SETTINGS = AgentSettings().model_copy(
    update={name: 0.0 for name in AgentSettings.model_fields if name.endswith("_seconds")}
    | {"inventory_seconds": 10_000, "probe_seconds": 10_000, "books_seconds": 10_000, "batch_items": 3}
)
"""No pause at all: a pause, however short, ends sooner or later than a call beside it by how busy the machine is."""
NEVER_ALL = SETTINGS.model_copy(update={"full_pass_seconds": 10_000})
"""Looks at everything once, and then at what changed."""
ENDS = ("ended", "rejected", "discarded")


@dataclass
class Call:
    """One request under way, or its answer."""

    agent: str
    do: Callable[[], Any]
    lost: Exception
    refused: Exception
    answer: asyncio.Future[Any]

    def resolve(self, value: object) -> None:
        if not self.answer.done():
            if isinstance(value, Exception):
                self.answer.set_exception(value)
            else:
                self.answer.set_result(value)


class Network:
    """Requests in the order they were sent. Those of a dead agent stay: they may still arrive."""

    def __init__(self) -> None:
        self.under_way: list[Call] = []

    async def send(self, agent: str, do: Callable[[], T], lost: Exception, refused: Exception) -> T:
        call = Call(agent, do, lost, refused, asyncio.get_running_loop().create_future())
        self.under_way.append(call)
        answer: T = await call.answer
        return answer

    def deliver(self, place: int, how: str) -> None:
        call = self.under_way.pop(place)
        if how == "refuse":
            call.resolve(call.refused)
            return
        if how == "double":
            _outcome(call.do)
        answer = _outcome(call.do)
        if how == "delay":
            kept = Call(call.agent, lambda: _again(answer), call.lost, call.refused, call.answer)
            self.under_way.append(kept)
        else:
            call.resolve(call.lost if how == "lose" else answer)


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose time goes on only when it is told to."""

    at = 0.0

    def time(self) -> float:
        return self.at


async def _idle() -> None:
    for _ in range(40):
        await asyncio.sleep(0)


def _outcome(do: Callable[[], Any]) -> Any:
    try:
        return do()
    except Exception as error:  # It is the answer.
        return error


def _again(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    return answer


class WiredApi:
    """The broker, over the network."""

    def __init__(self, dispatch: Dispatch, network: Network, agent: str) -> None:
        self._dispatch = dispatch
        self._network = network
        self._agent = agent

    def _send(self, do: Callable[[], T]) -> Awaitable[T]:
        return self._network.send(self._agent, do, ServiceUnavailable("no answer"), ServiceUnavailable("refused"))

    async def take_lease(self, site: str, request: LeaseRequest) -> Lease:
        return await self._send(lambda: self._dispatch.take_lease(request))

    async def release_lease(self, site: str, epoch: int) -> None:
        await self._send(lambda: self._dispatch.release_lease(epoch))

    async def get_work(self, site: str, epoch: int, after: int, wait: float) -> Work:
        return await self._send(lambda: self._dispatch.get_work(epoch, after))

    async def commit_submissions(self, site: str, batch: CommitBatch) -> CommitAnswers:
        return await self._send(lambda: self._dispatch.commit(batch))

    async def report(self, site: str, report: Report) -> Reported:
        return await self._send(lambda: self._dispatch.report(report))

    async def answer_log_read(self, site: str, log_read: str, answer: LogAnswer) -> None:
        await self._send(lambda: self._dispatch.answer_log_read(log_read, answer))

    async def get_wanted_books(self, site: str, epoch: int) -> BooksWanted:
        return await self._send(lambda: self._dispatch.get_wanted_books(epoch))

    async def report_books(self, site: str, report: BooksReport) -> BooksWanted:
        return await self._send(lambda: self._dispatch.report_books(report))


class WiredBackend:
    """The fake site, over the network."""

    def __init__(self, site: FakeSite, network: Network, agent: str) -> None:
        self._site = site
        self._network = network
        self._agent = agent

    def _send(self, do: Callable[[], T]) -> Awaitable[T]:
        return self._network.send(self._agent, do, OutcomeUnknown("timed out"), Unavailable("refused"))

    def _ask(self, do: Callable[[], T]) -> Awaitable[T]:
        return self._network.send(self._agent, do, Unavailable("timed out"), Unavailable("refused"))

    async def inventory(self) -> tuple[InventoryItem, ...]:
        return await self._ask(self._site.inventory)

    async def probe(self) -> tuple[str, ...]:
        return await self._ask(lambda: ())

    async def now(self) -> datetime:
        return await self._ask(lambda: floor_second(self._site.advance()))

    async def stage(self, submission: Submission) -> str:
        return await self._send(lambda: self._site.stage(submission))

    async def release(self, reference: str) -> None:
        await self._send(lambda: self._site.release(reference))

    async def cancel(self, reference: str) -> None:
        await self._send(lambda: self._site.cancel(reference))

    async def observe(self, references: Sequence[str]) -> Mapping[str, Seen | NotSeen]:
        return await self._ask(lambda: {one: self._site.observe(one) for one in references})

    async def changed(self, since: float | None) -> Sequence[str] | None:
        return await self._ask(lambda: self._site.changed(since))

    async def staged(self) -> Sequence[Staged]:
        return await self._ask(self._site.staged)

    async def discard(self, reference: str) -> None:
        await self._send(lambda: self._site.discard(reference))

    async def read_log(self, reference: str, index: int, stream: str, offset: int, limit: int) -> LogBytes:
        return await self._ask(lambda: self._site.read_log(reference, index, stream, offset, limit))

    async def forget(self, reference: str) -> None:
        await self._send(lambda: self._site.forget(reference))

    async def books(self, start: datetime, end: datetime) -> Books:
        return await self._ask(lambda: Books(self._site.books(start, end), keeps_all=True))


class WiredAdapter:
    descriptor = fake.descriptor
    grant = fake.grant

    def __init__(self, site: FakeSite, network: Network, agent: str) -> None:
        self._backend = WiredBackend(site, network, agent)

    @asynccontextmanager
    async def open(self, context: SiteContext) -> AsyncIterator[WiredBackend]:
        yield self._backend


class Chaos(RuleBasedStateMachine):
    """The weather, and what must hold in it."""

    @initialize(placed=st.integers(1, 3), count=st.integers(5, 40))
    def begin(self, placed: int, count: int) -> None:
        self.loop = Loop()
        self.time = HandClock(START)
        self.site = FakeSite("chaos", clock=self.time, nodes=1, cpus_per_node=3)
        self.dispatch = Dispatch(ttl_seconds=1_000_000)
        self.dispatch.page = 2
        self.dispatch.complete = lambda second: stated_all(self.dispatch, self.site, second)
        self.network = Network()
        self.agents: dict[str, Agent] = {}
        self.frozen: set[str] = set()
        self.made = 0
        self.start_agent()
        for _ in range(placed):
            self.place(run=5000, queue=0, tasks=2)
        self.flow(count)

    @precondition(lambda self: len(self.agents) < 3)
    @rule()
    def start_agent(self) -> None:
        self.made += 1
        settings = SETTINGS if self.made % 2 else NEVER_ALL
        name = f"agent-{self.made}"
        adapter = WiredAdapter(self.site, self.network, name)
        agent = Agent(
            self.dispatch.site,
            WiredApi(self.dispatch, self.network, name),
            {"fake": adapter},
            "fake",
            settings=settings,
        )
        self.agents[name] = agent

        async def start() -> None:
            agent.start()

        self._do(start())
        self._turn()

    @precondition(lambda self: self.agents)
    @rule(data=st.data())
    def kill_agent(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(list(self.agents)))
        self._do(self.agents.pop(name).stop())
        self.frozen.discard(name)

    @precondition(lambda self: self.agents)
    @rule(data=st.data())
    def freeze_or_thaw(self, data: st.DataObject) -> None:
        self.frozen ^= {data.draw(st.sampled_from(list(self.agents)))}

    @rule()
    def end_lease(self) -> None:
        self.dispatch.end_lease()

    @precondition(lambda self: len(self.dispatch.attempts) < 4)
    @rule(run=st.sampled_from([0, 3, 5000, 20_000]), queue=st.sampled_from([0, 2]), tasks=st.integers(1, 3))
    def place(self, run: int, queue: int, tasks: int) -> None:
        script = "#fake nonsense=1" if run == 0 else f"#fake run={run} queue={queue}"
        self.dispatch.place(script, indices=range(tasks), max_parallel=2)

    @precondition(lambda self: self.dispatch.attempts)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.dispatch.cancel(data.draw(st.sampled_from(list(self.dispatch.attempts))))

    @rule(seconds=st.sampled_from([0.4, 1, 3, 1800, 4000]))
    def pass_time(self, seconds: float) -> None:
        self.time.advance(seconds)
        self.loop.at += seconds
        self._turn()

    @rule(held=st.booleans())
    def hold_books(self, held: bool) -> None:
        self.site.hold_books = held

    @rule(count=st.integers(1, 30))
    def flow(self, count: int) -> None:
        """Calls of agents that aren't frozen go through as they should."""
        for _ in range(count):
            live = [i for i, call in enumerate(self.network.under_way) if call.agent not in self.frozen]
            if live:
                self.network.deliver(live[0], "answer")
            self._turn()

    @precondition(lambda self: self.network.under_way)
    @rule(place=st.integers(0, 50), how=st.sampled_from(["answer", "lose", "refuse", "double", "delay"]))
    def deliver(self, place: int, how: str) -> None:
        """Any call that is under way goes through, in some way."""
        self.network.deliver(place % len(self.network.under_way), how)
        self._turn()

    @invariant()
    def nothing_is_released_twice(self) -> None:
        if not hasattr(self, "site"):
            return
        assert len(set(self.site.starts)) == len(self.site.starts)
        tags = {reference.rpartition("-")[0] for reference, _ in self.site.starts}
        assert len({reference for reference, _ in self.site.starts}) == len(tags)
        assert {reference for reference, _ in self.site.starts} <= {
            placed.reference for placed in self.dispatch.attempts.values()
        }

    @invariant()
    def nothing_impossible_is_told(self) -> None:
        if hasattr(self, "dispatch"):
            assert self.dispatch.wrong == []

    def teardown(self) -> None:
        """The weather clears: one agent, everything arrives, and all ends."""
        if not hasattr(self, "loop"):
            return
        try:
            self._clear_up()
        finally:
            for agent in self.agents.values():
                self._do(agent.stop())
            self.loop.close()

    def _clear_up(self) -> None:
        self.frozen.clear()
        self.site.hold_books = False
        for _ in range(15):
            self._all_arrives()
        for name in list(self.agents):
            self._do(self.agents.pop(name).stop())
        self.made += self.made % 2
        self.start_agent()
        for turn in range(300):
            if turn % 50 == 0:  # What the dead had sent may have taken the lease.
                self.dispatch.end_lease()
            self._all_arrives()
            placed = self.dispatch.attempts.values()
            if all(one.forgotten for one in placed) and not self.site.submissions and turn > 10:
                break
        assert self.site.submissions == {}, "litter"
        for attempt, one in self.dispatch.attempts.items():
            assert one.state in ENDS, f"{attempt} is {one.state}"
            assert one.forgotten
            assert all(run.final for run in one.runs.values())
        assert stated_all(self.dispatch, self.site, datetime(2030, 1, 1, tzinfo=UTC))
        self.nothing_is_released_twice()
        self.nothing_impossible_is_told()

    def _all_arrives(self) -> None:
        for _ in range(len(self.network.under_way)):
            self.network.deliver(0, "answer")
        self.pass_time(500)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        self.loop.run_until_complete(work)

    def _turn(self) -> None:
        """Let everybody run until they wait for the network."""
        self._do(_idle())


Chaos.TestCase.settings = settings(stateful_step_count=40)
TestChaos = Chaos.TestCase
