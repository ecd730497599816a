"""Threads for calls that block, which nobody waits for at the end: one may be in a call that a frozen server keeps for minutes."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from caravan.kernel import clock

T = TypeVar("T")


class NotCalled(Exception):
    """No thread was free in time."""


class Threads:
    """So many threads. Unlike those of `concurrent.futures` they keep no process from its end.

    What has waited for `patience_seconds` as a thread becomes free isn't called any more: of a frozen server all that waits learns as
    the first calls do, and doesn't wait behind each other.
    """

    def __init__(self, count: int, name: str, patience_seconds: float) -> None:
        self._patience = patience_seconds
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any], float] | None] = SimpleQueue()
        self._all = [Thread(target=self._work, name=name, daemon=True) for _ in range(count)]
        self._closed = False
        for thread in self._all:
            thread.start()

    async def run(self, call: Callable[[], T]) -> T:
        """What `call` returns or raises. Where the caller is cancelled before a thread is free, nothing is called. Raises NotCalled."""
        if self._closed:
            raise RuntimeError("the threads were closed")
        future: Future[T] = Future()
        self._calls.put((future, call, clock.monotonic() + self._patience))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Each thread ends once it is free."""
        self._closed = True
        for _ in self._all:
            self._calls.put(None)

    def _work(self) -> None:
        while (given := self._calls.get()) is not None:
            future, call, latest = given
            if not future.set_running_or_notify_cancel():
                continue
            try:
                if clock.monotonic() > latest:
                    raise NotCalled
                future.set_result(call())
            except BaseException as error:  # It is the caller's, and is raised there.
                future.set_exception(error)
            del given, future, call
