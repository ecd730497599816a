"""Usage: what a run was allocated, second by second, and the facts that decide who pays for it."""

from datetime import UTC, datetime, timedelta
from typing import Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from caravan.contracts.base import Count, Model, Name, Positive, Second, TargetField, TargetValue
from caravan.contracts.corrections import CorrectionTerms
from caravan.contracts.ids import (
    AcceleratorId,
    AttemptId,
    JobId,
    OfferingId,
    OrganizationId,
    PriceListId,
    ProjectId,
    ProviderId,
    RunId,
    SiteId,
)
from caravan.contracts.jobs import Outcome
from caravan.contracts.offerings import PreemptedBearer
from caravan.contracts.prices import PriceList
from caravan.contracts.spec import Index
from caravan.kernel.money import Money


class Span(Model):
    """[start, end) in whole seconds, in which a run held this shape."""

    start: Second
    end: Second
    nodes: Positive
    cpus: Count = Field(description="Over all nodes.")
    memory_mib: Count = Field(description="Over all nodes.")
    accelerators: Count = Field(default=0, description="Over all nodes.")
    accelerator: AcceleratorId | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end <= self.start:
            raise PydanticCustomError("span", "A span ends after it starts")
        return self


class Grant(Model):
    """What the backend will really allocate to, and bill for, one array task at most. A pure function of spec and settings."""

    nodes: Positive
    cpus: Positive = Field(description="Over all nodes.")
    memory_mib: Positive = Field(description="Over all nodes.")
    accelerators: Count = 0
    accelerator: AcceleratorId | None = None
    max_seconds: Positive = Field(description="Walltime as the backend rounds and enforces it, kill grace included.")


class HourUsage(Model):
    """All that one run was allocated in one UTC hour. A higher revision replaces the hour whole."""

    hour: Second
    revision: Positive
    spans: tuple[Span, ...] = Field(
        description="In order, apart from each other, inside the hour; gaps were not allocated."
    )

    @model_validator(mode="after")
    def _inside_the_hour(self) -> Self:
        if self.hour.minute or self.hour.second:
            raise PydanticCustomError("hour", "An hour starts on the hour, in UTC")
        at, end = self.hour, self.hour + timedelta(hours=1)
        for span in self.spans:
            if span.start < at or span.end > end:
                raise PydanticCustomError("spans", "Spans stand in order, apart, and inside their hour")
            at = span.end
        return self


def hour_key(hour: datetime) -> str:
    """An hour as it is written in JSON: `2026-01-31T08:00:00Z`."""
    return hour.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_hour(key: str) -> datetime:
    """The inverse of `hour_key`."""
    return datetime.fromisoformat(key).astimezone(UTC)


class UsageRecord(HourUsage):
    """An hour's usage with all that it takes to charge it (the broker -> accounting event `usage.stated`)."""

    run: RunId
    attempt: AttemptId
    job: JobId
    run_started_at: Second = Field(
        description="When the backend started the run, which may hold nothing in that second."
    )
    backend_identity: Name | None = Field(
        default=None, description="The backend's own of the run. Null: stated by a broker that didn't tell it yet."
    )
    index: Index | None = Field(
        default=None, description="Of its array task. Null: stated by a broker that didn't tell it yet."
    )


class Resale(Model):
    """How a reseller buys from the provider what it sells on: wholesale."""

    reseller: OrganizationId
    project: ProjectId = Field(description="The reseller's, which buys.")
    price_list: PriceListId = Field(description="The provider's.")
    price_class: Name | None = Field(default=None, description="The reseller's, when the attempt was placed.")
    options: dict[TargetField, TargetValue] = Field(
        default_factory=dict, description="Of the backend target, what some tariff of this price list goes by."
    )


class AttemptPlaced(Model):
    """`attempt.placed`: who will owe whom for the runs of this attempt, by which prices."""

    attempt: AttemptId
    job: JobId
    organization: OrganizationId
    project: ProjectId
    offering: OfferingId
    site: SiteId
    provider: ProviderId
    price_list: PriceListId
    price_class: Name | None = Field(default=None, description="The organization's, when it was placed.")
    options: dict[TargetField, TargetValue] = Field(
        default_factory=dict, description="Of its backend target, what some tariff of the price list goes by."
    )
    grant: Grant | None = Field(
        default=None, description="Of each of its runs. Null: placed by a broker that didn't tell it yet."
    )
    resale: Resale | None = Field(
        default=None,
        description="Where a reseller sells it: how that buys the same seconds. `price_list`, `price_class` and `options` are "
        "what the organization pays by. Null: the provider sells.",
    )
    preempted_borne_by: PreemptedBearer = Field(
        default=PreemptedBearer.PROVIDER, description="Of its runs those that end `preempted`, as its offering said."
    )
    placed_at: Second | None = Field(
        default=None,
        description="By the platform's clock: no run of it starts before. Null: placed by a broker that didn't tell it yet.",
    )


class JobNamed(Model):
    """`job.named`: what the enterprise calls the job, for statements. Published before the job's first attempt."""

    job: JobId
    name: Name


class RunFinal(Model):
    """`run.final`: the run's books are closed, and how it ended decides who bears them."""

    run: RunId
    attempt: AttemptId
    job: JobId
    outcome: Outcome


class AttemptEnded(Model):
    """`attempt.ended`: nothing of the attempt runs any more, and the books of all its runs are closed."""

    attempt: AttemptId
    job: JobId


class RunUsage(Model):
    """A run with the last revision of each hour that was stated of it."""

    run: RunId
    hours: dict[str, int] = Field(description="Hour (RFC 3339, UTC, as in the record) -> last revision.")


class JobSettled(Model):
    """`job.settled`: nothing more will come. The hold is freed when all of this has been charged."""

    job: JobId
    hold_revision: int
    runs: tuple[RunUsage, ...]


class SiteProgress(Model):
    """`site.progress`: all usage of the site before `complete_through` has been stated, as the broker has it."""

    site: SiteId
    provider: ProviderId
    complete_through: Second
    version: int


class ExportedUsage(Model):
    """One usage record with what an outsider needs to charge it again from scratch (finance's export)."""

    record: UsageRecord
    organization: OrganizationId
    project: ProjectId
    provider: ProviderId
    offering: OfferingId
    price_list: PriceListId
    price_class: Name | None = Field(
        description="The organization's when the attempt was placed: tariffs for it apply."
    )
    options: dict[TargetField, TargetValue] = Field(
        description="Of the attempt's backend target, what some tariff of the price list goes by.", examples=[{}]
    )
    grant: Grant | None = Field(description="What is beyond it is the provider's to bear. Null: it isn't known.")
    outcome: Outcome | None
    preempted_borne_by: PreemptedBearer = Field(
        description="Who bears it if its outcome is `preempted`: as its offering said when its attempt was placed."
    )
    contest_upheld: bool = Field(
        description="Its provider contested with success that it bears the run: the organization does, however it ended."
    )
    attempt_ended: bool = Field(
        default=False, description="Whether the books of all its attempt's runs are closed: its minimum charge is due."
    )
    hold_amount: Money = Field(description="The job's last granted hold; what would pass it is the provider's to bear.")
    resale: Resale | None = Field(default=None, description="How a reseller buys it. Null: the provider sells.")
    resale_hold_amount: Money | None = Field(default=None, description="The job's last granted hold on the reseller.")
    applied_at: Second


class UsageExport(Model):
    """All usage of some periods with the price lists it refers to, and the approved corrections of its offerings' prices."""

    usage: tuple[ExportedUsage, ...]
    price_lists: tuple[PriceList, ...]
    corrections: tuple[CorrectionTerms, ...] = Field(
        default=(),
        description="In the order of approval: the last holds where they overlap. Holds go by the prices of placement.",
    )
