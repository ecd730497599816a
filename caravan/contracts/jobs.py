"""Jobs: what an enterprise asks for, how it stands, and why it was placed where it was."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from caravan.contracts.base import Count, Instant, JsonObject, Label, Model, Name, Positive, Prose
from caravan.contracts.ids import (
    AcceleratorId,
    AttemptId,
    JobId,
    OfferingId,
    OrganizationId,
    PlacementId,
    PriceListId,
    ProjectId,
    ProviderId,
    QuoteId,
    RunId,
    SiteId,
)
from caravan.contracts.offerings import Capacity, TargetField, TargetValue, Tier
from caravan.kernel.money import Money

SCRIPT_BYTES = 524_288
VALUE_BYTES = 65_536
"""Linux takes 131,072 for a name and its value together."""
WORDS_BYTES = 131_072
"""apptainer 1.4 hands words and variables on as JSON of at most 1 MiB, in which a byte may take six."""
MAX_ARRAY_INDEX = 1_000_000


def _script(value: str) -> str:
    if "\0" in value:
        raise PydanticCustomError("nul_character", "A NUL character is not allowed in a script")
    if len(value.encode()) > SCRIPT_BYTES:
        raise PydanticCustomError("script_too_long", "A script has at most 524,288 bytes of UTF-8")
    if not value.strip():
        raise PydanticCustomError("script_empty", "The script is empty")
    if value.startswith("#!") and value.partition("\n")[0].endswith("\r"):
        raise PydanticCustomError(
            "script_line_ends", "Its first line ends with CR LF; save the script with LF line ends"
        )
    return value


def _environment_value(value: str) -> str:
    if "\0" in value:
        raise PydanticCustomError("nul_character", "A NUL character is not allowed here")
    if len(value.encode()) > VALUE_BYTES:
        raise PydanticCustomError("value_too_long", "A value has at most 65,536 bytes of UTF-8")
    return value


def _image(value: str) -> str:
    if ".." in value.split("/"):
        raise PydanticCustomError("image", "An image's path has no `..`")
    return value


Script = Annotated[str, AfterValidator(_script)]
EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
EnvValue = Annotated[str, StringConstraints(max_length=VALUE_BYTES), AfterValidator(_environment_value)]
Image = Annotated[
    str,
    StringConstraints(
        pattern=r"^(?:(?:docker|oras)://[A-Za-z0-9][A-Za-z0-9._/:@+-]*|/[A-Za-z0-9._/@+-]+)$", max_length=500
    ),
    AfterValidator(_image),
]
Words = Annotated[tuple[EnvValue, ...], Field(max_length=1000)]
Index = Annotated[int, Field(ge=0, le=MAX_ARRAY_INDEX, strict=True)]


class Resources(Model):
    """What each array task gets. `tasks_per_node` is Slurm's word: processes, not array tasks."""

    nodes: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 1
    tasks_per_node: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 1
    cpus_per_task: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 1
    memory_mib_per_node: Annotated[int, Field(ge=1, le=2**40, strict=True)] = 1024
    accelerators_per_node: Annotated[int, Field(ge=0, le=100_000, strict=True)] = 0
    accelerator: AcceleratorId | None = None
    walltime_seconds: Annotated[int, Field(ge=1, le=366 * 86_400, strict=True)]

    @property
    def cpus_per_node(self) -> int:
        return self.tasks_per_node * self.cpus_per_task

    @model_validator(mode="after")
    def _accelerators_agree(self) -> Self:
        if self.accelerator is not None and self.accelerators_per_node == 0:
            raise PydanticCustomError("accelerator", "Give accelerators_per_node too, or leave accelerator out")
        return self


class Container(Model):
    """A program in an image. It runs once, on the first node, where a script would."""

    image: Image = Field(
        description="`docker://…` or `oras://…`, or the path of a `.sif` file or an unpacked image at the site.",
        examples=["docker://python:3.13-slim"],
    )
    command: Words = Field(
        default=(),
        description="What runs, word by word: no shell reads it. Without it, what the image itself names to run (its entrypoint).",
        examples=[["python3", "-c", "print('hello')"]],
    )
    args: Words = Field(default=(), description="Words after the command, or after what the image names to run.")

    @model_validator(mode="after")
    def _not_too_long(self) -> Self:
        if self.command[:1] == ("",):
            raise PydanticCustomError("command", "A command's first word is the program, and can't be empty")
        if sum(len(word.encode()) for word in (*self.command, *self.args)) > WORDS_BYTES:
            raise PydanticCustomError(
                "command_too_long", "Command and args together have at most 131,072 bytes of UTF-8"
            )
        return self

    def among(self, images: Sequence[str]) -> bool:
        """Whether the image is one of these, or below one: `docker://registry.example/lab` has `…/lab/a:1`, and not `…/lab2`."""
        return any(self.image == image or _goes_on(self.image, image.rstrip("/")) for image in images)


def _goes_on(image: str, start: str) -> bool:
    """Whether it is below `start`, or that with a tag or digest. These have no `/`: behind a registry, `:1/a` is another port."""
    rest = image.removeprefix(start) if image.startswith(start) else ""
    return rest.startswith("/") or (rest.startswith((":", "@")) and "/" not in rest and "://" in start)


def exactly_one(script: str | None, container: Container | None) -> None:
    """A job runs one of these."""
    if (script is None) == (container is None):
        raise PydanticCustomError("script_or_container", "Give exactly one of script and container")


class Array(Model):
    """Run the job once per index, at most `max_parallel` at a time."""

    indices: tuple[Index, ...] = Field(min_length=1, max_length=100_000)
    max_parallel: Positive | None = None

    @model_validator(mode="after")
    def _unique(self) -> Self:
        if len(set(self.indices)) != len(self.indices):
            raise PydanticCustomError("array_indices", "Each index of an array stands once")
        return self


class Where(Model):
    """Where the job may run; an empty list means anywhere."""

    tiers: tuple[Tier, ...] = ()
    offerings: tuple[OfferingId, ...] = ()
    providers: tuple[ProviderId, ...] = ()
    regions: tuple[Name, ...] = ()


class Prefer(StrEnum):
    CHEAPEST = "cheapest"


NOT_SUPPORTED_HERE = ("deadline", "priority")


class JobSpec(Model):
    """What an enterprise asks for: a script or a container."""

    name: Name
    project: ProjectId
    script: Script | None = Field(
        default=None,
        description="Starts with a `#!` line, or is run by /bin/sh.",
        examples=["#!/bin/sh\necho hello\n"],
    )
    container: Container | None = Field(
        default=None,
        description="Instead of a script; offerings whose sites run no containers are refused.",
        examples=[None],
    )
    environment: dict[EnvName, EnvValue] = Field(default_factory=dict, max_length=1000)
    resources: Resources
    array: Array | None = None
    where: Where = Field(default_factory=Where)
    prefer: Prefer = Prefer.CHEAPEST
    max_cost: Money | None = Field(default=None, description="Candidates whose worst case is dearer are refused.")
    max_attempts: Annotated[int, Field(ge=1, le=10, strict=True)] = 3
    options: dict[TargetField, TargetValue] = Field(
        default_factory=dict,
        max_length=20,
        description="What the backend is told beyond the resources, of what an offering's `choices` allow; "
        "offerings that don't are refused.",
        examples=[{}],
    )
    labels: dict[Label, Label] = Field(default_factory=dict, max_length=50)

    @model_validator(mode="before")
    @classmethod
    def _supported_here(cls, data: Any) -> Any:
        if isinstance(data, dict):
            used = [name for name in NOT_SUPPORTED_HERE if data.get(name) is not None]
            if data.get("prefer") in ("soonest", "balanced"):
                used.append("prefer")
            if used:
                raise PydanticCustomError(
                    "not_supported_here", "Not supported by this installation: {fields}", {"fields": ", ".join(used)}
                )
        return data

    @model_validator(mode="after")
    def _one_thing_to_run(self) -> Self:
        exactly_one(self.script, self.container)
        return self

    @property
    def indices(self) -> tuple[int, ...]:
        """The array's indexes in order; a job without an array has the one index 0."""
        return tuple(sorted(self.array.indices)) if self.array else (0,)

    @property
    def max_parallel(self) -> int:
        """How many array tasks may run at once."""
        return min(len(self.indices), self.array.max_parallel or len(self.indices)) if self.array else 1


class JobBatch(Model):
    """Jobs that are sent together. Each is accepted or refused for itself, in this order."""

    jobs: tuple[JobSpec, ...] = Field(min_length=1, max_length=1000)


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


class Reason(Model):
    """Why an offering was refused, in a form for people and for programs."""

    code: Name
    detail: Prose
    field: str | None = Field(default=None, description="JSON pointer into the spec that would have to change.")
    asked: str | None = None
    limit: str | None = None


class PriceComponent(Model):
    """One factor of a worst case: quantity x unit price = amount."""

    component: str
    tariff: str
    quantity: int = Field(description="In the component's unit: core-, accelerator-, node-seconds, MiB-seconds, jobs.")
    unit_price: str
    amount: Money


class Candidate(Model):
    """An offering on which the job could run, with what it may cost at most."""

    offering: OfferingId
    offering_name: Name
    provider: ProviderId
    provider_name: Name
    site: SiteId
    tier: Tier
    price_list: PriceListId
    price_list_revision: int
    worst_case: Money = Field(
        description="What is set aside: all tasks to their full walltime at the dearest prices ahead."
    )
    components: tuple[PriceComponent, ...]
    capacity: Capacity = Field(description="What it would occupy there at once.")
    has_room: bool
    unavailable: Prose | None = Field(default=None, description="Why its site takes no new jobs for the time being.")


class Refusal(Model):
    """An offering on which the job can't run, with every reason."""

    offering: OfferingId
    offering_name: Name
    provider: ProviderId
    reasons: tuple[Reason, ...] = Field(min_length=1)


class Quote(Model):
    """The priced and explained answer to "where could this job run". Candidates are ranked, the best first."""

    id: QuoteId
    organization: OrganizationId
    project: ProjectId
    candidates: tuple[Candidate, ...]
    refused: tuple[Refusal, ...]
    created_at: Instant


class Placement(Model):
    """The decision behind an attempt; `chosen` is null when nothing had room."""

    id: PlacementId
    job: JobId
    candidates: tuple[Candidate, ...]
    refused: tuple[Refusal, ...]
    chosen: OfferingId | None
    created_at: Instant


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
    size: Count = Field(description="Bytes there are so far.")
    complete: bool = Field(description="Whether the task has ended and `text` reaches the end.")
    text: str
