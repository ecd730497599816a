"""Resale agreements: an organization buys at its own prices what it sells on to its members."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from caravan.contracts.base import Instant, Model, WholeHour
from caravan.contracts.ids import OrganizationId, ProjectId, ResaleAgreementId


def _once(value: tuple[OrganizationId, ...]) -> tuple[OrganizationId, ...]:
    if len(set(value)) != len(value):
        raise PydanticCustomError("members", "Name each member once")
    return value


class ResaleEnd(Model):
    """When an agreement ends."""

    ends_at: WholeHour = Field(
        description="A whole hour that is still to come. The agreement's start: it is cancelled, and never begins."
    )


class ResaleTerms(Model):
    """In [starts_at, ends_at) the reseller sells to its members what it has a price list for; all else the providers sell."""

    reseller: OrganizationId
    project: ProjectId = Field(description="The reseller's, which buys: its cost centre.")
    members: Annotated[tuple[OrganizationId, ...], Field(min_length=1, max_length=1000), AfterValidator(_once)] = Field(
        examples=[["org_0198c0de0000700080000000000000b1"]]
    )
    starts_at: WholeHour = Field(description="A whole hour: the one that runs now, or a later one.")
    ends_at: WholeHour | None = None

    @model_validator(mode="after")
    def _two_levels(self) -> Self:
        if self.reseller in self.members:
            raise PydanticCustomError("members", "A reseller is no member of its own: name others")
        return self


class ResaleAgreementDraft(ResaleTerms):
    """An agreement to be made."""

    @model_validator(mode="after")
    def _lasts(self) -> Self:
        if self.ends_at is not None and self.ends_at <= self.starts_at:
            raise PydanticCustomError("span", "ends_at must be after starts_at")
        return self


class ResaleAgreement(ResaleTerms):
    """As it stands. One that ends where it starts was cancelled."""

    id: ResaleAgreementId
    version: int
    created_at: Instant
