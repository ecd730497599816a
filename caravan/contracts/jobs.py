"""How a job stands: its hold, its attempts at sites, each array task's last run, and what they wrote."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from caravan.contracts.base import Count, Instant, JsonObject, Label, Model, Name, Prose
from caravan.contracts.ids import AttemptId, JobId, OfferingId, OrganizationId, PriceListId, ProjectId, RunId, SiteId
from caravan.contracts.offerings import PreemptedBearer
from caravan.contracts.quotes import Placement
from caravan.contracts.spec import JobSpec
from caravan.kernel.money import Money


class JobState(StrEnum):
    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REFUSED = "refused"

    @property
    def final(self) -> bool:
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.REFUSED)


class PendingReason(StrEnum):
    NO_CAPACITY = "no_capacity"
    SITE_UNAVAILABLE = "site_unavailable"
    FUNDS_UNCONFIRMED = "funds_unconfirmed"
    RETRYING = "retrying"


class HoldState(StrEnum):
    UNCONFIRMED = "unconfirmed"
    GRANTED = "granted"
    REFUSED = "refused"
    SETTLED = "settled"
    """All usage of the job is told; once accounting has charged it, the rest of the hold is free."""


class JobHold(Model):
    """The money set aside for the job, as the broker knows it."""

    amount: Money
    revision: int
    state: HoldState


class Job(Model):
    """A job as it stands. `counts` has the number of array tasks in each state."""

    id: JobId
    organization: OrganizationId
    project: ProjectId
    name: Name
    state: JobState
    reason: str | None = None
    detail: Prose = ""
    counts: dict[JobState, int]
    hold: JobHold
    offering: OfferingId | None = Field(default=None, description="Of the last attempt.")
    labels: dict[Label, Label] = Field(default_factory=dict)
    created_at: Instant
    started_at: Instant | None = None
    ended_at: Instant | None = None
    settled_at: Instant | None = Field(
        default=None, description="When all runs' books were final and handed to accounting."
    )
    version: int


class JobAnswer(Model):
    """What one job of a batch would have been answered by itself: `job` for 201, `problem` otherwise."""

    status: int = Field(examples=[201])
    job: Job | None = None
    problem: JsonObject | None = Field(default=None, description="As `application/problem+json` has it.")


class JobAnswers(Model):
    """One answer for each job of a batch, in its order."""

    items: tuple[JobAnswer, ...]


class JobDetail(Job):
    """A job with what was asked and its last placement."""

    spec: JobSpec
    placement: Placement | None = None


class AttemptState(StrEnum):
    """planned -> staged -> released -> queued <-> running -> ended; unknown when not seen."""

    PLANNED = "planned"
    STAGED = "staged"
    RELEASED = "released"
    QUEUED = "queued"
    RUNNING = "running"
    UNKNOWN = "unknown"
    ENDED = "ended"


class Attempt(Model):
    """One try of a stated set of array tasks on one offering."""

    id: AttemptId
    job: JobId
    number: int
    offering: OfferingId
    site: SiteId
    price_list: PriceListId
    preempted_borne_by: PreemptedBearer = Field(
        description="Of its runs those that end `preempted`, as its offering said when it was placed."
    )
    state: AttemptState
    indices: tuple[int, ...]
    reference: str | None = None
    detail: Prose = ""
    created_at: Instant
    ended_at: Instant | None = None


class RunState(StrEnum):
    RUNNING = "running"
    ENDED = "ended"


class Outcome(StrEnum):
    """How a run ended."""

    SUCCEEDED = "succeeded"
    USER = "user"
    LIMIT = "limit"
    CANCELLED = "cancelled"
    SITE = "site"
    PREEMPTED = "preempted"
    """The backend ended it to make room for another."""
    LOST = "lost"
    DUPLICATE = "duplicate"


class ArrayTask(Model):
    """One index of the job's array, with its last run."""

    index: int
    state: JobState
    attempt: AttemptId | None = None
    run: RunId | None = None
    backend_identity: str | None = None
    outcome: Outcome | None = None
    exit_code: int | None = None
    signal: int | None = None
    detail: Prose = ""
    started_at: Instant | None = None
    ended_at: Instant | None = None


class JobEvent(Model):
    """One thing that happened to the job, in order."""

    sequence: int
    at: Instant
    type: str = Field(examples=["job.created", "attempt.released", "run.ended", "job.settled"])
    detail: Prose = ""
    data: dict[str, Any] = Field(default_factory=dict)


class LogChunk(Model):
    """A piece of one task's output as text; bytes that aren't UTF-8 are shown as U+FFFD."""

    attempt: AttemptId = Field(description="Whose output it is: that of another attempt begins anew at byte 0.")
    index: int
    stream: Annotated[str, Field(pattern="^(stdout|stderr)$")]
    offset: Count = Field(description="Byte offset of the first byte of `text`.")
    next_offset: Count
    size: Count = Field(
        description="Bytes there are so far, without a character that is still to be written to its end."
    )
    complete: bool = Field(description="Whether the task has ended and `text` reaches the end.")
    text: str
