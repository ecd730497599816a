"""The web layer: one app factory for the three services, and what an endpoint is written with.

    from caravan.kernel.web import IfMatch, OrgMember, OrgReader, Response, Router, etag, problems, provided

    router = Router(prefix="/v1", tags=["jobs"])
    Jobs = Annotated[JobService, provided(JobService)]

    @router.post("/jobs", status_code=201, responses=problems(BudgetExceeded, NoOfferingFits))
    async def submit_job(spec: JobSpec, caller: OrgMember, jobs: Jobs, key: IdempotencyKey) -> Job:
        \"\"\"Accept a job, place it and set its maximum price aside.\"\"\"
        return await jobs.submit(spec, caller, key)

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
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from time import perf_counter
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, FastAPI, Header, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from caravan.kernel import access, docs, ids, openapi
from caravan.kernel.access import (
    Anyone,
    Finance,
    OrgAdmin,
    OrgMember,
    OrgReader,
    PlatformAdmin,
    PlatformReader,
    ProviderAdmin,
    ProviderReader,
    Public,
    Service,
    SiteAgent,
    allow,
)
from caravan.kernel.bodies import BATCH_BYTES, ONE_MIB, ClientGone, read_body, read_json
from caravan.kernel.logs import RequestContext, current_request, get_logger
from caravan.kernel.metrics import Metrics
from caravan.kernel.problems import (
    FieldError,
    Internal,
    Invalid,
    MethodNotAllowed,
    NotFound,
    NotReady,
    Problem,
    Stale,
    TooLarge,
    VersionNeeded,
)
from caravan.kernel.rendering import ProblemTypes, problem_body, problem_response, validation_problem
from caravan.kernel.settings import ServiceName, Settings
from caravan.kernel.tokens import Caller, Verifier, create_verifier

__all__ = [
    "BATCH_BYTES",
    "Anyone",
    "Caller",
    "Finance",
    "IfMatch",
    "OrgAdmin",
    "OrgMember",
    "OrgReader",
    "PlatformAdmin",
    "PlatformReader",
    "ProviderAdmin",
    "ProviderReader",
    "Public",
    "Request",
    "Response",
    "Route",
    "Router",
    "Service",
    "ServiceApp",
    "SiteAgent",
    "allow",
    "create_service_app",
    "etag",
    "problem_body",
    "problem_response",
    "problems",
    "provided",
    "started",
    "unauthorized_routes",
]

log = get_logger(__name__)
T = TypeVar("T")
Check = Callable[[], Awaitable[None]]
"""A readiness check: returns when all is well, raises when not."""
ServiceLifespan = Callable[["ServiceApp"], AbstractAsyncContextManager[None]]


def problems(*classes: type[Problem]) -> dict[int | str, dict[str, Any]]:
    """`responses=problems(BudgetExceeded, ...)`: what the operation may refuse, beyond what every operation may."""
    out: dict[int | str, dict[str, Any]] = {}
    for one in classes:
        out.setdefault(one.status, {"problems": []})["problems"].append(one)
    return out


def provided(kind: type[T]) -> Any:
    """A dependency that gives the app's object of this type (`create_service_app(..., provide=[...])`, or `app.provide`)."""
    return Depends(_Provided(kind))


class _Provided:
    def __init__(self, kind: type[Any]) -> None:
        self.kind = kind

    async def __call__(self, request: Request) -> Any:
        return request.app.provided[self.kind]


def etag(version: int) -> str:
    """The ETag of a version, for the answer's header."""
    return f'"{version}"'


class _IfMatch:
    problems = (VersionNeeded, Stale)

    async def __call__(
        self,
        if_match: Annotated[
            str | None, Header(alias="If-Match", description="The ETag that you last read.", examples=['"3"'])
        ] = None,
    ) -> int:
        if if_match is None:
            raise VersionNeeded()
        found = re.fullmatch(r'"(0|[1-9][0-9]{0,17})"', if_match.strip())
        if found is None:
            detail = 'Send the ETag as you got it, in double quotes, for example "3".'
            raise Invalid(errors=[FieldError(pointer="header/If-Match", code="etag", detail=detail)])
        return int(found[1])


IfMatch = Annotated[int, Depends(_IfMatch())]
"""The version that the caller read. The service compares it in its transaction and raises `Stale`."""


class Route(APIRoute):
    """A route that checks the caller before it reads the body, and reads the body as strict JSON within a limit."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        self.limit_bytes: int = options.pop("max_body_size", None) or ONE_MIB
        super().__init__(path, endpoint, **options)
        if not inspect.iscoroutinefunction(endpoint):
            raise TypeError(f"{path}: the endpoint {endpoint.__name__} is not `async def`")
        self.problems = openapi.route_problems(self)
        self.responses = openapi.plain_responses(self.problems, self.responses)

    def get_route_handler(self) -> Callable[[Request], Any]:
        endpoint = super().get_route_handler()
        roles, _ = access.authorizations(self.dependant)
        has_model = self.body_field is not None
        may_have_body = bool((self.methods or set()) - {"GET", "HEAD"})
        limit = self.limit_bytes

        async def handle(request: Request) -> Response:
            for role in roles:
                caller = await role.check(request, request.app.verifier)
                context = current_request.get()
                if context is not None:
                    context.subject = caller.subject
            if b"%00" in request.scope["query_string"]:
                raise _nul_in_query(request)
            if has_model:
                request = await read_json(request, limit)
            elif may_have_body:
                await read_body(request, limit)
            answer: Response = await endpoint(request)
            return answer

        return handle


def _nul_in_query(request: Request) -> Invalid:
    names = [name for name, value in request.query_params.multi_items() if "\0" in name or "\0" in value]
    return Invalid(
        errors=[
            FieldError(
                pointer=f"query/{name.replace(chr(0), '')}",
                code="nul_character",
                detail="A NUL character is not allowed.",
            )
            for name in names
        ]
    )


class Router(APIRouter):
    """FastAPI's router with the kernel's routes. Give each to `create_service_app`; they don't nest."""

    def __init__(self, *, prefix: str = "", tags: list[str] | None = None) -> None:
        super().__init__(
            prefix=prefix,
            tags=list(tags or []),
            route_class=Route,
            redirect_slashes=False,
            generate_unique_id_function=lambda route: route.name,
        )


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
        return Gateway(self)

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, with every problem of every operation."""
        if not self.openapi_schema:
            self.openapi_schema = openapi.document(
                super().openapi(), [(route.unique_id, route.problems) for route in self.operations()]
            )
        return self.openapi_schema


_REQUEST_ID = re.compile(rb"[A-Za-z0-9._\-]{1,64}")


class Gateway:
    """The one layer around the routes: request id, dispatch, metrics, and every failure as a problem."""

    def __init__(self, app: ServiceApp) -> None:
        self._app = app
        self._buckets: dict[tuple[str, int], list[Route]] = {}
        for route in app.operations():
            for method in route.methods or ():
                self._buckets.setdefault((method, route.path_format.count("/")), []).append(route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app.router(scope, receive, send)
            return
        began = perf_counter()
        offered = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        request_id = offered.decode() if _REQUEST_ID.fullmatch(offered) else ids.new("req")
        context = RequestContext(request_id)
        before = current_request.set(context)
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            try:
                async with AsyncExitStack() as stack:
                    scope["fastapi_middleware_astack"] = stack
                    await self._dispatch(context, scope, receive, answer)
            except (ClientDisconnect, ClientGone):
                status = status or 499
            except Exception as failure:
                if status:  # the answer is on its way; all that is left is to break it off
                    log.exception("answer_broken_off")
                    raise
                await self._failure(failure, scope)(scope, receive, answer)
        finally:
            self._app.metrics.observe_request(context.operation or "unmatched", status, perf_counter() - began)
            current_request.reset(before)

    async def _dispatch(self, context: RequestContext, scope: Scope, receive: Receive, send: Send) -> None:
        path = _path(scope)
        for route in self._buckets.get((scope["method"], path.count("/")), ()):
            found = route.path_regex.match(path)
            if found:
                context.operation = route.unique_id
                scope["route"], scope["endpoint"] = route, route.endpoint
                scope["path_params"] = {
                    name: route.param_convertors[name].convert(value) for name, value in found.groupdict().items()
                }
                await route.app(scope, receive, send)
                return
        raise self._no_route(path)

    def _no_route(self, path: str) -> Problem:
        methods = {m for route in self._app.operations() if route.path_regex.match(path) for m in route.methods or ()}
        return _NoMethod(methods) if methods else NotFound()

    def _failure(self, failure: Exception, scope: Scope) -> Response:
        problem: Problem
        match failure:
            case Problem():
                problem = failure
            case RequestValidationError():
                problem = validation_problem(failure, self._app.problem_types)
            case HTTPException(status_code=413):
                problem = TooLarge(limit_bytes=ONE_MIB)
            case _:
                log.error("unexpected_failure", exc_info=failure)
                problem = Internal()
        return problem_response(problem, scope.get("root_path", ""))


class _NoMethod(MethodNotAllowed):
    __doc__ = MethodNotAllowed.__doc__

    def __init__(self, methods: set[str]) -> None:
        super().__init__()
        self._methods = methods

    def response_headers(self) -> dict[str, str]:
        return super().response_headers() | {"Allow": ", ".join(sorted(self._methods))}


def _path(scope: Scope) -> str:
    """The path below the app's mount point."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :]
    return path


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
    for router in [*routers, _kernel_routes(app)]:
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
            if isinstance(inner.call, _Provided) and inner.call.kind not in app.provided:
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


def _kernel_routes(app: ServiceApp) -> Router:
    router = Router()

    @router.get("/healthz", include_in_schema=False)
    async def healthz(_: Public) -> dict[str, str]:
        """The process is up."""
        return {"service": app.service, "status": "up"}

    @router.get("/readyz", include_in_schema=False)
    async def readyz(_: Public) -> dict[str, str]:
        """The process can do its work: every check passes."""
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

    @router.get("/metrics", include_in_schema=False)
    async def metrics(_: Public) -> Response:
        """Prometheus metrics."""
        return Response(app.metrics.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    docs.add_pages(router, app.title, app.openapi)
    return router
