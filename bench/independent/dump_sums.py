"""Sums a dump of sacct again: its own reading, Fractions of hours, the standard library alone.

Reads what `bench/cases/sacct_import.py` writes, and no other dump: a header, times in one fixed offset, GPUs of one kind.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from fractions import Fraction

BEIJING = timezone(timedelta(hours=8))


def hours(lines: Iterable[str]) -> dict[tuple[str, str, str], Fraction]:
    """(day, account, component) -> hours. The first of equal jobs counts, as all of them are equal."""
    lines = iter(lines)
    header = next(lines).strip().split("|")
    seen: set[tuple[str, str]] = set()
    sums: defaultdict[tuple[str, str, str], Fraction] = defaultdict(Fraction)
    for line in lines:
        row = dict(zip(header, line.rstrip("\n").split("|", len(header) - 1), strict=True))
        run = (row["JobIDRaw"], row["Submit"])
        if "." in row["JobID"] or row["End"] == "Unknown" or row["Start"] == "Unknown" or run in seen:
            continue
        seen.add(run)
        held = dict(part.split("=") for part in row["AllocTRES"].split(","))
        at, end = (
            datetime.strptime(row[name], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=BEIJING) for name in ("Start", "End")
        )
        while at < end:
            midnight = at.replace(hour=0, minute=0, second=0) + timedelta(days=1)
            part = Fraction(int((min(midnight, end) - at).total_seconds()), 3600)
            for component, name in (("cpu_core_hour", "cpu"), ("accelerator_hour", "gres/gpu")):
                if name in held:
                    sums[at.date().isoformat(), row["Account"], component] += part * int(held[name])
            at = midnight
    return dict(sums)
