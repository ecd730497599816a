"""The port's Backend over a FakeSite."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from caravan.contracts.dispatch import Submission
from caravan.contracts.offerings import InventoryItem
from caravan.kernel.clock import floor_second
from services.broker.adapters.fake.site import FakeSite
from services.broker.adapters.port import Books, LogBytes, NotSeen, Seen, Staged


class FakeBackend:
    """One connection to a fake site."""

    def __init__(self, site: FakeSite) -> None:
        self.site = site

    async def inventory(self) -> tuple[InventoryItem, ...]:
        return await self.site.faults.call("inventory", self.site.inventory)

    async def probe(self) -> tuple[str, ...]:
        return await self.site.faults.call("probe", lambda: self.site.wrong)

    async def now(self) -> datetime:
        return await self.site.faults.call("now", lambda: floor_second(self.site.advance()))

    async def stage(self, submission: Submission) -> str:
        return await self.site.faults.call("stage", lambda: self.site.stage(submission))

    async def release(self, reference: str) -> None:
        await self.site.faults.call("release", lambda: self.site.release(reference))

    async def cancel(self, reference: str) -> None:
        await self.site.faults.call("cancel", lambda: self.site.cancel(reference))

    async def observe(self, references: Sequence[str]) -> Mapping[str, Seen | NotSeen]:
        return await self.site.faults.call("observe", lambda: {one: self.site.observe(one) for one in references})

    async def changed(self, since: float | None) -> Sequence[str]:
        return await self.site.faults.call("changed", lambda: self.site.changed(since))

    async def staged(self) -> Sequence[Staged]:
        return await self.site.faults.call("staged", self.site.staged)

    async def discard(self, reference: str) -> None:
        await self.site.faults.call("discard", lambda: self.site.discard(reference))

    async def read_log(self, reference: str, index: int, stream: str, offset: int, limit: int) -> LogBytes:
        return await self.site.faults.call(
            "read_log", lambda: self.site.read_log(reference, index, stream, offset, limit)
        )

    async def forget(self, reference: str) -> None:
        await self.site.faults.call("forget", lambda: self.site.forget(reference))

    async def books(self, start: datetime, end: datetime) -> Books:
        return await self.site.faults.call("books", lambda: Books(self.site.books(start, end), keeps_all=True))
