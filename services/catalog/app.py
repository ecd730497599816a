"""The catalog's app: its rooms, composed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from caravan.client import Peers
from caravan.kernel import clock
from caravan.kernel.audit import audit_router
from caravan.kernel.feed_router import feed_router
from caravan.kernel.follow import Follower
from caravan.kernel.metrics import Metrics
from caravan.kernel.runtime import Runtime
from caravan.kernel.settings import Settings
from caravan.kernel.web import ServiceApp, create_service_app
from services.catalog.calendars.endpoints import calendars
from services.catalog.calendars.service import CalendarService
from services.catalog.offerings.endpoints import offerings
from services.catalog.offerings.search import SearchService
from services.catalog.offerings.service import OfferingService
from services.catalog.parties.endpoints import organizations, projects, providers
from services.catalog.parties.service import OrganizationService, ProjectService, ProviderService
from services.catalog.prices.endpoints import price_lists
from services.catalog.prices.explaining import PriceExplanationService
from services.catalog.prices.service import PriceListService
from services.catalog.resale.endpoints import resale_agreements
from services.catalog.resale.service import ResaleService
from services.catalog.sites.accelerators import AcceleratorService
from services.catalog.sites.endpoints import accelerators, sites, tenants
from services.catalog.sites.following import BROKER
from services.catalog.sites.modes import SiteModeService
from services.catalog.sites.service import SiteService
from services.catalog.sites.tenants import TenantService


def create_app(settings: Settings, peers: Peers | None = None, now: clock.Clock = clock.now) -> ServiceApp:
    """Compose the catalog. Without `peers` it follows nobody: sites have no health, and no adapter is known."""
    metrics = Metrics()
    runtime = Runtime("catalog", settings, metrics, now)
    db = runtime.db
    accelerator_kinds = AcceleratorService(db)
    calendar_years = CalendarService(runtime, metrics)

    @asynccontextmanager
    async def lifespan(app: ServiceApp) -> AsyncIterator[None]:
        async with runtime.running():
            await accelerator_kinds.seed()
            await calendar_years.seed()
            runtime.loops.start("calendar", calendar_years.look)
            if peers is not None:
                follower = Follower(db, "broker", peers.broker, BROKER)
                runtime.loops.start("follow-broker", follower.iteration)
            yield

    return create_service_app(
        "catalog",
        "Caravan catalog",
        settings,
        description="Organizations, providers and their sites, what is sold on them, and at what prices.",
        routers=[
            organizations,
            projects,
            providers,
            accelerators,
            sites,
            tenants,
            offerings,
            price_lists,
            resale_agreements,
            calendars,
            feed_router,
            audit_router,
        ],
        provide=[
            runtime,
            OrganizationService(db),
            ProjectService(db),
            ProviderService(db),
            accelerator_kinds,
            SiteService(db, settings.mode),
            SiteModeService(db),
            TenantService(db),
            OfferingService(db),
            SearchService(db),
            PriceListService(db),
            PriceExplanationService(db),
            ResaleService(db),
            calendar_years,
        ],
        lifespan=lifespan,
        metrics=metrics,
        checks={"runtime": runtime.ready},
    )
