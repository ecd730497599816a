"""Claiming what programmes pay back of what enterprises have paid first."""

from datetime import date
from enum import StrEnum

from pydantic import Field

from caravan.contracts.base import Instant, Model, Name
from caravan.contracts.ids import OrganizationId, ProgrammeId, ReimbursementId, VoucherId
from caravan.contracts.programme_reports import FunderPart
from caravan.contracts.statements import Line
from caravan.contracts.vouchers import Evidence, Review
from caravan.kernel.money import Money


class ReimbursementDraft(Model):
    """Claims all that is due now to an organization by a programme that reimburses."""

    organization: OrganizationId
    programme: ProgrammeId


class ReimbursementState(StrEnum):
    FILED = "filed"
    """Evidence may still be replaced."""
    UNDER_REVIEW = "under_review"
    """One has passed it."""
    APPROVED = "approved"
    """So has another one: finance may pay."""
    PAID = "paid"
    REFUSED = "refused"
    """What was filed may be filed anew."""
    WITHDRAWN = "withdrawn"
    REPAID = "repaid"
    """Below zero: what was taken back of earlier ones, and the organization has paid back."""


class DueSpan(Model):
    """What is due of a voucher for a span of claims: below zero where more was paid of it than is due now."""

    voucher: VoucherId
    starts_at: Instant
    claimed: Money = Field(description="Its lines' shares by the rates.")
    amount: Money = Field(description="What of that is due within floor and caps.")


class ReimbursementPaymentDraft(Model):
    """How finance has paid what was approved, to the organization's account."""

    reference: Name = Field(description="Of the payment, at the bank or treasury.", examples=["XAFB-2026-0731"])
    paid_on: date


class ReimbursementPayment(ReimbursementPaymentDraft):
    paid_at: Instant = Field(description="When that was recorded.")
    paid_by: Name


class RepaymentDraft(ReimbursementDraft, ReimbursementPaymentDraft):
    """How an organization has paid back all that it owes of a programme, because it was taken back after it had been paid."""

    amount: Money = Field(description="`owed` of what is reimbursable.")


class Reimbursement(ReimbursementDraft):
    """As it stands. Its amounts are fixed as it is filed."""

    id: ReimbursementId
    state: ReimbursementState
    amount: Money = Field(description="The sum of its spans, less what was clawed back.")
    clawed_back: Money = Field(description="What the office took back of earlier ones, and is set off here.")
    spans: tuple[DueSpan, ...]
    funders: tuple[FunderPart, ...] = Field(description="Which of the programme's funders pays what of it.")
    evidence: tuple[Evidence, ...]
    reviews: tuple[Review, ...]
    payment: ReimbursementPayment | None = Field(description="Null until it is paid, or repaid.")
    version: int
    filed_at: Instant
    filed_by: Name


class ReimbursedLine(Model):
    """What a voucher pays back of a line. What it pays for lines of earlier periods stands in the spans alone."""

    line: Line
    voucher: VoucherId
    starts_at: Instant = Field(description="Of the span of claims.")
    share: Money = Field(description="The voucher's, by its rate.")
    pays: Money = Field(description="What of that is due within floor and caps.")


class Reimbursable(ReimbursementDraft):
    """What an organization may claim of a programme now. Nothing below or at zero is filed: it is set off against what is due next, unless
    it is repaid before."""

    programme_name: Name
    amount: Money = Field(
        description="What one that is filed now comes to: the sum of `spans`, less what was clawed back."
    )
    clawed_back: Money = Field(description="What the office took back of earlier ones, and is set off.")
    spans: tuple[DueSpan, ...] = Field(description="Those that are over, with all of their periods closed.")
    waits: Money = Field(description="What closed periods have made due of other spans so far.")
    waits_until: Instant | None = Field(description="When the first of these is over. Null: there are none.")
    owed: Money = Field(
        description="What was paid above all that closed periods make due by now, what waits included: it may be repaid."
    )
    pending: ReimbursementId | None = Field(description="The one that has to be settled first. Null: there is none.")


class Reimbursables(Model):
    """One for each programme that reimburses of which the organization has a voucher."""

    items: tuple[Reimbursable, ...]
