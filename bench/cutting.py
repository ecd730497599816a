"""A relay of TCP connections that cuts all of them again and again, whatever is being said on them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

CHUNK: Final = 65_536


class Cutter:
    """Stands before a server on this machine, at `port`. `cut` counts the connections that it cut."""

    def __init__(self, server: int) -> None:
        self.port = 0
        self.cut = 0
        self._server = server
        self._open: set[asyncio.Task[None]] = set()

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._pass_on(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    @asynccontextmanager
    async def every(self, seconds: float) -> AsyncIterator[None]:
        """Inside, all that is open is cut, again and again."""
        cuts = asyncio.create_task(self._cut(seconds))
        try:
            yield
        finally:
            cuts.cancel()

    async def close(self) -> int:
        """Cut what is open; how many these were."""
        cut = [*self._open]
        for task in cut:
            task.cancel()
        await asyncio.gather(*cut, return_exceptions=True)
        return len(cut)

    async def _cut(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            self.cut += await self.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What either side says, until one of them ends."""
        back: asyncio.StreamWriter | None = None
        try:
            with suppress(OSError):
                there, back = await asyncio.open_connection("127.0.0.1", self._server)
                ways = [asyncio.create_task(_copy(reader, back)), asyncio.create_task(_copy(there, writer))]
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.gather(*ways, return_exceptions=True)
        finally:
            for one in (writer, back):
                if one is not None:
                    one.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(CHUNK):
        writer.write(chunk)
        await writer.drain()


@asynccontextmanager
async def cutter(server: int) -> AsyncIterator[Cutter]:
    """While the block lasts, before the server on that port."""
    one = Cutter(server)
    listening = await asyncio.start_server(one.connected, "127.0.0.1", 0)
    one.port = listening.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        listening.close()
        await one.close()
