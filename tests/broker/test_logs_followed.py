"""Output that is sent as it comes, until its task has ended. The test is the site's agent, and the server's side of the connection."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pytest
from sqlalchemy import func, select
from starlette.types import Message

from caravan.contracts.dispatch import LogAnswer
from caravan.contracts.jobs import Job, Outcome
from caravan.kernel import ids
from services.broker.dispatch import logs
from services.broker.dispatch.models import LogReadRow
from tests.broker.conftest import Shop
from tests.broker.hand import Run
from tests.broker.market import until

pytestmark = pytest.mark.asyncio(loop_scope="session")
TEXT = "第一行\nthe second 🜁\n" * 40


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FOLLOW_SECONDS", 0.01)
    monkeypatch.setattr(logs, "WAIT_SECONDS", 5.0)


@dataclass
class Site:
    """What its agent would find: the output so far, or by attempt. It notes how much it was asked for."""

    shop: Shop
    data: bytes = b""
    missing: bool = False
    asked: list[int] = field(default_factory=list)
    of: dict[str, bytes] = field(default_factory=dict)

    async def answer(self) -> None:
        work = await self.shop.hand.work()
        for read in work.log_reads:
            data = self.of.get(read.attempt, self.data)
            at = max(0, len(data) + read.offset) if read.offset < 0 else min(read.offset, len(data))
            answer = LogAnswer(
                epoch=self.shop.hand.epoch,
                data=base64.b64encode(data[at : at + read.limit]).decode(),
                offset=at,
                size=len(data),
                complete=not self.missing,
                missing=self.missing,
            )
            await self.shop.hand.broker.answer_log_read(self.shop.site, read.id, answer)
            self.asked.append(read.limit)

    async def answering(self) -> None:
        while True:
            await self.answer()
            await asyncio.sleep(0.005)

    async def is_asked_anew(self) -> None:
        """Until whoever follows has heard all that there is."""
        before = len(self.asked)

        async def twice() -> bool:
            return len(self.asked) >= before + 2

        await until(twice)


@asynccontextmanager
async def site_of(shop: Shop, data: bytes = b"", *, missing: bool = False) -> AsyncIterator[Site]:
    site = Site(shop, data, missing)
    answering = asyncio.create_task(site.answering())
    try:
        yield site
    finally:
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)


@dataclass
class Follower:
    """Someone who follows, as a server passes them on."""

    status: int = 0
    media_type: str = ""
    content: bytes = b""
    whole: bool = False
    reads: bool = True
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    serving: asyncio.Task[None] = field(init=False)

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.media_type = dict(message["headers"])[b"content-type"].decode()
            return
        while not self.reads:  # noqa: ASYNC110 - as a server waits for a full socket
            await asyncio.sleep(0.005)
        self.content += message["body"]
        self.whole = not message.get("more_body", False)

    async def has(self, text: str) -> None:
        async def there() -> bool:
            return self.content == text.encode()

        await until(there)

    async def answered(self) -> None:
        async def there() -> bool:
            return self.status > 0

        await until(there)

    async def end(self) -> None:
        async with asyncio.timeout(20):
            await self.serving


@asynccontextmanager
async def following(shop: Shop, job: Job | str, permission: str = "", /, **query: Any) -> AsyncIterator[Follower]:
    platform, follower = shop.market.platform, Follower()
    token = platform.token("someone", permission or f"org/{shop.customer.organization}:member")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "method": "GET",
        "path": f"/v1/jobs/{job if isinstance(job, str) else job.id}/logs",
        "query_string": urlencode({"follow": "true"} | query).encode(),
        "headers": [(b"authorization", f"Bearer {token}".encode())],
    }
    follower.serving = asyncio.create_task(platform.apps["broker"](scope, follower.receive, follower.send))
    try:
        yield follower
    finally:
        follower.gone.set()
        follower.reads = True
        await follower.end()


async def reads_open(shop: Shop) -> int:
    """How many pieces the site is asked for."""
    mine = select(func.count()).select_from(LogReadRow).where(LogReadRow.site == shop.site)
    return int(await shop.market.platform.runtime.db.read(lambda tx: tx.execute(mine).scalar_one()))


async def test_all_of_it_comes_in_pieces_as_it_is_written(shop: Shop) -> None:
    """Also where a piece, or what is written so far, ends within a character."""
    job = await shop.customer.submit()
    attempt = await shop.hand.start(job)
    data = TEXT.encode()
    async with site_of(shop, data[:1]) as site, following(shop, job, limit=50) as follower:
        await site.is_asked_anew()
        assert (follower.status, follower.content) == (200, b""), "a character waits for its rest"
        for end in (7, 200, 201, 202, len(data)):
            site.data = data[:end]
            await follower.has(data[:end].decode(errors="ignore"))
        await site.is_asked_anew()
        assert not follower.whole and not follower.serving.done()
        await shop.hand.end(attempt, [Run(attempt)])
        await follower.end()
    assert (follower.content.decode(), follower.whole) == (TEXT, True)
    assert follower.media_type == "text/plain; charset=utf-8"


async def test_of_a_task_that_has_ended_all_is_sent_at_once(shop: Shop) -> None:
    job = await shop.customer.submit()
    attempt = await shop.hand.start(job)
    await shop.hand.end(attempt, [Run(attempt)])
    cut = TEXT.encode() + "末".encode()[:2]
    async with site_of(shop, cut):
        for query, start in (({}, 0), ({"offset": 10}, 10), ({"tail": 13}, len(cut) - 13), ({"tail": 0}, len(cut))):
            async with following(shop, job, **query) as follower:
                await follower.end()
            assert (follower.content.decode(), follower.whole) == (cut[start:].decode(errors="replace"), True)


async def test_a_task_that_has_not_started_is_waited_for(shop: Shop) -> None:
    job = await shop.customer.submit()
    async with following(shop, job) as follower:
        await follower.answered()
        assert (follower.status, follower.content) == (200, b"")
        attempt = await shop.hand.start(job)
        async with site_of(shop, b"it has begun\n"):
            await follower.has("it has begun\n")
            await shop.hand.end(attempt, [Run(attempt)])
            await follower.end()
    assert follower.whole


async def test_it_goes_on_from_one_try_to_the_next(shop: Shop) -> None:
    job = await shop.customer.submit()
    first = await shop.hand.start(job, "ref-1")
    async with site_of(shop, b"the first try\n") as site, following(shop, job) as follower:
        await follower.has("the first try\n")
        await shop.hand.end(first, [Run(first, outcome=Outcome.SITE)])

        async def placed_anew() -> bool:
            attempts = (await shop.customer.broker.list_job_attempts(job.id)).items
            return len(attempts) == 2 and attempts[1].id in await shop.hand.everything()

        await until(placed_anew)
        second = await shop.hand.start(job, "ref-2")
        site.of[second], run = b"the second, which is longer\n", Run(second)
        await shop.hand.tell(run.running(shop.hand.number))
        await follower.has("the first try\nthe second, which is longer\n")
        await shop.hand.end(second, [run])
        await follower.end()
    assert follower.whole


async def test_what_is_refused_is_refused_before_the_answer_begins(shop: Shop) -> None:
    job = await shop.customer.submit()
    attempt = await shop.hand.start(job)
    await shop.hand.end(attempt, [Run(attempt)])
    async with site_of(shop, missing=True):
        for asked, permission, query, status, code in (
            (job, "", {}, 409, "no_log_yet"),  # its output was swept
            (job, f"org/{ids.new('org')}:member", {}, 404, "not_found"),
            (job, "", {"index": 1}, 404, "not_found"),
            (job, "", {"stream": "both"}, 422, "invalid"),
            (ids.new("job"), "", {}, 404, "not_found"),
        ):
            job_id = asked if isinstance(asked, str) else asked.id
            async with following(shop, job_id, permission, **query) as follower:
                await follower.end()
            assert follower.status == status
            assert code in follower.content.decode()


async def test_a_task_that_ended_before_its_site_could_be_asked_is_refused_as_its_page_is(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await shop.customer.submit()
    attempt = await shop.hand.start(job)
    await shop.hand.end(attempt, [Run(attempt)])
    monkeypatch.setattr(logs, "WAIT_SECONDS", 0.05)
    async with following(shop, job) as follower:
        await follower.end()
    assert (follower.status, follower.whole) == (503, True)


async def test_it_goes_on_when_its_site_is_back(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "WAIT_SECONDS", 0.1)
    job = await shop.customer.submit()
    attempt = await shop.hand.start(job)
    async with following(shop, job) as follower:
        async with site_of(shop, b"so far, ") as site:
            await follower.has("so far, ")
        heard = set[str]()

        async def was_in_vain() -> bool:
            heard.update(read.id for read in (await shop.hand.work()).log_reads)
            return len(heard) > 2

        await until(was_in_vain)
        monkeypatch.setattr(logs, "WAIT_SECONDS", 5.0)
        async with site_of(shop, site.data + b"and on"):
            await follower.has("so far, and on")
            await shop.hand.end(attempt, [Run(attempt)])
            await follower.end()
    assert (follower.content, follower.whole) == (b"so far, and on", True)


async def test_what_is_swept_in_the_middle_breaks_it_off(shop: Shop) -> None:
    """So that nobody takes a part for the whole."""
    job = await shop.customer.submit()
    attempt = await shop.hand.start(job)
    async with site_of(shop, b"a part") as site, following(shop, job) as follower:
        await follower.has("a part")
        site.data, site.missing = b"", True
        await shop.hand.end(attempt, [Run(attempt)])
        await follower.end()
    assert (follower.content, follower.whole) == (b"a part", False)


async def test_a_site_that_stays_away_once_the_task_has_ended_breaks_it_off(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "WAIT_SECONDS", 0.1)
    job = await shop.customer.submit()
    attempt = await shop.hand.start(job)
    async with following(shop, job) as follower:
        async with site_of(shop, b"a part"):
            await follower.has("a part")
        await shop.hand.end(attempt, [Run(attempt)])
        await follower.end()
    assert (follower.content, follower.whole) == (b"a part", False)


async def test_who_goes_away_leaves_nothing_behind(shop: Shop) -> None:
    job = await shop.customer.submit()
    await shop.hand.start(job)
    tasks = asyncio.all_tasks()
    async with following(shop, job) as follower:
        async with site_of(shop, b"a part"):
            await follower.has("a part")

        async def is_asked() -> bool:
            return await reads_open(shop) == 1

        await until(is_asked)
        follower.gone.set()
        await follower.end()

    async def nothing_is_left() -> bool:
        return await reads_open(shop) == 0 and asyncio.all_tasks() <= tasks

    await until(nothing_is_left)


async def test_who_does_not_read_is_not_read_for(shop: Shop) -> None:
    job = await shop.customer.submit()
    await shop.hand.start(job)
    async with site_of(shop, TEXT.encode()) as site, following(shop, job, limit=100) as slow:
        slow.reads = False
        await slow.answered()
        held = await reads_open(shop)
        async with following(shop, job) as other:
            await other.has(TEXT)
            assert (held, site.asked.count(100)) == (0, 1)
        slow.reads = True
        await slow.has(TEXT)


async def test_a_service_that_stops_breaks_it_off(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await shop.customer.submit()
    await shop.hand.start(job)
    async with site_of(shop, b"a part") as site, following(shop, job) as follower:
        await follower.has("a part")
        await site.is_asked_anew()
        monkeypatch.setattr(shop.market.platform.runtime.db, "closing", True)
        await follower.end()
    assert (follower.content, follower.whole) == (b"a part", False)
