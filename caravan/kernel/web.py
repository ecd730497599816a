"""The web layer: one app factory for the three services, and what an endpoint is written with.

    from caravan.kernel.web import IdempotencyKey, IfMatch, OrgMember, Response, Router, etag, problems, provided, stored

    router = Router(prefix="/v1", tags=["jobs"])
    Jobs = Annotated[JobService, provided(JobService)]

    @router.post("/jobs", status_code=201, response_model=Job, responses=problems(BudgetExceeded, NoOfferingFits))
    async def submit_job(spec: JobSpec, caller: OrgMember, jobs: Jobs, key: IdempotencyKey) -> Response:
        \"\"\"Accept a job, place it and set its maximum price aside.\"\"\"
        return stored(await jobs.submit(spec, caller, key))  # an Answer: answer_of(job), answer_of_problem(BudgetExceeded(...))

    @router.put("/jobs/{id}/labels", responses=problems(JobEnded))
    async def label_job(id: JobId, labels: Labels, caller: OrgMember, version: IfMatch, jobs: Jobs, response: Response) -> Job:
        \"\"\"Replace a job's labels.\"\"\"
        job = await jobs.label(id, labels, caller, version)  # raises Stale when `version` is not the job's
        response.headers["ETag"] = etag(job.version)
        return job

    app = create_service_app("broker", "Caravan broker", settings, routers=[router], provide=[JobService(...)])

- An endpoint is `async def`, its name is the operation id and the client's method, its docstring the documentation.
- Exactly one parameter says who may call: see the table in `access.py`. The app refuses to be made with a route without one.
- `problems(...)` names the domain's refusals only. 401, 404, 413, 415, 422, 500 and the like are added where they can occur, and
  so are those of a dependency object with an attribute `problems` (a tuple of classes).
- Raise `Problem`s; never return one, never raise HTTPException. Validators raise PydanticCustomError (the words of a ValueError
  may quote the input and are not shown).
- A route that takes many records: `@router.post(..., max_body_size=BATCH_BYTES)`. Own dependencies are `async` (a sync one costs
  a thread hop); `Response` returned as such is sent as it is.

An answer's way: Gateway (request id, metrics, problems) -> Route (token, role, body) -> FastAPI (parameters, models) -> endpoint.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from caravan.kernel import access, docs, openapi
from caravan.kernel.access import (
    Anyone,
    Finance,
    Office,
    OrgAdmin,
    OrgMember,
    OrgReader,
    PlatformAdmin,
    ProviderAdmin,
    Public,
    Service,
    allow,
)
from caravan.kernel.bodies import BATCH_BYTES
from caravan.kernel.gateway import Gateway
from caravan.kernel.logs import get_logger
from caravan.kernel.metrics import Metrics
from caravan.kernel.problems import NotReady
from caravan.kernel.rendering import ProblemTypes
from caravan.kernel.routes import (
    IdempotencyKey,
    IfMatch,
    OptionalIdempotencyKey,
    Provided,
    Route,
    Router,
    answer_of,
    answer_of_problem,
    etag,
    problems,
    provided,
    stored,
)
from caravan.kernel.settings import ServiceName, Settings
from caravan.kernel.tokens import Caller, Verifier, create_verifier

__all__ = [
    "BATCH_BYTES",
    "Anyone",
    "Caller",
    "Finance",
    "IdempotencyKey",
    "IfMatch",
    "Office",
    "OptionalIdempotencyKey",
    "OrgAdmin",
    "OrgMember",
    "OrgReader",
    "PlatformAdmin",
    "ProviderAdmin",
    "Public",
    "Request",
    "Response",
    "Route",
    "Router",
    "Service",
    "ServiceApp",
    "allow",
    "answer_of",
    "answer_of_problem",
    "create_service_app",
    "etag",
    "problems",
    "provided",
    "started",
    "stored",
    "unauthorized_routes",
]

log = get_logger(__name__)
Check = Callable[[], Awaitable[None]]
"""A readiness check: returns when all is well, raises when not."""
ServiceLifespan = Callable[["ServiceApp"], AbstractAsyncContextManager[None]]


class ServiceApp(FastAPI):
    """A service's ASGI app. Made by `create_service_app`."""

    service: str
    settings: Settings
    verifier: Verifier
    metrics: Metrics
    problem_types: ProblemTypes
    checks: dict[str, Check]
    provided: dict[type[Any], Any]

    def provide(self, thing: object, kind: type[Any] | None = None) -> None:
        """Make `thing` what `provided(kind)` gives; `kind` is its own type, or the port that it stands for."""
        self.provided[kind or type(thing)] = thing

    def operations(self) -> list[Route]:
        """The routes of the service's API and of the kernel, in order."""
        return [route for route in self.router.routes if isinstance(route, Route)]

    def build_middleware_stack(self) -> ASGIApp:
        return Gateway(self.router, self.operations(), self.metrics, self.problem_types)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, with every problem of every operation."""
        if not self.openapi_schema:
            self.openapi_schema = openapi.document(
                super().openapi(), [(route.unique_id, route.problems) for route in self.operations()]
            )
        return self.openapi_schema


def create_service_app(
    name: ServiceName,
    title: str,
    settings: Settings,
    *,
    routers: Sequence[Router],
    provide: Sequence[object] = (),
    lifespan: ServiceLifespan | None = None,
    verifier: Verifier | None = None,
    metrics: Metrics | None = None,
    checks: Mapping[str, Check] | None = None,
    problem_types: ProblemTypes | None = None,
    description: str = "",
    version: str = "1",
) -> ServiceApp:
    """Compose a service's app.

    Nothing starts here but the reading of the trusted keys (raises RuntimeError when they can't be used); what runs beside the
    requests belongs into `lifespan`. `checks` are what /readyz asks. `problem_types` maps the type of a PydanticCustomError to the
    problem that the whole answer then is.
    """

    @asynccontextmanager
    async def whole_lifespan(app: FastAPI) -> AsyncIterator[None]:
        assert isinstance(app, ServiceApp)
        async with AsyncExitStack() as stack:
            if lifespan is not None:
                await stack.enter_async_context(lifespan(app))
            _check_provided(app)
            yield

    app = ServiceApp(
        title=title,
        version=version,
        description=description or inspect.cleandoc(title),
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=whole_lifespan,
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    app.service = name
    app.settings = settings
    app.verifier = verifier or create_verifier(settings)
    app.metrics = metrics or Metrics()
    app.problem_types = dict(problem_types or {})
    app.checks = dict(checks or {})
    app.provided = {}
    for thing in provide:
        app.provide(thing)
    for router in [*routers, _router, docs.router]:
        for route in router.routes:
            if not isinstance(route, Route):
                raise TypeError(
                    f"{route!r} is not a kernel route: write it with caravan.kernel.web.Router, without nesting"
                )
            app.router.routes.append(route)
    _check_routes(app)
    return app


def _check_routes(app: ServiceApp) -> None:
    missing = unauthorized_routes(app)
    if missing:
        raise TypeError(f"routes that don't say who may call them: {', '.join(missing)}")
    seen: set[str] = set()
    for route in app.operations():
        if route.unique_id in seen:
            raise TypeError(f"two operations are named {route.unique_id}")
        seen.add(route.unique_id)


def _check_provided(app: ServiceApp) -> None:
    for route in app.operations():
        for inner in access.walk(route.dependant):
            if isinstance(inner.call, Provided) and inner.call.kind not in app.provided:
                raise TypeError(f"{route.unique_id} needs {inner.call.kind.__name__}, which the app doesn't provide")


def unauthorized_routes(app: FastAPI) -> list[str]:
    """Method and path of the routes that have no authorization type in their signature."""
    out = []
    for route in app.router.routes:
        roles, public = access.authorizations(route.dependant) if isinstance(route, APIRoute) else ([], False)
        if bool(roles) == public:
            methods = ",".join(sorted(getattr(route, "methods", None) or []))
            out.append(f"{methods} {getattr(route, 'path', route)}")
    return out


@asynccontextmanager
async def started(app: FastAPI) -> AsyncIterator[None]:
    """Run the app's lifespan around a block: for tests, and for an app that another one mounts."""
    async with app.router.lifespan_context(app):
        yield


_router: Final = Router()


@_router.get("/healthz", include_in_schema=False)
async def healthz(request: Request, _: Public) -> dict[str, str]:
    """The process is up."""
    return {"service": _app(request).service, "status": "up"}


@_router.get("/readyz", include_in_schema=False)
async def readyz(request: Request, _: Public) -> dict[str, str]:
    """The process can do its work: every check passes."""
    app = _app(request)
    failing = []
    for check_name, check in app.checks.items():
        try:
            await check()
        except Exception as failure:
            log.warning("not_ready", check=check_name, exc_info=failure)
            failing.append(check_name)
    if failing:
        raise NotReady(failing=failing)
    return {"service": app.service, "status": "ready"}


@_router.get("/metrics", include_in_schema=False)
async def metrics(request: Request, _: Public) -> Response:
    """Prometheus metrics."""
    return Response(_app(request).metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _app(request: Request) -> ServiceApp:
    app = request.app
    assert isinstance(app, ServiceApp)
    return app
