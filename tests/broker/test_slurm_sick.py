"""What becomes of sick answers of slurmrestd: cut in the middle, a proxy's page, nothing, silence. No call does anything but raise."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from caravan.kernel import ids
from services.broker.adapters import slurm
from services.broker.adapters.port import (
    Backend,
    BackendError,
    OutcomeUnknown,
    Rejected,
    RunSeen,
    Seen,
    SiteContext,
    SiteRefused,
    Unavailable,
)
from services.broker.adapters.slurm import listing, rest, tokens, watch
from services.broker.adapters.slurm.rest import Rest
from tests.broker.slurm_answers import DIAG, ENDED, NODES, PARTITIONS, PING, TAG, held, job_2411, requeued, submission
from tests.support import until

REFERENCE = f"7-0-{TAG}-alice"
SITE = ids.new("sit")
READS: dict[str, Callable[[Backend], Awaitable[object]]] = {
    "now": lambda backend: backend.now(),
    "inventory": lambda backend: backend.inventory(),
    "observe": lambda backend: backend.observe([REFERENCE]),
    "staged": lambda backend: backend.staged(),
}
ACTS: dict[str, Callable[[Backend], Awaitable[object]]] = {
    "stage": lambda backend: backend.stage(submission()),
    "release": lambda backend: backend.release(REFERENCE),
    "cancel": lambda backend: backend.cancel(REFERENCE),
    "discard": lambda backend: backend.discard(REFERENCE),
}
SICK = {
    "cut": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nContent-Type: application/json\r\n\r\n{\"job_id\": 7, \"err",
    "cut without a length": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"job_id\": 7, \"err",
    "proxy": b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 13\r\nContent-Type: text/html\r\n\r\n<html></html>",
    "page": b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nContent-Type: text/html\r\n\r\n<html></html>",
    "empty": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
    "a list": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
    "nothing in it": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\n{}",
    "nothing, and well": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "closed": b"",
    "silence": None,
}  # fmt: skip


@dataclass
class Server:
    """Well until it is told otherwise."""

    sick: bytes | str | None = "well"
    methods: tuple[str, ...] = ("GET", "POST", "DELETE")
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    """Method and the end of a path -> status and content."""
    asked: list[str] = field(default_factory=list)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                method, path = head.decode().split(" ")[:2]
                length = [
                    line[15:] for line in head.decode().split("\r\n") if line.lower().startswith("content-length:")
                ]
                await reader.readexactly(int(length[0]) if length else 0)
                self.asked.append(f"{method} {path}")
                if method in self.methods and not path.endswith("/ping") and not isinstance(self.sick, str):
                    if self.sick is None:
                        await asyncio.sleep(60)
                    writer.write(self.sick or b"")
                    break
                status, content = self.answer(method, path.partition("?")[0])
                body = json.dumps(content).encode()
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    def answer(self, method: str, path: str) -> tuple[int, Any]:
        version = path.split("/")[2]
        if version != "v0.0.42":
            return 404, {}
        return self.answers.get(f"{method} {path.partition(version)[2]}", (404, {}))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    server.answers = {
        "GET /ping": (200, PING),
        "GET /diag": (200, DIAG),
        "GET /partitions": (200, PARTITIONS),
        "GET /nodes": (200, NODES),
        "GET /job/7": (200, {"jobs": [held()], "errors": []}),
        "GET /jobs/state/": (200, {"jobs": [{"job_id": "7", "state": ["PENDING"]}], "errors": []}),
    }
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    yield server
    listening.close()


@asynccontextmanager
async def opened(url: str, folder: Path, timeout_seconds: float = 0.5) -> AsyncIterator[Backend]:
    (folder / "alice").mkdir(exist_ok=True)
    (folder / "key").write_bytes(b"k" * 32)
    settings = {
        "url": url, "cluster": "caravan", "user": "slurm", "token": {"key_file": "key"}, "folder": str(folder),
        "timeout_seconds": timeout_seconds,
    }  # fmt: skip
    async with slurm.adapter.open(SiteContext(site=SITE, settings=settings, secrets=folder)) as backend:
        yield backend


@pytest.mark.parametrize("sick", SICK)
@pytest.mark.parametrize("call", READS)
async def test_a_sick_answer_to_a_read_says_unavailable(call: str, sick: str, server: Server, tmp_path: Path) -> None:
    async with opened(server.url, tmp_path) as backend:
        server.sick = SICK[sick]
        with pytest.raises(Unavailable):
            await READS[call](backend)


@pytest.mark.parametrize("sick", SICK)
@pytest.mark.parametrize("call", ACTS)
async def test_a_sick_answer_to_what_acts_leaves_the_outcome_unknown(
    call: str, sick: str, server: Server, tmp_path: Path
) -> None:
    async with opened(server.url, tmp_path) as backend:
        server.sick, server.methods = SICK[sick], ("POST", "DELETE")
        with pytest.raises(OutcomeUnknown):
            await ACTS[call](backend)


@pytest.mark.parametrize("call", READS | ACTS)
async def test_what_can_not_be_reached_did_provably_nothing(call: str, server: Server, tmp_path: Path) -> None:
    async with opened("http://127.0.0.1:1", tmp_path) as backend:
        with pytest.raises(Unavailable):
            await (READS | ACTS)[call](backend)


async def test_a_connection_is_used_again_unless_it_was_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    connections, asked, closed = 0, 0, 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections, asked, closed
        connections += 1
        while await reader.read(4096):
            asked += 1
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()
        await writer.wait_closed()
        closed += 1

    async def all_closed() -> bool:
        return closed == connections

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        site = Rest(address, tokens.Tokens(tokens.Signed(b"k" * 32)), "slurm", 5)
        for idle_seconds in (60.0, 60.0, 0.0):
            monkeypatch.setattr(rest, "IDLE_SECONDS", idle_seconds)
            await site._send("GET", "/ping", "alice", "a token", None)
        await site.close()
        await until(all_closed)
    assert (asked, connections) == (3, 2)


@pytest.mark.parametrize("port", ["99999", "abc", ""])
async def test_an_address_that_is_none_is_refused(port: str, tmp_path: Path) -> None:
    with pytest.raises(SiteRefused, match="An address is"):
        async with opened(f"http://127.0.0.1:{port}" if port else "http://:6820", tmp_path):
            pass


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
async def test_what_speaks_no_tls_was_sent_nothing(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as plain:
        source = tokens.Signed(b"k" * 32)
        site = Rest(f"https://127.0.0.1:{plain.sockets[0].getsockname()[1]}", tokens.Tokens(source), "slurm", 5)
        with pytest.raises(Unavailable, match="can't be reached"):
            await site._send("POST", "/job/submit", "alice", "a token", {})
        await site.close()


@pytest.mark.parametrize(
    "page",
    [
        {"status": "ok", "pings": 17},
        {"pings": [], "errors": []},
        {"pings": ["UP"], "errors": []},
        {"pings": [{"service": "gateway", "up": True}], "errors": []},
        {"pings": PING["pings"]},
    ],
)
async def test_a_proxys_json_is_not_taken_for_slurmrestds_answer_to_a_ping(
    page: dict[str, Any], server: Server, tmp_path: Path
) -> None:
    async with opened(server.url, tmp_path) as backend:
        server.answers["GET /ping"] = 200, page
        with pytest.raises(Unavailable, match="ping with status 200"):
            await backend.now()
        server.answers["GET /ping"] = 200, PING
        await backend.now()


@pytest.mark.parametrize(
    ("status", "number", "error"),
    [
        (500, 2000, Rejected),
        (422, 2066, Rejected),
        (500, 1800, Unavailable),
        (502, 7000, Unavailable),
        (500, 2007, Unavailable),
        (500, 2103, Unavailable),
        (504, 5004, OutcomeUnknown),
        (502, 1802, OutcomeUnknown),
        (401, -1, Unavailable),
        (511, -1, Unavailable),
    ],
)
async def test_slurms_error_numbers_become_the_ports_errors(
    status: int, number: int, error: type[BackendError], server: Server, tmp_path: Path
) -> None:
    fault = {"error_number": number, "error": "the words of Slurm"}
    server.answers["POST /job/submit"] = status, {"errors": [fault]}
    async with opened(server.url, tmp_path) as backend:
        with pytest.raises(error) as raised:
            await backend.stage(submission())
    assert "the words of Slurm" in str(raised.value) or status in (401, 511)
    assert "eyJ" not in repr(raised.value)


async def test_a_job_id_means_that_it_was_taken_whatever_stands_beside_it(server: Server, tmp_path: Path) -> None:
    beside = [{"error_code": 2042, "error": "Job is in held state"}, {"error_code": 2015, "error": "not available now"}]
    server.answers["POST /job/submit"] = 500, {"job_id": 8, "errors": beside}
    server.answers["GET /job/8"] = 200, {"jobs": [{"user_id": 47001}], "errors": []}
    async with opened(server.url, tmp_path) as backend:
        asked = submission()
        assert await backend.stage(asked) == f"8-0-{asked.tag}-alice"


async def test_whose_the_first_job_of_a_user_is_is_looked_at_until_it_is_known(server: Server, tmp_path: Path) -> None:
    server.answers["POST /job/submit"] = 200, {"job_id": 8, "errors": []}
    server.answers["DELETE /job/8"] = 200, {"errors": []}
    async with opened(server.url, tmp_path) as backend:
        server.answers["GET /job/8"] = 200, {"errors": []}
        with pytest.raises(OutcomeUnknown):
            await backend.stage(submission())
        server.answers["GET /job/8"] = 200, {"jobs": [{"user_id": 99}], "errors": []}
        with pytest.raises(Rejected, match="doesn't know the Unix user alice"):
            await backend.stage(submission())
        assert [asked for asked in server.asked if asked.startswith("DELETE")]
        server.answers["GET /job/8"] = 200, {"jobs": [{"user_id": 47001}], "errors": []}
        await backend.stage(submission())
        looked = len(server.asked)
        await backend.stage(submission())
        assert not [asked for asked in server.asked[looked:] if "/job/8" in asked]


async def test_a_refused_token_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    async with opened(server.url, tmp_path) as backend:
        server.answers["GET /diag"] = 511, {}
        with pytest.raises(Unavailable, match="token of slurm"):
            await backend.now()
        server.answers["GET /diag"] = 200, DIAG
        await backend.now()


async def test_a_job_of_another_name_under_the_same_id_is_left_alone(server: Server, tmp_path: Path) -> None:
    server.answers["GET /job/7"] = 200, {"jobs": [held() | {"name": "somebody-elses"}], "errors": []}
    server.answers["GET /slurmdb"] = 200, {}
    async with opened(server.url, tmp_path) as backend:
        await backend.cancel(REFERENCE)
        await backend.discard(REFERENCE)
        with pytest.raises(Rejected):
            await backend.release(REFERENCE)
        assert not isinstance((await backend.observe([REFERENCE]))[REFERENCE], Seen)
    assert not [asked for asked in server.asked if not asked.startswith("GET")]


@pytest.mark.parametrize(("restarts", "staged"), [(0, [REFERENCE]), (1, [])])
async def test_a_job_that_is_held_after_a_requeue_is_not_staged(
    restarts: int, staged: list[str], server: Server, tmp_path: Path
) -> None:
    job = held() | {"comment": f"caravan {SITE} 0 job: name", "restart_cnt": restarts}
    server.answers["GET /job/7"] = 200, {"jobs": [job], "errors": []}
    async with opened(server.url, tmp_path) as backend:
        assert [one.reference for one in await backend.staged()] == staged


async def runs_of(backend: Backend) -> tuple[RunSeen, ...]:
    seen = (await backend.observe([REFERENCE]))[REFERENCE]
    assert isinstance(seen, Seen)
    return seen.runs


async def test_what_was_not_listed_for_long_is_read_again_though_its_state_is_the_same(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """slurmrestd was away while the job was requeued, and ran again."""

    def runs(job: dict[str, Any]) -> None:
        server.answers["GET /job/7"] = 200, {"jobs": [job], "errors": []}
        server.answers["GET /jobs/state/"] = 200, {"jobs": [{"job_id": "7", "state": ["RUNNING"]}], "errors": []}

    runs(job_2411(["RUNNING"]))
    server.answers["GET /slurmdb"] = 200, {}
    async with opened(server.url, tmp_path) as backend:
        assert len(await runs_of(backend)) == 1
        runs(requeued(["RUNNING"], ENDED))
        assert len(await runs_of(backend)) == 1
        monkeypatch.setattr(listing, "AWAY_SECONDS", 0.0)

        async def both() -> bool:
            return len(await runs_of(backend)) == 2

        await until(both)


async def test_what_was_released_and_not_listed_for_long_is_read_again_though_it_waits_as_before(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """slurmrestd was away while the job ran, and was requeued: until that is read, nobody may say that all of it is known."""
    monkeypatch.setattr(watch, "REASON_SOONEST_SECONDS", 3600.0)
    server.answers["POST /job/7"] = 200, {"errors": []}
    server.answers["GET /slurmdb"] = 200, {}
    async with opened(server.url, tmp_path) as backend:
        await backend.release(REFERENCE)
        assert await runs_of(backend) == ()
        again = requeued(["PENDING"], ENDED, state_reason="BeginTime")
        server.answers["GET /job/7"] = 200, {"jobs": [again], "errors": []}
        server.asked.clear()
        monkeypatch.setattr(listing, "AWAY_SECONDS", 0.0)

        async def listed_twice() -> bool:
            await runs_of(backend)
            return sum("/jobs/state/" in asked for asked in server.asked) >= 2

        await until(listed_twice)
        assert any(asked.endswith("/job/7") for asked in server.asked)


async def test_a_site_without_its_secret_or_its_folder_is_refused(tmp_path: Path) -> None:
    settings = {
        "url": "http://127.0.0.1:1",
        "cluster": "c",
        "user": "slurm",
        "token": {"key_file": "key"},
        "folder": str(tmp_path),
    }
    for wrong, secrets in (
        (settings, tmp_path),
        (settings, None),
        (settings | {"folder": "/nowhere"}, tmp_path),
        ({}, tmp_path),
    ):
        with pytest.raises(SiteRefused):
            async with slurm.adapter.open(SiteContext(site="sit_1", settings=wrong, secrets=secrets)):
                pass
