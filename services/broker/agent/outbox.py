"""What is to be reported: kept in order until the broker has acknowledged it, sent in batches."""

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from caravan.contracts.base import prose
from caravan.contracts.dispatch import Report, ReportItem, SiteReport
from caravan.contracts.offerings import InventoryItem, SiteState
from services.broker.agent.settings import AgentSettings


@dataclass(frozen=True)
class Batch:
    """The oldest entries, and how the site stands if that is news."""

    entries: tuple[ReportItem | datetime, ...]
    site: SiteReport | None

    @property
    def items(self) -> tuple[ReportItem, ...]:
        return tuple(entry for entry in self.entries if not isinstance(entry, datetime))

    def report(self, epoch: int) -> Report:
        """As it is sent. `usage_complete_through` stands behind everything that was found out before it."""
        through = [entry for entry in self.entries if isinstance(entry, datetime)]
        return Report(
            epoch=epoch, items=self.items, site=self.site, usage_complete_through=through[-1] if through else None
        )


class Outbox:
    """First in, first out; what was sent stays until `acknowledge`, so a lost answer loses nothing."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._entries: deque[ReportItem | datetime] = deque()
        self._site: SiteReport | None = None
        self._complete_through: datetime | None = None
        self._failed: set[str] = set()
        """What failed when it was last tried."""
        self._troubles: dict[str, str] = {}
        self._faults: tuple[str, ...] = ()
        self._state: tuple[str, str] | None = None
        self._inventory: tuple[InventoryItem, ...] | None = None
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, items: Iterable[ReportItem]) -> None:
        self._entries.extend(items)
        self._look()

    def complete_through(self, second: datetime) -> None:
        """All usage before `second` is among what has been added so far."""
        if self._complete_through is not None and second <= self._complete_through:
            return
        self._complete_through = second
        self._entries.append(second)
        self._look()

    def well(self, what: str, inventory: tuple[InventoryItem, ...] | None = None) -> None:
        """`what` (a loop that asks the backend) goes well. Where all do, the site is healthy."""
        self._failed.discard(what)
        self._troubles.pop(what, None)
        self._site_is(inventory)

    def trouble(self, what: str, words: str) -> None:
        """`what` can't be asked. When it fails twice in a row the site is unavailable until it goes well again.

        One failure alone is no news: an answer was lost, or slurmrestd is being restarted. Told of it, the broker would have new jobs
        go where they cost more, and look at all that wait once more when the site is back, a second later.
        """
        if what in self._failed:
            self._troubles[what] = words
            self._site_is(None)
        self._failed.add(what)

    def overtaken(self) -> None:
        """The broker was told past this outbox how the site stands: whatever it was told by it is news again."""
        self._state = None

    def probed(self, faults: tuple[str, ...]) -> None:
        """A probe went well, and this is what it found wrong: the site is degraded while there is something."""
        self._faults = faults
        self.well("probe")

    def _site_is(self, inventory: tuple[InventoryItem, ...] | None) -> None:
        """Have it told how the site stands; nothing is sent when it is as it was."""
        state = SiteState.UNAVAILABLE if self._troubles else SiteState.DEGRADED if self._faults else SiteState.HEALTHY
        detail = "; ".join(dict.fromkeys([*self._troubles.values(), *self._faults]))
        news = inventory if inventory is not None and inventory != self._inventory else None
        if news is None and self._state == (state, detail):
            return
        if news is not None:
            self._inventory = news
        elif self._site is not None:
            news = self._site.inventory
        self._state = (state, detail)
        self._site = SiteReport(state=state, detail=prose(detail), inventory=news)
        self._look()

    async def batch(self) -> Batch:
        """Wait for something to report and a moment longer, then give the oldest of it."""
        await self._filled.wait()
        await asyncio.sleep(self._settings.batch_seconds)
        return Batch(tuple(islice(self._entries, self._settings.batch_items)), self._site)

    def acknowledge(self, batch: Batch, *, believed: bool = True) -> None:
        """The broker has it. What it didn't believe may be usage: then nothing that waits here to be called complete is."""
        for _ in batch.entries:
            self._entries.popleft()
        if not believed:
            self._entries = deque(entry for entry in self._entries if not isinstance(entry, datetime))
            self._complete_through = None
        if self._site is batch.site:
            self._site = None
        self._look()

    def _look(self) -> None:
        if self._entries or self._site is not None:
            self._filled.set()
        else:
            self._filled.clear()
