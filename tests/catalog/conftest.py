"""The catalog running on a migrated database of either engine, and the people who use it."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from caravan.kernel.settings import Settings
from services.catalog.app import create_app
from tests.support import Person, Running, database, development, running


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture
def settings(keys: Path, migrated: Callable[[str], str]) -> Settings:
    return development(keys, **database("catalog", migrated("catalog")))


@pytest.fixture
async def catalog(settings: Settings) -> AsyncIterator[Running]:
    async with running(create_app(settings)) as service:
        yield service


@pytest.fixture
def operator(catalog: Running) -> Person:
    return catalog.person("operator", "platform:admin")


@pytest.fixture
def broker(catalog: Running) -> Person:
    return catalog.person("service:broker", "service:broker")


@pytest.fixture
def stranger(catalog: Running) -> Person:
    return catalog.person("stranger")
