"""Routes and what stands in an endpoint's signature beside the caller: see the example in `web.py`."""

import inspect
import re
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Header
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from caravan.kernel import access, idempotency, openapi
from caravan.kernel.bodies import ONE_MIB, RequestWithBody, escape_pointer, read_body, read_json
from caravan.kernel.logs import current_request
from caravan.kernel.problems import FieldError, Invalid, KeyReused, Problem, Stale, StillRunning, VersionNeeded
from caravan.kernel.rendering import MEDIA_TYPE, problem_body
from caravan.kernel.tokens import Caller

T = TypeVar("T")


def problems(*classes: type[Problem]) -> dict[int | str, dict[str, Any]]:
    """`responses=problems(BudgetExceeded, ...)`: what the operation may refuse, beyond what every operation may."""
    out: dict[int | str, dict[str, Any]] = {}
    for one in classes:
        out.setdefault(one.status, {"problems": []})["problems"].append(one)
    return out


def provided(kind: type[T]) -> Any:
    """A dependency that gives the app's object of this type (`create_service_app(..., provide=[...])`, or `app.provide`)."""
    return Depends(Provided(kind))


class Provided:
    """Asks for the app's object of a type."""

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


_KEY_HEADER: Any = Header(
    alias="Idempotency-Key",
    pattern=r"^[!-~]{1,128}$",
    description="Yours, new for each new request: a repeat with the same key gets the first answer.",
    examples=["2026-01-31-run-17"],
)


class _IdempotencyKey:
    problems = (KeyReused, StillRunning)

    async def __call__(self, request: Request, key: Annotated[str, _KEY_HEADER]) -> idempotency.Key:
        caller: Caller | None = request.scope.get(access.CALLER)
        scope = f"{caller.subject if caller else ''} {request.scope['route'].unique_id} {request.scope['path']}"
        return idempotency.Key(scope=scope, key=key, fingerprint=idempotency.fingerprint(await request.body()))


class _OptionalIdempotencyKey(_IdempotencyKey):
    async def __call__(  # type: ignore[override]
        self, request: Request, key: Annotated[str | None, _KEY_HEADER] = None
    ) -> idempotency.Key | None:
        return None if key is None else await super().__call__(request, key)


IdempotencyKey = Annotated[idempotency.Key, Depends(_IdempotencyKey())]
"""The caller's key for this request, which the service claims in its first transaction."""
OptionalIdempotencyKey = Annotated[idempotency.Key | None, Depends(_OptionalIdempotencyKey())]
"""The same for what is harmless to repeat without one."""


def answer_of(model: BaseModel, status: int = 201, headers: dict[str, str] | None = None) -> idempotency.Answer:
    """A model as the answer to store, byte for byte what `stored` then sends."""
    body = model.model_dump_json(by_alias=True).encode()
    return idempotency.Answer(status, body, {"Content-Type": "application/json"} | (headers or {}))


def answer_of_problem(problem: Problem) -> idempotency.Answer:
    """A refusal as the answer to store (402, for example)."""
    headers = {"Content-Type": MEDIA_TYPE} | problem.response_headers()
    return idempotency.Answer(problem.status, problem_body(problem), headers)


def stored(answer: idempotency.Answer) -> Response:
    """Send a stored answer: `return stored(await jobs.submit(...))`."""
    return Response(answer.body, answer.status, answer.headers)


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
        endpoint = self._without_own_dependencies()
        roles, _ = access.authorizations(self.dependant)
        has_model = self.body_field is not None
        may_have_body = bool((self.methods or set()) - {"GET", "HEAD"})
        limit = self.limit_bytes
        known = {
            parameter.alias
            for level in (self.dependant, *access.walk(self.dependant))
            for parameter in level.query_params
        }

        async def handle(request: Request) -> Response:
            for role in roles:
                caller = await role.check(request, request.app.verifier)
                context = current_request.get()
                if context is not None:
                    context.subject = caller.subject
            if request.scope["query_string"]:
                _check_query(request, known)
            if has_model:
                request = await read_json(request, limit)
            elif may_have_body:
                request = RequestWithBody(request, await read_body(request, limit))
            answer: Response = await endpoint(request)
            return answer

        return handle

    def _without_own_dependencies(self) -> Callable[[Request], Any]:
        """FastAPI's handler. It resolves parameters; what only the kernel knows (the caller, the app's objects) is put in past it.

        FastAPI goes through the whole of a request for each dependency, whether or not that has parameters.
        """
        whole, take = self.dependant, self.endpoint
        own = [inner for inner in whole.dependencies if isinstance(inner.call, (access.Authorization, Provided))]
        asked = whole.request_param_name
        request_name = asked or "the request"

        async def call(**values: Any) -> Any:
            request = values[request_name] if asked else values.pop(request_name)
            for inner in own:
                values[str(inner.name)] = await inner.call(request)  # type: ignore[misc]
            return await take(**values)

        others = [inner for inner in whole.dependencies if inner not in own]
        self.dependant = replace(whole, dependencies=others, call=call, request_param_name=request_name)
        try:
            return super().get_route_handler()
        finally:
            self.dependant = whole


def _check_query(request: Request, known: Collection[str]) -> None:
    """Raises Invalid for parameters that the operation doesn't have, and for NUL characters."""
    errors = {}
    for name, value in request.query_params.multi_items():
        where = f"query/{escape_pointer(name)}"
        if "\0" in name or "\0" in value:
            errors[where] = FieldError(pointer=where, code="nul_character", detail="A NUL character is not allowed.")
        elif name not in known:
            errors[where] = FieldError(
                pointer=where, code="extra_forbidden", detail="There is no such parameter here; remove it."
            )
    if errors:
        raise Invalid(errors=list(errors.values())[:10])


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
