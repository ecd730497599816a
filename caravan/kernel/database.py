"""Databases: a unit of work is a plain function of a session.

`await db.write(fn, *args)` runs `fn(tx, *args)` as one transaction, in one thread hop, and returns what it returned once it is
durable; an exception rolls it back. `db.read` is the same without the right to write. Inside, nothing can await: calls to other
services and backends stand between units of work, never within one.

SQLite: one writer thread per file runs units one after another under BEGIN IMMEDIATE; units that wait together share a commit,
each in a savepoint of its own. Readers are a small pool that can't write. The writer holds `<file>.lock`; a second writer is refused.
PostgreSQL: asyncpg at SERIALIZABLE; a unit is run again on a serialization failure, so it must be a function of the database and
its arguments alone.
"""

import asyncio
import fcntl
import json
import os
import queue
import random
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar, cast

from sqlalchemy import (
    BigInteger,
    Connection,
    CursorResult,
    Dialect,
    Engine,
    MetaData,
    Text,
    TypeDecorator,
    UpdateBase,
    create_engine,
    event,
    make_url,
    text,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Session

from caravan.kernel import clock
from caravan.kernel.problems import Busy

P = ParamSpec("P")
T = TypeVar("T")
Unit = Callable[[Session], Any]

GROUP_COMMIT_SECONDS: Final = 0.005
READERS: Final = 4
ATTEMPTS: Final = 30
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


class Json(TypeDecorator[Any]):
    """Any JSON value, stored as compact text on both engines."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


def metadata() -> MetaData:
    """Metadata whose constraints are named by one rule, so that migrations can speak of them."""
    return MetaData(naming_convention=NAMING)


def base() -> type[DeclarativeBase]:
    """A declarative base of its own for each service; the kernel's tables are added by `kernel_tables`."""
    return type("Base", (DeclarativeBase,), {"metadata": metadata()})


class WriterTaken(RuntimeError):
    """Another process writes to this SQLite file."""


class _SqliteWriter(threading.Thread):
    """The one thread that writes to a file. Takes units from a queue; those that wait together share a commit."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(name="sqlite-writer", daemon=True)
        self._engine = engine
        self._units: queue.SimpleQueue[tuple[Unit, Future[Any]] | None] = queue.SimpleQueue()

    def submit(self, unit: Unit) -> Future[Any]:
        future: Future[Any] = Future()
        self._units.put((unit, future))
        return future

    def stop(self) -> None:
        """Run what is queued, then end."""
        self._units.put(None)
        self.join()

    def run(self) -> None:
        with self._engine.connect() as connection:
            while (item := self._units.get()) is not None:
                if self._group(connection, item):
                    return

    def _group(self, connection: Connection, item: tuple[Unit, Future[Any]]) -> bool:
        """Run `item` and what waits behind it in one transaction. True when asked to stop."""
        taken: list[Future[Any]] = []
        done: list[tuple[Future[Any], Any]] = []
        failed: dict[Future[Any], BaseException] = {}
        began, stop, after = clock.monotonic(), False, None
        try:
            with connection.begin():
                while True:
                    unit, future = item
                    taken.append(future)
                    try:
                        done.append((future, _in_savepoint(unit, connection)))
                    except BaseException as error:  # It is the unit's caller's, and is raised there.
                        failed[future] = error
                    if clock.monotonic() - began > GROUP_COMMIT_SECONDS or self._units.empty():
                        break
                    if (after := self._units.get()) is None:
                        stop = True
                        break
                    item = after
        except BaseException as error:  # The commit failed: none of them is durable, and each caller hears it.
            connection.connection.rollback()  # SQLAlchemy takes the transaction for ended; SQLite keeps it open.
            failed = {future: failed.get(future, error) for future in taken or [item[1]]}
            done.clear()
        for future, result in done:
            future.set_result(result)
        for future, cause in failed.items():
            future.set_exception(cause)
        return stop


def _in_savepoint(unit: Unit, connection: Connection) -> tuple[Any, frozenset[str]]:
    with Session(connection, expire_on_commit=False, join_transaction_mode="create_savepoint") as session:
        result = unit(session)
        session.commit()
        return result, frozenset(session.info.get("topics", ()))


def signal(tx: Session, topic: str) -> None:
    """Wake those who `Database.wait` for `topic` in this process, once `tx` has committed."""
    tx.info.setdefault("topics", set()).add(topic)


class Database:
    """One service's database on either engine. Open it with `start`, end with `stop`."""

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        self.url = make_url(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self._read_only = read_only
        self._lock: int | None = None
        self._writer: _SqliteWriter | None = None
        self._engines: list[Engine] = []
        self._readers: ThreadPoolExecutor | None = None
        self._async: AsyncEngine | None = None
        self._units: set[asyncio.Task[Any]] = set()
        self._topics: dict[str, tuple[int, asyncio.Event]] = {}
        self.closing = False

    async def start(self) -> None:
        """Connect to a database that is migrated. Raises WriterTaken when another process writes to this SQLite file."""
        if not self.sqlite:
            self._async = create_async_engine(
                self.url.set(drivername="postgresql+asyncpg"),
                isolation_level="SERIALIZABLE",
                pool_size=10,
                max_overflow=10,
            )
            return
        url = self.url.set(drivername="sqlite").render_as_string(hide_password=False)
        if not self._read_only:
            self._lock = take_lock(Path(str(self.url.database)))
            engine = sqlite_engine(url, write=True)
            self._writer = _SqliteWriter(engine)
            self._writer.start()
            self._engines.append(engine)
        engine = sqlite_engine(url, write=False)
        self._engines.append(engine)
        self._read_engine = engine
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="sqlite-reader")

    def close_waits(self) -> None:
        """Let all who wait for a topic, and all who will, return at once: the service is stopping."""
        self.closing = True
        for _, flag in self._topics.values():
            flag.set()

    async def stop(self) -> None:
        """Finish what is under way, then close everything. The lock goes last."""
        if self._async is not None:
            while self._units:  # their callers may have left: a unit goes on, with a connection that must come back
                await asyncio.wait(self._units)
            await self._async.dispose()
            self._async = None
        if self._writer is not None:
            await asyncio.to_thread(self._writer.stop)
            self._writer = None
        if self._readers is not None:
            self._readers.shutdown()
            self._readers = None
        for engine in self._engines:
            engine.dispose()
        self._engines.clear()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def write(self, unit: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `unit(tx, …)` as one transaction and return its result once it is durable.

        Shielded: a cancelled caller leaves, the unit goes on to its commit or rollback. Raises what the unit raised, or Busy.
        """

        def bound(tx: Session) -> T:
            return unit(tx, *args, **kwargs)

        future: asyncio.Future[tuple[T, frozenset[str]]]
        writer = self._writer
        future = asyncio.wrap_future(writer.submit(bound)) if writer else self._task(bound, read_only=False)
        future.add_done_callback(self._announce)
        return (await asyncio.shield(future))[0]

    async def read(self, unit: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `unit(tx, …)` on one consistent snapshot, without the right to write."""

        def bound(tx: Session) -> T:
            return unit(tx, *args, **kwargs)

        if self._readers is not None:
            return await asyncio.get_running_loop().run_in_executor(self._readers, self._read_sqlite, bound)
        return (await asyncio.shield(self._task(bound, read_only=True)))[0]

    def _read_sqlite(self, unit: Callable[[Session], T]) -> T:
        with self._read_engine.connect() as connection, Session(connection, expire_on_commit=False) as session:
            return unit(session)

    def _task(self, unit: Callable[[Session], T], *, read_only: bool) -> asyncio.Task[tuple[T, frozenset[str]]]:
        task = asyncio.create_task(self._postgres(unit, read_only=read_only))
        self._units.add(task)
        task.add_done_callback(self._units.discard)
        return task

    async def _postgres(self, unit: Callable[[Session], T], *, read_only: bool) -> tuple[T, frozenset[str]]:
        if self._async is None:
            raise RuntimeError("the database is not started")
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with AsyncSession(self._async, expire_on_commit=False) as session:
                    if read_only:
                        await session.connection(execution_options={"postgresql_readonly": True})
                    result = await session.run_sync(unit)
                    await session.commit()
                    return result, frozenset(session.info.get("topics", ()))
            except DBAPIError as error:
                if not _retryable(error, attempt):
                    raise
            await asyncio.sleep(random.uniform(0, min(0.002 * 2**attempt, 0.25)))
        raise Busy

    # Topics: wake-ups inside this process; other processes poll.

    def version(self, topic: str) -> int:
        """How often `topic` was signalled: read it before looking, and hand it to `wait`."""
        return self._topics.setdefault(topic, (0, asyncio.Event()))[0]

    async def wait(self, topic: str, since: int, seconds: float) -> None:
        """Return when `topic` was signalled after `since`, or after `seconds`."""
        version, flag = self._topics.setdefault(topic, (0, asyncio.Event()))
        if version == since and not self.closing:
            try:
                async with asyncio.timeout(seconds):
                    await flag.wait()
            except TimeoutError:
                return

    def _announce(self, future: "asyncio.Future[tuple[Any, frozenset[str]]]") -> None:
        if future.cancelled() or future.exception() is not None:
            return
        for topic in future.result()[1]:
            version, flag = self._topics.get(topic, (0, asyncio.Event()))
            self._topics[topic] = (version + 1, asyncio.Event())
            flag.set()


RETRYABLE: Final = {"40001", "40P01"}
"""serialization_failure and deadlock_detected."""
UNIQUE_VIOLATION: Final = "23505"
"""Two units that each looked before they inserted; the second finds the row when it is run again."""


def _retryable(error: DBAPIError, attempt: int) -> bool:
    state = getattr(error.orig, "sqlstate", None)
    return state in RETRYABLE or (state == UNIQUE_VIOLATION and attempt <= 3)


def sqlite_engine(url: str, *, write: bool) -> Engine:
    """An engine whose transactions begin as they must: IMMEDIATE for the writer, deferred and query_only for readers."""
    engine = create_engine(
        url,
        connect_args={"check_same_thread": False, "isolation_level": None, "timeout": 10},
        pool_size=1 if write else READERS,
        max_overflow=0,
    )

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _: object) -> None:
        for pragma in (
            "journal_mode=WAL" if write else "query_only=ON",
            "foreign_keys=ON",
            "synchronous=FULL",
            "recursive_triggers=ON",
            "cache_size=-64000",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def take_lock(database: Path) -> int:
    """Take `<file>.lock`, or raise WriterTaken naming who has it. The descriptor is not inherited by children."""
    path = database.with_name(database.name + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(descriptor, 200).decode(errors="replace")
        os.close(descriptor)
        raise WriterTaken(f"{database} is written by another process: {owner or 'unknown'}") from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"pid {os.getpid()} since {clock.now().isoformat(timespec='seconds')}".encode())
    return descriptor


def affected(tx: Session, statement: UpdateBase) -> int:
    """Execute an UPDATE or DELETE and return how many rows it met."""
    return cast("CursorResult[Any]", tx.execute(statement)).rowcount


def database_now(tx: Session) -> datetime:
    """The database's own clock: leases are compared by it, so that replicas with crooked clocks agree."""
    if tx.get_bind().dialect.name == "sqlite":
        return clock.now()
    value: datetime = tx.execute(text("SELECT clock_timestamp()")).scalar_one()
    return value


def is_sqlite(tx: Session) -> bool:
    return tx.get_bind().dialect.name == "sqlite"
