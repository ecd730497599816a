"""The one layer around the routes of a service: request id, dispatch, metrics, and every failure as a problem."""

import re
from collections.abc import Sequence
from contextlib import AsyncExitStack
from time import perf_counter

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from caravan.kernel import ids
from caravan.kernel.bodies import ONE_MIB, ClientGone, drain
from caravan.kernel.logs import RequestContext, current_request, get_logger
from caravan.kernel.metrics import Metrics
from caravan.kernel.problems import Internal, MethodNotAllowed, NotFound, Problem, TooLarge
from caravan.kernel.rendering import ProblemTypes, problem_response, validation_problem
from caravan.kernel.routes import Route

log = get_logger(__name__)

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._\-]{1,64}")


class Gateway:
    """The app's whole middleware. Routes are found by method and number of path segments, then by their pattern."""

    def __init__(self, rest: ASGIApp, routes: Sequence[Route], metrics: Metrics, problem_types: ProblemTypes) -> None:
        self._rest = rest  # what isn't HTTP: the lifespan
        self._routes = routes
        self._metrics = metrics
        self._problem_types = problem_types
        self._buckets: dict[tuple[str, int], list[Route]] = {}
        for route in routes:
            for method in route.methods or ():
                self._buckets.setdefault((method, route.path_format.count("/")), []).append(route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        began = perf_counter()
        offered = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        request_id = offered.decode() if _REQUEST_ID.fullmatch(offered) else ids.new("req")
        context = RequestContext(request_id)
        before = current_request.set(context)
        status, say = 0, log.info

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
                    if isinstance(failure, Problem):
                        log.info("answer_broken_off", code=failure.code)
                        return
                    log.exception("answer_broken_off")
                    raise
                say = log.debug if isinstance(failure, Problem) and failure.ordinary else say
                answering = self._failure(failure)
                await drain(scope, receive)
                await answering(scope, receive, answer)
        finally:
            self._metrics.observe_request(context.operation or "unmatched", status, perf_counter() - began)
            if 400 <= status < 500:
                say("refused", method=scope["method"], path=_path(scope), status=status)
            current_request.reset(before)

    async def _dispatch(self, context: RequestContext, scope: Scope, receive: Receive, send: Send) -> None:
        path = _path(scope)
        if "\0" in path:
            raise NotFound()
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
        methods = {m for route in self._routes if route.path_regex.match(path) for m in route.methods or ()}
        return _NoMethod(methods) if methods else NotFound()

    def _failure(self, failure: Exception) -> Response:
        problem: Problem
        match failure:
            case Problem():
                problem = failure
            case RequestValidationError():
                problem = validation_problem(failure, self._problem_types)
            case HTTPException(status_code=413):
                problem = TooLarge(limit_bytes=ONE_MIB)
            case _:
                log.error("unexpected_failure", exc_info=failure)
                problem = Internal()
        return problem_response(problem)


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
