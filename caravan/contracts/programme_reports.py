"""How programmes stand, as the office and finance look at them."""

from enum import StrEnum

from pydantic import Field

from caravan.contracts.base import Instant, Model, Name, Prose
from caravan.contracts.ids import (
    OrganizationId,
    PeriodId,
    ProgrammeId,
    ReimbursementId,
    VoucherApplicationId,
    VoucherId,
)
from caravan.contracts.programmes import PoolStanding
from caravan.contracts.statements import PartyId
from caravan.contracts.vouchers import ApplicationState, RefusalRule, VoucherState
from caravan.kernel.money import Money
from caravan.kernel.pages import Page


class PoolUse(PoolStanding):
    """A year's pool, and what was paid of the vouchers that are of it."""

    redeemed: Money


class OrganizationStanding(Model):
    """What an organization has of a programme in a calendar year, and the programme's caps on that; null: there is none."""

    organization: OrganizationId
    organization_name: Name
    year: int
    issued: Money = Field(description="By vouchers of the year, less what pools have again of those that have ended.")
    most_issued: Money | None
    redeemed: Money = Field(description="For claims of the year, in closed periods: paid, or due to be reimbursed.")
    most_redeemed: Money | None


class ProgrammeStanding(Page[OrganizationStanding]):
    """A page of the organizations that have vouchers, by organization and year; the rest is on each page."""

    programme: ProgrammeId
    pools: tuple[PoolUse, ...]
    applications: dict[ApplicationState, int] = Field(description="How many there are in each state.")
    vouchers: dict[VoucherState, int]


class FunderPart(Model):
    funder: Name
    amount: Money


class SellerPayment(Model):
    """What vouchers pay of what a provider or reseller has sold, less what credit notes of the period's time give back."""

    seller: PartyId
    seller_name: Name
    amount: Money
    earlier: Money = Field(
        description="What of that is for lines of earlier periods, as floors, caps and credit notes make it; the rest stands on lines of "
        "this one. Below zero: what they are paid less."
    )
    funders: tuple[FunderPart, ...]


class OtherPayment(Model):
    """What of a voucher is for no seller's lines: less what is clawed back on the period's statements; and until the next close what credit
    notes take back beyond what stands on their line. What was settled before it was kept for which lines that is, is here too."""

    voucher: VoucherId
    organization: OrganizationId
    organization_name: Name
    amount: Money
    funders: tuple[FunderPart, ...]


class PaidReimbursement(Model):
    """What finance has paid back to an enterprise; below zero: what that has repaid."""

    reimbursement: ReimbursementId
    organization: OrganizationId
    organization_name: Name
    amount: Money
    funders: tuple[FunderPart, ...]


class ProgrammePayments(Model):
    """What a programme pays by the close of a period; or where it reimburses, what was recorded as paid within the period. `total` is the
    sum of all sellers, of all that is for no seller's lines, and of all reimbursements.

    Each amount is the sum of its funders' parts. Those of a voucher, over all periods together, are what it has paid in all split by the
    largest remainder (docs/programmes.md).
    """

    programme: ProgrammeId
    period: PeriodId
    total: Money
    funders: tuple[FunderPart, ...]
    sellers: tuple[SellerPayment, ...]
    other: tuple[OtherPayment, ...]
    reimbursements: tuple[PaidReimbursement, ...]


class RefusedReview(Model):
    """A review that an application or a reimbursement has not passed, which refused it."""

    application: VoucherApplicationId | None = Field(description="Null: a reimbursement was refused.")
    reimbursement: ReimbursementId | None = Field(description="Null: an application was refused.")
    organization: OrganizationId
    stage: int
    reason: Prose
    remedy: Prose | None
    reviewed_at: Instant
    reviewed_by: Name


class RuleRefusals(Model):
    """What was refused by one rule."""

    rule: RefusalRule | None = Field(description="Null: refused before a rule had to be named.")
    count: int
    last: tuple[RefusedReview, ...] = Field(description="The last five, the newest first.")


class ProgrammeRefusals(Model):
    """Which applications and reimbursements reviewers have refused, the rule that refused most first. What isn't eligible is refused at
    once, and not kept."""

    programme: ProgrammeId
    items: tuple[RuleRefusals, ...]


class CutRule(StrEnum):
    """What may cut a claim: the programme's floor, what the voucher has, and the programme's Caps of the other names."""

    FLOOR = "floor"
    CLAIM = "claim"
    VOUCHER = "voucher"
    REDEEMED_IN_YEAR = "redeemed_in_year"


class RuleCut(Model):
    """What one rule has cut, behind those before it."""

    rule: CutRule
    claims: int = Field(description="How many claims it has cut.")
    amount: Money = Field(
        description="Below zero in a year for which cuts of an earlier one have left more of vouchers than they took."
    )


class ProgrammeCuts(Model):
    """What floor and caps have cut of what lines' shares came to, by closed periods and credit notes, as it stands.

    `claimed` less what all rules have cut is `paid` and `waits` together.
    """

    programme: ProgrammeId
    year: int | None = Field(description="In which the claims lie; null: all of them.")
    claims: int = Field(description="How many there are: one for each voucher and span that have shares of lines.")
    claimed: Money = Field(description="What the shares of those came to that are above zero.")
    items: tuple[RuleCut, ...] = Field(description="All rules, in the order in which they are put on.")
    paid: Money = Field(
        description="What closes have paid or made due, less credit notes. Clawbacks change none of it."
    )
    waits: Money = Field(
        description="What a later close pays still: jobs had pledged it, or a credit note has made room under a cap. Below zero: what it "
        "takes back."
    )
