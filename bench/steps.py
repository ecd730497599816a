"""Holding a process at a named step (`caravan.kernel.steps`), to kill or stop it just there."""

import asyncio
import os
from pathlib import Path
from typing import Self


class Hold:
    """Two FIFOs: the process writes to one when it has reached the step, and goes on when it finds something in the other."""

    def __init__(self, folder: Path, step: str, times: int = 1) -> None:
        self._out, self._into = (folder / f"{step}.{way}" for way in ("reached", "go"))
        for fifo in (self._out, self._into):
            fifo.unlink(missing_ok=True)
            os.mkfifo(fifo)
        self.environment = {"CARAVAN_HOLD_STEP": f"{step}:{times}", "CARAVAN_HOLD_PIPES": f"{self._out},{self._into}"}

    def __enter__(self) -> Self:
        self._read = os.open(self._out, os.O_RDONLY | os.O_NONBLOCK)
        self._go = os.open(self._into, os.O_RDWR | os.O_NONBLOCK)  # a process that comes to read finds a writer
        return self

    def __exit__(self, *exc: object) -> None:
        self.let_go()
        os.close(self._read)
        os.close(self._go)

    async def reached(self, seconds: float = 60) -> None:
        """Wait until the process stands at the step. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while True:
                try:
                    if os.read(self._read, 100):
                        return
                except BlockingIOError:
                    pass
                await asyncio.sleep(0.01)

    def let_go(self) -> None:
        """Let the process go on, or not stop if it comes there later."""
        os.write(self._go, b".")
