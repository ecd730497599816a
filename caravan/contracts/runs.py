"""What was metered of each run at a site, and the lines of their jobs: one side of a reconciliation with the site's own books."""

from pydantic import Field

from caravan.contracts.base import Model, Name, Second
from caravan.contracts.ids import (
    AcceleratorId,
    AttemptId,
    JobId,
    OrganizationId,
    PeriodId,
    PriceListId,
    ProjectId,
    RunId,
)
from caravan.contracts.jobs import Outcome
from caravan.contracts.prices import Component
from caravan.contracts.statements import UsageLine
from caravan.contracts.usage import Span
from caravan.kernel.money import UnitPrice
from caravan.kernel.pages import Page


class Priced(Model):
    """What of a run goes to a line of its job, by the prices that its attempt was placed with. Whoever bears it: that is the line's."""

    period: PeriodId = Field(description="In which its seconds lie.")
    price_list: PriceListId
    component: Component
    accelerator: AcceleratorId | None
    tariff: Name
    window: Name
    unit_price: UnitPrice
    quantity: int = Field(description="Core-, accelerator-, node- or MiB-seconds, or jobs.")


class SiteRun(Model):
    run: RunId
    attempt: AttemptId
    job: JobId
    organization: OrganizationId
    project: ProjectId
    identity: Name | None = Field(description="The backend's own. Null: usage of before it was told.")
    outcome: Outcome | None = Field(description="How it ended; null until its books are final.")
    spans: tuple[Span, ...] = Field(description="All that was metered, also outside of what was asked for, in order.")
    priced: tuple[Priced, ...] = Field(description="Of all that was metered.")


class SiteRuns(Page[SiteRun]):
    """A page of runs. It may have fewer than were asked for, and a next page all the same."""

    lines: tuple[UsageLine, ...] = Field(
        description="All lines, adjustments too, of these runs' jobs under these runs' price lists: what the job's runs at this site "
        "come to, also those on other pages or outside of what was asked for."
    )
    complete_through: Second = Field(description="All usage of the site before it has been stated.")
