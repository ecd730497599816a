"""The broker's composition: `create_app(settings, peers)`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from caravan.client import Peers
from caravan.contracts.problems import NotSupportedHere
from caravan.kernel import clock
from caravan.kernel.audit import audit_router
from caravan.kernel.feed_router import feed_router
from caravan.kernel.follow import Follower
from caravan.kernel.metrics import Metrics
from caravan.kernel.runtime import Runtime
from caravan.kernel.web import ServiceApp, create_service_app
from services.broker.adapters.port import installed
from services.broker.dispatch import endpoints as dispatch_endpoints
from services.broker.dispatch.books import BooksService
from services.broker.dispatch.logs import LogService
from services.broker.dispatch.lost import LostAttempts
from services.broker.dispatch.service import DispatchService
from services.broker.hosting import AgentHost, announce
from services.broker.jobs import endpoints as job_endpoints
from services.broker.jobs import store
from services.broker.jobs.accepting import Reception
from services.broker.jobs.loop import Advancer
from services.broker.jobs.reading import JobReader
from services.broker.jobs.service import JobService
from services.broker.placement import copies
from services.broker.placement import endpoints as quote_endpoints
from services.broker.placement.question import AdapterHere
from services.broker.placement.service import Placer, QuoteService
from services.broker.settings import Settings


def create_app(settings: Settings, peers: Peers | None = None, now: clock.Clock = clock.now) -> ServiceApp:
    """Compose the broker. Without `peers` (for its OpenAPI document) it can't be started."""
    metrics = Metrics()
    runtime = Runtime("broker", settings, metrics, now)
    catalog = copies.Catalog()
    adapters = {name: adapter for name, adapter in installed().items() if settings.development or name != "fake"}
    placer = Placer(catalog, {name: AdapterHere.of(adapter) for name, adapter in adapters.items()})
    logs, lost = LogService(runtime.db), LostAttempts(runtime.db, catalog)
    books = BooksService(runtime.db, settings.zone, now)
    dispatch = DispatchService(runtime.db, catalog, metrics, settings.lease_seconds, adapters.keys())

    @asynccontextmanager
    async def lifespan(app: ServiceApp) -> AsyncIterator[None]:
        if peers is None:
            raise RuntimeError("the broker needs its peers: the catalog, and accounting")
        jobs = JobService(runtime.db, Reception(placer), peers.accounting, runtime.owner.id)
        app.provide(jobs)
        follower = Follower(runtime.db, copies.CATALOG, peers.catalog, copies.handlers(store.offering_changed))
        async with runtime.running():
            runtime.loops.start("follow-catalog", follower.iteration)
            runtime.loops.start("advance", Advancer(runtime.db, jobs).iteration)
            runtime.loops.start("sweep-log-reads", logs.sweep)
            runtime.loops.start("give-up", lost.give_up)
            jobs_here = settings.development or settings.jobs_on_this_machine
            host = AgentHost(runtime, catalog, peers.broker, adapters, metrics, jobs_on_this_machine=jobs_here)
            await runtime.db.write(announce, adapters)
            if settings.embedded_agents:
                await host.start()
                runtime.loops.start("agents", host.iteration)
            try:
                yield
            finally:
                await runtime.loops.cancel("agents")
                await host.stop()

    return create_service_app(
        "broker",
        "Caravan broker",
        settings,
        routers=[
            quote_endpoints.router,
            job_endpoints.router,
            dispatch_endpoints.router,
            feed_router,
            audit_router,
        ],
        provide=[runtime, dispatch, logs, lost, books, QuoteService(runtime.db, placer), JobReader(runtime.db)],
        lifespan=lifespan,
        metrics=metrics,
        checks={"runtime": runtime.ready},
        problem_types={"not_supported_here": NotSupportedHere},
    )
