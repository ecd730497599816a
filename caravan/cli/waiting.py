"""Staying until something has come about, through a restart of the platform."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from caravan.client import ServiceUnavailable
from caravan.kernel import clock

T = TypeVar("T")
POLL_SECONDS: Final = 0.5
GIVE_UP_SECONDS: Final = 300.0
"""How long what is waited for may be out of reach: a restart of the platform takes less."""


async def until(read: Callable[[], Awaitable[T]], done: Callable[[T], bool], tell: Callable[[T | None], None]) -> T:
    """Read again and again until it is done, and return what was read last. `tell` hears each reading, None when nothing answers.

    Raises ServiceUnavailable when nothing has answered for GIVE_UP_SECONDS.
    """
    heard = clock.monotonic()
    while True:
        try:
            found = await read()
        except ServiceUnavailable:
            if clock.monotonic() - heard > GIVE_UP_SECONDS:
                raise
            tell(None)
        else:
            heard = clock.monotonic()
            tell(found)
            if done(found):
                return found
        await asyncio.sleep(POLL_SECONDS)
