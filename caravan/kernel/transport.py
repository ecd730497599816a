"""HTTP as httpx has it, over aiohttp's sockets: a request costs a fifth of what it costs over httpx's own (httpcore).

What matters to whoever asks is whether a request was sent: an error in connecting means that it wasn't, any other that nobody knows.
"""

import asyncio
import io
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import aiohttp
import httpx
from yarl import URL

LARGE_BYTES: Final = 1_000_000
IDLE_SECONDS: Final = 15.0
"""A connection that was idle for longer isn't used again. A server must keep one for longer: else it closes some just as they are used,
and nobody knows whether it has heard the request."""
AS_IT_COMES: Final[dict[str, Any]] = {"as_it_comes": True}
"""Extensions of a request whose answer is read as it comes: for `httpx.AsyncClient.stream(…)`, which has to be left in the end."""


class Transport(httpx.AsyncBaseTransport):
    """For `httpx.AsyncClient(transport=…)`; it reads whole answers where it isn't asked otherwise, goes by no proxy and keeps no
    cookies.

    Raises ConnectError and ConnectTimeout (also for want of a free connection) for what was never sent; ReadError, ReadTimeout and
    RemoteProtocolError for what may have been done. Methods that are idempotent in HTTP may be sent a second time over a fresh
    connection, where one that had been idle turns out to be closed.
    """

    def __init__(self, connections: int, verify: ssl.SSLContext | None = None) -> None:
        """`connections`: how many at the same time. `verify`: for https; None for the certificate authorities that httpx trusts."""
        self._connections = connections
        self._verify = verify
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._session is None:
            self._session = self._open(request.url.scheme)
        limits = request.extensions["timeout"]
        timeout = aiohttp.ClientTimeout(
            sock_connect=limits["connect"],
            connect=limits["pool"],
            sock_read=limits["read"],
            ceil_threshold=float("inf"),
        )
        with _as_httpx(request):
            # aiohttp doesn't limit how long it takes to send
            async with asyncio.timeout(_sum(limits[name] for name in ("pool", "connect", "write", "read"))):
                answer = await self._session.request(
                    request.method,
                    URL(str(request.url), encoded=True),
                    headers=request.headers.multi_items(),
                    data=_body(await request.aread()),
                    allow_redirects=False,
                    timeout=timeout,
                )
            if "as_it_comes" in request.extensions:
                return httpx.Response(answer.status, headers=answer.raw_headers, stream=_Body(answer, request))
            async with answer:
                content = await answer.read()
        return httpx.Response(answer.status, headers=answer.raw_headers, content=content, request=request)

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self, scheme: str) -> aiohttp.ClientSession:
        """Made at the first request, since it belongs to the loop that runs then."""
        verify = (self._verify or httpx.create_ssl_context()) if scheme == "https" else True
        return aiohttp.ClientSession(
            connector=_Connector(limit=self._connections, ssl=verify),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )


class _Connector(aiohttp.TCPConnector):
    """Closed, it has no connection left. aiohttp (3.14) forgets one that it gives up in the middle of an answer, while TLS still takes
    leave of the other side: for 30 seconds, if that is silent."""

    def __init__(self, limit: int, ssl: ssl.SSLContext | bool) -> None:
        super().__init__(limit=limit, ssl=ssl, keepalive_timeout=IDLE_SECONDS)
        self._there: dict[asyncio.Future[None], asyncio.Transport] = {}

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        connection = await super().connect(req, traces, timeout)
        closed = connection.protocol.closed if connection.protocol is not None else None
        if closed is not None and connection.transport is not None and closed not in self._there:
            self._there[closed] = connection.transport
            closed.add_done_callback(self._lost)
        return connection

    def _lost(self, closed: asyncio.Future[None]) -> None:
        """Why is told to whoever waits for an answer over it."""
        closed.exception()
        del self._there[closed]

    async def close(self, *, abort_ssl: bool = False) -> None:
        await super().close(abort_ssl=abort_ssl)
        for transport in self._there.values():
            transport.abort()
        if self._there:
            await asyncio.wait([*self._there])


class _Body(httpx.AsyncByteStream):
    """Of an answer that is read as it comes."""

    def __init__(self, answer: aiohttp.ClientResponse, request: httpx.Request) -> None:
        self._answer = answer
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx(self._request):
            async for chunk in self._answer.content.iter_any():
                yield chunk

    async def aclose(self) -> None:
        """What hasn't come yet isn't waited for."""
        self._answer.close()


def _body(content: bytes) -> bytes | io.BytesIO | None:
    """aiohttp wants to be able to send a large one in parts."""
    return io.BytesIO(content) if len(content) > LARGE_BYTES else content or None


def _sum(seconds: Iterable[float | None]) -> float | None:
    """None: without a limit, as each that is."""
    total = 0.0
    for some in seconds:
        if some is None:
            return None
        total += some
    return total


@contextmanager
def _as_httpx(request: httpx.Request) -> Iterator[None]:
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise httpx.ConnectTimeout(str(error), request=request) from error
    except aiohttp.ClientConnectorError as error:
        raise httpx.ConnectError(str(error), request=request) from error
    except TimeoutError as error:
        raise httpx.ReadTimeout(str(error), request=request) from error
    except aiohttp.ClientConnectionError as error:
        raise httpx.ReadError(str(error), request=request) from error
    except aiohttp.ClientError as error:
        raise httpx.RemoteProtocolError(str(error), request=request) from error
