"""Applying for vouchers, reviewing applications, and the vouchers that are issued."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from caravan.contracts.base import Instant, Model, Name, Words, like
from caravan.contracts.ids import OrganizationId, ProgrammeId, VoucherApplicationId
from caravan.contracts.programmes import Enterprise, Unmet
from caravan.kernel.money import Money

EvidenceName = Annotated[
    Name,
    like(
        r"^[^/\\]{1,100}\.(pdf|png|jpg|xlsx|csv)$",
        "Give a file's name of at most 100 characters that ends in .pdf, .png, .jpg, .xlsx or .csv, in lower case.",
    ),
]


class SupplyContract(Model):
    """What an enterprise buys by, and asks a part of."""

    number: Name = Field(examples=["XA-2026-017"])
    amount: Money


class VoucherApplicationDraft(Model):
    programme: ProgrammeId
    organization: OrganizationId
    enterprise: Enterprise
    use: Name | None = Field(default=None, description="What it is to be used for: one of the programme's uses.")
    amount: Money = Field(description="What the voucher is to be issued for.")
    contract: SupplyContract | None = Field(
        default=None, description="Needed where the programme pays a part of contracts. Each is applied with once."
    )


class ApplicationState(StrEnum):
    APPLIED = "applied"
    """Evidence may still be replaced."""
    UNDER_REVIEW = "under_review"
    """One has passed it."""
    APPROVED = "approved"
    """So has another one: a voucher may be issued."""
    ISSUED = "issued"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


class Evidence(Model):
    """A file that bears an application out."""

    name: EvidenceName = Field(examples=["business-licence.pdf"])
    media_type: str = Field(examples=["application/pdf"])
    size_bytes: int
    sha256: str
    stored_at: Instant
    stored_by: Name


class VoucherApplication(VoucherApplicationDraft):
    """As it stands."""

    id: VoucherApplicationId
    state: ApplicationState
    evidence: tuple[Evidence, ...]
    version: int
    applied_at: Instant
    applied_by: Name


class VoucherState(StrEnum):
    ISSUED = "issued"


class Cap(StrEnum):
    """What limits the amount of a voucher: the programme's Caps of these names, and what is left of its pool."""

    VOUCHER = "voucher"
    FIRST_VOUCHER = "first_voucher"
    CONTRACT = "contract"
    ISSUED_IN_YEAR = "issued_in_year"
    POOL = "pool"


class Limit(Model):
    """The most that a voucher may be for, and by what."""

    cap: Cap
    most: Money
    words: Words


class EligibilityQuestion(Model):
    """What an organization would say of itself in an application."""

    organization: OrganizationId
    enterprise: Enterprise
    use: Name | None = None


class EligibilityAnswer(Model):
    """Of one programme: what isn't met, or the most that may be applied for. A contract may limit that further."""

    programme: ProgrammeId
    name: Name
    unmet: tuple[Unmet, ...]
    limit: Limit | None = Field(description="Null where something isn't met.")


class EligibilityAnswers(Model):
    """One for each programme that takes applications now."""

    items: tuple[EligibilityAnswer, ...]
