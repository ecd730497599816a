"""Jobs over HTTP."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Path, Query
from fastapi.responses import StreamingResponse

from caravan.contracts.ids import JobId, ProjectId
from caravan.contracts.jobs import ArrayTask, Attempt, Job, JobAnswers, JobDetail, JobEvent, JobState, LogChunk
from caravan.contracts.problems import (
    BudgetExceeded,
    InsufficientFunds,
    LogUnavailable,
    NoLogYet,
    NoOfferingFits,
    NotSupportedHere,
    ResellerFundsShort,
    UnknownReference,
    WrongState,
)
from caravan.contracts.spec import JobBatch, JobSpec
from caravan.kernel.pages import Page, PageParams
from caravan.kernel.web import (
    BATCH_BYTES,
    IdempotencyKey,
    OrgMember,
    OrgReader,
    Response,
    Router,
    problems,
    provided,
    stored,
)
from services.broker.dispatch.logs import LogService, LogWanted
from services.broker.jobs.reading import JobReader, Wanted
from services.broker.jobs.service import JobService

router = Router(prefix="/v1", tags=["jobs"])
Jobs = Annotated[JobService, provided(JobService)]
Reader = Annotated[JobReader, provided(JobReader)]
Logs = Annotated[LogService, provided(LogService)]
JobPath = Annotated[JobId, Path()]
LOG_BYTES = 1_048_576
PAST_THE_END = 2**62
TEXT: dict[int | str, dict[str, Any]] = {
    200: {"description": "A piece; with `follow` text.", "content": {"text/plain": {"schema": {"type": "string"}}}}
}
LABEL = r"^[A-Za-z0-9_.\-/]{1,63}=[A-Za-z0-9_.\-/]{1,63}$"


@router.post(
    "/jobs",
    status_code=201,
    response_model=Job,
    responses=problems(
        BudgetExceeded, InsufficientFunds, ResellerFundsShort, NoOfferingFits, NotSupportedHere, UnknownReference
    ),
)
async def submit_job(spec: JobSpec, caller: OrgMember, jobs: Jobs, key: IdempotencyKey) -> Response:
    """Accept a job, place it and set its maximum price aside.

    201 also when there is no room yet (`no_capacity`) or its funds are not confirmed yet: it goes on by itself.
    """
    return stored(await jobs.submit(spec, caller, key))


@router.post("/jobs:batch", response_model=JobAnswers, max_body_size=BATCH_BYTES)
async def submit_jobs(batch: JobBatch, caller: OrgMember, jobs: Jobs, key: IdempotencyKey) -> Response:
    """Submit up to 1,000 jobs at once. Each is accepted or refused for itself, as a `POST` of it alone would have been.

    What isn't a job at all (422) refuses the whole batch, and nothing is stored.
    """
    return stored(await jobs.submit_many(batch, caller, key))


@router.get("/jobs")
async def list_jobs(
    page: PageParams,
    caller: OrgReader,
    reader: Reader,
    project: ProjectId | None = None,
    state: JobState | None = None,
    label: Annotated[str | None, Query(pattern=LABEL, examples=["team=cfd"])] = None,
    name: Annotated[str | None, Query(max_length=200)] = None,
) -> Page[Job]:
    """List jobs, the newest first."""
    return await reader.list(caller, page, Wanted(project, state, label, name))


@router.get("/jobs/{job}")
async def get_job(job: JobPath, caller: OrgReader, reader: Reader) -> JobDetail:
    """Read a job with what was asked and its last placement."""
    return await reader.get(job, caller)


@router.post("/jobs/{job}/cancel", responses=problems(WrongState))
async def cancel_job(job: JobPath, caller: OrgMember, jobs: Jobs) -> Job:
    """Have everything of the job stopped that has not ended. What it used until then is charged."""
    return await jobs.cancel(job, caller)


@router.get("/jobs/{job}/tasks")
async def list_job_tasks(job: JobPath, page: PageParams, caller: OrgReader, reader: Reader) -> Page[ArrayTask]:
    """List the job's array tasks by index, each with its last run."""
    return await reader.tasks(job, caller, page)


@router.get("/jobs/{job}/attempts")
async def list_job_attempts(job: JobPath, page: PageParams, caller: OrgReader, reader: Reader) -> Page[Attempt]:
    """List where the job was tried, in order."""
    return await reader.attempts(job, caller, page)


@router.get("/jobs/{job}/events")
async def list_job_events(job: JobPath, page: PageParams, caller: OrgReader, reader: Reader) -> Page[JobEvent]:
    """List what happened to the job, in order."""
    return await reader.events(job, caller, page)


@router.get("/jobs/{job}/logs", response_model=LogChunk, responses=TEXT | problems(LogUnavailable, NoLogYet))
async def read_job_log(
    job: JobPath,
    caller: OrgMember,
    logs: Logs,
    index: Annotated[
        int | None, Query(ge=0, le=1_000_000, description="Of the array; its first task if not given.")
    ] = None,
    stream: Annotated[str, Query(pattern="^(stdout|stderr)$")] = "stdout",
    offset: Annotated[int, Query(ge=0, le=PAST_THE_END, description="Byte to start at.")] = 0,
    limit: Annotated[int, Query(ge=1, le=LOG_BYTES, description="Bytes at most.")] = 65_536,
    tail: Annotated[
        int | None, Query(ge=0, le=LOG_BYTES, description="The last so many bytes instead; 0: only where it ends.")
    ] = None,
    follow: Annotated[
        bool, Query(description="Plain text from there on, as it comes, until the task has ended.")
    ] = False,
) -> LogChunk | Response:
    """Read what a task's last run has written, also while it runs. Go on at `next_offset`; where `attempt` is another, or
    `offset` lies before what you asked for, at 0: that is another run.

    With `follow` it is text/plain, sent as it comes, from one try to the next, also of a task that has yet to start; `limit` is then
    that of what is read at once. The answer has its regular end only where all was sent: else it is broken off.
    """
    at = offset if tail is None else -tail or PAST_THE_END
    if not follow:
        return await logs.read(job, LogWanted(index, stream, at, tail or limit), caller)
    texts = logs.follow(job, LogWanted(index, stream, at, limit), caller)
    first = await anext(texts)  # what is refused is refused before the answer begins

    async def all_of_it() -> AsyncIterator[str]:
        yield first
        async for text in texts:
            yield text

    as_it_comes = {"X-Accel-Buffering": "no"}  # nginx would keep text back until it has a page of it
    return StreamingResponse(all_of_it(), headers=as_it_comes, media_type="text/plain; charset=utf-8")
