"""A service of this process, called without a network and without what a network needs."""

import asyncio
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.types import ASGIApp


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, read to its end. `url` was asked."""

    url: str
    status: int
    content: bytes


class InProcess:
    """Calls an ASGI app."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._running: set[asyncio.Task[Reply]] = set()

    async def call(
        self,
        method: str,
        path: str,
        query: Sequence[tuple[str, str]],
        headers: dict[str, str],
        content: bytes,
        *,
        long_poll: bool = False,
    ) -> Reply:
        """Send, and return the answer. Raises what the app raises.

        A call that its caller cancels still runs to its end, as it would at a remote server; a `long_poll` ends with its caller.
        """
        calling = self._call(method, path, query, headers, content)
        if long_poll:
            return await calling
        task = asyncio.create_task(calling)
        self._running.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    async def _call(
        self, method: str, path: str, query: Sequence[tuple[str, str]], headers: dict[str, str], content: bytes
    ) -> Reply:
        parts: list[bytes] = []
        status, asked, ended = 0, False, asyncio.Event()

        async def receive() -> MutableMapping[str, Any]:
            nonlocal asked
            if asked:
                await ended.wait()
                return {"type": "http.disconnect"}
            asked = True
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                parts.append(message.get("body", b""))
                if not message.get("more_body", False):
                    ended.set()

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": urlencode(query).encode(),
            "headers": [
                (b"host", b"localhost"),
                (b"content-length", str(len(content)).encode()),
                *((name.lower().encode(), value.encode()) for name, value in headers.items()),
            ],
            "server": ("localhost", None),
            "client": ("localhost", 0),
        }
        await self._app(scope, receive, send)
        return Reply(path, status, b"".join(parts))

    def _done(self, task: asyncio.Task[Reply]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # seen here, since the caller may be gone
