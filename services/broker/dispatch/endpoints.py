"""The dispatch protocol over HTTP. Callers are agents: a site's own, or the broker's."""

from typing import Annotated

from fastapi import Path, Query

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
from caravan.contracts.ids import AttemptId, LogReadId, SiteId
from caravan.contracts.jobs import Attempt
from caravan.contracts.problems import LeaseLost, LeaseTaken, WrongState
from caravan.kernel.web import BATCH_BYTES, Caller, Response, Router, allow, problems, provided
from services.broker.dispatch.books import BooksService
from services.broker.dispatch.logs import LogService
from services.broker.dispatch.lost import LostAttempts
from services.broker.dispatch.service import DispatchService

router = Router(prefix="/v1", tags=["dispatch"])
Dispatch = Annotated[DispatchService, provided(DispatchService)]
Logs = Annotated[LogService, provided(LogService)]
Books = Annotated[BooksService, provided(BooksService)]
Lost = Annotated[LostAttempts, provided(LostAttempts)]
Agent = Annotated[
    Caller,
    allow(
        "the site's agent",
        lambda caller: bool(caller.sites()) or caller.is_service("broker"),
        *("site/<id>:agent", "service:broker"),
    ),
]
Declarer = Annotated[
    Caller,
    allow(
        "platform admin or the site's provider",
        lambda caller: caller.is_admin or bool(caller.providers()),
        *("platform:admin", "provider/<id>:admin"),
    ),
]
MAX_WAIT_SECONDS = 30.0
Site = Annotated[SiteId, Path()]


@router.post("/sites/{site}/lease", responses=problems(LeaseTaken, LeaseLost))
async def take_lease(site: Site, request: LeaseRequest, caller: Agent, dispatch: Dispatch) -> Lease:
    """Take or renew a site's lease. Whoever holds the newest epoch acts for the site."""
    return await dispatch.lease(site, request, caller)


@router.delete("/sites/{site}/lease", status_code=204, responses=problems(LeaseLost))
async def release_lease(site: Site, caller: Agent, dispatch: Dispatch, epoch: Annotated[int, Query(ge=0)]) -> Response:
    """Give a site's lease back, so that the next agent needn't wait for its end."""
    await dispatch.release(site, epoch, caller)
    return Response(status_code=204)


@router.get("/sites/{site}/work", responses=problems(LeaseLost))
async def get_work(
    site: Site,
    caller: Agent,
    dispatch: Dispatch,
    epoch: Annotated[int, Query(ge=0)],
    after: Annotated[
        int, Query(ge=0, le=2**62, description="`next` of the answer before; 0 for all that is open.")
    ] = 0,
    wait: Annotated[float, Query(ge=0, le=MAX_WAIT_SECONDS, description="Seconds to wait for something.")] = 0,
) -> Work:
    """Read what is wanted of the site: attempts to run, to cancel or to forget, and output to read."""
    return await dispatch.work(site, epoch, after, wait, caller)


@router.post("/sites/{site}/commits", responses=problems(LeaseLost))
async def commit_submissions(site: Site, batch: CommitBatch, caller: Agent, dispatch: Dispatch) -> CommitAnswers:
    """Ask of staged submissions whether each is the one of its attempt that may start. Safe to repeat."""
    return await dispatch.commit(site, batch, caller)


@router.post("/sites/{site}/reports", responses=problems(LeaseLost), max_body_size=BATCH_BYTES)
async def report(site: Site, report: Report, caller: Agent, dispatch: Dispatch) -> Reported:
    """Report what was seen and used, in a batch. Safe to repeat; items that can't be true come back by position."""
    return await dispatch.report(site, report, caller)


@router.get("/sites/{site}/books", responses=problems(LeaseLost))
async def get_wanted_books(site: Site, caller: Agent, books: Books, epoch: Annotated[int, Query(ge=0)]) -> BooksWanted:
    """Read of which day the backend's own books are wanted."""
    return await books.wanted(site, epoch, caller)


@router.post("/sites/{site}/books", responses=problems(LeaseLost))
async def report_books(site: Site, report: BooksReport, caller: Agent, books: Books) -> BooksWanted:
    """Report a page of what the backend's own books have of a day; answers with the day that is wanted next. Safe to repeat."""
    return await books.report(site, report, caller)


@router.post(
    "/sites/{site}/log-reads/{log_read}", status_code=204, responses=problems(LeaseLost), max_body_size=BATCH_BYTES
)
async def answer_log_read(
    site: Site, log_read: Annotated[LogReadId, Path()], answer: LogAnswer, caller: Agent, logs: Logs
) -> Response:
    """Hand over a piece of a task's output that someone asked for."""
    await logs.answer(site, log_read, answer, caller)
    return Response(status_code=204)


@router.post("/attempts/{attempt}/lost", responses=problems(WrongState))
async def declare_attempt_lost(attempt: Annotated[AttemptId, Path()], caller: Declarer, lost: Lost) -> Attempt:
    """Declare an attempt lost: what had not ended ends as `lost`, at the provider's cost, and is tried elsewhere."""
    return await lost.declare(attempt, caller)
