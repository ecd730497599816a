"""Which mode a site is in when: a stretch of time cut where its dated modes change."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from caravan.contracts.modes import SiteMode, SiteModeFrom
from caravan.kernel.clock import to_seconds

FOREVER = 2**62
"""The end, in seconds since the epoch, of a stretch that has none."""


class Stretch(NamedTuple):
    """[start, end) in seconds since the epoch, in one mode."""

    mode: SiteMode
    start: int
    end: int


def mode_at(modes: Sequence[SiteModeFrom], instant: datetime) -> SiteMode:
    """The mode at `instant`. `modes` are in the order of time."""
    return next((one.mode for one in reversed(modes) if one.starts_at <= instant), SiteMode.BILLED)


def stretches(modes: Sequence[SiteModeFrom], start: int, end: int) -> Iterator[Stretch]:
    """[start, end) cut where the mode changes: in order, without gap or overlap. Empty where `end <= start`."""
    at, mode = start, SiteMode.BILLED
    for one in modes:
        edge = to_seconds(one.starts_at)
        if edge >= end:
            break
        if at < edge and one.mode is not mode:
            yield Stretch(mode, at, edge)
            at = edge
        mode = one.mode
    if at < end:
        yield Stretch(mode, at, end)
