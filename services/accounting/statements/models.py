"""Statements and their numbers. A statement is never changed: triggers of `0002_guards` see to it."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, ForeignKey, Index, String, false
from sqlalchemy.orm import Mapped, mapped_column

from caravan.kernel.database import Instant, Json
from services.accounting.models_base import Base


class StatementRow(Base):
    """A sealed document; money in fen. `names` (of parties and projects) and `rates` (of sellers) are those of when it was issued.

    `sections` is null on those that were issued before tax stood on lines; `fee` is a provider's where an agreement held. `sold`:
    its CSV names sellers. Its CSV says what vouchers pay where it has `redemptions`.
    """

    __tablename__ = "statements"
    __table_args__ = (
        Index("ix_statements_period_party_party_id", "period", "party", "party_id", unique=True),
        Index("ix_statements_party_id_id", "party_id", "id"),
        {"sqlite_with_rowid": False},
    )

    id: Mapped[str] = mapped_column(String, primary_key=True)
    number: Mapped[str] = mapped_column(String, unique=True)
    party: Mapped[str] = mapped_column(String)
    party_id: Mapped[str] = mapped_column(String)
    party_name: Mapped[str] = mapped_column(String)
    period: Mapped[str] = mapped_column(ForeignKey("periods.id"))
    period_name: Mapped[str] = mapped_column(String)
    starts_at: Mapped[datetime] = mapped_column(Instant)
    ends_at: Mapped[datetime] = mapped_column(Instant)
    gross: Mapped[int] = mapped_column(BigInteger)
    tax: Mapped[int] = mapped_column(BigInteger)
    adjustments: Mapped[int] = mapped_column(BigInteger)
    borne_by_provider: Mapped[int] = mapped_column(BigInteger)
    notional: Mapped[int] = mapped_column(BigInteger, server_default="0")
    late_sites: Mapped[Any] = mapped_column(Json)
    set_aside: Mapped[Any] = mapped_column(Json, server_default="{}", comment="Hours by reason.")
    names: Mapped[Any] = mapped_column(Json)
    rates: Mapped[Any] = mapped_column(Json, server_default="{}", comment="In hundredths of a percent.")
    sections: Mapped[Any] = mapped_column(Json, nullable=True)
    fee: Mapped[Any] = mapped_column(Json, nullable=True)
    redemptions: Mapped[Any] = mapped_column(
        Json, nullable=True, comment="Of vouchers, as redemptions.reading has them."
    )
    sold: Mapped[bool] = mapped_column(Boolean, server_default=false())
    line_count: Mapped[int] = mapped_column(BigInteger)
    issued_at: Mapped[datetime] = mapped_column(Instant)
    lines_sha256: Mapped[str] = mapped_column(String)


class Counter(Base):
    """The last number given, for each kind of document and year; taken in the transaction of the document, so without gaps."""

    __tablename__ = "statement_counters"

    kind: Mapped[str] = mapped_column(String, primary_key=True)
    year: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    last: Mapped[int] = mapped_column(BigInteger)
