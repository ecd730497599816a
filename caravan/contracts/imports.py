"""Usage that a centre's own books tell of, beside what was metered; and sums over both."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from caravan.contracts.base import Count, Model, Name, Positive, Second
from caravan.contracts.ids import OrganizationId, ProjectId, SiteId
from caravan.contracts.prices import Component

Word = Annotated[str, StringConstraints(max_length=200)]


class ImportedRun(Model):
    """One run by a centre's books. It is never charged. Without an organization it is set aside under its account."""

    identity: Name = Field(description="The backend's own, as its adapter writes it: of Slurm cluster:job:submitted.")
    account: Word
    user: Word
    start: Second
    end: Second
    nodes: Positive
    cpus: Count = Field(description="Over all nodes, as all that follow.")
    memory_mib: Count
    accelerators: dict[Word, Positive] = Field(description="How many of each kind, as the backend names it.")
    organization: OrganizationId | None = None
    project: ProjectId | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.end < self.start:
            raise PydanticCustomError("span", "A run doesn't end before it starts")
        if (self.organization is None) != (self.project is None):
            raise PydanticCustomError("mapping", "An organization and one of its projects, or neither")
        return self


class ImportBatch(Model):
    """Of runs with one identity the last one counts."""

    site: SiteId
    runs: tuple[ImportedRun, ...] = Field(min_length=1, max_length=1000)


class ImportOutcome(Model):
    """How many of a batch's runs were new, replaced another content, or changed nothing."""

    imported: int
    changed: int
    unchanged: int


class By(StrEnum):
    DAY = "day"
    MONTH = "month"


class UsageSum(Model):
    """All seconds of one component in one day or month of the zone that was asked for."""

    span: str = Field(description="2026-03-31 or 2026-03.")
    site: SiteId
    organization: OrganizationId | None = Field(description="Null: imported, and mapped to none.")
    account: str | None = Field(description="The site's own, where there is no organization.")
    component: Component
    quantity: int = Field(description="Core-, accelerator-, node- or MiB-seconds, exact.")


class UsageSums(Model):
    items: tuple[UsageSum, ...]
