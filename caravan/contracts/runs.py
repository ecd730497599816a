"""What was metered and billed of each run at a site: one side of a reconciliation with the site's own books."""

from pydantic import Field

from caravan.contracts.base import Model, Name, Second
from caravan.contracts.ids import AttemptId, JobId, OrganizationId, ProjectId, RunId
from caravan.contracts.jobs import Outcome
from caravan.contracts.offerings import Component
from caravan.contracts.statements import BearerKind, BearerReason
from caravan.contracts.usage import Span
from caravan.kernel.money import Money
from caravan.kernel.pages import Page


class Share(Model):
    """What of its job's lines falls to one run, over all periods, tariffs and prices of a component."""

    component: Component
    bearer: BearerKind
    reason: BearerReason | None = None
    quantity: int = Field(description="Core-, accelerator-, node- or MiB-seconds, or jobs.")
    amount: Money


class SiteRun(Model):
    run: RunId
    attempt: AttemptId
    job: JobId
    organization: OrganizationId
    project: ProjectId
    identity: Name | None = Field(description="The backend's own. Null: usage of before it was told.")
    outcome: Outcome | None = Field(description="How it ended; null until its books are final.")
    spans: tuple[Span, ...] = Field(description="All that was metered, also outside of what was asked for, in order.")
    billed: tuple[Share, ...] = Field(
        description="Of all that was metered. The shares of a job's runs sum to its lines, the amounts too."
    )


class SiteRuns(Page[SiteRun]):
    """A page of runs. It may have fewer than were asked for, and a next page all the same."""

    complete_through: Second = Field(description="All usage of the site before it has been stated.")
