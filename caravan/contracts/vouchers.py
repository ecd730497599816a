"""Applying for vouchers, reviewing applications, and the vouchers that are issued."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from caravan.contracts.base import Instant, Model, Name, Reason, Words, like
from caravan.contracts.ids import OrganizationId, ProgrammeId, VoucherApplicationId, VoucherId
from caravan.contracts.programmes import Affiliate, EligibilityRule, Enterprise, Unmet
from caravan.kernel.money import Money

EvidenceName = Annotated[
    Name,
    like(
        r"^[^/\\]{1,100}\.([pP][dD][fF]|[pP][nN][gG]|[jJ][pP][eE]?[gG]|[xX][lL][sS][xX]|[cC][sS][vV])$",
        "Give a file's name of at most 100 characters that ends in .pdf, .png, .jpg, .jpeg, .xlsx or .csv.",
    ),
]


class SupplyContract(Model):
    """What an enterprise buys by, and asks a part of."""

    number: Name = Field(
        description="One number, whatever its width, case, spaces and dashes.", examples=["XA-2026-017"]
    )
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
    """A file that bears out what is asked for."""

    name: EvidenceName = Field(examples=["business-licence.pdf"])
    media_type: str = Field(examples=["application/pdf"])
    size_bytes: int
    sha256: str
    stored_at: Instant
    stored_by: Name


class RefusalRule(StrEnum):
    """What a reviewer refuses by: a rule of the programme's Eligibility, or what is asked for itself."""

    PLACES = EligibilityRule.PLACES.value
    INDUSTRIES = EligibilityRule.INDUSTRIES.value
    SIZES = EligibilityRule.SIZES.value
    OLDEST = EligibilityRule.OLDEST.value
    YOUNGEST = EligibilityRule.YOUNGEST.value
    USES = EligibilityRule.USES.value
    SUPPLIERS = EligibilityRule.SUPPLIERS.value
    CREDIT = EligibilityRule.CREDIT.value
    EVIDENCE = "evidence"
    """It is missing, out of date, or doesn't bear out what is asked for."""
    AMOUNT = "amount"
    """So much isn't due, or isn't left."""
    CONTRACT = "contract"
    """What is asked for isn't bought by it, or it was paid a part of before."""
    OTHER = "other"


class Finding(Model):
    """What a reviewer found of an application, or of a claim, with its evidence."""

    passed: bool = Field(examples=[True])
    reason: Reason = Field(description="For the enterprise to read.")
    rule: RefusalRule | None = Field(default=None, description="Which isn't met: needed where it doesn't pass.")
    remedy: Reason | None = Field(default=None, description="What would satisfy it: needed where it doesn't pass.")


class ReviewDraft(Finding):
    """As a reviewer gives it."""

    @model_validator(mode="after")
    def _says_what_would_do(self) -> Self:
        if self.passed and (self.rule or self.remedy):
            raise PydanticCustomError("passed", "Leave out rule and remedy of what passes")
        if not self.passed and (self.rule is None or self.remedy is None):
            words = "Name in rule what isn't met ({rules}), and say in remedy what would satisfy it"
            raise PydanticCustomError("refusal", words, {"rules": ", ".join(RefusalRule)})
        return self


class Review(Finding):
    """One of two, by two persons; a third may still refuse what both have passed. The first that doesn't pass ends what is reviewed. A
    refusal from before rules had to be named may have none."""

    stage: int
    reviewed_at: Instant
    reviewed_by: Name


class VoucherApplication(VoucherApplicationDraft):
    """As it stands."""

    id: VoucherApplicationId
    state: ApplicationState
    evidence: tuple[Evidence, ...]
    reviews: tuple[Review, ...]
    voucher: VoucherId | None = Field(description="Null until it is issued.")
    version: int
    applied_at: Instant
    applied_by: Name


class VoucherState(StrEnum):
    ISSUED = "issued"
    REDEEMED = "redeemed"
    """Closed periods have paid all of it, or it was reimbursed. Where some of that is given back, it is again what it was before."""
    EXPIRED = "expired"
    REVOKED = "revoked"


class RevocationDraft(Model):
    reason: Reason = Field(description="For the enterprise to read.")


class Revocation(RevocationDraft):
    revoked_at: Instant
    revoked_by: Name


class ClawbackDraft(Model):
    """What is taken back of what a voucher has paid."""

    amount: Money
    reason: Reason = Field(description="For the enterprise to read.")


class Voucher(Model):
    """What an organization may have paid by a programme; nobody else may. For whom, and what for, is as reviewed."""

    id: VoucherId
    application: VoucherApplicationId
    programme: ProgrammeId
    organization: OrganizationId
    amount: Money
    pledged: Money = Field(description="What of it is with jobs' holds, due to be reimbursed, or redeemed.")
    redeemed: Money = Field(description="What of that was paid.")
    released: Money = Field(description="What its pool has again, since it has ended or paid for what was clawed back.")
    clawed_back: Money = Field(description="What of that was paid, and is owed again.")
    year: int = Field(description="Of whose pool it is: the calendar year of its issue, in the platform's zone.")
    use: Name | None
    kinds: tuple[Name, ...]
    affiliates: tuple[Affiliate, ...]
    state: VoucherState
    issued_at: Instant
    expires_at: Instant
    revocation: Revocation | None = Field(description="Null unless it is revoked.")


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
