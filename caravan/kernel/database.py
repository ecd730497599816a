"""Databases: a unit of work is a plain function of a session.

`await db.write(fn, *args)` runs `fn(tx, *args)` as one transaction, in one thread hop, and returns what it returned once it is
durable; an exception rolls it back. `db.read` is the same without the right to write. Inside, nothing can await: calls to other
services and backends stand between units of work, never within one.

SQLite: one writer thread per file runs units one after another under BEGIN IMMEDIATE, and those that wait together share a commit;
a few readers can't write. The writer holds `<file>.lock`: a second writer is refused. See `caravan/kernel/sqlite.py`.
PostgreSQL: asyncpg at SERIALIZABLE, reads on a snapshot; a unit that could not be serialized is run again, by itself.
On both a unit may run more than once before it commits once, so it is a function of the database and its arguments alone.
"""

import asyncio
import json
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar, cast
from weakref import WeakValueDictionary

import structlog
from sqlalchemy import (
    BigInteger,
    CursorResult,
    Dialect,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UpdateBase,
    make_url,
    text,
)
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Session

from caravan.kernel import clock
from caravan.kernel.problems import Busy
from caravan.kernel.sqlite import Pending, SqliteFile, SqliteSession
from caravan.kernel.sqlite import WriterTaken as WriterTaken
from caravan.kernel.turns import Turns

P = ParamSpec("P")
T = TypeVar("T")
log = structlog.get_logger(__name__)

ATTEMPTS: Final = 30
SNAPSHOT: Final = {"postgresql_readonly": True, "isolation_level": "REPEATABLE READ"}
"""How PostgreSQL reads: one consistent snapshot that no writer has to give way to."""
NAMING: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime, stored as integer microseconds since the epoch: the same, and sortable, on both engines."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else clock.to_microseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else clock.from_microseconds(value)


_COMPACT: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class Json(TypeDecorator[Any]):
    """Any JSON value, stored as compact text on both engines."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else _COMPACT.encode(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


def metadata() -> MetaData:
    """Metadata whose constraints are named by one rule, so that migrations can speak of them."""
    return MetaData(naming_convention=NAMING)


def base() -> type[DeclarativeBase]:
    """A declarative base of its own for each service; the kernel's tables are added by `kernel_tables`."""
    return type("Base", (DeclarativeBase,), {"metadata": metadata()})


def signal(tx: Session, topic: str) -> None:
    """Wake those who `Database.wait` for `topic` in this process, once `tx` has committed."""
    tx.info.setdefault("topics", set()).add(topic)


class Database:
    """One service's database on either engine. Open it with `start`, end with `stop`.

    `run_again`: how often a unit had to, because it could not be serialized. Of one unit that is at most ATTEMPTS times.
    """

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        self.url = make_url(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self.closing = False
        self.run_again = 0
        self._read_only = read_only
        self._file: SqliteFile | None = None
        self._server: AsyncEngine | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._flags: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()
        self._turns = Turns()

    async def start(self) -> None:
        """Connect to a database that is migrated. Raises WriterTaken when another process writes to this SQLite file."""
        if self.sqlite:
            loop, path = asyncio.get_running_loop(), Path(str(self.url.database))

            def deliver(settled: list[Pending]) -> None:
                loop.call_soon_threadsafe(self._deliver, settled)

            self._file = await asyncio.to_thread(SqliteFile, path, deliver, read_only=self._read_only)
        else:
            self._server = create_async_engine(
                self.url.set(drivername="postgresql+asyncpg"),
                isolation_level="SERIALIZABLE",
                pool_size=10,
                max_overflow=10,
            )

    def close_waits(self) -> None:
        """Let all who wait for a topic, and all who will, return at once: the service is stopping."""
        self.closing = True
        for flag in self._flags.values():
            flag.set()

    async def stop(self) -> None:
        """Finish what is under way, also what its caller has left, then close everything."""
        file, self._file = self._file, None
        if file is not None:
            await asyncio.to_thread(file.close)
        while self._tasks:
            await asyncio.wait(self._tasks)
        server, self._server = self._server, None
        if server is not None:
            await server.dispose()

    async def write(self, unit: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `unit(tx, …)` as one transaction and return its result once it is durable.

        A cancelled caller leaves; the unit goes on to its commit or rollback. Raises what the unit raised, or Busy.
        """
        if self._read_only:
            raise RuntimeError("the database was opened to be read")
        pending = Pending(asyncio.get_running_loop().create_future(), unit, args, kwargs)
        if self._file is not None:
            self._file.write(pending)
        else:
            self._spawn(pending, read_only=False)
        return cast(T, await pending.future)

    async def read(self, unit: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `unit(tx, …)` on one consistent snapshot, without the right to write."""
        pending = Pending(asyncio.get_running_loop().create_future(), unit, args, kwargs)
        if self._file is not None:
            self._file.read(pending)
        else:
            self._spawn(pending, read_only=True)
        return cast(T, await pending.future)

    def _spawn(self, pending: Pending, *, read_only: bool) -> None:
        if self._server is None:
            raise RuntimeError("the database is not started")
        task = asyncio.create_task(self._serialize(self._server, pending, read_only=read_only))
        self._tasks.add(task)  # It has a connection that must come back, whether or not its caller stays.
        task.add_done_callback(self._tasks.discard)

    async def _serialize(self, server: AsyncEngine, pending: Pending, *, read_only: bool) -> None:
        """Run the unit until it could be serialized, at most ATTEMPTS times, and deliver.

        What failed once runs while no other unit of this process does: busy rows would fail all of them again and again.
        """

        def work(session: Session) -> None:
            with session:
                if read_only:
                    session.connection(execution_options=SNAPSHOT)
                pending.run(session)
                session.commit()

        for attempt in range(1, ATTEMPTS + 1):
            turn = nullcontext() if read_only else self._turns.together() if attempt == 1 else self._turns.alone()
            try:
                async with turn:
                    await AsyncSession(server, expire_on_commit=False).run_sync(work)
                break
            except DBAPIError as error:
                if not _retryable(error, attempt):
                    pending.error = error
                    break
                self.run_again += 1
            except BaseException as error:  # It is the caller's, and is raised there.
                pending.error = error
                break
            await asyncio.sleep(random.uniform(0, min(0.002 * 2**attempt, 0.25)))
        else:
            pending.error = Busy()
        self._deliver([pending])

    def _deliver(self, settled: list[Pending]) -> None:
        """Wake who waits for the topics of what has committed, and give each caller who is still there its answer."""
        for pending in settled:
            future, error = pending.future, pending.error
            if error is None:
                for topic in pending.topics:
                    if (flag := self._flags.pop(topic, None)) is not None:
                        flag.set()
                if not future.done():
                    future.set_result(pending.result)
            elif future.done():
                log.info("unit_failed_after_its_caller_left", error=repr(error))
            elif isinstance(error, StopIteration):  # Python lets no future raise it.
                future.set_exception(RuntimeError("a unit of work raised StopIteration"))
            else:
                future.set_exception(error)

    # Topics: wake-ups inside this process; other processes poll.

    def version(self, topic: str) -> asyncio.Event:
        """The state of `topic` as of now: ask for it before looking, and hand it to `wait`. It is set when the state is past."""
        flag = self._flags.get(topic)
        if flag is None:
            flag = self._flags[topic] = asyncio.Event()
            if self.closing:
                flag.set()
        return flag

    async def wait(self, topic: str, since: asyncio.Event, seconds: float) -> None:
        """Return when `topic` was signalled after `since`, or after `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                await since.wait()
        except TimeoutError:
            return


RETRYABLE: Final = {"40001", "40P01"}
"""serialization_failure and deadlock_detected."""
UNIQUE_VIOLATION: Final = "23505"
"""Two units that each looked before they inserted; the second finds the row when it is run again."""


def not_serialized(error: DBAPIError) -> bool:
    """Whether PostgreSQL asks to run the whole transaction again."""
    return getattr(error.orig, "sqlstate", None) in RETRYABLE


def of_the_database(error: DBAPIError) -> bool:
    """Whether the whole unit has failed, and not what a part of it asked for: the disk is full, the connection lost, it is to run again."""
    return isinstance(error, OperationalError) or error.connection_invalidated or not_serialized(error)


def _retryable(error: DBAPIError, attempt: int) -> bool:
    return not_serialized(error) or (getattr(error.orig, "sqlstate", None) == UNIQUE_VIOLATION and attempt <= 3)


def table_of(model: type[DeclarativeBase]) -> Table:
    """The model's table, for statements that are made once and pass the ORM by."""
    return cast(Table, model.__table__)


def affected(tx: Session, statement: UpdateBase, values: Mapping[str, Any] | None = None) -> int:
    """Execute an UPDATE or DELETE and return how many rows it met."""
    return cast("CursorResult[Any]", tx.execute(statement, values)).rowcount


@contextmanager
def savepoint(tx: Session) -> Iterator[None]:
    """What the block writes stands or falls by itself: when it raises, all of it is undone, and its objects are no longer the session's.

    As `tx.begin_nested`, which costs more than most of what is done within it.
    """
    if not isinstance(tx, SqliteSession):
        with tx.begin_nested():
            yield
        return
    tx.flush()
    tx.tell("SAVEPOINT part")
    try:
        yield
        tx.flush()
    except BaseException:
        tx.rollback()  # of the session alone, which may have failed in a flush: the driver isn't told
        tx.expunge_all()
        tx.tell("ROLLBACK TO part")
        raise
    finally:
        tx.tell("RELEASE part")


def database_now(tx: Session) -> datetime:
    """The database's own clock: leases are compared by it, so that replicas with crooked clocks agree."""
    if is_sqlite(tx):
        return clock.now()
    value: datetime = tx.execute(text("SELECT clock_timestamp()")).scalar_one()
    return value


def is_sqlite(tx: Session) -> bool:
    return isinstance(tx, SqliteSession) or tx.get_bind().dialect.name == "sqlite"
