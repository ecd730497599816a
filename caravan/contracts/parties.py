"""Organizations, projects, providers and tenants: who buys, who sells, and what a buyer is at a site."""

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from caravan.contracts.base import Instant, JsonObject, Model, Name
from caravan.contracts.ids import OrganizationId, ProjectId, ProviderId, SiteId, TenantId

_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"


def credit_code_check(body: str) -> str:
    """The check character of a unified social credit code's first 17 characters (GB 32100-2015, 3^i mod 31 weights)."""
    total = sum(_ALPHABET.index(c) * pow(3, i, 31) for i, c in enumerate(body))
    return _ALPHABET[(31 - total % 31) % 31]


def credit_code(value: str) -> str:
    """The code itself, if it is one."""
    if len(value) != 18 or any(c not in _ALPHABET for c in value):
        raise PydanticCustomError(
            "credit_code", "A unified social credit code has 18 characters of 0-9 and A-Y without I, O, S, V and Z"
        )
    if credit_code_check(value[:17]) != value[17]:
        raise PydanticCustomError(
            "credit_code", "The check character (the 18th) does not match; look for a typing error"
        )
    return value


CreditCode = Annotated[str, AfterValidator(credit_code), Field(examples=["91610131MA6TXXXX02"])]
"""Unified social credit code, GB 32100-2015."""

TaxRate = Annotated[int, Field(ge=0, le=10000, strict=True)]
"""In hundredths of a percent: 600 is 6 %."""


class OrganizationDraft(Model):
    """What it takes to register an organization."""

    name: Name = Field(examples=["西安某科技有限公司"])
    credit_code: CreditCode | None = None
    price_class: Name | None = Field(
        default=None,
        description="The platform's word for what it is, by which compute centres may price it: tariffs for this class are for it.",
        examples=["高校"],
    )


class Organization(OrganizationDraft):
    """An enterprise that is billed."""

    id: OrganizationId
    version: int
    created_at: Instant


class ProjectDraft(Model):
    organization: OrganizationId
    name: Name = Field(examples=["气动仿真"])


class Project(ProjectDraft):
    """A cost centre of an organization; each job belongs to one."""

    id: ProjectId
    version: int
    created_at: Instant


class ProviderKind(StrEnum):
    """The research platforms that the city's measures name."""

    MAJOR_SCIENCE_FACILITY = "major_science_facility"
    COMPUTE_INFRASTRUCTURE = "compute_infrastructure"
    NATIONAL_INNOVATION_CENTRE = "national_innovation_centre"
    NATIONAL_LABORATORY = "national_laboratory"
    NATIONAL_KEY_LABORATORY = "national_key_laboratory"
    BELT_AND_ROAD_JOINT_LABORATORY = "belt_and_road_joint_laboratory"
    PROVINCIAL_LABORATORY = "provincial_laboratory"
    MUNICIPAL_KEY_LABORATORY = "municipal_key_laboratory"
    OTHER = "other"


class ProviderState(StrEnum):
    APPLIED = "applied"
    APPROVED = "approved"
    SUSPENDED = "suspended"


class ProviderDraft(Model):
    """An application to sell capacity."""

    name: Name = Field(examples=["西部算力中心"])
    kind: ProviderKind
    region: Name = Field(examples=["西安"])
    credit_code: CreditCode | None = None
    tax_rate: TaxRate = Field(default=600, description="The seller's one VAT rate, in hundredths of a percent.")


class Provider(ProviderDraft):
    """A compute centre or other research platform that sells capacity."""

    id: ProviderId
    state: ProviderState
    version: int
    created_at: Instant


class TenantDraft(Model):
    """Map an organization, or one of its projects, to what it is at a site. `settings` is checked by the adapter's descriptor."""

    site: SiteId
    organization: OrganizationId
    project: ProjectId | None = None
    settings: JsonObject = Field(default_factory=dict)


class Tenant(TenantDraft):
    """What an organization is at a site. Without one, nothing of it is placed there."""

    id: TenantId
    version: int
    created_at: Instant
