"""slurmrestd over HTTP: tokens, the version it speaks, and what its answers and silences mean.

Everything that goes wrong becomes one of the port's errors here; what is returned is an answer of Slurm itself.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

import httpx

from services.broker.adapters.port import BackendError, OutcomeUnknown, Unavailable
from services.broker.adapters.slurm.dialect import Dialect, dialects
from services.broker.adapters.slurm.errors import Answer, faults
from services.broker.adapters.slurm.tokens import Tokens

CONNECT_SECONDS: Final = 5.0
CONNECTIONS: Final = 16
BAD_TOKEN: Final = frozenset({401, 511})
CALLER: Final = re.compile(rb'"source"\s*:\s*"[^"]*"')
"""The address of our connection, which an answer repeats."""


class Rest:
    """One site's slurmrestd. `read` changes nothing; `act` may have, whatever it raises but Unavailable."""

    def __init__(self, url: str, tokens: Tokens, user: str, timeout_seconds: float) -> None:
        self._tokens = tokens
        self._user = user
        self._dialect: Dialect | None = None
        self._url = url.rstrip("/")
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout_seconds, connect=min(CONNECT_SECONDS, timeout_seconds)),
            # httpx's own: slurmrestd 26.05 sends a second status line after some answers, and aiohttp takes those for broken
            limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
        )

    async def close(self) -> None:
        await self._http.aclose()

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
            said = CALLER.sub(b"", response.content, count=1)
            if response.status_code == 200 and said == before:
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
    ) -> httpx.Response:
        version = (await self.dialect()).version
        token = await self._tokens.of(user)
        response = await self._send(method, f"/slurm{'db' if books else ''}/{version}/{path}", user, token, body)
        if response.status_code in BAD_TOKEN:
            self._tokens.refused(user, token)
            raise Unavailable(f"slurmrestd doesn't take the token of {user}")
        return response

    def _answer(self, response: httpx.Response) -> Answer:
        content = _json(response)
        if response.status_code == 404 and not faults(content):
            # it was restarted as another release, perhaps
            self._dialect = None
            raise Unavailable("slurmrestd doesn't know this version of its API any more")
        said = faults(content)
        # each of Slurm's answers lists its errors, and one that isn't 200 has some
        if content is None or "errors" not in content or (response.status_code != 200 and not said):
            raise OutcomeUnknown(
                f"slurmrestd answers with status {response.status_code} and nothing that Slurm would say"
            )
        return Answer(response.status_code, content, said)

    async def _send(
        self, method: str, path: str, user: str, token: str, body: Mapping[str, Any] | None
    ) -> httpx.Response:
        # 22.05 needs the name too; newer ones take it from the token
        headers = {"X-SLURM-USER-NAME": user, "X-SLURM-USER-TOKEN": token}
        try:
            return await self._http.request(method, _address(self._url + path), json=body, headers=headers)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise Unavailable(f"slurmrestd can't be reached: {type(error).__name__}") from error
        except httpx.HTTPError as error:
            raise OutcomeUnknown(f"slurmrestd's answer was lost: {type(error).__name__}") from error

    async def _probe(self) -> Dialect:
        token = await self._tokens.of(self._user)
        for dialect in dialects():
            try:
                response = await self._send("GET", f"/slurm/{dialect.version}/ping", self._user, token, None)
            except BackendError as error:
                raise Unavailable(str(error)) from error
            content = _json(response)
            if response.status_code == 200 and content is not None and "pings" in content:
                return dialect
            if response.status_code in BAD_TOKEN:
                self._tokens.refused(self._user, token)
                raise Unavailable(f"slurmrestd doesn't take the token of {self._user}")
            if response.status_code not in (400, 404):
                raise Unavailable(f"slurmrestd answers a ping with status {response.status_code}")
        raise Unavailable("slurmrestd speaks no version of its API that this adapter knows")


@contextmanager
def readable() -> Iterator[None]:
    """Inside, what an answer holds is read. Raises Unavailable: it has another form than Slurm gives it."""
    try:
        yield
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise Unavailable(f"slurmrestd's answer can't be read: {type(error).__name__}") from error


@lru_cache(maxsize=256)
def _address(text: str) -> httpx.URL:
    """httpx takes half a millisecond to read one of 8 KiB, and the same ones are asked again and again."""
    return httpx.URL(text)


def _json(response: httpx.Response) -> dict[str, Any] | None:
    try:
        content = json.loads(response.content)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None
