"""The protocol between the broker and a site's agent: lease, work, commit, report.

Level-triggered: work says what should be, reports say what is. Every item carries what makes it harmless when it comes twice,
late or out of order: the lease's epoch, the attempt or run, and an observation number that grows.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from caravan.contracts.base import Count, Instant, JsonObject, Model, Name, Positive, Prose, Second
from caravan.contracts.ids import AcceleratorId, AttemptId, JobId, LogReadId, OfferingId, SiteId, TenantId
from caravan.contracts.jobs import Outcome, RunState
from caravan.contracts.offerings import AdapterDescriptor, InventoryItem, SiteState
from caravan.contracts.spec import Container, EnvName, EnvValue, Index, Resources, Script, exactly_one
from caravan.contracts.usage import Grant, HourUsage, Span


class Submission(Model):
    """What an agent puts at a backend for one attempt. `tag` is the attempt's id without its prefix."""

    tag: Name
    attempt: AttemptId
    job: JobId
    tenant: TenantId
    tenant_settings: JsonObject
    offering: OfferingId
    target: JsonObject
    name: Name
    script: Script | None = Field(default=None, examples=["#!/bin/sh\necho hello\n"])
    container: Container | None = Field(default=None, exclude_if=lambda container: container is None)
    """Left out where there is none: agents that are older than containers refuse a field that they don't know."""
    environment: dict[EnvName, EnvValue]
    resources: Resources
    grant: Grant
    indices: tuple[Index, ...]
    max_parallel: Positive

    @model_validator(mode="after")
    def _one_thing_to_run(self) -> Self:
        exactly_one(self.script, self.container)
        return self


class LeaseRequest(Model):
    """Ask for, or renew, a site's lease. `holder` is unique to one agent process."""

    holder: Name
    epoch: int | None = Field(default=None, description="The epoch held, to renew it; null to take a free lease.")
    descriptor: AdapterDescriptor


class Lease(Model):
    """The agent that holds the highest epoch acts for the site; others' reports are `lease_lost`."""

    site: SiteId
    epoch: int
    ttl_seconds: Positive
    adapter: Name
    settings: JsonObject
    accelerators: dict[AcceleratorId, Name]


class Desired(StrEnum):
    RUN = "run"
    CANCEL = "cancel"
    NOTHING = "nothing"


class WorkItem(Model):
    """What should be of one attempt. `nothing`: it has ended, by what was reported or because it was given up as lost, and its books are
    closed: nothing more of it is believed, see to it that nothing of it runs, and let go of it."""

    attempt: AttemptId
    desired: Desired
    reference: Name | None = Field(description="The committed submission, the only one that may ever be released.")
    submission: Submission | None = Field(description="Given while `desired` is `run`.")
    observed: int = Field(
        description="The last observation number that the broker has of this attempt and its runs, for a new agent."
    )
    stated: dict[str, dict[str, int]] = Field(
        default_factory=dict,
        description="What the broker has of each run's usage: backend identity -> hour -> last revision. "
        "A new agent goes on above it.",
    )
    finals: tuple[str, ...] = Field(default=(), description="Backend identities of runs whose books are closed.")


class LogRead(Model):
    """Someone wants to read a task's output."""

    id: LogReadId
    attempt: AttemptId
    reference: Name
    index: Index
    stream: Literal["stdout", "stderr"]
    offset: int = Field(description="Bytes from the start; negative: from the end.")
    limit: Positive


class Work(Model):
    """Everything that changed for this site after `after`. Pass `next` as the next `after`; 0 gives all that is open."""

    epoch: int
    next: int
    items: tuple[WorkItem, ...]
    log_reads: tuple[LogRead, ...] = ()
    more: bool = Field(
        default=False, description="There is more after `next` already: not yet all that is open was given."
    )


class Commit(Model):
    """The agent has staged `reference` for the attempt, and asks whether it is the one."""

    attempt: AttemptId
    reference: Name


class CommitBatch(Model):
    """Of many attempts, each decided for itself."""

    epoch: int
    commits: tuple[Commit, ...] = Field(min_length=1, max_length=200)


class Verdict(StrEnum):
    RELEASE = "release"
    DISCARD = "discard"


class Committed(Model):
    verdict: Verdict
    reference: Name | None = Field(
        description="The reference that is committed for this attempt; null also where the site has no such attempt."
    )


class CommitAnswers(Model):
    """One for each commit of a batch, in its order."""

    items: tuple[Committed, ...]


def _told_by_its_type(schema: dict[str, Any]) -> None:
    """A sender must say which kind of item it is, though who makes one here needn't."""
    schema["required"] = ["type", *schema["required"]]


class _Item(Model):
    model_config = ConfigDict(json_schema_extra=_told_by_its_type)


class AttemptObserved(_Item):
    """What the agent saw of the attempt as a whole."""

    type: Literal["attempt"] = "attempt"
    attempt: AttemptId
    observation: Positive
    state: Annotated[
        str, Field(pattern="^(staged|released|queued|running|ended|gone|unknown|rejected|discarded|forgotten)$")
    ] = Field(
        description="`rejected`: the backend refused it for good; `ended`: every task has ended or will never start; "
        "`gone`: the backend provably has nothing of it any more, so what was not reported as ended was lost; "
        "`discarded`: cancelled before anything was released, and provably nothing can start; "
        "`forgotten`: asked for `nothing`, the agent has let go of it and needn't be asked again."
    )
    runs: Count = Field(
        default=0,
        description="How many runs of it the agent knows: `ended` is believed once all of them were reported.",
    )
    detail: Prose = ""


class RunObserved(_Item):
    """What the agent saw of one run, in the backend's own time. `backend_identity` tells runs apart for ever."""

    type: Literal["run"] = "run"
    attempt: AttemptId
    index: Index
    backend_identity: Name
    observation: Positive
    state: RunState
    started_at: Second
    ended_at: Second | None = None
    outcome: Outcome | None = None
    exit_code: int | None = None
    signal: int | None = None
    detail: Prose = ""


class UsageStated(_Item):
    """Usage of one run in one hour, in full."""

    type: Literal["usage"] = "usage"
    attempt: AttemptId
    index: Index
    backend_identity: Name
    usage: HourUsage


class FinalStated(_Item):
    """The run's books are final: these are the last revisions of its hours, there will be no more."""

    type: Literal["final"] = "final"
    attempt: AttemptId
    index: Index
    backend_identity: Name
    hours: dict[str, int] = Field(description="Hour (RFC 3339, UTC) -> last revision.")


ReportItem = Annotated[AttemptObserved | RunObserved | UsageStated | FinalStated, Field(discriminator="type")]


class SiteReport(Model):
    """How the site itself stands."""

    state: SiteState
    detail: Prose = ""
    inventory: tuple[InventoryItem, ...] | None = Field(default=None, description="Given when it changed.")


class Report(Model):
    """A batch. Items are applied in order, each by itself; a stale or doubled one changes nothing."""

    epoch: int
    items: tuple[ReportItem, ...] = Field(max_length=2000)
    site: SiteReport | None = None
    usage_complete_through: Second | None = Field(
        default=None, description="All usage of the site before this second has been stated (this batch included)."
    )


class Reported(Model):
    """`rejected` names items that can't be true (an unknown attempt, an illegal step), by position; they raise an alarm."""

    applied: int
    rejected: dict[int, str] = Field(default_factory=dict)


class LogAnswer(Model):
    """The agent's answer to a LogRead. `data` is base64."""

    epoch: int
    data: str
    offset: Count
    size: Count
    complete: bool
    missing: bool = Field(default=False, description="There is no such output yet, or none any more.")
    error: Prose = ""


__all__ = [
    "AttemptObserved", "Commit", "Committed", "Desired", "FinalStated", "Grant", "Instant", "Lease", "LeaseRequest",
    "LogAnswer", "LogRead", "Report", "ReportItem", "Reported", "RunObserved", "SiteReport", "Span", "Submission",
    "UsageStated", "Verdict", "Work", "WorkItem",
]  # fmt: skip
