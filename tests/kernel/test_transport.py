"""The transport against a server that answers each connection with prepared bytes, or breaks off."""

import asyncio
import gzip
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from caravan.kernel import clock, transport
from caravan.kernel.transport import AS_IT_COMES, Transport

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Twice: a\r\nX-Twice: b\r\nSet-Cookie: a=b\r\n\r\nok"


@asynccontextmanager
async def serving(handle: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(one, "127.0.0.1", 0, ssl=tls)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def client(url: str, *, connections: int = 4, seconds: float = 5.0, pool: float | None = None) -> httpx.AsyncClient:
    timeout = httpx.Timeout(seconds, pool=pool or seconds)
    return httpx.AsyncClient(base_url=url, transport=Transport(connections), timeout=timeout)


async def head_of(reader: asyncio.StreamReader) -> str:
    return (await reader.readuntil(b"\r\n\r\n")).decode()


def answering(answer: bytes) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(answer)
        await writer.drain()

    return handle


async def test_it_sends_what_it_is_given_byte_for_byte_and_gives_the_whole_answer() -> None:
    seen: list[tuple[str, bytes]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await head_of(reader)
            seen.append((head, await reader.readexactly(3) if "content-length: 3" in head.lower() else b""))
            writer.write(OK)

    async with serving(handle) as url, client(url) as http:
        path = "/a%2Fb%20c/%E4%B8%AD?x=1%2B1&y=a+b&x=%7B"
        answer = await http.post(path, content=b"\x00\xff!", headers={"X-Own": "1"})
        await http.get("/plain", headers=[("X-Own", "1"), ("X-Own", "2")])
    assert (answer.status_code, answer.content) == (200, b"ok")
    assert answer.headers.get_list("x-twice") == ["a", "b"]
    (first, body), (second, nothing) = seen
    assert first.splitlines()[0] == f"POST {path} HTTP/1.1"
    assert (body, nothing) == (b"\x00\xff!", b"")
    assert second.splitlines()[0] == "GET /plain HTTP/1.1"
    assert [line.lower() for line in second.splitlines() if "own" in line.lower()] == ["x-own: 1", "x-own: 2"]
    assert "ookie" not in second, "what one answer sets is not sent with the next request"


async def test_what_is_compressed_is_given_as_it_was_before() -> None:
    packed = gzip.compress(b"plain words")
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n".encode()
    async with serving(answering(head + packed)) as url, client(url) as http:
        assert (await http.get("/")).text == "plain words"


async def test_a_connection_is_used_again() -> None:
    connections = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await head_of(reader)
            writer.write(OK)

    async with serving(handle) as url, client(url) as http:
        for _ in range(3):
            await http.get("/")
    assert connections == 1


async def test_a_connection_that_was_idle_for_long_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its server may be closing it just now, also where nobody has had the time to hear of that."""
    monkeypatch.setattr(transport, "IDLE_SECONDS", 0.01)
    connections = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while await head_of(reader):
            writer.write(OK)

    async with serving(handle) as url, client(url) as http:
        await http.post("/")
        time.sleep(0.05)  # noqa: ASYNC251
        await http.post("/")
    assert connections == 2


async def test_nobody_there_means_that_nothing_was_sent() -> None:
    async with serving(answering(OK)) as url:
        pass
    async with client(url) as http:
        with pytest.raises(httpx.ConnectError):
            await http.post("/", content=b"x")


async def test_no_free_connection_in_time_means_that_nothing_was_sent() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        await reader.read()

    async with serving(handle) as url, client(url, connections=1, pool=0.05) as http:
        first = asyncio.create_task(http.post("/", content=b"x"))
        await asyncio.sleep(0.02)
        with pytest.raises(httpx.ConnectTimeout):
            await http.post("/", content=b"x")
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", httpx.ReadError),
        (b"HTTP/1.1 200 OK\r\nContent-Le", httpx.ReadError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ncut", httpx.RemoteProtocolError),
        (b"SSH-2.0-nothing\r\n\r\n", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", httpx.RemoteProtocolError),
    ],
    ids=["nothing", "half a header", "half a body", "half a chunk", "another protocol", "a bad header"],
)
async def test_a_broken_answer_means_that_nobody_knows(answer: bytes, error: type[Exception]) -> None:
    async with serving(answering(answer)) as url, client(url) as http:
        with pytest.raises(error):
            await http.post("/", content=b"x")


async def test_silence_means_that_nobody_knows() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(handle) as url, client(url, seconds=0.05) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.post("/", content=b"x")


async def test_a_large_body_arrives_whole() -> None:
    body = bytes(range(256)) * 8_000

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert f"content-length: {len(body)}" in (await head_of(reader)).lower()
        writer.write(OK if await reader.readexactly(len(body)) == body else b"")

    async with serving(handle) as url, client(url) as http:
        assert (await http.put("/", content=body)).content == b"ok"


async def test_a_peer_that_takes_no_more_of_a_large_body_means_that_nobody_knows() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with serving(handle) as url, client(url, seconds=0.05) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.post("/", content=bytes(20_000_000))


async def test_a_connection_that_is_reset_in_the_middle_means_that_nobody_knows() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.transport.abort()

    async with serving(handle) as url, client(url) as http:
        with pytest.raises(httpx.ReadError):
            await http.post("/", content=b"x")


async def test_an_answer_may_be_read_as_it_comes() -> None:
    heard = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await head_of(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            await heard.wait()
            writer.write(b"4\r\nlast\r\n0\r\n\r\n")

    async with serving(handle) as url, client(url, connections=1) as http:
        for _ in range(2):
            heard.clear()
            async with http.stream("GET", "/", extensions=AS_IT_COMES) as answer:
                parts = []
                async for part in answer.aiter_bytes():
                    parts.append(part)
                    heard.set()
            assert parts == [b"first", b"last"]


@pytest.mark.parametrize(
    ("rest", "error"),
    [(b"5\r\ncut", httpx.RemoteProtocolError), (None, httpx.ReadTimeout)],
    ids=["half a chunk", "silence"],
)
async def test_an_answer_that_breaks_off_as_it_comes_says_so(rest: bytes | None, error: type[Exception]) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        if rest is None:
            await reader.read()
        else:
            writer.write(rest)

    async with serving(handle) as url, client(url, seconds=0.2) as http:
        with pytest.raises(error):
            async with http.stream("GET", "/", extensions=AS_IT_COMES) as answer:
                assert b"".join([part async for part in answer.aiter_bytes()])


async def test_once_it_is_closed_no_connection_is_left_whatever_the_other_side_does(tmp_path: Path) -> None:
    context, trusting = secured(tmp_path)
    asked, loop = asyncio.Event(), asyncio.get_running_loop()

    def serve(listening: socket.socket) -> None:
        """Hears a request, and says nothing any more, neither in HTTP nor in TLS. Raises TimeoutError: the connection stays."""
        with _asked_for(listening, context) as tls:
            tls.recv(1_000)
            loop.call_soon_threadsafe(asked.set)
            with socket.socket(fileno=os.dup(tls.fileno())) as below:
                below.settimeout(5)
                while below.recv(1_000):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(20)
        served = asyncio.create_task(asyncio.to_thread(serve, listening))
        async with httpx.AsyncClient(transport=Transport(1, trusting), timeout=20) as http:
            asking = asyncio.create_task(http.get(f"https://127.0.0.1:{listening.getsockname()[1]}"))
            heard = asyncio.create_task(asked.wait())
            await asyncio.wait({heard, served}, return_when=asyncio.FIRST_COMPLETED)
            assert asked.is_set(), served.exception()
            asking.cancel()
            await asyncio.wait({asking})
        await served


async def test_a_certificate_of_an_unknown_authority_is_refused(tmp_path: Path) -> None:
    context, trusting = secured(tmp_path)
    async with serving(answering(OK), context) as plain:
        url = plain.replace("http:", "https:")
        async with client(url) as http:
            with pytest.raises(httpx.ConnectError):
                await http.get("/")
        async with httpx.AsyncClient(transport=Transport(1, trusting)) as http:
            assert (await http.get(url)).text == "ok"


def _asked_for(listening: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
    """The first connection that speaks TLS: who still asks for what had this port before is sent away."""
    while True:
        plain = listening.accept()[0]
        plain.settimeout(5)
        try:
            return context.wrap_socket(plain, server_side=True)
        except OSError:
            plain.close()


def secured(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For a server, and for those who trust it."""
    certificate = folder / "own.pem"
    certificate.write_bytes(self_signed())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context, ssl.create_default_context(cafile=str(certificate))


def self_signed() -> bytes:
    """A key and a certificate for 127.0.0.1, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = clock.now()
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    address = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    certificate = made.add_extension(address, critical=False).sign(key, hashes.SHA256())
    how = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return key.private_bytes(*how) + certificate.public_bytes(serialization.Encoding.PEM)
