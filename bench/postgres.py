"""A PostgreSQL server of a case's own."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.databases import Postgres, Server


@contextmanager
def empty_postgresql() -> Iterator[str]:
    """An empty database of a server that ends with this."""
    server = Server()
    try:
        engine = Postgres(server.dsn)
        try:
            url = engine.fresh()
            yield url
            engine.drop(url)
        finally:
            engine.close()
    finally:
        server.stop()
