"""Staying until something has come about."""

from collections.abc import Awaitable, Callable, Iterator

import pytest

from caravan.cli import waiting
from caravan.client import ServiceUnavailable


def reading(*answers: int | None) -> Callable[[], Awaitable[int]]:
    """Gives these one after another; None: no answer."""
    left: Iterator[int | None] = iter(answers)

    async def read() -> int:
        found = next(left)
        if found is None:
            raise ServiceUnavailable("nothing answers")
        return found

    return read


async def test_it_reads_until_it_is_done_and_bears_that_nothing_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0)
    heard: list[int | None] = []
    assert await waiting.until(reading(1, None, None, 2, 3, 4), lambda found: found == 3, heard.append) == 3
    assert heard == [1, None, None, 2, 3]


async def test_it_gives_up_when_nothing_answers_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "GIVE_UP_SECONDS", -1)
    with pytest.raises(ServiceUnavailable):
        await waiting.until(reading(1, None, 2), lambda found: found == 2, lambda found: None)
