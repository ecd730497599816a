"""The three services, started once for each engine and shared by the broker's tests; every test has a market of its own in them.
For tests of agents: a fake site, its clock, and the broker's double."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from caravan.kernel import ids
from services.broker.adapters.fake import FakeSite, HandClock, register
from tests.broker.agents import START
from tests.broker.dispatch_double import Dispatch, stated_all
from tests.broker.hand import Hand
from tests.broker.market import SERVICES, Customer, Market, Platform, platform_on, sold
from tests.databases import Engine


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def database_engine(request: pytest.FixtureRequest) -> str:
    """The engine's name; whatever asks for a database runs once on each."""
    return str(request.param)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def platform(
    database_engine: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Platform]:
    engine: Engine = request.getfixturevalue(f"{database_engine}_engine")
    urls = {service: engine.migrated(service) for service in SERVICES}
    async with platform_on(urls, tmp_path_factory.mktemp("platform")) as platform:
        yield platform
    for url in urls.values():
        engine.drop(url)


@pytest_asyncio.fixture(loop_scope="session")
async def market(platform: Platform) -> Market:
    """A new provider among those of other tests."""
    market = Market(
        platform, platform.catalog("operator", "platform:admin"), platform.accounting("finance", "platform:finance")
    )
    await market.open()
    return market


class Shop:
    """The smallest market: one site in the test's hand, one offering of 4 cores, one customer."""

    def __init__(self, market: Market, site: str, offering: str, hand: Hand, customer: Customer) -> None:
        self.market = market
        self.site = site
        self.offering = offering
        self.hand = hand
        self.customer = customer


@pytest_asyncio.fixture(loop_scope="session")
async def shop(market: Market) -> Shop:
    site = await market.site()
    offering = await market.offering(site)
    customer = await market.customer(site)
    hand = await market.hand(site)
    await sold(customer, offering.id)
    return Shop(market, site, offering.id, hand, customer)


# For agents, without a platform


@pytest.fixture
def time() -> HandClock:
    return HandClock(START)


@pytest.fixture
def site(time: HandClock) -> FakeSite:
    return register(FakeSite(ids.new("own"), clock=time))


@pytest.fixture
def broker(site: FakeSite) -> Iterator[Dispatch]:
    """A double, which was told nothing wrong."""
    broker = Dispatch(settings={"fake": site.name})
    broker.complete = lambda second: stated_all(broker, site, second)
    yield broker
    assert broker.wrong == []
