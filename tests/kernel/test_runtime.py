"""What runs beside a service's requests: it starts, keeps the feed going, and ends without leaving anything."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from sqlalchemy.orm import Session

from caravan.kernel import clock, feed, leases, runtime
from caravan.kernel.idempotency import owner_lease
from caravan.kernel.metrics import Metrics
from caravan.kernel.migrations import on_connection
from caravan.kernel.runtime import FOLLOWERS, Runtime
from caravan.kernel.settings import Settings
from caravan.kernel.sqlite import WriterTaken
from caravan.kernel.tables import feed_parked
from tests.kernel.scratch import METADATA
from tests.support import database, development, until


class Said(BaseModel):
    number: int


def say(tx: Session, number: int) -> None:
    feed.fact(tx, "said", "a", Said(number=number))


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    on_connection(database_url, METADATA.create_all)
    return development(tmp_path, **database("broker", database_url))


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def service(settings: Settings, metrics: Metrics) -> Runtime:
    return Runtime("broker", settings, metrics)


async def page(service: Runtime, follower: str, cursor: str | None, wait: float = 20) -> tuple[list[int], str]:
    events, following = await feed.page(service.db, "broker", follower, cursor, wait)
    return [event["data"]["number"] for event in events], following


async def test_what_is_published_is_read_soon(service: Runtime) -> None:
    async with service.running():
        waiting = asyncio.create_task(page(service, "one", None))
        await service.db.write(say, 1)
        numbers, cursor = await asyncio.wait_for(waiting, 30)
        assert numbers == [1]
        await service.db.write(say, 2)
        assert (await page(service, "one", cursor))[0] == [2]


async def test_a_service_that_stops_answers_those_who_wait_and_comes_back_as_it_was(settings: Settings) -> None:
    first, second = Runtime("broker", settings, Metrics()), Runtime("broker", settings, Metrics())
    async with first.running():
        await first.db.write(say, 1)
        _, cursor = await page(first, "one", None)
        waiting = asyncio.create_task(page(first, "one", cursor, 30))

        async def waits() -> bool:
            return len(first.db._flags) > 0

        await until(waits)
    assert (await asyncio.wait_for(waiting, 5))[0] == []
    async with second.running():
        assert await page(second, "one", cursor, 0) == ([], cursor)


async def test_a_process_announces_that_it_lives(service: Runtime) -> None:
    async with service.running():
        held = await service.db.read(leases.peek, owner_lease(service.owner.id))
        assert held is not None
        assert held.holder == service.owner.id


async def test_ready_asks_the_database_and_the_loops(service: Runtime) -> None:
    async def fails() -> float:
        raise LookupError

    async with service.running():
        await service.ready()
        service.loops.start("bad", fails)

        async def unready() -> bool:
            try:
                await service.ready()
            except RuntimeError as error:
                return str(error) == "loops failing: bad"
            return False

        await until(unready)
        await service.loops.cancel("bad")
        await service.ready()
    with pytest.raises(RuntimeError, match="not started"):
        await service.ready()


async def test_old_events_go_once_the_services_that_follow_have_them(
    service: Runtime, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "PRUNE_SECONDS", 0.01)

    def looked_since(moment: float) -> Callable[[], Awaitable[bool]]:
        async def looked() -> bool:
            sample = metrics.registry.get_sample_value("caravan_loop_last_success_timestamp_seconds", {"loop": "prune"})
            return sample is not None and sample > moment

        return looked

    async with service.running():

        async def kept() -> list[int]:
            rows = await service.db.read(feed.after, 0)
            return [row.position for row in rows]

        async def has_all() -> bool:
            return await kept() == [1, 2, 3]

        for number in (1, 2, 3):
            await service.db.write(say, number)
        await until(has_all)
        generation = await service.db.read(feed.generation)
        first, second = FOLLOWERS["broker"]
        await page(service, first, f"{generation}:3", 0)
        for _ in range(2):
            await until(looked_since(clock.now().timestamp()))
        assert await kept() == [1, 2, 3]
        await page(service, second, f"{generation}:2", 0)

        async def pruned() -> bool:
            return await kept() == [2, 3]

        await until(pruned)


async def test_parked_events_are_shown(service: Runtime, metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "WATCH_SECONDS", 0.01)
    async with service.running():

        def park(tx: Session) -> None:
            values: dict[str, Any] = {"feed": "x", "id": "e", "subject": "a", "event": {}, "error": ""}
            tx.execute(feed_parked.insert().values(parked_at=service.now(), **values))

        await service.db.write(park)

        async def shown() -> bool:
            return b"caravan_parked_events 1.0" in metrics.render()

        await until(shown)


async def test_two_processes_share_a_postgresql_database_and_not_a_sqlite_file(settings: Settings) -> None:
    first, second = Runtime("broker", settings, Metrics()), Runtime("broker", settings, Metrics())
    async with first.running():
        if first.db.sqlite:
            with pytest.raises(WriterTaken):
                async with second.running():
                    pass
            return
        async with second.running():
            for number in range(10):
                await (first, second)[number % 2].db.write(say, number)
            got: list[int] = []
            cursor = None
            async with asyncio.timeout(30):
                while len(got) < 10:
                    numbers, cursor = await page(second, "one", cursor)
                    got += numbers
            assert sorted(got) == list(range(10))


async def test_a_database_that_was_not_migrated_is_refused_and_closed(new_database_url: Any, tmp_path: Path) -> None:
    url = new_database_url()
    service = Runtime("broker", development(tmp_path, **database("broker", url)), Metrics())
    for _ in range(2):
        with pytest.raises(Exception, match="feed_state"):
            async with service.running():
                pass
