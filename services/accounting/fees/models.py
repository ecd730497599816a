"""Fee agreements."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, String
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
    starts_at: Mapped[datetime] = mapped_column(Instant)
    ends_at: Mapped[datetime | None] = mapped_column(Instant)
    made_at: Mapped[datetime] = mapped_column(Instant)
    made_by: Mapped[str] = mapped_column(String)
