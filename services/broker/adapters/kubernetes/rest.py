"""The API server over HTTP: what its answers and silences mean, and its clock.

Of lightkube only the connection is used. Its own client (0.22) has neither the preconditions of a delete nor the bookmarks of a
watch, and makes an object of each field of what it reads. Everything that goes wrong becomes one of the port's errors here.
"""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Final

import httpx
from lightkube import ConfigError

from caravan.kernel import clock
from caravan.kernel.transport import AS_IT_COMES
from services.broker.adapters.kubernetes.failures import Failure, failure
from services.broker.adapters.port import OutcomeUnknown, Unavailable

MERGE: Final = "application/merge-patch+json"
STRATEGIC: Final = "application/strategic-merge-patch+json"


@dataclass(frozen=True, slots=True)
class Answer:
    """`failed`: the server said no, and why; `content` is its JSON otherwise."""

    content: Any
    failed: Failure | None = None

    def is_a(self, *statuses: int) -> bool:
        return self.failed is not None and self.failed.status in statuses

    @property
    def lacks_rights(self) -> bool:
        """As of a `Failure`."""
        return self.failed is not None and self.failed.lacks_rights

    def read(self) -> Any:
        """Raises Unavailable."""
        if self.failed is not None:
            raise self.failed.of_read()
        return self.content


class Rest:
    """One site's API server. `read` changes nothing; `act` may have, whatever it raises but Unavailable."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._root = str(http.base_url).rstrip("/") + "/"
        """httpx takes a whole URL and no parameters in half the time that it takes to put the same together."""
        self._second, self._told_at = 0, float("-inf")

    async def close(self) -> None:
        await self._http.aclose()

    @property
    def second(self) -> int:
        """The server's clock in epoch seconds, never ahead of it, by the last answer; 0 before the first."""
        return self._second + int(clock.monotonic() - self._told_at) if self._second else 0

    @property
    def silent_seconds(self) -> float:
        """Since its last answer."""
        return clock.monotonic() - self._told_at

    async def now(self) -> int:
        """The server's clock, asked now. Raises Unavailable."""
        (await self.read("version")).read()
        return self.second

    async def ready(self) -> bool:
        """Whether the server says that it is. One that has just started knows nobody's rights yet. Raises Unavailable."""
        try:
            return (await self._request("GET", "readyz", {}, None, None)).is_success
        except OutcomeUnknown as error:
            raise Unavailable(str(error)) from error

    async def read(self, path: str, **params: str) -> Answer:
        """Raises Unavailable."""
        try:
            return await self._send("GET", path, params, None, None)
        except OutcomeUnknown as error:
            raise Unavailable(str(error)) from error

    async def act(
        self, method: str, path: str, body: Mapping[str, Any], kind: str = "application/json", **params: str
    ) -> Answer:
        """Raises Unavailable, OutcomeUnknown."""
        return await self._send(method, path, params, body, kind)

    @asynccontextmanager
    async def stream(self, path: str, silent_seconds: float, **params: str) -> AsyncIterator[httpx.Response]:
        """An answer of 200 whose body is still to come. `silent_seconds`: how long nothing of it may come.

        Raises Unavailable, also while the body is read inside; Refusal for another status.
        """
        timeout = httpx.Timeout(**self._http.timeout.as_dict() | {"read": silent_seconds})
        try:
            asked = self._http.build_request("GET", path, params=params, timeout=timeout, extensions=AS_IT_COMES)
            with _credentials_read():
                response = await self._http.send(asked, stream=True)
            async with aclosing(response):
                self._hear(response)
                if response.status_code != 200:
                    await response.aread()
                    raise Refusal(failure(response.status_code, _json(response.content)))
                yield response
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise Unavailable(f"the API server's answer was lost: {type(error).__name__}") from error

    async def _send(
        self, method: str, path: str, params: Mapping[str, str], body: Mapping[str, Any] | None, kind: str | None
    ) -> Answer:
        response = await self._request(method, path, params, body, kind)
        found = _json(response.content)
        if not response.is_success:
            return Answer(None, failure(response.status_code, found))
        if found is None:
            raise OutcomeUnknown("the API server answers with nothing that Kubernetes would say")
        return Answer(found)

    async def _request(
        self, method: str, path: str, params: Mapping[str, str], body: Mapping[str, Any] | None, kind: str | None
    ) -> httpx.Response:
        content = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        headers = {} if kind is None else {"Content-Type": kind}
        try:
            url = f"{self._root}{path}"
            with _credentials_read():
                response = await self._http.request(
                    method, url, params=params or None, content=content, headers=headers
                )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise Unavailable(f"the API server can't be reached: {type(error).__name__}") from error
        except httpx.HTTPError as error:
            raise OutcomeUnknown(f"the API server's answer was lost: {type(error).__name__}") from error
        self._hear(response)
        return response

    def _hear(self, response: httpx.Response) -> None:
        """Answers may overtake each other."""
        try:
            second = clock.to_seconds(parsedate_to_datetime(response.headers["Date"]))
        except (KeyError, ValueError, TypeError):
            return
        if second >= self.second:
            self._second, self._told_at = second, clock.monotonic()


class Refusal(Unavailable):
    """A stream that the server didn't begin, and why."""

    def __init__(self, failed: Failure) -> None:
        super().__init__(str(failed.of_read()))
        self.failed = failed


@contextmanager
def _credentials_read() -> Iterator[None]:
    """Inside, a request is sent. lightkube reads a token's file, or asks a program for it, as one is needed: before the server takes the
    request, which it refuses for the token before. Raises Unavailable: that fails, in words without what was read."""
    try:
        yield
    except (ConfigError, OSError, KeyError, TypeError, ValueError) as error:
        first = error.__cause__ if isinstance(error.__cause__, OSError) else error
        file = first.filename if isinstance(first, OSError) else None
        where = f" from {Path(file).name}" if isinstance(file, str) else ""
        why = (first.strerror if isinstance(first, OSError) else None) or type(error).__name__
        raise Unavailable(f"the site's credentials can't be read{where} any more: {why}") from error


@contextmanager
def readable() -> Iterator[None]:
    """Inside, what an answer holds is read. Raises Unavailable: it has another form than Kubernetes gives it."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise Unavailable(f"the API server's answer can't be read: {type(error).__name__}") from error


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None
