"""Where a job could run, at what price, and why not elsewhere: as a quote, and as the placement that was decided."""

from pydantic import Field

from caravan.contracts.base import Instant, Model, Name, Prose
from caravan.contracts.ids import (
    JobId,
    OfferingId,
    OrganizationId,
    PlacementId,
    PriceListId,
    ProjectId,
    ProviderId,
    QuoteId,
    SiteId,
)
from caravan.contracts.offerings import Capacity, PreemptedBearer, Tier
from caravan.contracts.prices import WHOLE_TARIFF
from caravan.kernel.money import Money


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
    window: str = Field(
        default=WHOLE_TARIFF, description="The part of the tariff: `all`, or one of its windows, or `flat`."
    )
    quantity: int = Field(description="In the component's unit: core-, accelerator-, node-seconds, MiB-seconds, jobs.")
    unit_price: str
    amount: Money


class Candidate(Model):
    """An offering on which the job could run, with what it may cost at most."""

    offering: OfferingId
    offering_name: Name
    provider: ProviderId
    provider_name: Name
    reseller: OrganizationId | None = Field(
        default=None, description="Who sells it, by the price list; null: the provider."
    )
    reseller_name: Name | None = None
    site: SiteId
    tier: Tier
    price_list: PriceListId
    price_list_revision: int
    worst_case: Money = Field(
        description="What is set aside: all tasks to their full walltime at the dearest prices ahead."
    )
    components: tuple[PriceComponent, ...]
    notional: Money = Field(
        default=Money(0),
        description="What it might cost at most if its site billed the time ahead that it only prices. Nothing of it is set aside.",
    )
    preempted_borne_by: PreemptedBearer = Field(
        default=PreemptedBearer.PROVIDER,
        description="Who bears runs of it that end `preempted`. The next try of what the organization bears needs a hold of its own.",
    )
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
    """The decision behind an attempt; `chosen` is null when nothing had room. `refused` says why not elsewhere."""

    id: PlacementId
    job: JobId
    candidates: tuple[Candidate, ...]
    refused: tuple[Refusal, ...]
    chosen: OfferingId | None
    why: Prose = Field(
        default="",
        description="Why it was chosen, against what; or that the job waits. In Chinese and English, for people.",
        examples=["智算: 只有它能运行，最多 12.00 it alone can run it, for at most 12.00"],
    )
    created_at: Instant
