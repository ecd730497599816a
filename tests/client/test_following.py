"""The rules by which a task's output is read piece by piece."""

from collections.abc import Sequence

import pytest

from caravan.client.following import pieces
from caravan.contracts.jobs import LogChunk
from caravan.contracts.problems import LogUnavailable, NoLogYet
from caravan.kernel import ids

ONE, OTHER = ids.new("att"), ids.new("att")


def piece(text: str, offset: int, size: int, *, complete: bool = False, attempt: str = ONE) -> LogChunk:
    return LogChunk(
        attempt=attempt, index=0, stream="stdout", offset=offset, next_offset=offset + len(text), size=size,
        complete=complete, text=text,
    )  # fmt: skip


class Task:
    """Answers one after another; it has ended when there is one left, if at all. It notes what it was asked, and pauses as `-`."""

    def __init__(self, *answers: LogChunk | Exception, ends: bool = True) -> None:
        self._left = list(answers)
        self._ends = ends
        self.asked: list[int | str | None] = []

    async def read(self, at: int | None) -> LogChunk:
        self.asked.append(at)
        answer = self._left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def ended(self) -> bool:
        return self._ends and len(self._left) <= 1

    async def pause(self) -> None:
        self.asked.append("-")

    async def followed(self) -> Sequence[str | None]:
        return [None if found is None else found.text async for found in pieces(self.read, self.ended, self.pause)]

    async def as_it_is(self) -> Sequence[str | None]:
        return [None if found is None else found.text async for found in pieces(self.read, None, self.pause)]


async def test_what_there_is_is_read_to_its_end() -> None:
    task = Task(piece("ab", 0, 3), piece("c", 2, 3), piece("more", 3, 7))
    assert await task.as_it_is() == ["ab", "c"]
    assert task.asked == [None, 2]


async def test_what_comes_is_waited_for_until_the_task_has_ended() -> None:
    task = Task(NoLogYet(), piece("ab", 0, 3), piece("c", 2, 3), LogUnavailable(), piece("d", 3, 4, complete=True))
    assert await task.followed() == [None, "ab", "c", None, "d"]
    assert task.asked == [None, "-", None, 2, "-", 3, "-", 3]


async def test_another_try_is_read_from_its_first_byte() -> None:
    task = Task(piece("ab", 0, 2), piece("", 1, 1, attempt=OTHER), piece("c", 0, 1, attempt=OTHER, complete=True))
    assert await task.followed() == ["ab", "c"]
    assert task.asked == [None, "-", 2, 0]


async def test_another_run_of_the_same_try_that_has_written_less_is_read_from_its_first_byte() -> None:
    task = Task(piece("abc", 0, 3), piece("", 1, 1), piece("d", 0, 1, complete=True))
    assert await task.followed() == ["abc", "d"]
    assert task.asked == [None, "-", 3, 0]


async def test_a_task_that_ends_between_two_looks_is_read_once_more() -> None:
    task = Task(NoLogYet(), piece("all of it", 0, 9, complete=True))
    assert await task.followed() == [None, "all of it"]
    task = Task(NoLogYet(), NoLogYet())
    with pytest.raises(NoLogYet):
        await task.followed()


@pytest.mark.parametrize("problem", [NoLogYet(), LogUnavailable()])
async def test_where_nothing_will_come_or_nobody_waits_it_is_refused_at_once(problem: Exception) -> None:
    task = Task(problem)
    with pytest.raises(type(problem)):
        await task.followed()
    assert task.asked == [None]
    task = Task(problem, ends=False)
    with pytest.raises(type(problem)):
        await task.as_it_is()
    assert task.asked == [None]


async def test_a_site_that_stays_away_once_the_task_has_ended_is_not_waited_for() -> None:
    task = Task(piece("ab", 0, 2), LogUnavailable(), LogUnavailable())
    with pytest.raises(LogUnavailable):
        await task.followed()
    assert task.asked == [None, "-", 2, "-", 2]
