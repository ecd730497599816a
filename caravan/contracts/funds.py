"""Funds: deposits, credit, budgets and holds. `available` is computed from these, never stored."""

from enum import StrEnum

from pydantic import Field

from caravan.contracts.base import Instant, Model, Name, Positive, Second
from caravan.contracts.ids import (
    BudgetId,
    DepositId,
    JobId,
    OfferingId,
    OrganizationId,
    ProjectId,
)
from caravan.contracts.prices import Component
from caravan.kernel.money import ZERO, Money


class DepositDraft(Model):
    """Money that came in, with the bank's reference of it."""

    organization: OrganizationId
    amount: Money
    reference: Name = Field(description="The bank's reference; a deposit is recorded once for each.")


class Deposit(DepositDraft):
    id: DepositId
    recorded_at: Instant
    recorded_by: Name


class CreditLimitDraft(Model):
    """How far a postpaid customer may owe."""

    amount: Money


class CreditLimit(CreditLimitDraft):
    """As it stands; nothing until it is set (version 0)."""

    organization: OrganizationId
    version: int


class Funds(Model):
    """What an organization has: available = deposited + granted + credit - charged - held."""

    organization: OrganizationId
    deposited: Money
    granted: Money = Field(default=ZERO, description="What vouchers pay: of what was charged, and of what is held.")
    credit: Money
    charged: Money
    held: Money = Field(description="Set aside and not yet captured, over all open holds.")
    available: Money


class BudgetDraft(Model):
    """A limit over time for an organization or one of its projects. A job counts in the span it was submitted in."""

    organization: OrganizationId
    project: ProjectId | None = None
    name: Name
    limit: Money
    starts_at: Second
    ends_at: Second | None = None


class BudgetChange(Model):
    """What may change of a budget."""

    name: Name | None = None
    limit: Money | None = None


class Budget(BudgetDraft):
    """With what is charged in its span and held now."""

    id: BudgetId
    charged: Money
    held: Money
    available: Money
    version: int
    created_at: Instant


class ResaleHold(Model):
    """What a reseller buys of a job: set aside on its funds in the same decision, both or neither."""

    organization: OrganizationId = Field(description="The reseller.")
    project: ProjectId = Field(description="The reseller's, which buys.")
    amount: Money = Field(description="In all, by the reseller's prices.")


class HoldUse(Model):
    """What an attempt, or what waits for one, may come to at most, by component."""

    offering: OfferingId
    reseller: OrganizationId | None = Field(default=None, description="Who sells it on; null: its provider sells it.")
    components: dict[Component, Money] = Field(examples=[{"accelerator_hour": "320.00", "cpu_core_hour": "12.80"}])


class HoldRequest(Model):
    """Set `amount` aside for a job in all. A higher revision replaces the amount; an equal one is a repeat."""

    revision: Positive
    organization: OrganizationId
    project: ProjectId
    amount: Money
    submitted_at: Instant
    ahead: tuple[HoldUse, ...] = Field(
        default=(),
        max_length=1000,
        description="Of which the amount is made, but for what has ended: vouchers pay a part of what their programmes support of it.",
    )
    resale: ResaleHold | None = Field(
        default=None,
        description="Replaced by a higher revision, as the amount is. A job has one reseller at most, and keeps it.",
    )


class FundsLimit(StrEnum):
    FUNDS = "funds"
    BUDGET = "budget"
    RESELLER = "reseller"
    """Funds or a budget of the reseller's: by how much is not for the buyer to know, so no figure comes with it."""


class HoldAnswer(Model):
    """What accounting says of a hold revision. A refused revision leaves the last granted one in force."""

    job: JobId
    revision: int
    granted: bool
    short: FundsLimit | None = Field(default=None, description="Which limit is short.")
    budget: BudgetId | None = None
    budget_name: Name | None = None
    limit: Money | None = Field(default=None, description="The budget's limit, or deposits and credit less charges.")
    held: Money | None = Field(default=None, description="What other jobs hold of it.")
    asked: Money | None = None
    fits: Money | None = Field(
        default=None, description="The largest amount that would be granted now, over all limits."
    )


class JobHoldRequest(HoldRequest):
    """A hold revision of one job among others."""

    job: JobId


class HoldBatch(Model):
    """Holds of many jobs, decided one after another, each for itself."""

    holds: tuple[JobHoldRequest, ...] = Field(min_length=1, max_length=1000)


class HoldOutcome(Model):
    """`answer` to a revision that could be decided; `outdated` is the later one that was known already."""

    answer: HoldAnswer | None = None
    outdated: int | None = None


class HoldOutcomes(Model):
    """One outcome for each hold of a batch, in its order."""

    items: tuple[HoldOutcome, ...]


class HoldStatus(StrEnum):
    OPEN = "open"
    SETTLED = "settled"


class HoldStep(StrEnum):
    GRANTED = "granted"
    REVISED = "revised"
    CAPTURED = "captured"
    CORRECTED = "corrected"
    RELEASED = "released"
    SETTLED = "settled"


class HoldMovement(Model):
    """One step in a hold's life."""

    at: Instant
    step: HoldStep
    amount: Money = Field(
        description="Signed: what it changed of the amount (granted, revised), captured (captured, corrected) or held (released)."
    )
    held: Money = Field(description="What is still held after it.")


class Hold(Model):
    """Money set aside for a job: held = amount - captured while open, 0 once settled."""

    job: JobId
    organization: OrganizationId
    project: ProjectId
    revision: int
    amount: Money
    captured: Money
    corrected: Money = Field(
        default=Money(0), description="Charged apart from the hold, by corrections of prices; negative: given back."
    )
    held: Money
    status: HoldStatus
    movements: tuple[HoldMovement, ...] = ()


class Holds(Model):
    """A job's: that of its own organization, then that of the reseller that sells it on, of these who may be seen."""

    items: tuple[Hold, ...]


class BudgetState(Model):
    """`budget.changed`: there is a new version of a budget, to be read by whoever it concerns."""

    id: BudgetId
    organization: OrganizationId
    project: ProjectId | None
    version: int
