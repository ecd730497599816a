"""Contests: a provider says that it should not bear a run, and finance decides."""

from enum import StrEnum

from pydantic import Field

from caravan.contracts.base import Instant, Model, Name, Prose, Reason
from caravan.contracts.ids import ContestId, JobId, OrganizationId, ProviderId, RunId
from caravan.contracts.jobs import Outcome


class ContestDraft(Model):
    """Contest that the provider bears this run."""

    run: RunId
    reason: Reason = Field(description="For both parties to read.")


class ContestState(StrEnum):
    OPEN = "open"
    UPHELD = "upheld"
    """The organization bears the run."""
    DISMISSED = "dismissed"


class Contest(ContestDraft):
    """As it stands."""

    id: ContestId
    job: JobId
    organization: OrganizationId
    provider: ProviderId
    outcome: Outcome = Field(description="How the run ended, as it was known when it was contested.")
    state: ContestState
    contested_at: Instant
    contested_by: Name
    words: Prose | None = Field(default=None, description="Of who decided.")
    decided_at: Instant | None = None
    decided_by: Name | None = None


class Decision(StrEnum):
    UPHOLD = "uphold"
    DISMISS = "dismiss"


class ContestDecision(Model):
    """What becomes of a contest."""

    decision: Decision
    words: Reason = Field(description="Why, for both parties to read.")
    overlap: bool = Field(
        default=False,
        description="Uphold it also for seconds that another run of the array task is billed for: both were there.",
    )
