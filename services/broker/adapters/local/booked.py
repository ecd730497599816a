"""The local site's own books of what was forgotten: `booked/<day of the last end, UTC>/<reference>.json`. Blocking file work.

Each day is asked for once, when it is over: a folder is removed when one is begun that is KEPT younger.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

from caravan.contracts.books import BookedRun
from services.broker.adapters.local import files
from services.broker.adapters.port import RunSeen, booked

KEPT: Final = timedelta(days=400)


def keep(folder: Path, reference: str, runs: Iterable[RunSeen]) -> None:
    """Whole, and once: what a submission's runs held when all of them had ended."""
    rows = [row for run in runs if run.spans for row in booked(run, run.spans[0].start, run.spans[-1].end)]
    ends = [row.end for row in rows if row.end is not None]
    if not ends:
        return
    last = max(ends).date()
    day = folder / last.isoformat()
    begins = not day.exists()
    day.mkdir(exist_ok=True)
    files.sync_folder(str(folder))
    if begins:
        _forget(folder, last - KEPT)
    files.create(f"{day}/{reference}.json", {"runs": [row.model_dump(mode="json") for row in rows]})


def _forget(folder: Path, through: date) -> None:
    for entry in list(os.scandir(folder)):
        if entry.name <= through.isoformat():
            shutil.rmtree(entry.path, ignore_errors=True)


def read(folder: Path, start: datetime, end: datetime) -> Iterator[BookedRun]:
    """Those with a second in [start, end): they ended on that day or later."""
    first = start.astimezone(UTC).date().isoformat()
    for day in sorted(entry.path for entry in os.scandir(folder) if entry.name >= first):
        for entry in os.scandir(day):
            content = None if entry.name.startswith(".") else files.read(entry.path)
            for row in map(BookedRun.model_validate, content["runs"] if content else ()):
                if row.start < end and (row.end is None or row.end > start):
                    yield row
