"""One holding of a site's lease: its epoch, until when it is certainly ours, and all that is known under it.

When it is lost, everything here is dropped: the next one starts from what the broker says.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, Protocol

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
    ReportItem,
    Work,
)
from caravan.kernel import clock
from caravan.kernel.logs import get_logger
from caravan.kernel.metrics import Metrics
from caravan.kernel.problems import Problem
from services.broker.agent.outbox import Outbox
from services.broker.agent.settings import AgentSettings
from services.broker.agent.watched import Watched

log = get_logger(__name__)

CALL_FAILED: Final = (ServiceUnavailable, Problem, TimeoutError)
"""What a call to the broker raises when it wasn't done, or nobody knows: to be repeated after a pause. LeaseLost is one too."""


class AgentApi(Protocol):
    """The broker as an agent needs it: `caravan.client.BrokerClient` is one."""

    async def take_lease(self, site: str, request: LeaseRequest) -> Lease: ...
    async def release_lease(self, site: str, epoch: int) -> None: ...
    async def get_work(self, site: str, epoch: int, after: int, wait: float) -> Work: ...
    async def commit_submissions(self, site: str, batch: CommitBatch) -> CommitAnswers: ...
    async def report(self, site: str, report: Report) -> Reported: ...
    async def answer_log_read(self, site: str, log_read: str, answer: LogAnswer) -> None: ...
    async def get_wanted_books(self, site: str, epoch: int) -> BooksWanted: ...
    async def report_books(self, site: str, report: BooksReport) -> BooksWanted: ...


class AgentMetrics:
    """Counted over all agents of a process."""

    def __init__(self, metrics: Metrics) -> None:
        self.lost = metrics.counter("agent_leases_lost", "Leases of sites that were lost.")
        self.rejected = metrics.counter("agent_rejected_items", "Report items that the broker says can't be true.")
        self.swept = metrics.counter(
            "agent_swept_submissions", "Staged submissions removed because nobody committed them."
        )
        self.probe = metrics.gauge("agent_probe_seconds", "How long the last probe of a site took.", "site")
        self.failures = metrics.counter("agent_failures", "Steps that failed and are tried again.", "step")


class LeaseGone(Exception):
    """The lease can't be relied on any more: nothing may be started under it."""


class Tenure:
    """State of one epoch. `deadline` is monotonic, counted from before the lease was asked for: the broker's own ends later."""

    def __init__(self, lease: Lease, deadline: float, settings: AgentSettings) -> None:
        self.site = lease.site
        self.lease = lease
        self.deadline = deadline
        self.settings = settings
        self.items: dict[str, Watched] = {}
        self.after = 0
        self.synced = False
        """Whether all that is open has been heard of once."""
        self.outbox = Outbox(settings)
        self.over = asyncio.Event()
        self.lost = False

    @property
    def epoch(self) -> int:
        return self.lease.epoch

    def guard(self) -> None:
        """To be called right before anything that could start something. Raises LeaseGone."""
        if self.lost or clock.monotonic() >= self.deadline:
            self.lose("its time is over")
            raise LeaseGone

    def lose(self, why: str) -> None:
        """Stop acting at once."""
        if not self.lost:
            log.warning("agent_lease_lost", site=self.site, epoch=self.epoch, why=why)
        self.end()

    def end(self) -> None:
        """Nothing is done under it any more."""
        self.lost = True
        self.over.set()

    def take(self, work: Work) -> Sequence[Watched]:
        """Take in what the broker wants; returns what it touched."""
        touched = []
        for item in work.items:
            watched = self.items.get(item.attempt)
            if watched is None:
                watched = self.items[item.attempt] = Watched(item.attempt, item.desired)
            watched.take(item)
            touched.append(watched)
        self.after = work.next
        self.synced = self.synced or not work.more
        return touched

    def retell(self, item: ReportItem) -> None:
        """The broker says that `item` can't be true."""
        watched = self.items.get(item.attempt)
        if watched is not None:
            watched.retell(item)


AGAIN_SECONDS: Final = 1.0
"""Before a site that didn't answer is asked again, at first; when that fails, too, it gets no new jobs."""


class Tries:
    """A step that is tried again until it goes well: how long to wait before that, and what the log says of it.

    Pauses double from the first to the longest. The log has a line when it begins to fail or fails otherwise than before, then at every
    2nd, 4th, 8th, … failure in a row, and one when it is well again. All are counted.
    """

    def __init__(
        self,
        settings: AgentSettings,
        metrics: AgentMetrics,
        step: str,
        first_pause: float | None = None,
        longest_pause: float | None = None,
        **context: Any,
    ) -> None:
        self._longest = longest_pause or settings.longest_pause_seconds
        self._first = min(first_pause or settings.first_pause_seconds, self._longest)
        self._metrics = metrics
        self._step = step
        self._context = context
        self._next = self._first
        self._failures, self._said = 0, ""

    def pause(self) -> float:
        """Seconds to wait before it is tried again."""
        pause, self._next = self._next, min(self._next * 2, self._longest)
        return pause

    def failed(self, error: BaseException) -> float:
        """It did: returns `pause`."""
        self._metrics.failures.labels(self._step).inc()
        self._failures += 1
        said = repr(error)
        if said != self._said or self._failures.bit_count() == 1:
            self._said = said
            log.warning("agent_step_failed", step=self._step, error=said, failures=self._failures, **self._context)
        return self.pause()

    def well(self) -> None:
        """It went well."""
        if self._failures:
            log.info("agent_step_well", step=self._step, failures=self._failures, **self._context)
        self._next = self._first
        self._failures, self._said = 0, ""
