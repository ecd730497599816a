"""A small database to try the kernel on: its own tables, and `things`, whose parents need to be there only at commit."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import BigInteger, Column, Connection, ForeignKey, String, Table, func, insert, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, Session

from caravan.kernel import feed, tables
from caravan.kernel.database import Database, metadata
from caravan.kernel.migrations import on_connection

METADATA = metadata()
tables.include(METADATA)
things = Table(
    "things",
    METADATA,
    Column("id", String, primary_key=True),
    Column("value", BigInteger, nullable=False),
    Column("parent", ForeignKey("things.id", deferrable=True, initially="DEFERRED")),
)


class _Base(DeclarativeBase):
    metadata = METADATA


class Thing(_Base):
    """A row of `things` as an object."""

    __table__ = things
    id: Mapped[str]
    value: Mapped[int]
    parent: Mapped[str | None]


def make(connection: Connection) -> None:
    """The tables. PostgreSQL need not bring each commit to the disk: nothing here pulls the plug."""
    METADATA.create_all(connection)
    if connection.dialect.name == "postgresql":
        name = connection.execute(select(func.current_database())).scalar_one()
        connection.exec_driver_sql(f'ALTER DATABASE "{name}" SET synchronous_commit = off')


@asynccontextmanager
async def opened(url: str, *, create: bool = True) -> AsyncIterator[Database]:
    """A database with the tables above and a generation of its feed."""
    if create:
        await asyncio.to_thread(on_connection, url, make)
    db = Database(url)
    await db.start()
    try:
        if create:
            await db.write(feed.prepare)
        yield db
    finally:
        await db.stop()


def put(tx: Session, id: str, value: int = 0, parent: str | None = None) -> None:
    tx.execute(insert(things), {"id": id, "value": value, "parent": parent})


def value(tx: Session, id: str) -> int:
    found: int = tx.execute(select(things.c.value).where(things.c.id == id)).scalar_one()
    return found


def set_value(tx: Session, id: str, new: int) -> None:
    tx.execute(update(things).where(things.c.id == id).values(value=new))


def add(tx: Session, id: str, amount: int = 1) -> None:
    """Read, then write what follows from it."""
    set_value(tx, id, value(tx, id) + amount)


def everything(tx: Session) -> dict[str, int]:
    return {row.id: row.value for row in tx.execute(select(things.c.id, things.c.value).order_by(things.c.id))}
