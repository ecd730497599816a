"""Holding a process at a named step (`caravan.kernel.steps`), to kill or stop it just there."""

import asyncio
import os
from pathlib import Path
from typing import Self


class Hold:
    """Two FIFOs: the process writes to one when it has reached the step, and goes on when the other is closed."""

    def __init__(self, folder: Path, step: str, times: int = 1) -> None:
        self._out, self._into = (folder / f"{step}.{way}" for way in ("reached", "go"))
        for fifo in (self._out, self._into):
            fifo.unlink(missing_ok=True)
            os.mkfifo(fifo)
        self.environment = {"CARAVAN_HOLD_STEP": f"{step}:{times}", "CARAVAN_HOLD_PIPES": f"{self._out},{self._into}"}

    def __enter__(self) -> Self:
        self._read = os.open(self._out, os.O_RDONLY | os.O_NONBLOCK)
        return self

    def __exit__(self, *exc: object) -> None:
        self.let_go()
        os.close(self._read)

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
        """Let the process go on, if it is held."""
        try:
            os.close(os.open(self._into, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:  # nobody waits there
            return
