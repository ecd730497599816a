from collections.abc import AsyncIterator, Iterator

import pytest

from caravan.kernel.database import Database
from tests.databases import Engine
from tests.kernel.scratch import opened


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """An open scratch database, on each engine."""
    async with opened(database_url) as database:
        yield database


@pytest.fixture
def sqlite_url(sqlite_engine: Engine) -> Iterator[str]:
    url = sqlite_engine.fresh()
    yield url
    sqlite_engine.drop(url)


@pytest.fixture
async def sqlite_db(sqlite_url: str) -> AsyncIterator[Database]:
    """For what SQLite alone can get wrong."""
    async with opened(sqlite_url) as database:
        yield database


@pytest.fixture
async def postgresql_db(postgresql_engine: Engine) -> AsyncIterator[Database]:
    """For what PostgreSQL alone can get wrong."""
    url = postgresql_engine.fresh()
    async with opened(url) as database:
        yield database
    postgresql_engine.drop(url)
