"""A node's own record of containers, as a centre writes it down from what its runtime says. Pure.

A CSV with a header and these columns, in any order, a line for each container that a node has started since before `--from`:

`site`, `submission`, `nodes`, `rank`: CARAVAN_SITE, CARAVAN_SUBMISSION, CARAVAN_NODES and CARAVAN_NODE_RANK of its environment. Without a
site it is somebody else's.
`pod`: the pod's uid. `started`, `ended`: with an offset (RFC 3339), `ended` empty while it runs.
`exit_code`: empty where nobody saw its end, since it ended with its node.
`cpus`, `memory_mib`: what its control group allows it.
"""

import csv
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final, TypeVar

from caravan.kernel.clock import floor_second, to_seconds
from caravan.reconcile.containers import Container
from caravan.sacct import Fault, UnreadableDump

T = TypeVar("T")
COLUMNS: Final = (
    "site", "submission", "nodes", "rank", "pod", "started", "ended", "exit_code", "cpus", "memory_mib"
)  # fmt: skip


class _Unreadable(ValueError):
    def __init__(self, field: str, reason: str) -> None:
        super().__init__(reason)
        self.field = field


def containers(lines: Iterable[str]) -> Iterator[Container | Fault]:
    """Those of sites. Raises UnreadableDump: a column is missing."""
    reader = csv.DictReader(lines)
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        raise UnreadableDump(
            f"The record lacks {', '.join(missing)}. Its first line names its columns: {','.join(COLUMNS)}."
        )
    for cells in reader:
        if None in cells or None in cells.values():
            yield Fault(reader.line_num, "line", "it has another number of cells than the header")
        elif cells["site"]:
            try:
                yield _container(cells)
            except _Unreadable as error:
                yield Fault(reader.line_num, error.field, str(error))


def _container(cells: Mapping[str, str]) -> Container:
    started = _read(cells, "started", _second)
    ended = _read(cells, "ended", _second) if cells["ended"] else None
    code = _read(cells, "exit_code", _count) if cells["exit_code"] else None
    lost = ended is not None and code is None
    if ended is not None and ended < started:
        raise _Unreadable("ended", "it ends before it starts")
    nodes = _read(cells, "nodes", _count)
    if not nodes:
        raise _Unreadable("nodes", "0 is no number of nodes")
    return Container(
        site=cells["site"],
        pod=_read(cells, "pod", _uid),
        job=_read(cells, "submission", _job),
        nodes=nodes,
        rank=_read(cells, "rank", _count),
        started=started,
        # it was billed until its loss was noticed, so that it takes some second at least
        ended=max(ended, started + 1) if ended is not None and lost else ended,
        lost=lost,
        cpus=_read(cells, "cpus", _whole),
        memory_mib=_read(cells, "memory_mib", _whole),
        accelerators=None,
    )


def _read(cells: Mapping[str, str], field: str, read: Callable[[str], T]) -> T:
    try:
        return read(cells[field])
    except (ValueError, ArithmeticError) as error:
        raise _Unreadable(field, str(error)) from error


def _uid(text: str) -> str:
    if not text:
        raise ValueError("a pod has a uid")
    return text


def _job(text: str) -> str:
    """The Job's uid of `<namespace>.<Job>.<uid>`."""
    parts = text.split(".")
    if len(parts) != 3:
        raise ValueError(f"{text!r} is no submission like acme.JOB.UID")
    return parts[2]


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is no count")
    return int(text)


def _whole(text: str) -> int:
    """Rounded up. Raises ValueError, and ArithmeticError of what is no number."""
    amount = Decimal(text)
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"{text!r} is no amount")
    return math.ceil(amount)


def _second(text: str) -> int:
    """Floored."""
    told = datetime.fromisoformat(text)
    if told.tzinfo is None:
        raise ValueError(f"{text!r} has no offset, like +08:00")
    return to_seconds(floor_second(told))
