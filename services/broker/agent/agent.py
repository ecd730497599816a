"""An agent: takes its site's lease, opens the backend, and keeps its loops running for as long as the lease is its own."""

import asyncio
import os
import socket
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry

from caravan.contracts.base import prose
from caravan.contracts.dispatch import Lease, LeaseRequest, Report, SiteReport
from caravan.contracts.offerings import SiteState
from caravan.contracts.problems import LeaseLost, LeaseTaken
from caravan.kernel import clock, ids
from caravan.kernel.logs import get_logger
from caravan.kernel.loops import Loops
from caravan.kernel.metrics import Metrics
from caravan.kernel.problems import NotFound, Unauthenticated
from services.broker.adapters.port import Adapter, Backend, SiteContext, SiteRefused, TellsNews, installed
from services.broker.agent.chores import BooksReader, Inventory, LogReads, Probe, Sweeper
from services.broker.agent.driver import Driver
from services.broker.agent.observer import Observer
from services.broker.agent.settings import AgentSettings
from services.broker.agent.tenure import CALL_FAILED, AgentApi, AgentMetrics, LeaseGone, Tenure, Tries

log = get_logger(__name__)
LEAVE_SECONDS = 3.0
"""How long an agent that leaves tries to say so."""
UNKNOWN_SECONDS = 10.0
"""How long a site may be unknown: the broker hears of a new one a moment after the catalog."""
NEWS_SECONDS = 0.05
"""How long news of a backend wait for company, once one was looked at."""
READ_AGAIN_SECONDS = 0.05
"""Until work is asked for again while the broker has nothing new but reads that are being answered."""


def new_holder() -> str:
    """A name for this agent that no other process ever has."""
    return f"{socket.gethostname()[:100]}:{os.getpid()}:{ids.new('own')}"


class Agent:
    """One site's agent. `start` and `stop` it, or `run` it until cancelled.

    `adapter` names the one to announce at first; the lease says which one the site is set up for.
    """

    def __init__(
        self,
        site: str,
        broker: AgentApi,
        adapters: Mapping[str, Adapter],
        adapter: str,
        *,
        settings: AgentSettings | None = None,
        metrics: AgentMetrics | None = None,
        holder: str | None = None,
        production: bool = True,
        jobs_on_this_machine: bool = True,
        secrets: Path | None = None,
        output: Path | None = None,
        private: tuple[Path, ...] = (),
    ) -> None:
        self.site = site
        self.holder = holder or new_holder()
        self._broker = broker
        self._adapters = adapters
        self._adapter = adapter
        self._settings = settings or AgentSettings()
        self._metrics = metrics or AgentMetrics(Metrics())
        self._production = production
        self._jobs_on_this_machine = jobs_on_this_machine
        self._secrets = secrets
        self._output = output
        self._private = private
        self._tries = {
            step: Tries(self._settings, self._metrics, step, site=site)
            for step in ("introduce", "lease", "renew", "work", "report", "leave")
        }
        self._tenure: Tenure | None = None
        self._loops = Loops(CollectorRegistry())

    @property
    def epoch(self) -> int | None:
        """The epoch under which it acts now."""
        return self._tenure.epoch if self._tenure is not None and not self._tenure.lost else None

    def start(self) -> None:
        self._loops.start("agent", self.iteration)

    async def stop(self) -> None:
        """Stop acting. The lease runs out by itself."""
        await self._loops.stop()

    async def leave(self) -> None:
        """Stop acting, and give the lease back: the next agent needn't wait."""
        await self.stop()
        tenure = self._tenure
        if tenure is None or tenure.lost:
            return
        tenure.end()
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._broker.release_lease(self.site, tenure.epoch)
        except CALL_FAILED as error:
            self._tries["leave"].failed(error)

    async def introduce(self) -> None:
        """Wait for the broker's word. Raises Unauthenticated for a token that it doesn't take, and NotFound when it keeps not knowing
        the site, or the token isn't its agent's."""
        until: float | None = None
        while True:
            try:
                await self._take(None)
                break
            except LeaseTaken:
                break
            except Unauthenticated:
                raise
            except NotFound:
                until = until or clock.monotonic() + UNKNOWN_SECONDS
                if clock.monotonic() >= until:
                    raise
                await asyncio.sleep(self._tries["introduce"].pause())
            except CALL_FAILED as error:
                await asyncio.sleep(self._tries["introduce"].failed(error))
        self._tries["introduce"].well()

    async def run(self) -> None:
        """Act until cancelled. Raises as `introduce`."""
        try:
            await self.introduce()
            self.start()
            await asyncio.Event().wait()
        finally:
            await self.leave()

    async def iteration(self) -> float:
        """One holding of the lease, from taking it to losing it. Returns the seconds to wait before the next."""
        asked_at = clock.monotonic()
        try:
            lease = await self._take(None)
        except LeaseTaken as error:
            left = (error.until - clock.now()).total_seconds()
            return min(max(left, self._settings.first_pause_seconds), self._settings.retry_seconds)
        except CALL_FAILED as error:
            return self._tries["lease"].failed(error)
        self._tries["lease"].well()
        deadline = asked_at + lease.ttl_seconds
        adapter = self._adapters.get(lease.adapter)
        if adapter is None:
            return await self._refuse(lease, f"the adapter {lease.adapter} is not installed with this agent")
        if lease.adapter != self._adapter:
            self._adapter = lease.adapter
            return 0
        tenure = self._tenure
        if tenure is not None and not tenure.lost and tenure.epoch == lease.epoch:
            tenure.lease, tenure.deadline = lease, deadline
            tenure.over.clear()
        else:
            tenure = self._tenure = Tenure(lease, deadline, self._settings)
        try:
            await self._hold(tenure, adapter)
        except SiteRefused as error:
            return await self._refuse(lease, str(error))
        return 0

    async def _hold(self, tenure: Tenure, adapter: Adapter) -> None:
        """Act under the lease until it is over. Raises SiteRefused."""
        context = SiteContext(
            site=self.site,
            settings=tenure.lease.settings,
            accelerators=tenure.lease.accelerators,
            secrets=self._secrets,
            output=self._output,
            production=self._production,
            jobs_on_this_machine=self._jobs_on_this_machine,
            private=self._private,
        )
        loops = Loops(CollectorRegistry())
        loops.start("lease", lambda: self._renew(tenure))
        try:
            async with adapter.open(context) as backend:
                await self._act(tenure, backend, adapter.descriptor.books_lag_seconds, loops)
        finally:
            await loops.stop()

    async def _act(self, tenure: Tenure, backend: Backend, books_lag_seconds: int, loops: Loops) -> None:
        observer = Observer(tenure, backend, books_lag_seconds, self._metrics)

        def look(reference: str) -> None:
            observer.look(reference)
            loops.kick("observe")

        driver = Driver(tenure, backend, self._broker, self._metrics, look)
        reads = LogReads(tenure, backend, self._broker, self._metrics)

        async def work() -> float:
            try:
                found = await self._broker.get_work(
                    self.site, tenure.epoch, tenure.after, self._settings.work_wait_seconds if tenure.synced else 0
                )
            except LeaseLost as error:
                tenure.lose(repr(error))
                return self._settings.retry_seconds
            except CALL_FAILED as error:
                return self._tries["work"].failed(error)
            self._tries["work"].well()
            for watched in tenure.take(found):
                driver.kick(watched)
            begun = [reads.answer(read) for read in found.log_reads]
            return 0 if found.items or any(begun) or not begun else READ_AGAIN_SECONDS

        async def report() -> float:
            batch = await tenure.outbox.batch()
            try:
                answer = await self._broker.report(self.site, batch.report(tenure.epoch))
            except LeaseLost as error:
                tenure.lose(repr(error))
                return self._settings.retry_seconds
            except CALL_FAILED as error:
                return self._tries["report"].failed(error)
            self._tries["report"].well()
            for place, why in answer.rejected.items():
                self._metrics.rejected.inc()
                log.error("agent_report_rejected", site=self.site, why=why, item=repr(batch.items[place]))
                tenure.retell(batch.items[place])
            tenure.outbox.acknowledge(batch, believed=not answer.rejected)
            return 0

        for watched in tenure.items.values():
            driver.kick(watched)
        sweeper = Sweeper(tenure, backend, self._metrics)

        async def sweep() -> float:
            try:
                return await sweeper.iteration()
            except LeaseGone:
                return self._settings.sweep_seconds

        async def listen(backend: TellsNews) -> float:
            await backend.news()
            loops.kick("observe")
            return NEWS_SECONDS

        loops.start("work", work)
        loops.start("report", report)
        loops.start("observe", observer.iteration)
        if isinstance(backend, TellsNews):
            loops.start("listen", partial(listen, backend))
        loops.start("sweep", sweep)
        loops.start("probe", Probe(tenure, backend, self._metrics).iteration)
        loops.start("inventory", Inventory(tenure, backend, self._metrics).iteration)
        books = BooksReader(tenure, backend, self._broker, books_lag_seconds, self._metrics)
        loops.start("books", books.iteration)
        log.info("agent_acts", site=self.site, epoch=tenure.epoch, holder=self.holder)
        try:
            await tenure.over.wait()
        finally:
            await loops.stop()
            await driver.close()
            await reads.close()
            if tenure.lost:
                self._metrics.lost.inc()

    async def _renew(self, tenure: Tenure) -> float:
        asked_at = clock.monotonic()
        third = tenure.lease.ttl_seconds / 3
        if asked_at >= tenure.deadline:
            tenure.lose("it could not be renewed in time")
            return third
        try:
            async with asyncio.timeout(tenure.deadline - asked_at):
                lease = await self._take(tenure.epoch)
        except (LeaseLost, LeaseTaken) as error:
            tenure.lose(repr(error))
            return third
        except CALL_FAILED as error:
            self._tries["renew"].failed(error)
            return min(third / 4, 1.0)
        self._tries["renew"].well()
        if lease.epoch != tenure.epoch:
            tenure.lose("it has passed through other hands")
            return third
        tenure.deadline = asked_at + lease.ttl_seconds
        if lease != tenure.lease:
            log.info("agent_reopens", site=self.site, epoch=tenure.epoch)
            tenure.over.set()
        return third

    async def _take(self, epoch: int | None) -> Lease:
        descriptor = self._adapters[self._adapter].descriptor
        return await self._broker.take_lease(
            self.site, LeaseRequest(holder=self.holder, epoch=epoch, descriptor=descriptor)
        )

    async def _refuse(self, lease: Lease, why: str) -> float:
        """Say why the site can't be operated, and leave it for a while."""
        log.error("agent_site_refused", site=self.site, why=why)
        if self._tenure is not None:
            self._tenure.outbox.overtaken()
        site = SiteReport(state=SiteState.REFUSED, detail=prose(why))
        try:
            await self._broker.report(self.site, Report(epoch=lease.epoch, items=(), site=site))
        except CALL_FAILED as error:
            self._tries["report"].failed(error)
        return self._settings.retry_seconds


async def run_agent(
    site: str,
    broker: AgentApi,
    *,
    adapter: str | None = None,
    settings: AgentSettings | None = None,
    metrics: Metrics | None = None,
    production: bool = True,
    secrets: Path | None = None,
    output: Path | None = None,
    private: tuple[Path, ...] = (),
) -> None:
    """Be a site's agent until cancelled, with the adapters that are installed here.

    Raises LookupError when there are none, Unauthenticated and NotFound when the broker refuses it from the start.
    """
    adapters = installed()
    first = adapter or min(adapters, default=None)
    if first is None or first not in adapters:
        raise LookupError(
            f"the adapter {first} is not installed here; there are: {', '.join(sorted(adapters)) or 'none'}"
        )
    await Agent(
        site,
        broker,
        adapters,
        first,
        settings=settings,
        metrics=AgentMetrics(metrics or Metrics()),
        production=production,
        secrets=secrets,
        output=output,
        private=private,
    ).run()
