"""Tax rules: what is taxed, from when on, and how."""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from caravan.contracts.base import Instant, Model, Name, Second, like
from caravan.contracts.ids import TaxRuleId
from caravan.contracts.parties import TaxRate

PLATFORM: Final = "platform"
"""The seller of the platform's own services."""
Seller = Annotated[
    str,
    like(r"^(?:platform|(?:prv|org)_[0-9a-f]{32})$", "Give a provider's id, prv_…, a reseller's, org_…, or platform"),
]


class SupplyCategory(StrEnum):
    """What is sold."""

    COMPUTE_SERVICE = "compute_service"
    """What providers and resellers sell: all that lines are about."""
    PLATFORM_SERVICE = "platform_service"
    """What the platform sells to providers: its fee."""


class TaxTreatment(StrEnum):
    TAXED = "taxed"
    """征税, at a rate, which may be zero."""
    EXEMPT = "exempt"
    """免税."""
    NOT_TAXABLE = "not_taxable"
    """不征税."""


class TaxRuleDraft(Model):
    """How what `seller` sells is taxed in [starts_at, ends_at). A supply goes by the rule of the last second of its period.

    Where several rules hold, the one that starts last does, and of these the one that was posted last.
    """

    seller: Seller = Field(examples=["prv_0198c5d2a1b07c3e8f4a5b6c7d8e9f01"])
    category: SupplyCategory
    treatment: TaxTreatment
    rate: TaxRate | None = Field(
        default=None, examples=[600], description="In hundredths of a percent; with `taxed` only."
    )
    starts_at: Second
    ends_at: Second | None = None


class TaxRule(TaxRuleDraft):
    id: TaxRuleId
    posted_at: Instant
    posted_by: Name
