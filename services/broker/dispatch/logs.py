"""Reads of tasks' output: asked for by an enterprise, answered by the site's agent, and kept no longer than someone waits."""

import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from sqlalchemy import ColumnElement, and_, delete, func, select, true
from sqlalchemy.orm import Session

from caravan.client import following
from caravan.contracts.dispatch import LogAnswer, LogRead
from caravan.contracts.jobs import JobState, LogChunk
from caravan.contracts.problems import LogUnavailable, NoLogYet
from caravan.kernel import clock, ids
from caravan.kernel.database import Database, affected, signal
from caravan.kernel.logs import get_logger
from caravan.kernel.problems import FieldError, Invalid, NotFound
from caravan.kernel.tokens import Caller
from services.broker.dispatch import leasing
from services.broker.dispatch.models import LogReadRow
from services.broker.dispatch.wanted import topic
from services.broker.jobs.models import AttemptRow, JobRow, RunRow, TaskRow

log = get_logger(__name__)
NOT_READ: Final = "算力中心目前无法读取这份输出 the centre can't read this output now"
NOT_THERE: Final = (
    "任务已结束，算力中心没有它的输出：未曾写出，或保存期已过 "
    "the task has ended, and the centre has no output of it: none was written, or it was kept for long enough"
)
WAIT_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.1
"""How often a reader looks, where another process may have taken the answer (PostgreSQL)."""
FOLLOW_SECONDS: Final = 0.5
"""How often the output of a task that runs is looked at again for who follows it."""
SWEEP_SECONDS: Final = 30.0


@dataclass(frozen=True)
class LogWanted:
    """Which piece of which task's output: of the job's first where no index is given; a negative offset counts from the end."""

    index: int | None
    stream: str
    offset: int
    limit: int


def whole_characters(data: bytes, *, growing: bool = False) -> bytes:
    """Without the beginning of a UTF-8 character at the end, whose rest is in the next piece, or still to come where it is `growing`.

    Where the rest is there already, something is left: the next piece begins after it.
    """
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        length = 2 if byte >> 5 == 0b110 else 3 if byte >> 4 == 0b1110 else 4 if byte >> 3 == 0b11110 else 1
        return data[:-back] if back < length and (growing or back < len(data)) else data
    return data


def _has_ended(tx: Session, job: str, index: int | None) -> bool:
    state = tx.scalars(select(TaskRow.state).where(_task(job, index)).order_by(TaskRow.index).limit(1)).one_or_none()
    return state is not None and JobState(state).final


def _task(job: str, index: int | None) -> ColumnElement[bool]:
    """The task of this index; without one any of the job's, of which the first is meant."""
    return and_(TaskRow.job == job, true() if index is None else TaskRow.index == index)


class LogService:
    """Passes reads to the sites' agents, and their answers back."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def follow(self, job: str, wanted: LogWanted, caller: Caller) -> AsyncIterator[str]:
        """What the task writes, from one try to the next, until it has ended; empty texts while there is nothing new.

        Holds one piece at a time, and nothing of the database between looks. Before its first text it raises what `read` does, but of
        a task that has not ended it waits for its output instead. Afterwards it raises NoLogYet where the rest isn't there any more,
        LogUnavailable where the site can't be asked though the task has ended, and where the service stops.
        """

        async def read(at: int | None) -> LogChunk:
            return await self.read(job, wanted if at is None else replace(wanted, offset=at), caller)

        async def pause() -> None:
            nothing = "log:"  # nobody signals it: the service's stop alone ends the wait
            await self._db.wait(nothing, self._db.version(nothing), FOLLOW_SECONDS)
            if self._db.closing:
                raise LogUnavailable

        async for piece in following.pieces(read, lambda: self._db.read(_has_ended, job, wanted.index), pause):
            yield "" if piece is None else piece.text

    async def read(self, job: str, wanted: LogWanted, caller: Caller) -> LogChunk:
        """Have the agent of the site read what the task's last run has written.

        Raises NotFound, NoLogYet (also where nothing is left of a task that has ended), LogUnavailable (now: no answer, or not readable).
        """
        request, over = await self._db.write(self._ask, job, wanted, caller)
        read = request.id
        deadline = clock.monotonic() + WAIT_SECONDS
        try:
            while True:
                version = self._db.version(f"log:{read}")
                row = await self._db.read(lambda tx: tx.get(LogReadRow, read))
                if row is not None and row.answer is not None:
                    break
                left = deadline - clock.monotonic()
                if left <= 0 or self._db.closing:
                    raise LogUnavailable
                await self._db.wait(f"log:{read}", version, left if self._db.sqlite else min(left, POLL_SECONDS))
        finally:
            await self._db.write(affected, delete(LogReadRow).where(LogReadRow.id == read))
        answer, data = row.answer, row.data or b""
        if answer["error"]:
            raise LogUnavailable(NOT_READ)
        if over and answer["missing"]:
            raise NoLogYet(NOT_THERE)
        size = answer["size"]
        if answer["offset"] + len(data) < size:
            data = whole_characters(data)
        elif not (over and answer["complete"]):
            data = whole_characters(data, growing=True)
            size = answer["offset"] + len(data)
        return LogChunk(
            attempt=request.attempt,
            index=request.index,
            stream=wanted.stream,
            offset=answer["offset"],
            next_offset=answer["offset"] + len(data),
            size=size,
            complete=over and answer["complete"] and answer["offset"] + len(data) >= size,
            text=data.decode("utf-8", "replace"),
        )

    def _ask(self, tx: Session, job: str, wanted: LogWanted, caller: Caller) -> tuple[LogRead, bool]:
        """Put the read on the site's list. Returns it, and whether the task has ended."""
        owner = tx.execute(select(JobRow.organization).where(JobRow.id == job)).scalar_one_or_none()
        if owner is None or not caller.is_org_member(owner):
            raise NotFound
        task = tx.execute(
            select(
                TaskRow.index.label("number"),
                TaskRow.state,
                TaskRow.run,
                AttemptRow.id,
                AttemptRow.site,
                AttemptRow.reference,
            )
            .select_from(TaskRow)
            .outerjoin(RunRow, RunRow.id == TaskRow.run)
            .outerjoin(AttemptRow, AttemptRow.id == func.coalesce(RunRow.attempt, TaskRow.attempt))
            .where(_task(job, wanted.index))
            .order_by(TaskRow.index)
            .limit(1)
        ).one_or_none()
        if task is None:
            raise NotFound
        over = JobState(task.state).final
        if task.reference is None or (over and task.run is None):
            raise NoLogYet
        request = LogRead(
            id=ids.new("log"),
            attempt=task.id,
            reference=task.reference,
            index=task.number,
            stream="stderr" if wanted.stream == "stderr" else "stdout",
            offset=wanted.offset,
            limit=wanted.limit,
        )
        tx.add(LogReadRow(id=request.id, site=task.site, request=request.model_dump(mode="json"), asked_at=clock.now()))
        signal(tx, topic(task.site))
        return request, over

    async def answer(self, site: str, read: str, answer: LogAnswer, caller: Caller) -> None:
        """The agent's answer. One that nobody waits for any more is dropped. Raises Invalid when its data isn't base64."""
        try:
            data = base64.b64decode(answer.data, validate=True)
        except ValueError:
            detail = "Give the bytes in base64, with padding."
            raise Invalid(errors=[FieldError(pointer="/data", code="base64", detail=detail)]) from None

        def keep(tx: Session) -> None:
            leasing.fence(tx, site, answer.epoch, caller)
            row = tx.get(LogReadRow, read)
            if row is None or row.site != site:
                return
            if answer.error:
                log.warning("log_not_read", site=site, read=read, why=answer.error)
            row.answer = answer.model_dump(mode="json", include={"offset", "size", "complete", "missing", "error"})
            row.data = data
            signal(tx, f"log:{read}")

        await self._db.write(keep)

    async def sweep(self) -> float:
        """Drop log reads that nobody waits for any more: their process died. A loop's iteration."""

        def drop(tx: Session) -> int:
            old = LogReadRow.asked_at < clock.now() - timedelta(seconds=2 * WAIT_SECONDS)
            return affected(tx, delete(LogReadRow).where(old))

        await self._db.write(drop)
        return SWEEP_SECONDS
