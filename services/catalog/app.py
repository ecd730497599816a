"""The catalog's app: its rooms, composed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from caravan.kernel import clock
from caravan.kernel.audit import audit_router
from caravan.kernel.feed_router import feed_router
from caravan.kernel.follow import FeedSource
from caravan.kernel.metrics import Metrics
from caravan.kernel.runtime import Runtime
from caravan.kernel.settings import Settings
from caravan.kernel.web import ServiceApp, create_service_app
from services.catalog.parties.endpoints import organizations, projects, providers
from services.catalog.parties.service import OrganizationService, ProjectService, ProviderService


class Peers(Protocol):
    """The services that the catalog follows."""

    @property
    def broker(self) -> FeedSource: ...


def create_app(settings: Settings, peers: Peers | None = None, now: clock.Clock = clock.now) -> ServiceApp:
    """Compose the catalog. Without `peers` it follows nobody: sites have no health, and no adapter is known."""
    metrics = Metrics()
    runtime = Runtime("catalog", settings, metrics, now)
    db = runtime.db

    @asynccontextmanager
    async def lifespan(app: ServiceApp) -> AsyncIterator[None]:
        async with runtime.running():
            yield

    return create_service_app(
        "catalog",
        "Caravan catalog",
        settings,
        description="Organizations, providers and their sites, what is sold on them, and at what prices.",
        routers=[organizations, projects, providers, feed_router(), audit_router()],
        provide=[runtime, OrganizationService(db), ProjectService(db), ProviderService(db)],
        lifespan=lifespan,
        metrics=metrics,
        checks={"runtime": runtime.ready},
    )
