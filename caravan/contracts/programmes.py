"""Programmes: what a city or district pays of what its enterprises use, as data."""

import re
from datetime import date
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from caravan.contracts.base import Instant, Model, Name, Positive, Second, Words, like
from caravan.contracts.ids import ProgrammeId
from caravan.contracts.offerings import Tier
from caravan.contracts.parties import credit_code
from caravan.contracts.prices import Component
from caravan.contracts.statements import PartyId
from caravan.kernel.money import Money

Share = Annotated[int, Field(ge=0, le=10000, strict=True)]
"""In hundredths of a percent: 3000 is 30 %."""
Place = Annotated[
    str,
    like("^[0-9]{6}$", "Give a code of six digits by GB/T 2260, like 610100."),
    Field(examples=["610100"]),
]
"""An administrative division by GB/T 2260. One that ends in zeros has those in it: 610100 is all of Xi'an, 610000 all of Shaanxi."""
Industry = Annotated[
    str,
    like(
        "^[A-T]([0-9]{2}|[0-9]{3}|[0-9]{4})?$",
        "Give a class of GB/T 4754, its section's letter first and at most four digits, like I65.",
    ),
    Field(examples=["I65"]),
]
"""A class of GB/T 4754 with its section's letter; a shorter one has those in it: I65 has I651 and I6513."""


def _affiliate(value: str) -> str:
    if re.fullmatch("(org|prv)_[0-9a-f]{32}", value):
        return value
    if value.startswith(("org_", "prv_")):
        raise PydanticCustomError("affiliate", "Give a provider's id prv_…, a reseller's org_…, or a credit code")
    return credit_code(value)


Affiliate = Annotated[str, AfterValidator(_affiliate), Field(examples=["91610131MA6TXXXX02"])]
"""A provider or reseller by its id, or an enterprise by its unified social credit code."""


class IssuerLevel(StrEnum):
    """The highest first: where programmes of several levels pay for the same, they come in this order."""

    NATIONAL = "national"
    PROVINCE = "province"
    CITY = "city"
    DISTRICT = "district"


class Issuer(Model):
    """Who pays for a programme, and answers for it."""

    name: Name = Field(examples=["西安市科学技术局"])
    level: IssuerLevel


class EnterpriseSize(StrEnum):
    """As the statistical classes of 2017 have them (国统字〔2017〕213号)."""

    MICRO = "micro"
    SMALL = "small"
    MEDIUM = "medium"
    LARGE = "large"


class Origin(StrEnum):
    """Of the accelerator that was used. What has none is of no origin."""

    DOMESTIC = "domestic"
    FOREIGN = "foreign"


class Mode(StrEnum):
    DEDUCTED = "deducted"
    """On the statement: the enterprise pays what is left."""
    REIMBURSED = "reimbursed"
    """The enterprise pays all of it first, and claims its part with evidence."""


class Settles(StrEnum):
    """How long the span of a claim is, in the platform's zone. A period belongs to the span in which it begins."""

    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"


class Pool(Model):
    """What may be issued in a calendar year."""

    year: int = Field(ge=2000, le=2200, examples=[2026])
    amount: Money


def _one_a_year(pools: tuple[Pool, ...]) -> tuple[Pool, ...]:
    if len({pool.year for pool in pools}) < len(pools):
        raise PydanticCustomError("pools", "Give each year one pool")
    return pools


Pools = Annotated[tuple[Pool, ...], Field(min_length=1), AfterValidator(_one_a_year)]


class PoolsDraft(Model):
    """All pools of a programme anew."""

    pools: Pools


class PoolStanding(Pool):
    """What of it is committed: to vouchers as they were issued, of those revoked or expired what was redeemed."""

    committed: Money


class Rate(Model):
    """What is paid of what it is for: whoever meets all that is named here. Of several, the highest rate counts."""

    kind: Name | None = Field(default=None, description="Of the enterprise, as reviewed.", examples=["awarded_project"])
    origin: Origin | None = None
    use: Name | None = Field(default=None, description="What it is used for, as reviewed.", examples=["filed_model"])
    rate: Share = Field(examples=[3000])


class Caps(Model):
    """The most that is paid; null: there is no such limit."""

    claim: Money | None = Field(default=None, description="Of one voucher in one span of claims.")
    voucher: Money | None = Field(default=None, description="One voucher is issued for.")
    first_voucher: Money | None = Field(
        default=None, description="An enterprise's first voucher of the programme is issued for."
    )
    contract: Share | None = Field(
        default=None, description="Of the contract that a voucher is for; a contract has one voucher at most."
    )
    issued_in_year: Money | None = Field(
        default=None,
        description="An enterprise is issued in a calendar year. What it has applied for counts too as it applies for more.",
    )
    redeemed_in_year: Money | None = Field(
        default=None, description="An enterprise is paid for the claims of a calendar year."
    )


class Funder(Model):
    """Who pays which part of what a programme pays."""

    name: Name = Field(examples=["陕西省科学技术厅"])
    share: Share = Field(examples=[5000])


class Enterprise(Model):
    """What an enterprise says of itself as it applies, and reviewers hold against its evidence."""

    place: Place
    industry: Industry
    size: EnterpriseSize
    registered_on: date
    kinds: tuple[Name, ...] = Field(default=(), description="Of those that the programme's rates name.")
    affiliates: tuple[Affiliate, ...] = Field(default=(), description="Whom it is affiliated with.")
    clear_credit: bool = Field(description="It isn't listed as dishonest (失信).")


class EligibilityRule(StrEnum):
    """Those of Eligibility."""

    PLACES = "places"
    INDUSTRIES = "industries"
    SIZES = "sizes"
    OLDEST = "oldest_months"
    YOUNGEST = "youngest_months"
    USES = "uses"
    SUPPLIERS = "suppliers"
    CREDIT = "clear_credit"


class Unmet(Model):
    """A rule that isn't met, and what would meet it."""

    rule: EligibilityRule
    words: Words


class Eligibility(Model):
    """What an enterprise must be; an empty list or null asks for nothing."""

    places: tuple[Place, ...] = Field(default=(), description="Registered in one of these.")
    industries: tuple[Industry, ...] = Field(default=(), description="Of one of these.")
    sizes: tuple[EnterpriseSize, ...] = ()
    oldest_months: Positive | None = Field(default=None, description="Registered at most so long ago. 1200 at most.")
    youngest_months: Positive | None = Field(default=None, description="Registered at least so long ago. 1200 at most.")
    uses: tuple[Name, ...] = Field(default=(), description="Purposes that are supported.")
    suppliers: tuple[PartyId, ...] = Field(
        default=(), description="Only what these providers and resellers sell is supported."
    )
    unaffiliated: bool = Field(
        default=False,
        description="Nothing is paid for what an affiliated enterprise sells, or one with its own unified social credit code.",
    )
    clear_credit: bool = Field(
        default=False, description="Not listed as dishonest (失信) on the day of the application."
    )


class ProgrammeTerms(Model):
    """Who may have what paid, at which rate, up to what. Of a published programme they never change."""

    name: Name = Field(examples=["西安市算力券"])
    issuer: Issuer
    starts_at: Second = Field(description="It takes applications from then on.", examples=["2025-12-31T16:00:00Z"])
    ends_at: Second = Field(
        description="It takes none from then on. What was applied for before may still be reviewed and issued.",
        examples=["2028-12-31T16:00:00Z"],
    )
    eligibility: Eligibility = Eligibility()
    components: tuple[Component, ...] = Field(default=(), description="What is supported; empty: all.")
    tiers: tuple[Tier, ...] = Field(default=(), description="As components.")
    origins: tuple[Origin, ...] = Field(default=(), description="Only what was used on such accelerators; empty: all.")
    rates: Annotated[tuple[Rate, ...], Field(min_length=1)]
    floor: Money = Field(default=Money(0), description="A claim that comes to less pays nothing.")
    caps: Caps = Caps()
    stacks_to: Share | None = Field(
        default=None,
        description="With programmes of other levels it pays for the same, until all of them pay this part of it. Null: not at all.",
    )
    funders: tuple[Funder, ...] = Field(
        default=(), description="Their shares make a whole; empty: the issuer pays all."
    )
    mode: Mode = Mode.DEDUCTED
    settles: Settles = Settles.QUARTER
    valid_months: Positive = Field(
        default=12, description="How long a voucher may be used from the day it is issued; 1200 at most."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.ends_at <= self.starts_at:
            raise PydanticCustomError("span", "ends_at must be after starts_at")
        if self.funders and sum(funder.share for funder in self.funders) != WHOLE:
            raise PydanticCustomError("funders", "The funders' shares must sum to 10000")
        return self


class ProgrammeDraft(ProgrammeTerms):
    """A subsidy scheme, and what may be issued under it."""

    pools: Pools


class ProgrammeState(StrEnum):
    DRAFT = "draft"
    PUBLISHED = "published"


class Programme(ProgrammeDraft):
    """As it stands. Once it is published only its pools change."""

    id: ProgrammeId
    state: ProgrammeState
    pools: tuple[PoolStanding, ...]
    version: int
    created_at: Instant
    published_at: Instant | None


WHOLE = 10_000
"""All of it, as a Share."""
