"""What the three clients share: one `_call`, and `each` over the pages of a list."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, Final, ParamSpec, Self, TypedDict, TypeVar, Unpack, cast

import httpx
from pydantic import BaseModel, TypeAdapter

from caravan.client.inprocess import InProcess, Reply
from caravan.client.problems import ServiceUnavailable, problem_of
from caravan.kernel import ids
from caravan.kernel.events import AuditEntry
from caravan.kernel.logs import current_request_id
from caravan.kernel.pages import Page
from caravan.kernel.transport import Transport

T = TypeVar("T")
P = ParamSpec("P")
Token = str | Callable[[], str]
CONNECTIONS: Final = 100


@cache
def _adapter(type_: Any) -> TypeAdapter[Any]:
    return TypeAdapter(type_)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _query(query: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Query parameters without those that are None; a sequence repeats its name."""
    pairs: list[tuple[str, str]] = []
    for name, value in query.items():
        if isinstance(value, (list, tuple, set, frozenset)):
            pairs.extend((name, _text(one)) for one in value)
        elif value is not None:
            pairs.append((name, _text(value)))
    return tuple(pairs)


class Request(TypedDict, total=False):
    """What a call sends beside its path. `content`: bytes as they are, instead of a body. `wait`: seconds that the server may hold the
    answer, when it is a long poll."""

    body: BaseModel
    content: bytes
    query: Mapping[str, object]
    key: str
    version: int
    wait: float


class Client:
    """One service's API. Methods are named after its operations, take and give contracts, and raise the server's problems.

    `base_url` is where the service answers, without /v1. `token` may be a function, asked before each call, so that
    short-lived tokens stay fresh. `transport`: another way there than over sockets; `InProcess` for a service of this process.
    Every method raises Problem (see caravan/contracts/problems.py) or ServiceUnavailable.
    """

    def __init__(
        self,
        base_url: str,
        token: Token,
        transport: httpx.AsyncBaseTransport | InProcess | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._token = token
        self._timeout = timeout
        self._inside = transport if isinstance(transport, InProcess) else None
        outside = None if isinstance(transport, InProcess) else transport
        self._http = httpx.AsyncClient(
            base_url=base_url.rstrip("/"),
            transport=outside or Transport(CONNECTIONS),
            timeout=httpx.Timeout(timeout, connect=min(timeout, 5.0)),
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def is_ready(self) -> bool:
        """Whether the service says that it can do its work."""
        try:
            return (await self._exchange("GET", "/readyz", (), {}, b"", 0)).status == 200
        except ServiceUnavailable:
            return False

    async def feed(self, after: str | None, wait: float) -> tuple[list[dict[str, Any]], str]:
        """Events after the cursor, at most `wait` seconds away, and the next cursor. Raises CursorGone."""
        query = {"after": after, "wait": wait}
        page = await self._call("GET", "/feed", dict[str, Any], query=query, wait=wait)
        return page["events"], page["next"]

    async def snapshot(self, start_after: str | None) -> tuple[str, list[dict[str, Any]], str | None]:
        """A page of the feed's entities as they are now: (cursor, events, next page)."""
        page = await self._call("GET", "/snapshot", dict[str, Any], query={"after": start_after})
        return page["cursor"], page["events"], page["next"]

    async def list_audit_entries(
        self, *, entity: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Page[AuditEntry]:
        """Who decided what, the newest first."""
        query = {"entity": entity, "limit": limit, "cursor": cursor}
        return await self._call("GET", "/audit", Page[AuditEntry], query=query)

    async def _call(self, method: str, path: str, answer: type[T], **request: Unpack[Request]) -> T:
        """Send, and read the answer as `answer`."""
        content = await self._fetch(method, path, **request)
        return cast(T, _adapter(cast(Any, answer)).validate_json(content))

    async def _fetch(self, method: str, path: str, **request: Unpack[Request]) -> bytes:
        """Send, and return the answer's bytes. Raises the problem that was answered instead."""
        headers = {"Authorization": f"Bearer {self._token if isinstance(self._token, str) else self._token()}"}
        if request_id := current_request_id():
            headers["X-Request-Id"] = request_id
        if "key" in request:
            headers["Idempotency-Key"] = request["key"]
        if "version" in request:
            headers["If-Match"] = f'"{request["version"]}"'
        content = request.get("content", b"")
        if content:
            headers["Content-Type"] = "application/octet-stream"
        if "body" in request:
            headers["Content-Type"] = "application/json"
            content = request["body"].model_dump_json(by_alias=True).encode()
        query = _query(request.get("query", {}))
        reply = await self._exchange(method, f"/v1{path}", query, headers, content, request.get("wait", 0))
        if not 200 <= reply.status < 300:
            raise problem_of(reply)
        return reply.content

    async def _exchange(
        self,
        method: str,
        path: str,
        query: tuple[tuple[str, str], ...],
        headers: dict[str, str],
        content: bytes,
        wait: float,
    ) -> Reply:
        try:
            if self._inside is not None:
                return await self._inside.call(method, path, query, headers, content, long_poll=wait > 0)
            request = self._http.build_request(method, path, params=query, content=content or None, headers=headers)
            request.extensions["timeout"]["read"] = self._timeout + wait
            response = await self._http.send(request)
        except httpx.TransportError as error:
            raise ServiceUnavailable(f"{method} {path}: {type(error).__name__} {error}") from error
        return Reply(str(request.url), response.status_code, response.content)


def new_key() -> str:
    """A fresh Idempotency-Key. Keep it to send the same request again; the client itself never repeats one."""
    return ids.new("req")


async def each(method: Callable[P, Awaitable[Page[T]]], *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
    """All items of a list, page by page: `async for job in each(broker.list_jobs, project=project): …`."""
    while True:
        page = await method(*args, **kwargs)
        for item in page.items:
            yield item
        if page.next is None:
            return
        kwargs["cursor"] = page.next
