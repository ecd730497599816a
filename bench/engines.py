"""Databases of a case's own, for cases that make many of them."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tests.databases import Engine, Postgres, Server, Sqlite

SQLITE: Final = "SQLite"
POSTGRESQL: Final = "PostgreSQL"
BOTH: Final = (SQLITE, POSTGRESQL)


@contextmanager
def engines(folder: Path, names: Collection[str]) -> Iterator[dict[str, Engine]]:
    """By name. SQLite's files lie in `folder`; PostgreSQL's server ends with this."""
    with ExitStack() as stack:
        found: dict[str, Engine] = {SQLITE: Sqlite(folder)} if SQLITE in names else {}
        if POSTGRESQL in names:
            server = Server()
            stack.callback(server.stop)
            found[POSTGRESQL] = postgres = Postgres(server.dsn)
            stack.callback(postgres.close)
        yield found
