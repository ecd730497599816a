"""kill -9 of slurmrestd in the middle of what an agent asks of it."""

import asyncio
import os
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Final

from tests.backends.slurm import Cluster

KINDS: Final[Mapping[str, re.Pattern[bytes]]] = {
    "submit": re.compile(rb"POST \S+/job/submit "),
    "release": re.compile(rb"POST \S+/job/\d+ "),
}
IN_THE_MIDDLE_SECONDS: Final = 0.03
"""From when the request goes out: slurmctld may have none of it, or all of it, and the answer is on its way."""
CHUNK: Final = 65_536


class Relay:
    """Stands before a cluster's slurmrestd, at `url`. `cut` says how often it was killed in what: the agent got no answer."""

    def __init__(self, cluster: Cluster, random: Random) -> None:
        self.cut = Counter[str]()
        self.url = ""
        self._cluster = cluster
        self._random = random
        self._left_alone = False
        self._wanted: re.Pattern[bytes] | None = None
        self._came = asyncio.Event()

    async def sever(self, kind: str, away_seconds: float) -> bool:
        """Wait for such a request, kill slurmrestd in the middle of it, and start it again later. False once it is `leave_alone`d."""
        processes = await asyncio.to_thread(self._processes)
        try:
            if not self._left_alone:
                self._wanted = KINDS[kind]
                self._came.clear()
                await self._came.wait()
            if self._left_alone:
                return False
            await asyncio.sleep(self._random.uniform(0, IN_THE_MIDDLE_SECONDS))
            for process in processes:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(process, signal.SIGKILL)
                    self.cut[kind] += 1
        finally:
            for process in processes:
                os.close(process)
        await asyncio.sleep(away_seconds)
        await asyncio.to_thread(self._cluster.start, "slurmrestd")
        return True

    def leave_alone(self) -> None:
        """Kill nothing more. What is away comes back."""
        self._left_alone, self._wanted = True, None
        self._came.set()

    def _processes(self) -> list[int]:
        """A file descriptor of each process of slurmrestd."""
        found = []
        for process in self._cluster.processes("slurmrestd"):
            with suppress(ProcessLookupError):
                found.append(os.pidfd_open(process))
        return found

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what both sides say until one ends it: then it has ended for both. The answer to a request that came is lost."""
        port = int(self._cluster.url.rpartition(":")[2])
        cut = asyncio.Event()
        with suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(self._ask(reader, back, cut), self._answer(there, writer, cut))
        writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: asyncio.Event) -> None:
        try:
            while chunk := await reader.read(CHUNK):
                if self._wanted is not None and self._wanted.match(chunk):
                    self._wanted = None
                    cut.set()
                    self._came.set()
                writer.write(chunk)
                await writer.drain()
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: asyncio.Event) -> None:
        try:
            while chunk := await reader.read(CHUNK):
                if not cut.is_set():
                    writer.write(chunk)
                    await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def relay(cluster: Cluster, random: Random) -> AsyncIterator[Relay]:
    """While the block lasts."""
    one = Relay(cluster, random)
    connections: set[asyncio.Task[None]] = set()
    server = await asyncio.start_server(
        lambda reader, writer: connections.add(asyncio.create_task(one.connected(reader, writer))), "127.0.0.1", 0
    )
    one.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield one
    finally:
        server.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
