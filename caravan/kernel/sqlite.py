"""SQLite underneath `caravan.kernel.database`: one thread that writes to a file, a few that read it, and the writer's lock.

The threads begin and end transactions themselves, by the driver; SQLAlchemy, told not to, takes part within them. Units that wait
together share a commit: the first runs in the bare transaction, each further one in a savepoint. What a unit did or raised is
answered once the commit has come back. Where the commit fails, or a unit ends the transaction for all, each runs again alone.
"""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final, cast

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from caravan.kernel import clock

GROUP_COMMIT_SECONDS: Final = 0.005
READERS: Final = 4
BUSY_SECONDS: Final = 10.0
"""How long a statement waits for another process (a backup, a shell) to leave the file."""


class WriterTaken(RuntimeError):
    """Another process writes to this SQLite file."""


class _Driven(SQLiteDialect_pysqlite):
    """SQLAlchemy's SQLite, whose transactions are driven by whoever opened the connection."""

    supports_statement_cache = True

    def do_begin(self, dbapi_connection: Any) -> None:
        pass

    def do_commit(self, dbapi_connection: Any) -> None:
        pass

    def do_rollback(self, dbapi_connection: Any) -> None:
        pass


registry.register("sqlite.driven", __name__, "_Driven")


class SqliteSession(Session):
    """A session of one of the threads. `driver`: its connection as the driver knows it, for statements that pass SQLAlchemy by."""

    driver: sqlite3.Connection

    def begin_nested(self) -> Any:
        """Not here: SQLAlchemy sets its savepoint with the next statement that it sees."""
        raise RuntimeError("use caravan.kernel.database.savepoint")

    def tell(self, statement: str) -> None:
        """Begin, end or part the transaction. Raises DBAPIError."""
        try:
            self.driver.execute(statement)
        except sqlite3.Error as error:
            raise DBAPIError.instance(statement, None, error, sqlite3.Error) from error


class Pending:
    """A unit of work that waits for its turn; then what came of it, on its way to `future`."""

    __slots__ = ("args", "error", "future", "kwargs", "result", "topics", "unit")

    def __init__(
        self, future: asyncio.Future[Any], unit: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.future, self.unit, self.args, self.kwargs = future, unit, args, kwargs
        self.result: Any = None
        self.error: BaseException | None = None
        self.topics: frozenset[str] = frozenset()

    def run(self, session: Session) -> None:
        """Run the unit up to its last statement; the transaction is the caller's."""
        self.result = self.unit(session, *self.args, **self.kwargs)
        session.flush()
        self.topics = frozenset(session.info.get("topics", ()))


Deliver = Callable[[list[Pending]], object]
"""Takes units whose outcome is settled. Called from the threads."""


class SqliteFile:
    """An open file: `write` and `read` queue a unit for the writer and the readers."""

    def __init__(self, path: Path, deliver: Deliver, *, read_only: bool = False) -> None:
        self._lock = None if read_only else take_lock(path)
        self._writes: SimpleQueue[Pending | None] = SimpleQueue()
        self._reads: SimpleQueue[Pending | None] = SimpleQueue()
        self._threads: list[_Writer | _Reader] = []
        try:
            if not read_only:
                self._threads.append(_Writer(connect(path), self._writes, deliver))
            for _ in range(READERS):
                self._threads.append(_Reader(connect(path, write=False), self._reads, deliver))
        except BaseException:
            self._release()
            raise
        for thread in self._threads:
            thread.start()

    def write(self, pending: Pending) -> None:
        self._writes.put(pending)

    def read(self, pending: Pending) -> None:
        self._reads.put(pending)

    def close(self) -> None:
        """Run what is queued, then end. The lock goes last."""
        self._writes.put(None)
        for _ in range(READERS):
            self._reads.put(None)
        for thread in self._threads:
            thread.join()
        self._release()

    def _release(self) -> None:
        for thread in self._threads:
            thread.connection.close()
        if self._lock is not None:
            os.close(self._lock)


class _Threaded(Thread):
    """Has a connection and a session of its own for all its life: both are costly to make for each unit."""

    def __init__(self, connection: Connection, units: SimpleQueue[Pending | None], deliver: Deliver) -> None:
        super().__init__(name=type(self).__name__, daemon=True)
        self.connection = connection
        self._driver = cast(sqlite3.Connection, connection.connection.driver_connection)
        self._session = SqliteSession(connection)
        self._session.driver = self._driver
        self._units = units
        self._deliver = deliver

    def _run(self, pending: Pending) -> None:
        try:
            pending.run(self._session)
        finally:
            if self._session.in_transaction():
                self._session.close()
            self._session.info.clear()
        if not self._driver.in_transaction:
            raise RuntimeError("a unit of work ended its transaction itself, as INSERT OR ROLLBACK does")

    def _rollback(self) -> None:
        if self._driver.in_transaction:
            self._driver.execute("ROLLBACK")


class _Reader(_Threaded):
    def run(self) -> None:
        while (pending := self._units.get()) is not None:
            try:
                self._session.tell("BEGIN")
                self._run(pending)
            except BaseException as error:  # It is the caller's, and is raised there.
                pending.error = error
            finally:
                self._rollback()
            self._deliver([pending])


class _Writer(_Threaded):
    _last = False

    def run(self) -> None:
        while not self._last and (first := self._units.get()) is not None:
            group = [first]
            try:
                self._together(group)
            except BaseException as error:  # Nothing of the group stands. It may be one unit's fault.
                self._rollback()
                if len(group) == 1:
                    first.error = error
                else:
                    for pending in group:
                        self._alone(pending)
            self._deliver(group)

    def _together(self, group: list[Pending]) -> None:
        """Run the first unit and what waits behind it, which joins the group, and commit. What it raises fails the group."""
        until = clock.monotonic() + GROUP_COMMIT_SECONDS
        self._session.tell("BEGIN IMMEDIATE")
        self._run(group[0])
        while not self._units.empty() and clock.monotonic() < until:
            following = self._units.get()
            if following is None:
                self._last = True
                break
            group.append(following)
            self._in_savepoint(following)
        self._session.tell("COMMIT")

    def _in_savepoint(self, pending: Pending) -> None:
        self._session.tell("SAVEPOINT unit")
        try:
            self._run(pending)
        except BaseException as error:  # It is the caller's, and is raised there.
            pending.error = error
            self._session.tell("ROLLBACK TO unit")  # Fails where the unit ended the transaction.
        self._session.tell("RELEASE unit")

    def _alone(self, pending: Pending) -> None:
        pending.error = None
        try:
            self._session.tell("BEGIN IMMEDIATE")
            self._run(pending)
            self._session.tell("COMMIT")
        except BaseException as error:  # It is the caller's, and is raised there.
            pending.error = error
            self._rollback()


def connect(path: Path, *, write: bool = True, foreign_keys: bool = True) -> Connection:
    """A connection whose transactions the caller drives (BEGIN IMMEDIATE to write). Without `write` nothing can be changed."""
    engine = create_engine(
        URL.create("sqlite+driven", database=str(path)),
        connect_args={"check_same_thread": False, "isolation_level": None, "timeout": BUSY_SECONDS},
        poolclass=NullPool,
    )

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _: object) -> None:
        for pragma in (
            "journal_mode=WAL" if write else "query_only=ON",
            f"foreign_keys={'ON' if foreign_keys else 'OFF'}",
            "synchronous=FULL",
            "recursive_triggers=ON",
            "cache_size=-64000",
        ):
            connection.execute(f"PRAGMA {pragma}")

    return engine.connect()


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
