"""Output of tasks, asked for by an enterprise and read by the site's agent."""

import asyncio
import base64
from typing import Any

import pytest
from sqlalchemy import func, select

from caravan.contracts.dispatch import LogAnswer
from caravan.contracts.jobs import Job, LogChunk, Outcome
from caravan.contracts.problems import LogUnavailable, NoLogYet
from caravan.contracts.spec import Array
from caravan.kernel import clock, ids
from caravan.kernel.problems import Invalid, NotFound
from services.broker.dispatch import logs
from services.broker.dispatch.logs import NOT_READ, NOT_THERE, LogService
from services.broker.dispatch.models import LogReadRow
from tests.broker.conftest import Shop
from tests.broker.hand import Run
from tests.broker.market import until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def answered(
    shop: Shop, job: Job, data: bytes, *, error: str = "", missing: bool = False, **wanted: Any
) -> LogChunk:
    """Read the job's log while the test, as the agent, answers with `data`, the file's last bytes."""
    reading = asyncio.create_task(shop.customer.broker.read_job_log(job.id, **wanted))

    async def asked() -> Any:
        return (await shop.hand.work()).log_reads

    [read] = await until(asked)
    offset = max(0, len(data) + read.offset) if read.offset < 0 else min(read.offset, len(data))
    piece = data[offset : offset + read.limit]
    answer = LogAnswer(
        epoch=shop.hand.epoch,
        data=base64.b64encode(piece).decode(),
        offset=offset,
        size=len(data),
        complete=not missing,
        missing=missing,
        error=error,
    )
    await shop.hand.broker.answer_log_read(shop.site, read.id, answer)
    return await reading


async def test_pieces_end_between_characters(shop: Shop) -> None:
    job = await shop.customer.submit()
    await shop.hand.start(job)
    data = "a汉字é🜁z".encode()
    text, offset = "", 0
    while offset < len(data):
        piece = await answered(shop, job, data, offset=offset, limit=4)
        assert piece.next_offset > offset
        text, offset = text + piece.text, piece.next_offset
    assert text == "a汉字é🜁z"


async def test_a_log_is_read_by_the_sites_agent(shop: Shop) -> None:
    job = await shop.customer.submit()
    with pytest.raises(NoLogYet):
        await shop.customer.broker.read_job_log(job.id)
    attempt = await shop.hand.start(job)
    with pytest.raises(NotFound):
        await shop.customer.broker.read_job_log(job.id, index=1)
    text = "hello 你好\n".encode()
    assert not (await answered(shop, job, text)).complete, "the broker has yet to hear that the task has ended"
    await shop.hand.end(attempt, [Run(attempt)])
    whole = await answered(shop, job, text)
    assert (whole.text, whole.offset, whole.next_offset, whole.size, whole.complete) == (
        "hello 你好\n", 0, len(text), len(text), True,
    )  # fmt: skip
    part = await answered(shop, job, text, offset=2, limit=3, stream="stderr")
    assert (part.text, part.next_offset, part.complete, part.stream) == ("llo", 5, False, "stderr")
    assert (await answered(shop, job, text, tail=4)).text == "好\n"
    assert "�" in (await answered(shop, job, text, tail=3)).text
    none = await answered(shop, job, text, tail=0)
    assert (none.text, none.offset, none.next_offset) == ("", len(text), len(text))
    with pytest.raises(LogUnavailable) as refused:
        await answered(shop, job, b"", error="/home/site/alice can't be read")
    assert refused.value.detail == NOT_READ, "the centre's own words are for the centre"


async def test_the_output_of_an_array_is_that_of_its_first_task_where_no_index_is_given(shop: Shop) -> None:
    spec = shop.customer.spec().model_copy(update={"array": Array(indices=(3, 7))})
    job = await shop.customer.submit(spec)
    await shop.hand.start(job)
    assert (await answered(shop, job, b"of the first\n")).index == 3
    assert (await answered(shop, job, b"of another\n", index=7)).index == 7
    with pytest.raises(NotFound):
        await shop.customer.broker.read_job_log(job.id, index=0)


async def test_the_last_runs_output_is_read_while_its_task_is_tried_again(shop: Shop) -> None:
    job = await shop.customer.submit()
    first = await shop.hand.start(job, "ref-1")
    await shop.hand.end(first, [Run(first, outcome=Outcome.SITE)])

    async def read() -> str:
        piece = await answered(shop, job, b"so far\n")
        assert (piece.text, piece.complete) == ("so far\n", False)
        return piece.attempt

    assert await read() == first

    async def placed_anew() -> bool:
        attempts = (await shop.customer.broker.list_job_attempts(job.id)).items
        return len(attempts) == 2 and attempts[1].id in await shop.hand.everything()

    await until(placed_anew)
    assert await read() == first
    second = await shop.hand.start(job, "ref-2")
    assert await read() == first
    await shop.hand.tell(Run(second).running(shop.hand.number))
    assert await read() == second


async def test_a_task_that_ended_without_a_run_has_no_output_to_wait_for(shop: Shop) -> None:
    job = await shop.customer.submit()
    attempt = await shop.hand.start(job)
    await shop.customer.broker.cancel_job(job.id)
    await shop.hand.end(attempt, [])
    with pytest.raises(NoLogYet):
        await shop.customer.broker.read_job_log(job.id)


async def test_of_a_task_that_has_ended_it_is_said_that_nothing_is_left(shop: Shop) -> None:
    """Who follows it would wait for ever."""
    job = await shop.customer.submit()
    attempt = await shop.hand.start(job)
    yet = await answered(shop, job, b"", missing=True)
    assert (yet.size, yet.complete) == (0, False)
    await shop.hand.end(attempt, [Run(attempt)])
    with pytest.raises(NoLogYet) as refused:
        await answered(shop, job, b"", missing=True)
    assert refused.value.detail == NOT_THERE


async def test_an_agent_that_does_not_answer_is_not_waited_for_long(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await shop.customer.submit()
    await shop.hand.start(job)
    monkeypatch.setattr(logs, "WAIT_SECONDS", 0.1)
    with pytest.raises(LogUnavailable):
        await shop.customer.broker.read_job_log(job.id)
    assert not (await shop.hand.work()).log_reads, "nobody waits for it any more"
    late = LogAnswer(epoch=shop.hand.epoch, data="", offset=0, size=0, complete=True)
    await shop.hand.broker.answer_log_read(shop.site, ids.new("log"), late)
    with pytest.raises(Invalid) as refused:
        await shop.hand.broker.answer_log_read(shop.site, ids.new("log"), late.model_copy(update={"data": "?"}))
    assert refused.value.errors[0].pointer == "/data"


async def test_reads_whose_reader_died_are_swept(shop: Shop) -> None:
    job = await shop.customer.submit()
    await shop.hand.start(job)
    platform = shop.market.platform
    request = {"attempt": await shop.hand.attempt_of(job), "reference": "r", "index": 0, "stream": "stdout"}
    row = LogReadRow(
        id=ids.new("log"), site=shop.site, request=request | {"offset": 0, "limit": 1}, asked_at=clock.EPOCH
    )
    await platform.runtime.db.write(lambda tx: tx.add(row))
    await platform.apps["broker"].provided[LogService].sweep()
    left = select(func.count()).select_from(LogReadRow).where(LogReadRow.site == shop.site)
    assert await platform.runtime.db.read(lambda tx: tx.execute(left).scalar_one()) == 0
