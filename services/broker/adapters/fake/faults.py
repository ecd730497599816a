"""What goes wrong between an agent and the fake: before a call, after it, instead of it."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from services.broker.adapters.port import BackendError, Unavailable

T = TypeVar("T")


@dataclass(frozen=True)
class Fault:
    """For one call. `before`: raised without doing it. `after`: done, and the answer lost to this error (OutcomeUnknown, mostly).
    `times`: done so many times over, as a doubled request does. `gate`: the call waits for it before it is done, as a late request."""

    before: BackendError | None = None
    after: BackendError | None = None
    times: int = 1
    gate: asyncio.Event | None = None


class Faults:
    """Faults waiting for calls, by the method's name; each is used once, in order. `down` makes every call Unavailable."""

    def __init__(self) -> None:
        self.down = False
        self._waiting: defaultdict[str, deque[Fault]] = defaultdict(deque)

    def next(self, method: str, fault: Fault) -> None:
        """Let the next call of `method` that has none yet meet this fault."""
        self._waiting[method].append(fault)

    async def call(self, method: str, do: Callable[[], T]) -> T:
        """Do it, by the fault that waits for it. A gated call that is cancelled meanwhile isn't done."""
        await asyncio.sleep(0)
        fault = self._waiting[method].popleft() if self._waiting[method] else Fault()
        if fault.gate is not None:
            await fault.gate.wait()
        if self.down:
            raise Unavailable("the fake site is down")
        if fault.before is not None:
            raise fault.before
        for _ in range(fault.times - 1):
            do()
        answer = do()
        if fault.after is not None:
            raise fault.after
        return answer
