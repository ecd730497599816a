"""From what a backend's books say of a run to what is stated of it: hours, revisions, the end. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from caravan.contracts.usage import HourUsage, Span, hour_key, parse_hour
from caravan.kernel.clock import floor_hour

HOUR: Final = timedelta(hours=1)
Hours = Mapping[datetime, tuple[Span, ...]]


def split(spans: Iterable[Span]) -> dict[datetime, tuple[Span, ...]]:
    """Cut spans at the UTC hours. What meets with the same shape becomes one, so equal allocations are equal statements.

    `spans` stand in order and apart from each other.
    """
    hours: dict[datetime, list[Span]] = {}
    for span in spans:
        start = span.start
        while start < span.end:
            hour = floor_hour(start)
            end = min(span.end, hour + HOUR)
            pieces = hours.setdefault(hour, [])
            piece = span.model_copy(update={"start": start, "end": end})
            if (
                pieces
                and piece == pieces[-1].model_copy(update={"start": start, "end": end})
                and pieces[-1].end == start
            ):
                pieces[-1] = pieces[-1].model_copy(update={"end": end})
            else:
                pieces.append(piece)
            start = end
    return {hour: tuple(pieces) for hour, pieces in hours.items()}


@dataclass(frozen=True)
class Books:
    """What has been stated of one run. A new agent knows the revisions from the broker, and not yet what was in them."""

    revisions: Mapping[datetime, int] = field(default_factory=dict)
    content: Hours = field(default_factory=dict)
    final: bool = False

    @classmethod
    def told(cls, stated: Mapping[str, int], final: bool) -> "Books":
        """From a work item."""
        return cls(revisions={parse_hour(key): revision for key, revision in stated.items()}, final=final)


def state(books: Books, spans: Sequence[Span], through: datetime, final: bool) -> tuple[Books, tuple[HourUsage, ...]]:
    """What is to be stated now, and the books after it.

    Hours that lie before `through` (the backend's clock less the lag of its books) are stated, all of them when `final`. An hour
    that isn't as it was stated, or of which only a revision is known, is stated again one revision higher; one that has gone is
    stated empty. Saying the same again states nothing.
    """
    if books.final:
        return books, ()
    hours = split(spans)
    revisions, content, statements = dict(books.revisions), dict(books.content), []
    for hour in sorted(hours.keys() | revisions.keys()):
        now = hours.get(hour, ())
        if (not final and hour + HOUR > through) or content.get(hour) == now:
            continue
        revisions[hour] = revisions.get(hour, 0) + 1
        content[hour] = now
        statements.append(HourUsage(hour=hour, revision=revisions[hour], spans=now))
    return replace(books, revisions=revisions, content=content, final=final), tuple(statements)


def first_unstated(books: Books, spans: Sequence[Span]) -> datetime | None:
    """The earliest second of the run that is not stated as it is; None when all of it is."""
    if books.final:
        return None
    hours = split(spans)
    open_hours = [
        hour for hour in hours.keys() | books.revisions.keys() if books.content.get(hour) != hours.get(hour, ())
    ]
    if not open_hours:
        return None
    hour = min(open_hours)
    return max(hour, hours[hour][0].start) if hours.get(hour) else hour


def last_revisions(books: Books) -> dict[str, int]:
    """All hours ever stated with their last revisions, as FinalStated lists them."""
    return {hour_key(hour): revision for hour, revision in sorted(books.revisions.items())}
