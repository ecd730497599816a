"""Tax rules, and how each period's supplies were taxed."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from caravan.kernel.database import Instant
from services.accounting.models_base import Base


class TaxRuleRow(Base):
    """A rule as posted; never changed."""

    __tablename__ = "tax_rules"
    __table_args__ = (Index("ix_tax_rules_seller_category_starts_at", "seller", "category", "starts_at"),)

    id: Mapped[str] = mapped_column(String, primary_key=True)
    seller: Mapped[str] = mapped_column(String)
    category: Mapped[str] = mapped_column(String)
    treatment: Mapped[str] = mapped_column(String)
    rate: Mapped[int | None] = mapped_column(BigInteger, comment="In hundredths of a percent.")
    starts_at: Mapped[datetime] = mapped_column(Instant)
    ends_at: Mapped[datetime | None] = mapped_column(Instant)
    posted_at: Mapped[datetime] = mapped_column(Instant)
    posted_by: Mapped[str] = mapped_column(String)


class SupplyTax(Base):
    """How what a seller supplied in a period is taxed: kept when it is first on a statement, so that corrections go by the same."""

    __tablename__ = "supply_taxes"

    period: Mapped[str] = mapped_column(ForeignKey("periods.id"), primary_key=True)
    seller: Mapped[str] = mapped_column(String, primary_key=True)
    category: Mapped[str] = mapped_column(String, primary_key=True)
    treatment: Mapped[str] = mapped_column(String)
    rate: Mapped[int] = mapped_column(BigInteger, comment="In hundredths of a percent; 0 where it isn't taxed.")
