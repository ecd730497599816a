"""Threads in which slurmrestd is asked: what they answer, and that a frozen call holds up nobody's end."""

import asyncio
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from services.broker.adapters.slurm.threads import NotCalled, Threads

FROZEN = """
import asyncio, threading
from services.broker.adapters.slurm.threads import Threads

async def main():
    threads, began = Threads(1, "frozen", 60), threading.Event()
    asking = asyncio.create_task(threads.run(lambda: (began.set(), threading.Event().wait())))
    await asyncio.to_thread(began.wait)
    asking.cancel()
    await asyncio.wait([asking])
    threads.close()

asyncio.run(main())
print("ended")
"""


async def test_a_call_is_answered_or_raises_where_it_was_asked() -> None:
    threads = Threads(2, "test", 60)
    assert await asyncio.gather(*(threads.run(partial(pow, number, 2)) for number in range(4))) == [0, 1, 4, 9]
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)
    threads.close()
    with pytest.raises(RuntimeError, match="closed"):
        await threads.run(lambda: 1)


async def test_who_is_cancelled_before_a_thread_is_free_has_nothing_called() -> None:
    threads, free, called = Threads(1, "test", 60), threading.Event(), list[int]()
    first = asyncio.create_task(threads.run(free.wait))
    second = asyncio.create_task(threads.run(lambda: called.append(1)))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([second])
    free.set()
    assert await first and await threads.run(lambda: 2) == 2
    assert called == []
    threads.close()


async def test_what_waited_for_longer_than_the_patience_is_not_called() -> None:
    threads, free, called = Threads(1, "test", 0.02), threading.Event(), list[int]()
    first = asyncio.create_task(threads.run(free.wait))
    second = asyncio.create_task(threads.run(lambda: called.append(1)))
    await asyncio.sleep(0.1)
    free.set()
    assert await first
    with pytest.raises(NotCalled):
        await second
    assert called == []
    assert await threads.run(lambda: 2) == 2
    threads.close()


def test_a_program_ends_though_a_call_never_does() -> None:
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", FROZEN], cwd=root, capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout == "ended\n" and ended.stderr == ""
