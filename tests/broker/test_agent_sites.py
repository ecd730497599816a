"""An agent and its site: refused, down, set up anew, read from."""

import asyncio

import pytest
from structlog.testing import capture_logs

from caravan.kernel import ids
from services.broker.adapters.fake import FakeBackend, FakeSite, HandClock, register
from services.broker.adapters.port import LogBytes
from services.broker.agent import chores
from services.broker.agent.outbox import Outbox
from services.broker.agent.settings import AgentSettings
from tests.broker.agents import an_agent, running, until
from tests.broker.dispatch_double import Dispatch


async def test_a_refused_site_says_why_and_is_tried_again(broker: Dispatch, site: FakeSite, time: HandClock) -> None:
    broker.settings = {"fake": site.name, "refused": "no isolation here"}
    placed = broker.attempts[broker.place("#fake run=1")]
    async with running(an_agent(broker)):
        await until(lambda: bool(broker.reports))
        assert (broker.reports[0].state, broker.reports[0].detail) == ("refused", "no isolation here")
        broker.settings = {"fake": site.name}
        await until(lambda: placed.state == "running")
    assert broker.reports[-1].state == "healthy"


async def test_a_site_that_was_refused_for_a_while_is_well_again(broker: Dispatch, site: FakeSite) -> None:
    broker.ttl_seconds = 1
    async with running(an_agent(broker)):
        await until(lambda: bool(broker.reports) and broker.reports[-1].state == "healthy")
        broker.settings = {"fake": site.name, "refused": "no isolation here"}
        await until(lambda: broker.reports[-1].state == "refused")
        broker.settings = {"fake": site.name}
        await until(lambda: broker.reports[-1].state == "healthy")


async def test_an_adapter_that_is_not_installed_refuses_the_site(broker: Dispatch) -> None:
    broker.adapter = "slurm"
    async with running(an_agent(broker)):
        await until(lambda: bool(broker.reports))
    assert broker.reports[0].state == "refused"
    assert "slurm" in broker.reports[0].detail


async def test_a_backend_that_is_down_makes_the_site_unavailable(broker: Dispatch, site: FakeSite) -> None:
    async with running(an_agent(broker)):
        await until(lambda: bool(broker.reports))
        with capture_logs() as logs:
            site.faults.down = True
            await until(lambda: broker.reports[-1].state == "unavailable")
            site.faults.down = False
            await until(lambda: broker.reports[-1].state == "healthy")
    assert {"agent_step_failed", "agent_step_well"} <= {one["event"] for one in logs}


async def test_what_a_probe_finds_wrong_makes_the_site_degraded(broker: Dispatch, site: FakeSite) -> None:
    site.wrong = ("its books are away",)
    async with running(an_agent(broker)):
        await until(lambda: bool(broker.reports) and broker.reports[-1].state == "degraded")
        assert broker.reports[-1].detail == "its books are away"
        site.wrong = ()
        await until(lambda: broker.reports[-1].state == "healthy")


async def test_a_site_is_well_again_when_all_that_asks_it_goes_well() -> None:
    outbox = Outbox(AgentSettings(batch_seconds=0))

    async def told() -> tuple[str, str] | None:
        try:
            async with asyncio.timeout(0.05):
                batch = await outbox.batch()
        except TimeoutError:
            return None
        outbox.acknowledge(batch)
        return (batch.site.state, batch.site.detail) if batch.site else None

    outbox.trouble("inventory", "no nodes")
    assert await told() is None, "once may be by chance"
    outbox.trouble("observe", "no answer")
    outbox.well("observe")
    assert await told() == ("healthy", "")
    outbox.trouble("inventory", "no nodes")
    assert await told() == ("unavailable", "no nodes")
    outbox.well("observe")
    assert await told() is None, "what goes well says nothing of what does not"
    outbox.trouble("observe", "no answer")
    assert await told() is None, "what was well in between fails for the first time"
    outbox.trouble("observe", "no answer")
    assert await told() == ("unavailable", "no nodes; no answer")
    outbox.well("inventory")
    assert await told() == ("unavailable", "no answer")
    outbox.probed(("no books",))
    assert await told() == ("unavailable", "no answer; no books")
    outbox.well("observe")
    assert await told() == ("degraded", "no books")
    outbox.probed(())
    assert await told() == ("healthy", "")


async def test_settings_that_change_open_the_backend_anew(broker: Dispatch, site: FakeSite, time: HandClock) -> None:
    broker.ttl_seconds = 1
    other = register(FakeSite(ids.new("own"), clock=time))
    async with running(an_agent(broker)):
        await until(lambda: bool(broker.reports))
        broker.settings = {"fake": other.name}
        placed = broker.attempts[broker.place("#fake queue=1")]
        await until(lambda: any(report.inventory == other.inventory() for report in broker.reports))
        assert placed.reference is not None


async def test_output_is_read(broker: Dispatch, site: FakeSite, time: HandClock) -> None:
    placed = broker.attempts[attempt := broker.place("#fake run=5 print=hello")]
    async with running(an_agent(broker)):
        await until(lambda: placed.state == "running")
        read = broker.read(attempt)
        await until(lambda: read in broker.answers)
        nothing = broker.read(attempt, stream="stderr")
        await until(lambda: nothing in broker.answers)
    answer = broker.answers[read]
    assert (answer.data, answer.size, answer.complete) == ("aGVsbG8gWzBdCg==", 10, False)
    assert broker.answers[nothing].data == ""


async def test_output_that_does_not_come_keeps_no_other_waiting(
    broker: Dispatch, site: FakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chores, "READ_SECONDS", 0.05)
    monkeypatch.setattr(chores, "READS_AT_ONCE", 1)
    read_log = FakeBackend.read_log

    async def silent(
        backend: FakeBackend, reference: str, index: int, stream: str, offset: int, limit: int
    ) -> LogBytes:
        if stream == "stderr":
            await asyncio.Event().wait()
        return await read_log(backend, reference, index, stream, offset, limit)

    monkeypatch.setattr(FakeBackend, "read_log", silent)
    placed = broker.attempts[attempt := broker.place("#fake run=5 print=hello")]
    async with running(an_agent(broker)):
        await until(lambda: placed.state == "running")
        stuck = broker.read(attempt, stream="stderr")
        other = broker.read(attempt)
        await until(lambda: other in broker.answers)
        await until(lambda: stuck in broker.answers)
    assert "was not read within" in broker.answers[stuck].error
    assert broker.answers[other].data
