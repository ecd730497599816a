"""What an agent does beside: sweep what nobody committed, say what the site and its books have, answer reads of output."""

import asyncio
from base64 import b64encode
from datetime import datetime, timedelta
from typing import Final

from caravan.contracts.base import prose
from caravan.contracts.books import PAGE, BooksReport, Day
from caravan.contracts.dispatch import Desired, LogAnswer, LogRead
from caravan.kernel import clock
from caravan.kernel.logs import get_logger
from caravan.kernel.problems import NotFound
from services.broker.adapters.port import Backend, BackendError, Staged
from services.broker.agent.tenure import AGAIN_SECONDS, CALL_FAILED, AgentApi, AgentMetrics, Tenure, Tries
from services.broker.agent.watched import Stand

log = get_logger(__name__)
READS_AT_ONCE: Final = 8
REFUSED_SECONDS: Final = 3600.0
"""At most between questions for books to a platform that doesn't know them."""
READ_SECONDS: Final = 10.0
"""Nobody waits longer for an answer: a broker's `WAIT_SECONDS`."""


class Sweeper:
    """Removes staged submissions that can never be committed: litter of frozen agents, late requests, double sends."""

    def __init__(self, tenure: Tenure, backend: Backend, metrics: AgentMetrics) -> None:
        self._tenure = tenure
        self._backend = backend
        self._metrics = metrics
        self._tries = Tries(tenure.settings, metrics, "sweep", site=tenure.site)
        self._orphans: dict[str, float] = {}

    async def iteration(self) -> float:
        if not self._tenure.synced:
            return self._tenure.settings.first_pause_seconds
        try:
            found = await self._backend.staged()
        except BackendError as error:
            self._tries.failed(error)
            return self._tenure.settings.sweep_seconds
        self._tries.well()
        for staged in found:
            if self._is_litter(staged):
                await self._discard(staged.reference)
        here = {staged.reference for staged in found}
        self._orphans = {reference: at for reference, at in self._orphans.items() if reference in here}
        return self._tenure.settings.sweep_seconds

    async def _discard(self, reference: str) -> None:
        """One that can't be removed now keeps no other from it."""
        self._tenure.guard()
        try:
            await self._backend.discard(reference)
        except Exception as error:  # Whatever one meets, it is logged, counted and tried again by the next sweep.
            self._metrics.failures.labels("sweep").inc()
            log.warning("agent_not_swept", site=self._tenure.site, reference=reference, error=repr(error))
        else:
            self._metrics.swept.inc()
            log.info("agent_swept", site=self._tenure.site, reference=reference)

    def _is_litter(self, staged: Staged) -> bool:
        """Another reference is committed, or nothing of the attempt is wanted, or nobody has known it for long.

        An attempt that is being worked on and has no committed reference yet is left alone: this may be the one.
        """
        watched = self._tenure.items.get(f"att_{staged.tag}")
        if watched is None:
            first = self._orphans.setdefault(staged.reference, clock.monotonic())
            return clock.monotonic() - first >= self._tenure.settings.orphan_seconds
        if watched.reference is not None:
            return staged.reference != watched.reference
        return watched.desired is not Desired.RUN or (watched.stand is Stand.OVER and watched.staged is None)


class Inventory:
    """Says what the site has, at the start and when it changed."""

    def __init__(self, tenure: Tenure, backend: Backend, metrics: AgentMetrics) -> None:
        self._tenure = tenure
        self._backend = backend
        self._tries = Tries(tenure.settings, metrics, "inventory", AGAIN_SECONDS, site=tenure.site)

    async def iteration(self) -> float:
        try:
            inventory = await self._backend.inventory()
        except BackendError as error:
            self._tenure.outbox.trouble("inventory", str(error))
            return self._tries.failed(error)
        self._tries.well()
        self._tenure.outbox.well("inventory", inventory)
        return self._tenure.settings.inventory_seconds


class Probe:
    """Sees whether the site can be given jobs, and what is wrong with it."""

    def __init__(self, tenure: Tenure, backend: Backend, metrics: AgentMetrics) -> None:
        self._tenure = tenure
        self._backend = backend
        self._metrics = metrics
        self._tries = Tries(tenure.settings, metrics, "probe", AGAIN_SECONDS, site=tenure.site)

    async def iteration(self) -> float:
        began = clock.monotonic()
        try:
            faults = await self._backend.probe()
        except BackendError as error:
            self._tenure.outbox.trouble("probe", str(error))
            return self._tries.failed(error)
        self._metrics.probe.labels(self._tenure.site).set(clock.monotonic() - began)
        self._tries.well()
        self._tenure.outbox.probed(faults)
        return self._tenure.settings.probe_seconds


class BooksReader:
    """Reports what the backend's own books have of each day that is wanted."""

    def __init__(
        self, tenure: Tenure, backend: Backend, broker: AgentApi, books_lag_seconds: int, metrics: AgentMetrics
    ) -> None:
        self._tenure = tenure
        self._backend = backend
        self._broker = broker
        self._lag = timedelta(seconds=books_lag_seconds)
        self._tries = Tries(tenure.settings, metrics, "books", AGAIN_SECONDS, site=tenure.site)
        self._refusals = Tries(
            tenure.settings, metrics, "books", tenure.settings.books_seconds, REFUSED_SECONDS, site=tenure.site
        )
        self._begun: tuple[Day, datetime] | None = None

    async def iteration(self) -> float:
        """Returns the seconds until the next question."""
        try:
            day = (await self._broker.get_wanted_books(self._tenure.site, self._tenure.epoch)).day
            while day is not None:
                day = await self._report(day)
        except NotFound as error:  # a platform that is older than this agent wants no books
            return self._refusals.failed(error)
        except (BackendError, *CALL_FAILED) as error:
            return self._tries.failed(error)
        self._tries.well()
        self._refusals.well()
        return self._tenure.settings.books_seconds

    async def _report(self, day: Day) -> Day | None:
        """All of it, page by page. Returns the day that is wanted next.

        The books are as of when it was first tried: a backend that failed may go on where it was.
        """
        if self._begun is None or self._begun[0] != day:
            self._begun = day, await self._backend.now() - self._lag
        _, as_of = self._begun
        found = await self._backend.books(day.start, day.end)
        wanted: Day | None = day
        for page, at in enumerate(range(0, max(len(found.runs), 1), PAGE)):
            report = BooksReport(
                epoch=self._tenure.epoch,
                start=day.start,
                end=day.end,
                page=page,
                last=at + PAGE >= len(found.runs),
                as_of=as_of,
                keeps_all=found.keeps_all,
                runs=found.runs[at : at + PAGE],
            )
            wanted = (await self._broker.report_books(self._tenure.site, report)).day
        return wanted


class LogReads:
    """Answers reads of output, a few at a time. One that can't be answered is left to its asker's timeout; a backend that doesn't speak
    of some output keeps no other waiting for longer than that."""

    def __init__(self, tenure: Tenure, backend: Backend, broker: AgentApi, metrics: AgentMetrics) -> None:
        self._tenure = tenure
        self._backend = backend
        self._broker = broker
        self._tries = Tries(tenure.settings, metrics, "log_read", site=tenure.site)
        self._slots = asyncio.Semaphore(READS_AT_ONCE)
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def answer(self, read: LogRead) -> bool:
        """Begin to answer; returns False when it is being answered already (a read comes again until it has its answer)."""
        if read.id in self._tasks:
            return False
        task = self._tasks[read.id] = asyncio.create_task(self._answer(read), name=f"log:{read.id}")
        task.add_done_callback(lambda _: self._tasks.pop(read.id, None))
        return True

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _answer(self, read: LogRead) -> None:
        async with self._slots:
            try:
                await self._broker.answer_log_read(self._tenure.site, read.id, await self._read(read))
            except CALL_FAILED as error:
                self._tries.failed(error)
            else:
                self._tries.well()

    async def _read(self, read: LogRead) -> LogAnswer:
        try:
            async with asyncio.timeout(READ_SECONDS):
                found = await self._backend.read_log(read.reference, read.index, read.stream, read.offset, read.limit)
        except FileNotFoundError:
            return LogAnswer(epoch=self._tenure.epoch, data="", offset=0, size=0, complete=False, missing=True)
        except (BackendError, TimeoutError) as error:
            why = prose(str(error) or f"it was not read within {READ_SECONDS:.0f} s")
            return LogAnswer(epoch=self._tenure.epoch, data="", offset=0, size=0, complete=False, error=why)
        return LogAnswer(
            epoch=self._tenure.epoch,
            data=b64encode(found.data).decode("ascii"),
            offset=found.offset,
            size=found.size,
            complete=found.complete,
        )
