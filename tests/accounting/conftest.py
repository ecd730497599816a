"""Accounting running on a migrated database of either engine, with two feeds that tests fill, and the people who use it."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from caravan.kernel import clock, ids
from caravan.kernel.database import Database
from caravan.kernel.local_days import zone_named
from caravan.kernel.settings import Settings
from services.accounting import settings as accounting_settings
from services.accounting.app import create_app
from services.accounting.periods import service as periods
from tests.accounting.months import Hand
from tests.accounting.programmes_cases import Hands
from tests.accounting.volume import CORE, LATER, TIERS
from tests.accounting.world import World, tariff
from tests.support import Person, Running, database, development, running


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture
def settings(keys: Path, migrated: Callable[[str], str]) -> Settings:
    """The books are reconciled in an hour that isn't now: a test that wants a night makes its own."""
    local = clock.now().astimezone(zone_named("Asia/Shanghai")).hour
    one = development(keys, **database("accounting", migrated("accounting")))
    return accounting_settings.Settings(**dict(one), reconciliation_hour=5 if local in (2, 3) else 3)


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def now() -> clock.Clock:
    """What accounting takes for now. A file of tests that holds the time in its hand makes it `hand`."""
    return clock.now


@pytest.fixture
async def accounting(settings: Settings, now: clock.Clock) -> AsyncIterator[Running]:
    async with running(create_app(settings, now=now)) as service:
        yield service


@pytest.fixture
async def world(accounting: Running) -> World:
    """An organization with a project, a seller with a priced offering, known to accounting; no money yet."""
    world = World(accounting)
    await world.open()
    return world


@pytest.fixture
def finance(accounting: Running) -> Person:
    return accounting.person("finance", "platform:finance")


@pytest.fixture
def broker(accounting: Running) -> Person:
    return accounting.person("service:broker", "service:broker")


@pytest.fixture
def accounting_url(migrated: Callable[[str], str]) -> str:
    return migrated("accounting")


@pytest.fixture
async def db(accounting_url: str) -> AsyncIterator[Database]:
    """The database alone, for tests of what stands behind the app."""
    database = Database(accounting_url)
    await database.start()
    await database.write(periods.prepare, "Asia/Shanghai")
    yield database
    await database.stop()


@pytest.fixture
async def sold(settings: Settings) -> AsyncIterator[World]:
    """The world with volume discounts on its offering, in a year that is over."""
    async with running(create_app(settings, now=lambda: LATER)) as service:
        world = World(service)
        await world.open()
        one = tariff("day", None, None, cpu_core_hour="36.00")
        world.know_prices(ids.new("prl"), 2, one, volume={CORE: TIERS})
        await world.deposit("5000.00")
        yield world


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
async def spring(settings: Settings, hands: Hands) -> AsyncIterator[World]:
    """The world at a time that the test holds in its hands."""
    async with running(create_app(settings, now=hands)) as service:
        world = World(service)
        await world.open()
        yield world
