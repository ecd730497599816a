"""Dumps of `sacct -P`, read line by line: what a centre's own books say of its jobs' allocations.

Owns the columns, the times and the amounts as sacct writes them. Pure: takes lines and gives what stands in them, never opens a file.
Open `reading.py` first.
"""

from caravan.sacct.columns import Columns, UnreadableDump
from caravan.sacct.reading import Allocation, Aside, Fault, allocations
from caravan.sacct.times import Times, ZoneNeeded

__all__ = ["Allocation", "Aside", "Columns", "Fault", "Times", "UnreadableDump", "ZoneNeeded", "allocations"]
