"""Price corrections: a wrong price list replaced by the right one for a span of time of an offering."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from caravan.contracts.base import Count, Instant, Model, Name, Reason, Second, Words
from caravan.contracts.ids import CorrectionId, OfferingId, OrganizationId, PeriodId, PriceListId, ProviderId
from caravan.kernel.money import Money


class CorrectionTerms(Model):
    """Seconds in [starts_at, ends_at), used on the offering by what was placed by one of `replaces`, are priced by `price_list` instead."""

    offering: OfferingId
    starts_at: Second = Field(examples=["2026-02-28T16:00:00Z"])
    ends_at: Second = Field(
        examples=["2026-03-10T16:00:00Z"],
        description="It may lie ahead: what was placed by a wrong list may still run.",
    )
    price_list: PriceListId = Field(
        description="The right one: a revision of the offering, published as any other, with a tariff for the whole span."
    )
    replaces: Annotated[tuple[PriceListId, ...], Field(min_length=1, max_length=200)] | Literal["all"] = Field(
        description="The wrong ones that jobs were placed by; or `all` of the offering. All are of one seller, as the right one."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.ends_at <= self.starts_at:
            raise PydanticCustomError("span", "ends_at must be after starts_at")
        return self


class CorrectionDraft(CorrectionTerms):
    """A correction and its reason, which those whom it concerns read."""

    reason: Reason = Field(examples=["1.00 was published instead of 0.10"])


class CorrectionState(StrEnum):
    """`previewing` -> `proposed` -> `applying` -> `applied`; or `rejected` before it is approved."""

    PREVIEWING = "previewing"
    """What it comes to is being computed."""
    PROPOSED = "proposed"
    """It waits for the second person."""
    APPLYING = "applying"
    """Approved: usage that comes is priced by it, and jobs charged before are charged anew, one after another."""
    APPLIED = "applied"
    REJECTED = "rejected"


class CorrectionProgress(Model):
    """Through how many jobs, of those with usage in the span, the preview went; and to how many the correction is applied."""

    previewed_jobs: Count
    applied_jobs: Count


class Correction(CorrectionDraft):
    """A price correction. Of two approved ones that overlap the last approved holds."""

    id: CorrectionId
    provider: ProviderId
    reseller: OrganizationId | None = Field(default=None, description="Whose prices they are; null: the provider's.")
    state: CorrectionState
    progress: CorrectionProgress | None = Field(default=None, description="Not shown to organizations.")
    proposed_by: Name
    proposed_at: Instant
    decided_by: Name | None = Field(default=None, description="Who approved or rejected it.")
    decided_at: Instant | None = None


class CorrectionShare(Model):
    """What it comes to for one organization, over the jobs that change; `difference` is above zero when it pays more."""

    organization: OrganizationId
    jobs: Count
    lines: Count = Field(description="Lines that change, come or go.")
    before: Money
    after: Money
    difference: Money


class CorrectionPreview(Model):
    """By the usage that was known when the correction was proposed: the sums of `organizations`, and who pays more and who less.

    Amounts are without volume discounts. Complete unless the state is `previewing`. An organization sees its own share only.
    """

    jobs: Count
    lines: Count
    before: Money
    after: Money
    difference: Money
    paying_more: Count = Field(description="How many organizations.")
    more: Money = Field(description="What these pay more in all.")
    paying_less: Count
    less: Money = Field(description="What the others pay less in all.")
    organizations: tuple[CorrectionShare, ...]


class CorrectedDiscounts(Model):
    """A period of the span whose volume discounts go by a list that is replaced, where the right one has others.

    `whole`: the correction covers all of the period, and its discounts go by the right list; else they keep what they went by.
    """

    period: PeriodId
    period_name: Name = Field(examples=["2026-03"])
    whole: bool
    words: Words


class CorrectionDetail(Correction):
    """With what it comes to."""

    preview: CorrectionPreview
    volume_discounts: tuple[CorrectedDiscounts, ...] = Field(
        default=(),
        description="Of which periods it concerns volume discounts, in the order of time, and what it does to them.",
    )
