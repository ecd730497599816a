"""What finance reads: periods, lines, statements, the ledger."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from caravan.contracts.anomalies import AnomalyReason
from caravan.contracts.base import Instant, Model, Name, Prose, Second
from caravan.contracts.fees import StatementFee
from caravan.contracts.ids import (
    AcceleratorId,
    AttemptId,
    EntryId,
    JobId,
    LineId,
    OfferingId,
    OrganizationId,
    PeriodId,
    PriceListId,
    ProgrammeId,
    ProjectId,
    ProviderId,
    SiteId,
    StatementId,
    VoucherId,
)
from caravan.contracts.parties import TaxRate
from caravan.contracts.prices import Component
from caravan.contracts.tax import Seller, TaxTreatment
from caravan.kernel.money import Money, UnitPrice

PartyId = Annotated[str, Field(pattern="^(org|prv)_[0-9a-f]{32}$")]


class BearerKind(StrEnum):
    ORGANIZATION = "organization"
    PROVIDER = "provider"
    NOBODY = "nobody"
    """The site didn't bill that time: no money moves."""


class BearerReason(StrEnum):
    """Why the provider bears a line, or nobody."""

    SITE_FAULT = "site_fault"
    OVERRUN = "overrun"
    DUPLICATE = "duplicate"
    PREEMPTED = "preempted"
    NOTIONAL = "notional"
    """Nobody: its amount is what it would have cost."""
    TRACKED = "tracked"
    """Nobody, at a price of 0."""


class PeriodState(StrEnum):
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class PeriodCut(Model):
    """End the open period at `at`: in the future, or a past second at or after which no usage was applied."""

    at: Second


class Period(Model):
    """A billing span [starts_at, ends_at) in which each second of usage lies once."""

    id: PeriodId
    name: Name
    starts_at: Second
    ends_at: Second
    state: PeriodState
    waiting_for: tuple[SiteId, ...] = Field(
        default=(), description="While closing: sites whose usage is not complete yet."
    )
    parked_facts: int = Field(
        default=0, description="While closing: facts that could not be applied yet; the log says which and why."
    )
    anomalies: int = Field(
        default=0, description="While closing: hours of runs in it that are set aside; settle them, or the grace ends."
    )
    untaxed: tuple[Seller, ...] = Field(
        default=(),
        description="While closing, told to finance and the platform's administrators: sellers of what is in it of whose tax no rule is"
        " known. It can't close before each has one: `POST /v1/tax-rules`.",
    )
    unknown_offerings: tuple[OfferingId, ...] = Field(
        default=(),
        description="While closing, told to finance and the platform's administrators: what organizations that have vouchers used of, and"
        " the catalog's feed has not told of yet. It can't close before.",
    )
    late_sites: tuple[SiteId, ...] = Field(default=(), description="Closed without them after the grace.")
    set_aside: dict[AnomalyReason, int] = Field(
        default_factory=dict,
        description="Closed without them after the grace: hours of runs that were set aside and settled by nobody, by reason.",
        examples=[{"identity_taken": 2}],
    )
    closed_at: Instant | None = None
    version: int


class LineKind(StrEnum):
    USAGE = "usage"
    VOLUME_DISCOUNT = "volume_discount"


class Line(Model):
    """The unit of billing. Of usage, `amount` is the once-rounded price of `quantity`; no other rounding exists.

    A volume discount is of no job, project or tariff: what an organization used of one component of an offering comes to `quantity` and
    `basis`, and `amount`, not above zero, is what `price_list` takes off that (docs/prices.md). Its adjustments have the differences.
    """

    id: LineId
    kind: LineKind = LineKind.USAGE
    period: PeriodId
    organization: OrganizationId
    provider: ProviderId = Field(description="Whose site it ran at.")
    seller: PartyId = Field(
        description="Whom the organization owes it: the provider, or an organization that sells the provider's time on."
    )
    project: ProjectId | None
    job: JobId | None
    component: Component
    accelerator: AcceleratorId | None
    price_list: PriceListId
    price_list_revision: int
    tariff: Name | None
    window: Name | None
    bearer: BearerKind
    reason: BearerReason | None = None
    unit_price: UnitPrice | None
    quantity: int = Field(
        description="Core-, accelerator-, node-seconds, MiB-seconds, jobs, or fen of a minimum charge. Negative in adjustments only."
    )
    amount: Money
    basis: Money | None = Field(default=None, description="Of a volume discount: what it is taken off.")
    attempt: AttemptId | None = Field(default=None, description="Which a minimum charge is of.")
    corrects: PeriodId | None = Field(
        default=None, description="An adjustment: the closed period whose usage this corrects."
    )
    tax: Money | None = Field(
        default=None,
        description="Included in the amount; null until the period is closed, and where no organization bears it.",
    )
    tax_treatment: TaxTreatment | None = None
    tax_rate: TaxRate | None = None
    subsidy: Money | None = Field(
        default=None,
        description="What vouchers pay of the amount (the organization pays the rest); null until the period is closed, and where none do.",
    )


class UsageLine(Line):
    """A line of a job."""

    project: ProjectId
    job: JobId
    tariff: Name
    window: Name
    unit_price: UnitPrice


class StatementParty(StrEnum):
    """What a party is on a statement: who buys, or who sells."""

    ORGANIZATION = "organization"
    PROVIDER = "provider"
    RESELLER = "reseller"
    """An organization that sells providers' time on: what it bought stands on another, which it has as an organization."""


class StatementLine(Model):
    """A line as it stands on a statement; adjustments name the period they correct."""

    line: Line
    job_name: Name | None = None


class StatementSection(Model):
    """What one seller supplied to one organization at one rate: gross = net + tax, and the same on both their statements."""

    counterparty: PartyId = Field(description="The seller; on a seller's statement the organization.")
    counterparty_name: Name
    treatment: TaxTreatment
    rate: TaxRate
    gross: Money
    net: Money
    tax: Money


class StatementRedemption(Model):
    """What a voucher pays of an organization's statement."""

    voucher: VoucherId
    programme: ProgrammeId
    programme_name: Name
    on_lines: Money = Field(description="The sum of what it pays of the statement's lines.")
    earlier: Money = Field(
        description="What its claim pays more (negative: less) for lines of earlier statements, as floors, caps and corrections make it."
    )


class Statement(Model):
    """A sealed document for a period: the sum of its lines."""

    id: StatementId
    number: Name = Field(examples=["ORG-2026-000001"], description="Gapless within its kind.")
    party: StatementParty
    party_id: PartyId
    party_name: Name
    period: PeriodId
    period_name: Name
    starts_at: Second
    ends_at: Second
    gross: Money = Field(description="Over the lines that the organization bears: owed by it, payable to the seller.")
    tax: Money = Field(description="Included in gross: the sum of the lines'.")
    tax_rates: dict[PartyId, int] = Field(
        description="Each seller's for what it supplied in the period, in hundredths of a percent."
    )
    net: Money
    sections: tuple[StatementSection, ...] = Field(
        description="Of these gross, tax and net are the sums. None on statements that were issued before tax stood on lines."
    )
    redemptions: tuple[StatementRedemption, ...] = Field(
        default=(), description="On an organization's: what its vouchers pay (docs/programmes.md)."
    )
    due: Money | None = Field(
        default=None, description="On an organization's: gross less what vouchers pay of it and of earlier statements."
    )
    fee: StatementFee | None = Field(default=None, description="On a provider's, where an agreement holds.")
    payout: Money | None = Field(default=None, description="On a seller's: gross less the fee.")
    adjustments: Money = Field(description="Part of gross: corrections of earlier periods.")
    borne_by_provider: Money
    notional: Money = Field(
        description="Over the lines that nobody bears, no part of gross: what time that was not billed would have cost."
    )
    late_sites: tuple[SiteId, ...]
    set_aside: dict[AnomalyReason, int] = Field(
        default_factory=dict,
        description="Hours of the party's runs that were set aside as the period closed, by reason (docs/anomalies.md): "
        "they aren't billed here. What is accepted of them later is an adjustment.",
        examples=[{"identity_taken": 2}],
    )
    line_count: int
    issued_at: Instant
    lines_sha256: str = Field(description="Over the canonical CSV of the lines.")


class EntryKind(StrEnum):
    DEPOSIT = "deposit"
    CHARGE = "charge"
    REVERSAL = "reversal"
    CREDIT_NOTE = "credit_note"
    FEE = "fee"
    FEE_DUE = "fee_due"
    DISCOUNT = "discount"
    REDEMPTION = "redemption"


class Posting(Model):
    """Debits positive, credits negative."""

    account: Name = Field(
        examples=[
            "bank",
            "prepaid:org_…",
            "receivable:org_…",
            "payable:prv_…",
            "programme_receivable:prg_…",
            "fee_deferred:prv_…",
            "platform_fee",
            "output_tax",
        ]
    )
    amount: Money


class LedgerEntry(Model):
    """Postings that sum to zero; never changed."""

    id: EntryId
    kind: EntryKind
    at: Instant
    organization: OrganizationId | None
    reference: Name = Field(
        description="What made it: a deposit, the job, the period of volume discounts, a voucher, a credit note, or a statement."
    )
    description: Prose = ""
    postings: tuple[Posting, ...]


class AccountBalance(Model):
    account: Name
    debit: Money
    credit: Money
    balance: Money


class TrialBalance(Model):
    """All accounts; `sum` is zero or the books are wrong."""

    at: Instant
    accounts: tuple[AccountBalance, ...]
    sum: Money
