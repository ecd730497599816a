"""Both databases, for cases that make many of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.databases import Engine, Postgres, Server, Sqlite


@contextmanager
def both_engines(folder: Path) -> Iterator[dict[str, Engine]]:
    """By name. SQLite's files lie in `folder`; PostgreSQL's server ends with this."""
    server = Server()
    try:
        postgres = Postgres(server.dsn)
        try:
            yield {"SQLite": Sqlite(folder), "PostgreSQL": postgres}
        finally:
            postgres.close()
    finally:
        server.stop()
