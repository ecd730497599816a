"""Tables of price corrections. Spans are seconds since the epoch, amounts fen."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, false
from sqlalchemy.orm import Mapped, mapped_column

from caravan.kernel.database import Instant, Json
from services.accounting.models_base import Base


class CorrectionRow(Base):
    """What was proposed and decided. `number` counts the approved ones, in the order of approval: where they overlap the last one holds.

    Each usage record reads this table, so what changes with each batch of the work on a correction stands in another.
    """

    __tablename__ = "price_corrections"
    __table_args__ = (
        Index("ix_price_corrections_offering_number", "offering", "number"),
        Index("ix_price_corrections_provider_id", "provider", "id"),
        Index("ix_price_corrections_reseller_id", "reseller", "id"),
    )

    id: Mapped[str] = mapped_column(String, primary_key=True)
    offering: Mapped[str] = mapped_column(String)
    provider: Mapped[str] = mapped_column(String)
    reseller: Mapped[str | None] = mapped_column(String, comment="Whose prices they are; null: the provider's.")
    starts_at: Mapped[int] = mapped_column(BigInteger)
    ends_at: Mapped[int] = mapped_column(BigInteger)
    price_list: Mapped[str] = mapped_column(ForeignKey("price_lists.id"))
    replaces: Mapped[Any] = mapped_column(Json, comment='Ids of price lists, or "all".')
    reason: Mapped[str] = mapped_column(Text)
    proposed_by: Mapped[str] = mapped_column(String)
    proposed_at: Mapped[datetime] = mapped_column(Instant)
    decided_by: Mapped[str | None] = mapped_column(String)
    decided_at: Mapped[datetime | None] = mapped_column(Instant)
    number: Mapped[int | None] = mapped_column(BigInteger, unique=True)


class WorkRow(Base):
    """How far a correction is: its state, and the last job that the pass of this state has been through ('' before the first).

    The counts say through how many jobs its preview went, and to how many it is applied. `settled`: a period has closed since its
    approval, and with it the volume discounts of closed periods that it covers.
    """

    __tablename__ = "price_correction_work"
    __table_args__ = (Index("ix_price_correction_work_state_correction", "state", "correction"),)

    correction: Mapped[str] = mapped_column(ForeignKey("price_corrections.id"), primary_key=True)
    state: Mapped[str] = mapped_column(String)
    after_job: Mapped[str] = mapped_column(String)
    previewed_jobs: Mapped[int] = mapped_column(BigInteger)
    applied_jobs: Mapped[int] = mapped_column(BigInteger)
    settled: Mapped[bool] = mapped_column(server_default=false())


class ShareRow(Base):
    """What a correction comes to for one organization, by its preview: of the jobs that change, how many, and what it bears of them."""

    __tablename__ = "price_correction_shares"
    __table_args__ = (Index("ix_price_correction_shares_organization_correction", "organization", "correction"),)

    correction: Mapped[str] = mapped_column(ForeignKey("price_corrections.id"), primary_key=True)
    organization: Mapped[str] = mapped_column(String, primary_key=True)
    job_count: Mapped[int] = mapped_column(BigInteger)
    line_count: Mapped[int] = mapped_column(BigInteger)
    amount_before: Mapped[int] = mapped_column(BigInteger)
    amount_after: Mapped[int] = mapped_column(BigInteger)
