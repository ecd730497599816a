"""Tables of funds. Money is integer fen.

The totals of `Fund` and `BudgetRow` are what two requests contend for; `funds.verify` holds them against the holds they sum up.
"""

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, String, false
from sqlalchemy.orm import Mapped, mapped_column

from caravan.kernel.database import Instant
from services.accounting.models_base import Base


class Fund(Base):
    """An organization's totals. `held` is over open holds, amount less captured; `charged` is all that was captured or corrected, less
    volume discounts and credit notes. `granted` is what vouchers pay, pledged with holds or redeemed; `redeemed` is a part of it.

    `credit_version` counts how often the credit limit was set.
    """

    __tablename__ = "funds"
    __table_args__ = (CheckConstraint("held >= 0", name="held"),)

    organization: Mapped[str] = mapped_column(String, primary_key=True)
    deposited: Mapped[int] = mapped_column(BigInteger)
    credit: Mapped[int] = mapped_column(BigInteger)
    credit_version: Mapped[int] = mapped_column(BigInteger, server_default="0")
    charged: Mapped[int] = mapped_column(BigInteger)
    held: Mapped[int] = mapped_column(BigInteger)
    granted: Mapped[int] = mapped_column(BigInteger, server_default="0")
    redeemed: Mapped[int] = mapped_column(BigInteger, server_default="0")


class DepositRow(Base):
    __tablename__ = "deposits"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount"),
        Index("ix_deposits_organization_id", "organization", "id"),
    )

    id: Mapped[str] = mapped_column(String, primary_key=True)
    organization: Mapped[str] = mapped_column(String)
    amount: Mapped[int] = mapped_column(BigInteger)
    reference: Mapped[str] = mapped_column(String, unique=True)
    recorded_at: Mapped[datetime] = mapped_column(Instant)
    recorded_by: Mapped[str] = mapped_column(String)


class BudgetRow(Base):
    """A budget with the totals of the holds attached to it. `project` is null for the whole organization."""

    __tablename__ = "budgets"
    __table_args__ = (
        CheckConstraint("held >= 0", name="held"),
        Index("ix_budgets_organization_id", "organization", "id"),
    )

    id: Mapped[str] = mapped_column(String, primary_key=True)
    organization: Mapped[str] = mapped_column(String)
    project: Mapped[str | None] = mapped_column(String)
    name: Mapped[str] = mapped_column(String)
    limit: Mapped[int] = mapped_column("limit_amount", BigInteger)
    starts_at: Mapped[datetime] = mapped_column(Instant)
    ends_at: Mapped[datetime | None] = mapped_column(Instant)
    charged: Mapped[int] = mapped_column(BigInteger)
    held: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[int] = mapped_column(BigInteger)
    created_at: Mapped[datetime] = mapped_column(Instant)


class HoldRow(Base):
    """A hold for a job: the last granted revision. Besides that of the job's organization there is one on who resells to it (`resale`),
    for what that buys of the job. `overrun_from`: the second (since the epoch) in which usage passes one of their amounts, if it does; with
    `minimum` it is kept with the job's own.

    `captured` is what was charged by the prices that the job was placed by; `corrected` what price corrections add to it (or take from
    it), null where none concern the job. `minimum`: an ended attempt has a minimum charge.
    """

    __tablename__ = "holds"
    __table_args__ = (
        CheckConstraint("captured >= 0 AND captured <= amount", name="captured"),
        Index("ix_holds_organization_submitted_at", "organization", "submitted_at"),
    )

    job: Mapped[str] = mapped_column(String, primary_key=True)
    organization: Mapped[str] = mapped_column(String, primary_key=True)
    resale: Mapped[bool] = mapped_column(Boolean, server_default=false())
    project: Mapped[str] = mapped_column(String)
    revision: Mapped[int] = mapped_column(BigInteger)
    amount: Mapped[int] = mapped_column(BigInteger)
    captured: Mapped[int] = mapped_column(BigInteger)
    corrected: Mapped[int | None] = mapped_column(BigInteger)
    overrun_from: Mapped[int | None] = mapped_column(BigInteger)
    minimum: Mapped[bool] = mapped_column(Boolean, server_default=false())
    status: Mapped[str] = mapped_column(String)
    submitted_at: Mapped[datetime] = mapped_column(Instant)


def _of_hold() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["job", "organization"], ["holds.job", "holds.organization"])


class HoldBudget(Base):
    """Which budgets a hold counts in."""

    __tablename__ = "hold_budgets"
    __table_args__ = (_of_hold(), Index("ix_hold_budgets_budget", "budget"))

    job: Mapped[str] = mapped_column(String, primary_key=True)
    organization: Mapped[str] = mapped_column(String)
    budget: Mapped[str] = mapped_column(ForeignKey("budgets.id"), primary_key=True)


class Movement(Base):
    """One step in a hold's life."""

    __tablename__ = "hold_movements"
    __table_args__ = (_of_hold(),)

    job: Mapped[str] = mapped_column(String, primary_key=True)
    organization: Mapped[str] = mapped_column(String, primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    at: Mapped[datetime] = mapped_column(Instant)
    step: Mapped[str] = mapped_column(String)
    amount: Mapped[int] = mapped_column(BigInteger)
    held: Mapped[int] = mapped_column(BigInteger)


class Settlement(Base):
    """A job of which the broker said that nothing more will come, and when accounting had charged it all.

    Also kept for a job that never had a hold: a request for one that was long under way is refused.
    """

    __tablename__ = "settlements"

    job: Mapped[str] = mapped_column(String, primary_key=True)
    hold_revision: Mapped[int] = mapped_column(BigInteger)
    settled_at: Mapped[datetime | None] = mapped_column(Instant)


class Outstanding(Base):
    """What a settlement still waits for: a run's hour at this revision or a later one; hour 0: the run's end."""

    __tablename__ = "settlement_outstanding"

    job: Mapped[str] = mapped_column(ForeignKey("settlements.job"), primary_key=True)
    run: Mapped[str] = mapped_column(String, primary_key=True)
    hour: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    revision: Mapped[int] = mapped_column(BigInteger)
