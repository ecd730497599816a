"""Accounting's composition: `create_app(settings, peers)`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from caravan.client import Peers
from caravan.kernel import clock
from caravan.kernel.audit import audit_router
from caravan.kernel.feed_router import feed_router
from caravan.kernel.metrics import Metrics
from caravan.kernel.runtime import Runtime
from caravan.kernel.settings import Settings
from caravan.kernel.web import ServiceApp, create_service_app
from services.accounting.charging import endpoints as charging
from services.accounting.charging.reading import LineService
from services.accounting.charging.service import recharge
from services.accounting.funds import endpoints as funds
from services.accounting.funds.budgets import BudgetService
from services.accounting.funds.service import FundsService
from services.accounting.usage.following import Following


def create_app(settings: Settings, peers: Peers | None = None, now: clock.Clock = clock.now) -> ServiceApp:
    """Compose accounting. Without `peers` it answers, and follows nobody: events are applied by hand, in tests."""
    metrics = Metrics()
    runtime = Runtime("accounting", settings, metrics, now)

    @asynccontextmanager
    async def lifespan(app: ServiceApp) -> AsyncIterator[None]:
        async with runtime.running():
            if peers is not None:
                Following(runtime, peers).start()
            yield

    return create_service_app(
        "accounting",
        "Caravan accounting",
        settings,
        routers=[funds.router, charging.router, feed_router(), audit_router()],
        provide=[runtime, FundsService(runtime, recharge), BudgetService(runtime), LineService(runtime)],
        lifespan=lifespan,
        metrics=metrics,
        checks={"runtime": runtime.ready},
    )
