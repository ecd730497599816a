"""Capacity: a vector per offering, reserved by a conditional update, given back once when the attempt is seen terminal."""

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.orm import Session

from caravan.contracts.offerings import Capacity, Offering
from caravan.kernel.database import table_of
from caravan.kernel.prepared import Prepared
from services.broker.placement.models import Occupied, Waiting
from services.broker.placement.question import Room

NEWEST: Final = "job_g"
"""Sorts after every job's id."""
_occupied, _waiting = table_of(Occupied), table_of(Waiting)
_OLDER: Final = select(_waiting.c.job).where(
    _waiting.c.offering == _occupied.c.offering, _waiting.c.job < bindparam("before")
)
_ROOMS: Final = {
    count: Prepared(
        select(_occupied, _OLDER.exists().label("waited_for")).where(
            _occupied.c.offering.in_([bindparam(f"of_{place}") for place in range(count)])
        )
    )
    for count in (1, 8, 64)
}
"""For at most so many offerings at once."""
_MINE: Final = _occupied.c.offering == bindparam("of_offering")
_KNOWN: Final = Prepared(select(_occupied.c.offering).where(_MINE))
_FIRST: Final = Prepared(insert(_occupied))
_VECTOR: Final = tuple(_occupied.c[name] for name in Capacity.model_fields)
_TAKE: Final = Prepared(
    update(_occupied)
    .where(_MINE, *(column + bindparam(f"need_{column.key}") <= bindparam(f"total_{column.key}") for column in _VECTOR))
    .values({column: column + bindparam(f"need_{column.key}") for column in _VECTOR})
)
_QUEUE: Final = Prepared(
    update(_occupied).where(_MINE, _occupied.c.ahead < bindparam("most")).values(ahead=_occupied.c.ahead + 1)
)


def rooms(tx: Session, offerings: Sequence[str], job: str | None = None) -> Mapping[str, Room]:
    """What is occupied of these offerings. `waited_for`: by a job older than `job`, or by any when `job` is a new one."""
    found: dict[str, Room] = {}
    for start in range(0, len(offerings), max(_ROOMS)):
        some = offerings[start : start + max(_ROOMS)]
        count = next(count for count in _ROOMS if count >= len(some))
        asked = {f"of_{place}": some[min(place, len(some) - 1)] for place in range(count)}
        for row in _ROOMS[count].all(tx, before=job or NEWEST, **asked):
            occupied = Capacity(cpus=row.cpus, memory_mib=row.memory_mib, accelerators=row.accelerators)
            found[row.offering] = Room(occupied, row.ahead, bool(row.waited_for))
    return found


def reserve(tx: Session, offering: Offering, need: Capacity) -> str | None:
    """Take `need` of the offering: `room` when it fits, `ahead` when it may queue at the backend, None when neither."""
    if _KNOWN.first(tx, of_offering=offering.id) is None:
        _FIRST.run(tx, offering=offering.id, cpus=0, memory_mib=0, accelerators=0, ahead=0)
    vectors = {"need": dict(need), "total": dict(offering.capacity)}
    asked = {f"{kind}_{name}": value for kind, vector in vectors.items() for name, value in vector.items()}
    if _TAKE.run(tx, of_offering=offering.id, **asked):
        return "room"
    return "ahead" if _QUEUE.run(tx, of_offering=offering.id, most=offering.queue_ahead) else None


def give_back(tx: Session, offering: str, kind: str, held: Capacity) -> None:
    """Return what `reserve` took. Called once for each attempt, in the transaction that ends it."""
    mine = Occupied.offering == offering
    if kind == "ahead":
        tx.execute(update(Occupied).where(mine).values(ahead=Occupied.ahead - 1))
        return
    tx.execute(
        update(Occupied)
        .where(mine)
        .values(
            cpus=Occupied.cpus - held.cpus,
            memory_mib=Occupied.memory_mib - held.memory_mib,
            accelerators=Occupied.accelerators - held.accelerators,
        )
    )
