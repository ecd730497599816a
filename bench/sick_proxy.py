"""An HTTP proxy before slurmrestd that makes chosen answers sick: of each kind of request every second one, while sicknesses are left.

The requests themselves reach Slurm; of those whose sickness is in `UNREACHED` half don't, by chance.
"""

import asyncio
import json
import random
import socket
import struct
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

import httpx

KINDS: Final = (
    "ping", "diag", "partitions", "nodes", "submit", "release", "cancel", "job", "states", "listing", "books",
)  # fmt: skip
"""What an agent asks of slurmrestd. `books` are slurmdbd's."""
SELDOM: Final = frozenset({"ping", "listing"})
"""Asked at the agent's start, or once a minute, and again at once after a sick answer: sicknesses are given in a row."""
PAGE: Final = b"<html><head><title>Gateway</title></head><body><h1>It works!</h1></body></html>"
LINGER_ZERO: Final = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    type: str = "application/json"
    encoding: str = ""

    def head(self) -> bytes:
        encoding = f"Content-Encoding: {self.encoding}\r\n" if self.encoding else ""
        length = f"Content-Length: {len(self.body)}\r\n"
        return f"HTTP/1.1 {self.status} Said\r\nContent-Type: {self.type}\r\n{length}{encoding}\r\n".encode()


def _other_types(well: Answer) -> Answer:
    """The same keys, and under each what nobody expects: a number for a list, an object or a text, a list for a number."""
    try:
        named = json.loads(well.body)
    except ValueError:
        named = {}
    return Answer(
        200, json.dumps({key: [key] if isinstance(value, int) else 17 for key, value in named.items()}).encode()
    )


WHOLE: Final[Mapping[str, Callable[[Answer], Answer]]] = {
    "a page": lambda _: Answer(200, PAGE, "text/html"),
    "502 with a page": lambda _: Answer(502, PAGE, "text/html"),
    "500 with nothing": lambda _: Answer(500, b""),
    "200 with nothing": lambda _: Answer(200, b""),
    "another's 502": lambda _: Answer(502, b'{"message": "no healthy upstream"}'),
    "another's 503": lambda _: Answer(503, b'{"errors": [{"code": "UNAVAILABLE", "message": "try later"}], "job_id": null}'),
    "a list": lambda _: Answer(200, b"[17]"),
    "other types": _other_types,
    "no gzip": lambda well: Answer(200, well.body[:50] + b"\x1f\x8b", encoding="gzip"),
}  # fmt: skip
"""Answers that end as they should, and say what they shouldn't."""
BROKEN: Final = ("cut in the middle", "headers alone", "a reset", "silence")
SICKNESSES: Final = (*WHOLE, *BROKEN)
UNREACHED: Final = frozenset(name for name in SICKNESSES if name.startswith(("a page", "50", "another's", "a reset")))
"""What a proxy may say without asking."""


def kind_of(method: str, path: str) -> str:
    """One of KINDS, or the request itself."""
    service, *rest = path.partition("?")[0].strip("/").split("/")
    match method, service, rest[1:]:
        case "GET", "slurm", [("ping" | "diag" | "partitions" | "nodes") as name]:
            return name
        case "POST", "slurm", ["job", "submit"]:
            return "submit"
        case "POST", "slurm", ["job", _]:
            return "release"
        case "DELETE", "slurm", ["job", _]:
            return "cancel"
        case "GET", "slurm", ["job", _]:
            return "job"
        case "GET", "slurm", ["jobs", "state"]:
            return "states"
        case "GET", "slurm", ["jobs"]:
            return "listing"
        case "GET", "slurmdb", _:
            return "books"
    return f"{method} {path}"


@dataclass
class SickProxy:
    """Listens on loopback while it is open. Well until `sicken`."""

    upstream: str
    random: random.Random
    silence_seconds: float
    asked: Counter[str] = field(default_factory=Counter)
    given: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(kind, sickness) -> answers."""

    def __post_init__(self) -> None:
        self._left: dict[str, deque[str]] = {}
        self._was_sick: set[str] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._http = httpx.AsyncClient(base_url=self.upstream, timeout=120)
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await self._http.aclose()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def sicken(self, sicknesses: Iterable[tuple[str, str]]) -> None:
        """Give each (kind, sickness) once, in this order, to every second request of the kind."""
        for kind, sickness in sicknesses:
            self._left.setdefault(kind, deque()).append(sickness)

    def left(self) -> dict[str, int]:
        """Kind -> sicknesses not given yet."""
        return {kind: len(left) for kind, left in self._left.items() if left}

    def _next(self, kind: str) -> str | None:
        if kind in self._was_sick or not self._left.get(kind):
            self._was_sick.discard(kind)
            return None
        if kind not in SELDOM:
            self._was_sick.add(kind)
        sickness = self._left[kind].popleft()
        self.given[kind, sickness] += 1
        return sickness

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the agent left
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request. Whether the connection lives on."""
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().rstrip().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        content = await reader.readexactly(int(headers.pop("content-length", 0)))
        kind = kind_of(method, path)
        self.asked[kind] += 1
        sickness = self._next(kind)
        well = Answer(502, b"")
        if sickness not in UNREACHED or self.random.random() < 0.5:
            passed = {name: headers[name] for name in headers if name.startswith(("x-slurm-", "content-type"))}
            said = await self._http.request(method, path, headers=passed, content=content)
            well = Answer(said.status_code, said.content, said.headers.get("content-type", "application/json"))
        return await self._give(writer, well, sickness)

    async def _give(self, writer: asyncio.StreamWriter, well: Answer, sickness: str | None) -> bool:
        if sickness is None or sickness in WHOLE:
            answer = WHOLE[sickness](well) if sickness else well
            writer.write(answer.head() + answer.body)
            await writer.drain()
            return True
        if sickness == "silence":
            await asyncio.sleep(self.silence_seconds)
        elif sickness == "a reset":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
            writer.transport.abort()
        else:
            writer.write(well.head() + (well.body[: len(well.body) // 2] if sickness == "cut in the middle" else b""))
            await writer.drain()
        return False
