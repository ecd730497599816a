"""HTTP as httpx has it, over aiohttp's sockets: a request costs a fifth of what it costs over httpx's own (httpcore).

What matters to whoever asks is whether a request was sent: an error in connecting means that it wasn't, any other that nobody knows.
"""

import asyncio
import io
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import aiohttp
import httpx
from yarl import URL

LARGE_BYTES: Final = 1_000_000


class Transport(httpx.AsyncBaseTransport):
    """For `httpx.AsyncClient(transport=…)`; it reads whole answers, goes by no proxy and keeps no cookies.

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
            connector=aiohttp.TCPConnector(limit=self._connections, ssl=verify),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )


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
