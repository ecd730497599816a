"""Times and durations as sacct writes them."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final

from caravan.kernel import clock

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:?\d\d)?")
_EPOCH: Final = re.compile(r"\d{9,11}")
"""`%s`: 22.05 cuts a time after 19 characters, and with it the offset that another format may have."""
_DURATION: Final = re.compile(r"(?:(\d+)-)?(\d+):([0-5]\d):([0-5]\d)(?:\.\d+)?")
_LAST: Final = clock.to_seconds(datetime.max.replace(tzinfo=UTC))
_NONE: Final = ("", "Unknown", "None")


class ZoneNeeded(ValueError):
    """Local times, and nothing says where they are local."""


@dataclass(frozen=True, slots=True)
class Times:
    """How a dump's times are read: those without an offset are in `zone`."""

    zone: tzinfo | None = None

    def read(self, text: str) -> int | None:
        """Epoch seconds; None where sacct knows none.

        Raises ZoneNeeded, and ValueError where the text is no time, is out of range, or is one that its zone has never or twice.
        """
        if text in _NONE:
            return None
        if _EPOCH.fullmatch(text):
            return int(text)
        told = _TIME.fullmatch(text)
        if not told:
            raise ValueError(f"{text!r} is no time like 2026-01-31T08:00:00")
        found = datetime.fromisoformat(text)
        seconds = clock.to_seconds(found if told[1] else self._located(found))
        if not 0 <= seconds <= _LAST:
            raise ValueError(f"{text!r} is not between 1970 and 9999")
        return seconds

    def _located(self, local: datetime) -> datetime:
        if self.zone is None:
            raise ZoneNeeded(
                "The dump's times have no offset. Say where they are local (`--zone Asia/Shanghai`), "
                "or write the dump with SLURM_TIME_FORMAT=%s."
            )
        first, second = (local.replace(tzinfo=self.zone, fold=fold) for fold in (0, 1))
        if first.utcoffset() != second.utcoffset():
            exists = first.astimezone(UTC).astimezone(self.zone).replace(tzinfo=None) == local
            raise ValueError(f"{local.isoformat()} was {'twice' if exists else 'never'} in {self.zone}")
        return first


def duration(text: str) -> int:
    """Whole seconds of `1-02:03:04` or `02:03:04`. Raises ValueError."""
    told = _DURATION.fullmatch(text)
    if not told:
        raise ValueError(f"{text!r} is no duration like 1-02:03:04")
    days, hours, minutes, seconds = (int(part or 0) for part in told.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
