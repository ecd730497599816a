"""Capacity: a vector per offering, reserved by a conditional update, given back once when the attempt is seen terminal."""

from collections.abc import Mapping, Sequence

from sqlalchemy import and_, insert, select, update
from sqlalchemy.orm import Session

from caravan.contracts.offerings import Capacity, Offering
from caravan.kernel.database import affected
from services.broker.placement.decide import Room
from services.broker.placement.models import Occupied, Waiting


def rooms(tx: Session, offerings: Sequence[str], job: str | None = None) -> Mapping[str, Room]:
    """What is occupied of these offerings. `waited_for`: by a job older than `job`, or by any when `job` is a new one."""
    waiting = select(Waiting.job).where(Waiting.offering == Occupied.offering)
    older = waiting if job is None else waiting.where(Waiting.job < job)
    rows = tx.execute(
        select(
            Occupied.offering,
            Occupied.cpus,
            Occupied.memory_mib,
            Occupied.accelerators,
            Occupied.ahead,
            older.exists().label("waited_for"),
        ).where(Occupied.offering.in_(offerings))
    )
    return {
        row.offering: Room(
            Capacity(cpus=row.cpus, memory_mib=row.memory_mib, accelerators=row.accelerators),
            row.ahead,
            bool(row.waited_for),
        )
        for row in rows
    }


def reserve(tx: Session, offering: Offering, need: Capacity) -> str | None:
    """Take `need` of the offering: `room` when it fits, `ahead` when it may queue at the backend, None when neither."""
    if tx.execute(select(Occupied.offering).where(Occupied.offering == offering.id)).first() is None:
        tx.execute(insert(Occupied).values(offering=offering.id, cpus=0, memory_mib=0, accelerators=0, ahead=0))
    total, mine = offering.capacity, Occupied.offering == offering.id
    fits = and_(
        Occupied.cpus + need.cpus <= total.cpus,
        Occupied.memory_mib + need.memory_mib <= total.memory_mib,
        Occupied.accelerators + need.accelerators <= total.accelerators,
    )
    taken = affected(
        tx,
        update(Occupied)
        .where(mine, fits)
        .values(
            cpus=Occupied.cpus + need.cpus,
            memory_mib=Occupied.memory_mib + need.memory_mib,
            accelerators=Occupied.accelerators + need.accelerators,
        ),
    )
    if taken == 1:
        return "room"
    queued = affected(
        tx, update(Occupied).where(mine, Occupied.ahead < offering.queue_ahead).values(ahead=Occupied.ahead + 1)
    )
    return "ahead" if queued == 1 else None


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
