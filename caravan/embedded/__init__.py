"""The three services in one process: each with its own database, calling each other without a socket.

`compose(settings)` gives one ASGI app with the services under /catalog, /broker and /accounting. The same services run one process
each with `service_app(settings, name)`. Never decides anything itself. Open `compose` first.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import httpx
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from caravan.client import AccountingClient, BrokerClient, CatalogClient, InProcess, Peers
from caravan.kernel import ids
from caravan.kernel.docs import problem_documentation
from caravan.kernel.logs import RequestContext, current_request
from caravan.kernel.problems import NotFound
from caravan.kernel.rendering import problem_response
from caravan.kernel.runtime import Runtime
from caravan.kernel.settings import ServiceName
from caravan.kernel.tokens import create_signer
from caravan.kernel.web import ServiceApp, started
from services.accounting.app import create_app as create_accounting
from services.broker.app import create_app as create_broker
from services.broker.settings import Settings
from services.catalog.app import create_app as create_catalog

SERVICES: Final[tuple[ServiceName, ...]] = ("catalog", "accounting", "broker")
"""In the order in which they start; they stop in reverse."""
DRAIN_SECONDS: Final = 5.0
CREATE: Final = {"catalog": create_catalog, "accounting": create_accounting, "broker": create_broker}


class _Neighbour:
    """A service of this process as the others call it: they wait until it has started, and can't reach it once it stops."""

    def __init__(self) -> None:
        self.app: ASGIApp | None = None
        self.up = asyncio.Event()
        self.stopping = False
        self._calls: set[asyncio.Future[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.up.wait()
        if self.app is None or self.stopping:
            raise httpx.ConnectError("the service is stopping")
        call = asyncio.get_running_loop().create_future()
        self._calls.add(call)
        try:
            await self.app(scope, receive, send)
        finally:
            self._calls.discard(call)
            call.cancel()

    async def drained(self) -> None:
        """Return when what was called before it stopped has been answered."""
        if self._calls:
            await asyncio.wait(self._calls, timeout=DRAIN_SECONDS)


def _peers(settings: Settings, me: ServiceName, apps: dict[ServiceName, _Neighbour] | None) -> Peers:
    """The clients through which `me` sees the services: in this process, or at the URLs of the settings."""
    signer = create_signer(settings)

    def arguments(service: ServiceName) -> tuple[str, InProcess | None]:
        if apps is not None:
            return f"http://{service}", InProcess(apps[service])
        url = settings.service_url(service)
        if url is None:
            raise ValueError(
                f"CARAVAN_{service.upper()}_URL is not set: {me} runs alone and has to know where {service} answers"
            )
        return url, None

    def token() -> str:
        return signer.service_token(me)

    clients = {service: arguments(service) for service in SERVICES}
    return Peers(
        catalog=CatalogClient(clients["catalog"][0], token, transport=clients["catalog"][1]),
        broker=BrokerClient(clients["broker"][0], token, transport=clients["broker"][1]),
        accounting=AccountingClient(clients["accounting"][0], token, transport=clients["accounting"][1]),
    )


def service_app(settings: Settings, service: ServiceName) -> ServiceApp:
    """One service for a process of its own. Raises ValueError when a peer's URL is not set."""
    app: ServiceApp = CREATE[service](settings, _peers(settings, service, None))
    return app


async def _problem_page(request: Request) -> Response:
    """Where the `type` of a problem leads, for all three services."""
    try:
        return problem_documentation(request.path_params["code"])
    except NotFound as problem:
        return await _elsewhere(request, problem)


async def _elsewhere(request: Request, _: Exception) -> Response:
    """Whatever is under none of the services."""
    context = RequestContext(ids.new("req"))
    before = current_request.set(context)
    try:
        return problem_response(NotFound(), {"X-Request-Id": context.request_id})
    finally:
        current_request.reset(before)


def compose(settings: Settings) -> Starlette:
    """All three in one app; its lifespan runs theirs."""
    neighbours: dict[ServiceName, _Neighbour] = {service: _Neighbour() for service in SERVICES}
    apps: dict[ServiceName, ServiceApp] = {}
    for service in SERVICES:
        apps[service] = CREATE[service](settings, _peers(settings, service, neighbours))
        neighbours[service].app = apps[service]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for service in SERVICES:
                await stack.enter_async_context(started(apps[service]))
                neighbours[service].up.set()
            yield
            for service, neighbour in neighbours.items():
                neighbour.stopping = True
                apps[service].provided[Runtime].db.close_waits()
            for neighbour in neighbours.values():
                await neighbour.drained()

    whole = Starlette(
        routes=[
            Route("/", lambda _: RedirectResponse("/broker/docs")),
            Route("/problems/{code}", _problem_page),
            *(Mount(f"/{service}", apps[service]) for service in SERVICES),
        ],
        lifespan=lifespan,
        exception_handlers={HTTPException: _elsewhere},
    )
    whole.state.services = apps
    return whole
