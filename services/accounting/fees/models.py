"""Fee agreements, and how far fees have come that are due when paid."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from caravan.kernel.database import Instant
from services.accounting.models_base import Base


class FeeAgreementRow(Base):
    """An agreement as made; never changed. `floor` in fen."""

    __tablename__ = "fee_agreements"
    __table_args__ = (Index("ix_fee_agreements_provider_starts_at", "provider", "starts_at"),)

    id: Mapped[str] = mapped_column(String, primary_key=True)
    provider: Mapped[str] = mapped_column(String)
    rate: Mapped[int] = mapped_column(BigInteger, comment="In hundredths of a percent.")
    floor: Mapped[int] = mapped_column(BigInteger)
    due: Mapped[str] = mapped_column(String, server_default="at_close")
    starts_at: Mapped[datetime] = mapped_column(Instant)
    ends_at: Mapped[datetime | None] = mapped_column(Instant)
    made_at: Mapped[datetime] = mapped_column(Instant)
    made_by: Mapped[str] = mapped_column(String)


class FeeDueRow(Base):
    """The fee on a provider's statement, and what of it is due so far; both in fen."""

    __tablename__ = "fee_dues"

    statement: Mapped[str] = mapped_column(String, primary_key=True)
    provider: Mapped[str] = mapped_column(String)
    amount: Mapped[int] = mapped_column(BigInteger)
    tax_rate: Mapped[int] = mapped_column(BigInteger, comment="In hundredths of a percent.")
    due: Mapped[int] = mapped_column(BigInteger)


class FeeShareRow(Base):
    """What of such a provider's gross is an organization's, and how much of its own statement for that period is paid; in fen."""

    __tablename__ = "fee_shares"
    __table_args__ = (Index("ix_fee_shares_organization_statement", "organization", "statement"),)

    statement: Mapped[str] = mapped_column(ForeignKey("fee_dues.statement"), primary_key=True)
    organization: Mapped[str] = mapped_column(String, primary_key=True)
    period: Mapped[str] = mapped_column(String)
    weight: Mapped[int] = mapped_column(BigInteger)
    paid: Mapped[int] = mapped_column(BigInteger)
    gross: Mapped[int] = mapped_column(BigInteger)
