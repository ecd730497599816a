"""slurmrestd over HTTP: tokens, the version it speaks, and what its answers and silences mean.

Everything that goes wrong becomes one of the port's errors here; what is returned is an answer of Slurm itself.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import httpx
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from caravan.kernel import clock
from services.broker.adapters.port import BackendError, OutcomeUnknown, Unavailable
from services.broker.adapters.slurm.dialect import Dialect, dialects
from services.broker.adapters.slurm.errors import Answer, faults
from services.broker.adapters.slurm.threads import NotCalled, Threads
from services.broker.adapters.slurm.tokens import Tokens

CONNECT_SECONDS: Final = 5.0
CONNECTIONS: Final = 16
IDLE_SECONDS: Final = 5.0
"""For which a connection is used again."""
BAD_TOKEN: Final = frozenset({401, 511})
NOT_SENT: Final = (NewConnectionError, ConnectTimeoutError)
CALLER: Final = re.compile(rb'"source"\s*:\s*"[^"]*"')
"""The address of our connection, which an answer repeats."""


class _Connection(HTTPConnection):
    """Asked nothing once it was idle: a firewall between may have forgotten it, and slurmrestd may be closing it."""

    _used_at = float("-inf")

    def getresponse(self) -> Any:
        try:
            return super().getresponse()
        finally:
            self._used_at = clock.monotonic()

    @property
    def is_connected(self) -> bool:
        return super().is_connected and clock.monotonic() - self._used_at < IDLE_SECONDS


class _Secure(_Connection, HTTPSConnection):
    """Nothing was sent where TLS fails as it connects: urllib3 has one error for that and for what breaks later."""

    def connect(self) -> None:
        try:
            super().connect()
        except OSError as error:
            raise NewConnectionError(self, f"no TLS: {error}") from error


class Rest:
    """One site's slurmrestd. `read` changes nothing; `act` may have, whatever it raises but Unavailable."""

    def __init__(self, url: str, tokens: Tokens, user: str, timeout_seconds: float) -> None:
        self._tokens = tokens
        self._user = user
        self._dialect: Dialect | None = None
        # urllib3, in threads: a request costs a quarter of what it costs over httpx's own sockets, and aiohttp's parser refuses the
        # second status line that slurmrestd 26.05 sends after some answers. It goes by no proxy and follows no redirect.
        at = urllib3.util.parse_url(url)
        self._path = (at.path or "").rstrip("/")
        self._pool = urllib3.connection_from_url(
            url,
            maxsize=CONNECTIONS,
            timeout=urllib3.Timeout(connect=min(CONNECT_SECONDS, timeout_seconds), read=timeout_seconds),
            retries=False,
            **({"ssl_context": httpx.create_ssl_context()} if at.scheme == "https" else {}),
        )
        self._pool.ConnectionCls = _Secure if at.scheme == "https" else _Connection
        self._threads = Threads(CONNECTIONS, "slurmrestd", timeout_seconds)

    async def close(self) -> None:
        self._threads.close()
        self._pool.close()

    async def dialect(self) -> Dialect:
        """The newest version that both sides know. Raises Unavailable."""
        if self._dialect is None:
            self._dialect = await self._probe()
        return self._dialect

    async def read(self, path: str, *, books: bool = False) -> Answer:
        """As the site's own user. Raises Unavailable."""
        try:
            return await self._ask("GET", path, self._user, books, None)
        except OutcomeUnknown as error:
            raise Unavailable(str(error)) from error

    async def read_news(self, path: str, before: bytes) -> tuple[Answer | None, bytes]:
        """As `read`. The answer, and what it says byte for byte; None for it, unread, when that is the same as `before`."""
        try:
            response = await self._respond("GET", path, self._user, False, None)
            said = CALLER.sub(b"", response.data, count=1)
            if response.status == 200 and said == before:
                return None, said
            return self._answer(response), said
        except OutcomeUnknown as error:
            raise Unavailable(str(error)) from error

    async def act(self, method: str, path: str, user: str, body: Mapping[str, Any] | None = None) -> Answer:
        """As a tenant's user. Raises Unavailable, OutcomeUnknown."""
        return await self._ask(method, path, user, False, body)

    async def _ask(self, method: str, path: str, user: str, books: bool, body: Mapping[str, Any] | None) -> Answer:
        return self._answer(await self._respond(method, path, user, books, body))

    async def _respond(
        self, method: str, path: str, user: str, books: bool, body: Mapping[str, Any] | None
    ) -> urllib3.BaseHTTPResponse:
        version = (await self.dialect()).version
        token = await self._tokens.of(user)
        response = await self._send(method, f"/slurm{'db' if books else ''}/{version}/{path}", user, token, body)
        if response.status in BAD_TOKEN:
            self._tokens.refused(user, token)
            raise Unavailable(f"slurmrestd doesn't take the token of {user}")
        return response

    def _answer(self, response: urllib3.BaseHTTPResponse) -> Answer:
        content = _json(response)
        if response.status == 404 and not faults(content):
            # it was restarted as another release, perhaps
            self._dialect = None
            raise Unavailable("slurmrestd doesn't know this version of its API any more")
        said = faults(content)
        # each of Slurm's answers lists its errors, and one that isn't 200 has some
        if content is None or "errors" not in content or (response.status != 200 and not said):
            raise OutcomeUnknown(f"slurmrestd answers with status {response.status} and nothing that Slurm would say")
        return Answer(response.status, content, said)

    async def _send(
        self, method: str, path: str, user: str, token: str, body: Mapping[str, Any] | None
    ) -> urllib3.BaseHTTPResponse:
        # 22.05 needs the name too; newer ones take it from the token
        headers = {"X-SLURM-USER-NAME": user, "X-SLURM-USER-TOKEN": token, "Accept": "application/json"}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        ask = partial(self._pool.urlopen, method, self._path + path, content, headers)
        try:
            return await self._threads.run(ask)
        except NotCalled as error:
            raise Unavailable(
                "slurmrestd doesn't answer: nothing was sent, since what was sent before still waits"
            ) from error
        except NOT_SENT as error:
            raise Unavailable(f"slurmrestd can't be reached: {type(error).__name__}") from error
        except HTTPError as error:
            raise OutcomeUnknown(f"slurmrestd's answer was lost: {type(error).__name__}") from error

    async def _probe(self) -> Dialect:
        token = await self._tokens.of(self._user)
        for dialect in dialects():
            try:
                response = await self._send("GET", f"/slurm/{dialect.version}/ping", self._user, token, None)
            except BackendError as error:
                raise Unavailable(str(error)) from error
            content = _json(response)
            if response.status == 200 and _names_controllers(content):
                return dialect
            if response.status in BAD_TOKEN:
                self._tokens.refused(self._user, token)
                raise Unavailable(f"slurmrestd doesn't take the token of {self._user}")
            if response.status not in (400, 404):
                raise Unavailable(f"slurmrestd answers a ping with status {response.status}")
        raise Unavailable("slurmrestd speaks no version of its API that this adapter knows")


@contextmanager
def readable() -> Iterator[None]:
    """Inside, what an answer holds is read. Raises Unavailable: it has another form than Slurm gives it."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise Unavailable(f"slurmrestd's answer can't be read: {type(error).__name__}") from error


def _names_controllers(content: Mapping[str, Any] | None) -> bool:
    """Whether it is slurmrestd's answer to a ping: it names each slurmctld, also one that is away. A proxy's page does not."""
    pings = content.get("pings") if content and isinstance(content.get("errors"), list) else None
    return isinstance(pings, list) and bool(pings) and all(isinstance(one, dict) and "hostname" in one for one in pings)


def _json(response: urllib3.BaseHTTPResponse) -> dict[str, Any] | None:
    try:
        content = json.loads(response.data)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None
