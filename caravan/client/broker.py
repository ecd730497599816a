"""The broker's API: quotes and jobs for enterprises, the dispatch protocol for sites' agents."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from functools import partial
from typing import Final, Literal

from caravan.client import following
from caravan.client.base import Client, new_key
from caravan.contracts.books import BooksReport, BooksWanted
from caravan.contracts.dispatch import (
    CommitAnswers,
    CommitBatch,
    Lease,
    LeaseRequest,
    LogAnswer,
    Report,
    Reported,
    Work,
)
from caravan.contracts.jobs import ArrayTask, Attempt, Job, JobAnswers, JobDetail, JobEvent, JobState, LogChunk
from caravan.contracts.quotes import Quote
from caravan.contracts.spec import JobBatch, JobSpec
from caravan.kernel.pages import Page

POLL_SECONDS: Final = 0.5


class BrokerClient(Client):
    """See Client for what all methods have in common."""

    async def create_quote(self, spec: JobSpec) -> Quote:
        return await self._call("POST", "/quotes", Quote, body=spec)

    async def list_quotes(self, *, limit: int | None = None, cursor: str | None = None) -> Page[Quote]:
        return await self._call("GET", "/quotes", Page[Quote], query={"limit": limit, "cursor": cursor})

    async def get_quote(self, quote: str) -> Quote:
        return await self._call("GET", f"/quotes/{quote}", Quote)

    async def submit_job(self, spec: JobSpec, key: str | None = None) -> Job:
        """Raises InsufficientFunds, BudgetExceeded, ResellerFundsShort, NoOfferingFits. Give a `key` to be able to send the same again."""
        return await self._call("POST", "/jobs", Job, body=spec, key=key or new_key())

    async def submit_jobs(self, batch: JobBatch, key: str | None = None) -> JobAnswers:
        """Up to 1,000 at once, each answered for itself. Give a `key` to be able to send the same again."""
        return await self._call("POST", "/jobs:batch", JobAnswers, body=batch, key=key or new_key())

    async def list_jobs(
        self,
        *,
        project: str | None = None,
        state: JobState | None = None,
        label: str | None = None,
        name: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Page[Job]:
        """The newest first."""
        query = {"project": project, "state": state, "label": label, "name": name, "limit": limit, "cursor": cursor}
        return await self._call("GET", "/jobs", Page[Job], query=query)

    async def get_job(self, job: str) -> JobDetail:
        return await self._call("GET", f"/jobs/{job}", JobDetail)

    async def cancel_job(self, job: str) -> Job:
        return await self._call("POST", f"/jobs/{job}/cancel", Job)

    async def list_job_tasks(self, job: str, *, limit: int | None = None, cursor: str | None = None) -> Page[ArrayTask]:
        query = {"limit": limit, "cursor": cursor}
        return await self._call("GET", f"/jobs/{job}/tasks", Page[ArrayTask], query=query)

    async def list_job_attempts(
        self, job: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[Attempt]:
        query = {"limit": limit, "cursor": cursor}
        return await self._call("GET", f"/jobs/{job}/attempts", Page[Attempt], query=query)

    async def list_job_events(self, job: str, *, limit: int | None = None, cursor: str | None = None) -> Page[JobEvent]:
        query = {"limit": limit, "cursor": cursor}
        return await self._call("GET", f"/jobs/{job}/events", Page[JobEvent], query=query)

    async def read_job_log(
        self,
        job: str,
        *,
        index: int | None = None,
        stream: Literal["stdout", "stderr"] | None = None,
        offset: int | None = None,
        limit: int | None = None,
        tail: int | None = None,
    ) -> LogChunk:
        """A piece of one task's output. Raises NoLogYet, LogUnavailable."""
        query = {"index": index, "stream": stream, "offset": offset, "limit": limit, "tail": tail}
        return await self._call("GET", f"/jobs/{job}/logs", LogChunk, query=query)

    async def job_log(
        self,
        job: str,
        *,
        index: int | None = None,
        stream: Literal["stdout", "stderr"] | None = None,
        offset: int | None = None,
        tail: int | None = None,
        follow: bool = False,
    ) -> AsyncIterator[LogChunk]:
        """One task's output, piece by piece: what there is, or with `follow` all that comes until the task has ended.

        In pages, each a call of its own: no proxy cuts off one that is silent for long. Raises NoLogYet, LogUnavailable where nothing
        is left to wait for; without `follow` at once.
        """

        def read(at: int | None) -> Awaitable[LogChunk]:
            first, last = (offset, tail) if at is None else (at, None)
            return self.read_job_log(job, index=index, stream=stream, offset=first, tail=last)

        async def ended() -> bool:
            return (await self.get_job(job)).state.final

        pause = partial(asyncio.sleep, POLL_SECONDS)
        async for piece in following.pieces(read, ended if follow else None, pause):
            if piece is not None:
                yield piece

    async def declare_attempt_lost(self, attempt: str) -> Attempt:
        return await self._call("POST", f"/attempts/{attempt}/lost", Attempt)

    async def take_lease(self, site: str, request: LeaseRequest) -> Lease:
        """Take a site's lease, or renew the one held. Raises LeaseTaken."""
        return await self._call("POST", f"/sites/{site}/lease", Lease, body=request)

    async def release_lease(self, site: str, epoch: int) -> None:
        """Give it back. Raises LeaseLost."""
        await self._fetch("DELETE", f"/sites/{site}/lease", query={"epoch": epoch})

    async def get_work(self, site: str, epoch: int, after: int, wait: float) -> Work:
        """What changed after `after`; held back for at most `wait` seconds while nothing did. Raises LeaseLost."""
        query = {"epoch": epoch, "after": after, "wait": wait}
        return await self._call("GET", f"/sites/{site}/work", Work, query=query, wait=wait)

    async def commit_submissions(self, site: str, batch: CommitBatch) -> CommitAnswers:
        """Ask of staged submissions whether each is the one of its attempt. Raises LeaseLost."""
        return await self._call("POST", f"/sites/{site}/commits", CommitAnswers, body=batch)

    async def report(self, site: str, report: Report) -> Reported:
        """Raises LeaseLost."""
        return await self._call("POST", f"/sites/{site}/reports", Reported, body=report)

    async def get_wanted_books(self, site: str, epoch: int) -> BooksWanted:
        """Raises LeaseLost."""
        return await self._call("GET", f"/sites/{site}/books", BooksWanted, query={"epoch": epoch})

    async def report_books(self, site: str, report: BooksReport) -> BooksWanted:
        """A page of a day; returns the day that is wanted next. Raises LeaseLost."""
        return await self._call("POST", f"/sites/{site}/books", BooksWanted, body=report)

    async def answer_log_read(self, site: str, log_read: str, answer: LogAnswer) -> None:
        await self._fetch("POST", f"/sites/{site}/log-reads/{log_read}", body=answer)
