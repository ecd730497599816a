"""Turns: many go together, one alone, and who leaves holds nobody up."""

import asyncio

import pytest

from caravan.kernel.turns import Turns


class Log:
    """Who is in, as it changes."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.inside: set[str] = set()
        self.seen: list[set[str]] = []
        self.go = asyncio.Event()

    async def enter(self, name: str, *, alone: bool) -> None:
        async with self.turns.alone() if alone else self.turns.together():
            self.inside.add(name)
            self.seen.append(set(self.inside))
            await self.go.wait()
            await asyncio.sleep(0)
            self.inside.remove(name)

    def start(self, name: str, *, alone: bool = False) -> "asyncio.Task[None]":
        return asyncio.create_task(self.enter(name, alone=alone))


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_many_go_together_and_one_alone_before_those_who_come_later() -> None:
    log = Log()
    tasks = [log.start("a"), log.start("b")]
    await settle()
    tasks += [log.start("c", alone=True), log.start("d", alone=True)]
    await settle()
    tasks += [log.start("e")]
    await settle()
    assert log.seen == [{"a"}, {"a", "b"}]
    log.go.set()
    await asyncio.wait_for(asyncio.gather(*tasks), 30)
    assert log.seen[2:] == [{"c"}, {"d"}, {"e"}]


async def test_who_leaves_before_its_turn_holds_nobody_up() -> None:
    log = Log()
    first = log.start("a")
    await settle()
    leaving = log.start("b", alone=True)
    await settle()
    leaving.cancel()
    await asyncio.wait([leaving])
    later = log.start("c")
    await settle()
    assert log.inside == {"a", "c"}
    log.go.set()
    await asyncio.wait_for(asyncio.gather(first, later), 30)


@pytest.mark.parametrize("alone", [True, False])
async def test_who_fails_in_its_turn_gives_it_back(alone: bool) -> None:
    log = Log()

    async def fail() -> None:
        async with log.turns.alone() if alone else log.turns.together():
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    log.go.set()
    await asyncio.wait_for(asyncio.gather(log.start("a"), log.start("b", alone=True)), 30)
