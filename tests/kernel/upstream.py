"""A feed in memory that keeps the promises of a real one, with the faults that a follower meets."""

from datetime import UTC, datetime
from typing import Any, Final

from caravan.kernel.problems import CursorGone, Unreachable

Event = dict[str, Any]
PAGE: Final = 3


class Upstream:
    """States are kept in the snapshot too, an entity a page. `lose` answers: that many are lost on their way."""

    def __init__(self) -> None:
        self.generation = "first"
        self.events: list[Event] = []
        self.entities: dict[str, Event] = {}
        self.lose = 0
        self.snapshots = 0

    def say(self, type: str, subject: str, *, state: bool = False, **data: Any) -> None:
        position = len(self.events) + 1
        event = {
            "specversion": "1.0",
            "id": f"{self.generation} {position}",
            "source": "upstream",
            "type": type,
            "subject": subject,
            "time": datetime.now(UTC),
            "data": data,
            "position": position,
        }
        self.events.append(event)
        if state:
            self.entities[subject] = event

    def restore(self) -> None:
        """The same events, from a backup."""
        self.generation = "restored"

    async def feed(self, after: str | None, wait: float) -> tuple[list[Event], str]:
        generation, _, position = (after or f"{self.generation}:0").partition(":")
        if generation != self.generation:
            raise CursorGone
        page = self.events[int(position) :][:PAGE]
        if self.lose:
            self.lose -= 1
            raise Unreachable
        return page, f"{generation}:{int(position) + len(page)}"

    async def snapshot(self, start_after: str | None) -> tuple[str, list[Event], str | None]:
        self.snapshots += start_after is None
        later = sorted(subject for subject in self.entities if subject > (start_after or ""))
        page = [self.entities[s] | {"id": f"snapshot-{s}", "position": len(self.events)} for s in later[:1]]
        return f"{self.generation}:0", page, later[0] if later[1:] else None
