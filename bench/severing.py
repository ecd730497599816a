"""kill -9 of slurmrestd in the middle of what an agent asks of it."""

import asyncio
import os
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Final

from tests.backends.slurm import Cluster

SUBMIT: Final = re.compile(rb"POST \S+/job/submit ")
RELEASE: Final = re.compile(rb"POST \S+/job/\d+ ")
IN_THE_MIDDLE_SECONDS: Final = 0.03
"""From when the request goes out: slurmctld may have none of it, or all of it while the answer is on its way."""
CHUNK: Final = 65_536


class Relay:
    """Stands before a cluster's slurmrestd, at `url`. `killed` counts by what was in the middle."""

    def __init__(self, cluster: Cluster, random: Random) -> None:
        self.killed = Counter[str]()
        self.url = ""
        self._cluster = cluster
        self._random = random
        self._wanted: re.Pattern[bytes] | None = None
        self._found = asyncio.Event()

    async def sever(self, what: re.Pattern[bytes], away_seconds: float) -> None:
        """Wait for a request like this, kill slurmrestd in the middle of it, and start it again later."""
        process = (await asyncio.to_thread(self._cluster.processes, "slurmrestd"))[0]
        self._found.clear()
        self._wanted = what
        await self._found.wait()
        await asyncio.sleep(self._random.uniform(0, IN_THE_MIDDLE_SECONDS))
        os.kill(process, signal.SIGKILL)
        self.killed["submit" if what is SUBMIT else "release"] += 1
        await asyncio.sleep(away_seconds)
        await asyncio.to_thread(self._cluster.start, "slurmrestd")

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = int(self._cluster.url.rpartition(":")[2])
        with suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(self._pass_on(reader, back), self._pass_on(there, writer))
        writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until one side ends it: then it has ended for both."""
        try:
            while chunk := await reader.read(CHUNK):
                if self._wanted is not None and self._wanted.match(chunk):
                    self._wanted = None
                    self._found.set()
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
