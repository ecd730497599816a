"""A slurmrestd of 22.05 or 24.11 over a queue in memory, as far as the adapter looks at it. `python -m tests.broker.slurm_double
VERSION JOBS TASKS STATE` serves one with so many submissions, each of so many tasks (0: no array), and prints its port."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from caravan.kernel import clock
from tests.broker.slurm_answers import (
    ENDED,
    NODES,
    PARTITIONS,
    PING,
    STARTED,
    TAG,
    in_books,
    job_2205,
    job_2411,
    number,
)

FIRST: Final = 100_000
GONE: Final = {"error_number": 2017, "error": "Invalid job id specified", "description": ""}


CONTROLLER_AWAY: Final = {"error_number": 1800, "error": "Unable to contact slurmctld", "description": ""}
BOOKS_AWAY: Final = {"error_number": 7000, "error": "Unable to connect to database", "description": ""}


def reference(job: int, tasks: int = 0) -> str:
    return f"{job}-{tasks}-{TAG}-alice"


@dataclass
class SlurmDouble:
    """slurmctld's queue: job id -> index (0 without an array) -> state. Change it as it goes on."""

    version: str = "v0.0.42"
    jobs: dict[int, dict[int, str]] = field(default_factory=dict)
    arrays: set[int] = field(default_factory=set)
    books: set[int] = field(default_factory=set)
    """Jobs of which slurmdbd has the end."""
    ran: int = ENDED - STARTED
    """Seconds that these ran, by slurmdbd."""
    reason: str = "JobHeldUser"
    """Why those that wait do."""
    controller: bool = True
    """slurmctld is there."""
    clusters: list[str] | None = field(default_factory=lambda: ["caravan"])
    """That slurmdbd knows; None: it is away."""
    ahead: int = 0
    """Seconds that slurmctld's clock is ahead."""
    asked: list[str] = field(default_factory=list)
    """What was read of Slurm, versions left out."""
    largest: int = 0
    """Bytes of the largest answer."""
    slow: asyncio.Event | None = None
    """Answers about jobs, as of now, wait for it."""
    thaw: asyncio.Event | None = None
    """slurmdbd is frozen until then."""
    url: str = ""

    def fill(self, count: int, state: str, tasks: int = 0) -> list[str]:
        """So many submissions more; their references."""
        first = max(self.jobs, default=FIRST - 1_000_000) + 1_000_000
        step = max(1, tasks) + 1
        found = range(first, first + count * step, step)
        for job in found:
            self.jobs[job] = dict.fromkeys(range(tasks) if tasks else [0], state)
            if tasks:
                self.arrays.add(job)
        return [reference(job, tasks) for job in found]

    def reads(self, of: str) -> list[str]:
        """What was asked for under this path."""
        return [path for path in self.asked if path.startswith(of)]

    def answer(self, path: str, query: dict[str, list[str]]) -> dict[str, Any]:
        match path.strip("/").split("/"):
            case ["ping"]:
                return PING
            case ["diag"]:
                if not self.controller:
                    return {"statistics": {}, "errors": [CONTROLLER_AWAY]}
                return {"statistics": {"req_time": number(clock.to_seconds(clock.now()) + self.ahead)}, "errors": []}
            case ["clusters"]:
                clusters = [{"name": name} for name in self.clusters or ()]
                return {"clusters": clusters, "errors": [BOOKS_AWAY] if self.clusters is None else []}
            case ["partitions"]:
                return PARTITIONS
            case ["nodes"]:
                return NODES
            case ["jobs", "state"]:
                wanted = [int(job) for job in query["job_id"]] if "job_id" in query else list(self.jobs)
                listed = [one for job in wanted if job in self.jobs for one in self._listed(job)]
                return {"jobs": listed, "meta": {"client": {"source": f"[localhost]:{len(self.asked)}"}}, "errors": []}
            case ["job", task]:
                found = list(self._records(task))
                return {"jobs": found, "errors": [] if found else [GONE]}
            case ["books", job]:
                return {"jobs": [self._booked(int(job))] if int(job) in self.books else [], "errors": []}
            case ["jobs"]:
                return {"jobs": [*map(self._booked, sorted(self.books))], "errors": []}
        raise LookupError(path)

    def _booked(self, job: int) -> dict[str, Any]:
        return in_books(["COMPLETED"], 0, elapsed=self.ran, job_id=job)

    def _listed(self, job: int) -> Iterator[dict[str, Any]]:
        """A task that has started stands under its own id."""
        for index, state in self.jobs[job].items():
            own = job if state == "PENDING" else job + 1 + index
            yield {"job_id": f"{own}_{index}" if job in self.arrays else str(job), "state": [state]}

    def _records(self, task: str) -> Iterator[dict[str, Any]]:
        raw, _, index = task.partition("_")
        job = max((one for one in self.jobs if one <= int(raw)), default=0)
        states = self.jobs.get(job, {})
        if job not in self.arrays:
            if job == int(raw) and states:
                yield self._record(job, states[0])
            return
        own = int(raw) - job - 1
        wanted = {int(index)} if index else set(states) if own < 0 else {own}
        waiting = [one for one, state in states.items() if state == "PENDING"]
        for one in wanted & states.keys():
            if states[one] != "PENDING":
                yield self._record(job + 1 + one, states[one], job, one)
        if wanted & set(waiting):
            text = ",".join(map(str, waiting))
            yield self._record(job, "PENDING", job) | {"array_task_string": text[:60] + ",..." * (len(text) > 60)}

    def _record(self, job: int, state: str, array: int = 0, index: int | None = None) -> dict[str, Any]:
        waits = state == "PENDING"
        shown: dict[str, Any] = {"job_id": job, "state_reason": self.reason if waits else "None"}
        if waits:
            shown["tres_alloc_str"] = ""
        if self.version == "v0.0.38":
            times = {"start_time": 0, "end_time": 0} if waits else {}
            return job_2205(state, array_job_id=array, array_task_id=index, **shown, **times)
        later = {"start_time": number(0), "end_time": number(0)} if waits else {}
        return job_2411([state], array_job_id=number(array), array_task_id=number(index), **shown, **later)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                _, address, _ = head.decode().split(" ", 2)
                split = urlsplit(address)
                family, version, path = split.path.strip("/").split("/", 2)
                path = path if family == "slurm" else path.replace("job/", "books/")
                status, content = 404, {}
                if version == self.version:
                    self.asked.append(f"{path}?{split.query}" if split.query else path)
                    status, content = 200, self.answer(path, parse_qs(split.query))
                body = json.dumps(content, indent=1).encode()
                self.largest = max(self.largest, len(body))
                if self.slow is not None and path.startswith("job/"):
                    await self.slow.wait()
                if self.thaw is not None and family == "slurmdb":
                    await self.thaw.wait()
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        writer.close()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[int]:
        """Serves; gives its port."""
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0, limit=2**20)
        port = int(server.sockets[0].getsockname()[1])
        self.url = f"http://127.0.0.1:{port}"
        yield port
        server.close()


async def _main(version: str, jobs: int, tasks: int, state: str) -> None:
    double = SlurmDouble(version)
    double.fill(jobs, state, tasks)
    async with double.listening() as port:
        print(port, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
