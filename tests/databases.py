"""Fresh databases for tests, quickly, on both engines.

Each engine makes empty databases, and copies of a database that was migrated once in this run. URLs are those of
`caravan.kernel.database`: `sqlite:////folder/name.db`, `postgresql://user@host:port/name`.
"""

import asyncio
import itertools
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from pathlib import Path
from typing import Protocol, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

import asyncpg

T = TypeVar("T")
SCRIPTS = Path(__file__).parent / "backends" / "postgres"


class Engine(Protocol):
    """Makes databases; `migrated` runs the migrations of `service` at most once in the life of the engine."""

    def fresh(self) -> str: ...

    def migrated(self, service: str) -> str: ...

    def drop(self, url: str) -> None: ...


def migrate(url: str, service: str) -> None:
    # imported late: a test of something else must not fail with the kernel's database
    from caravan.kernel.migrations import migrate

    migrate(url, service)


class Sqlite:
    """Files in a folder of this run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.numbers = itertools.count(1)
        self.templates: dict[str, Path] = {}

    def fresh(self) -> str:
        return f"sqlite:///{self._path()}"

    def migrated(self, service: str) -> str:
        if service not in self.templates:
            template = self.folder / f"template-{service}.db"
            migrate(f"sqlite:///{template}", service)
            left = Path(f"{template}-wal")
            if left.exists() and left.stat().st_size:
                raise RuntimeError(f"migrating {service} left a connection open: {left} isn't empty")
            self.templates[service] = template
        path = self._path()
        shutil.copyfile(self.templates[service], path)
        return f"sqlite:///{path}"

    def drop(self, url: str) -> None:
        path = url.removeprefix("sqlite:///")
        for suffix in ("", "-wal", "-shm", ".lock"):
            Path(path + suffix).unlink(missing_ok=True)

    def _path(self) -> Path:
        return self.folder / f"{next(self.numbers)}.db"


class Postgres:
    """Databases of one server.

    Statements go through two connections, in a thread with a loop of its own: sync and async tests ask alike. A drop waits
    for a checkpoint, so tests don't wait for it.
    """

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.prefix = f"t{os.getpid()}"
        self.numbers = itertools.count(1)
        self.templates: dict[str, str] = {}
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, name="postgres-admin", daemon=True)
        self.thread.start()
        self.creating = self._wait(Turns.open(dsn))
        self.dropping = self._wait(Turns.open(dsn))
        self.drops: list[Future[None]] = []

    def fresh(self) -> str:
        return self._create("template0")

    def migrated(self, service: str) -> str:
        if service not in self.templates:
            url = self._create("template0", f"{self.prefix}_{next(self.numbers)}_{service}")
            migrate(url, service)
            self.templates[service] = urlsplit(url).path[1:]
        return self._create(self.templates[service])

    def drop(self, url: str) -> None:
        name = urlsplit(url).path[1:]
        self.drops.append(self._start(self.dropping.execute(f'DROP DATABASE "{name}" WITH (FORCE)')))

    def close(self) -> None:
        """End the thread. On a server that stays, nothing of ours does; with one of our own, what is left goes anyway."""
        if "CARAVAN_TEST_PG" in os.environ:
            for name in self.templates.values():
                self.drop(f"postgresql://x/{name}")
        else:
            for drop in self.drops:
                drop.cancel()
        for drop in self.drops:
            with suppress(CancelledError):
                drop.result(timeout=300)
        for connection in (self.creating, self.dropping):
            self._wait(connection.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def _create(self, template: str, name: str = "") -> str:
        name = name or f"{self.prefix}_{next(self.numbers)}"
        self._wait(self.creating.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'))
        return urlunsplit(urlsplit(self.dsn)._replace(path=f"/{name}"))

    def _start(self, statement: Coroutine[object, object, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(statement, self.loop)

    def _wait(self, statement: Coroutine[object, object, T]) -> T:
        return self._start(statement).result(timeout=300)


class Turns:
    """A connection whose statements wait for each other."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self.turn = asyncio.Lock()

    @classmethod
    async def open(cls, dsn: str) -> Self:
        return cls(await asyncpg.connect(dsn))

    async def execute(self, statement: str) -> None:
        async with self.turn:
            await self.connection.execute(statement)

    async def close(self) -> None:
        await self.connection.close()


class Server:
    """The server that the tests use: CARAVAN_TEST_PG's, or one started for this run.

    What ends ours waits at a pipe that closes with this process, also when it is killed.
    """

    def __init__(self) -> None:
        given = os.environ.get("CARAVAN_TEST_PG")
        self.ender: subprocess.Popen[bytes] | None = None
        if given:
            self.dsn = given
            return
        folder = tempfile.mkdtemp(prefix="caravan-postgres-", dir=roomy_folder())
        wait_and_end = ["sh", "-c", 'read -r _; exec "$0" "$1"', str(SCRIPTS / "down.sh"), folder]
        self.ender = subprocess.Popen(wait_and_end, stdin=subprocess.PIPE, start_new_session=True)
        started = subprocess.run([SCRIPTS / "up.sh", folder], stdout=subprocess.PIPE, text=True, check=True)
        self.dsn = started.stdout.strip()

    def stop(self) -> None:
        if self.ender:
            self.ender.communicate(timeout=60)


def roomy_folder() -> str | None:
    """The parent of folders for databases: memory where there is plenty, since a new database is hundreds of files to sync;
    or else None, the usual one, which may lie there already. Syncing stays on: a killed process loses what it would lose on a disk."""
    memory = Path("/dev/shm")
    if memory in Path(tempfile.gettempdir()).parents:
        return None
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 4 << 30
    return str(memory) if roomy else None
